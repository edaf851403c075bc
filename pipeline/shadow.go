package pipeline

import (
	"context"
	"fmt"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
	"gatewatch/storage"
)

// shadow keeps what rules that are only watched would have done: incidents of
// their own book, told to nobody. They join no incident of other rules, so what
// is told does not depend on them.
type shadow struct{ book *alerting.Book }

func newShadow(plan *observation.Plan, o alerting.BookOptions) shadow {
	o.Bucket, o.Metrics = alerting.BucketShadow, nil
	return shadow{alerting.NewBook(plan, o)}
}

func (s *shadow) load(db *storage.DB) error {
	return s.book.Load(func(each func(k, v []byte) error) error { return db.Scan(storage.Shadow, nil, each) })
}

// cut adds what changed to the cut, and counts the notifications that there
// would have been.
func (s *shadow) cut(f *findingsStage, c *cut) {
	if c.idle > 0 {
		s.book.AdvanceIdle(c.idle)
	}
	revisions := s.book.Revise(f.p.o.Now())
	for i := range revisions {
		f.rules.untold(revisions[i].Incident.Rule.ID)
	}
	for _, op := range s.book.Changes() {
		c.book = append(c.book, storage.Op(op))
	}
}

// ShadowIncidents returns the incidents that rules which are only watched
// would have opened, under the terms of Incidents.
func (p *Pipeline) ShadowIncidents(ctx context.Context) ([]*alerting.Incident, error) {
	var out []*alerting.Incident
	err := p.ask(ctx, func(s *findingsStage) { out = s.shadow.book.Incidents() })
	return out, err
}

// ShadowIncident returns one of them, or nil.
func (p *Pipeline) ShadowIncident(ctx context.Context, id string) (*alerting.Incident, error) {
	var out *alerting.Incident
	err := p.ask(ctx, func(s *findingsStage) { out = s.shadow.book.Incident(id) })
	if err != nil {
		return nil, fmt.Errorf("ask for a shadow incident: %w", err)
	}
	return out, nil
}

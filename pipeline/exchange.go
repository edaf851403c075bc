package pipeline

import (
	"context"
	"time"

	"gatewatch/alerting"
	"gatewatch/collectors"
	"gatewatch/detectors"
	"gatewatch/detectors/observation"
)

// owner is a goroutine that owns whole slots.
type owner struct {
	number int
	engine *detectors.Engine
	in     chan *round
	cut    *cut // being encoded, nil between cuts
}

// encodeSlice is how many entities are encoded between two looks for work: a
// fraction of a millisecond.
const encodeSlice = 512

// run applies rounds in order. The state for a cut is encoded in slices
// between them.
func (o *owner) run(p *Pipeline) {
	for {
		var r *round
		var ok bool
		if o.cut == nil {
			r, ok = <-o.in
		} else {
			select {
			case r, ok = <-o.in:
			default:
				if o.engine.EncodeSome(encodeSlice) {
					o.finishCut()
				}
				continue
			}
		}
		if !ok {
			o.finishCut()
			return
		}
		o.apply(p, r)
	}
}

func (o *owner) apply(p *Pipeline, r *round) {
	out := &r.results[o.number]
	for i := range r.runs {
		x := &r.runs[i]
		o.engine.Apply(detectors.Run{Batch: x.work.batch, From: x.from, To: x.to, Source: x.source, Rank: x.rank}, out)
	}
	if len(r.runs) > 0 {
		o.engine.Advance(r.upto, out)
	}
	if r.cut != nil {
		o.finishCut()
		began := time.Now()
		o.engine.BeginCut(r.cut.plan, r.cut.base)
		p.observeStall(time.Since(began))
		o.cut = r.cut
	} else if o.cut != nil && o.engine.EncodeSome(encodeSlice) {
		o.finishCut()
	}
	if r.reload != nil {
		o.finishCut()
		if err := o.engine.Reload(r.reload.setup.plan); err != nil {
			p.fail(err)
		}
	}
	stats := o.engine.Stats()
	p.stats[o.number].Store(&stats)
	r.workers.Done()
}

func (o *owner) finishCut() {
	if o.cut == nil {
		return
	}
	o.cut.slots[o.number] = o.engine.EndCut()
	o.cut.part()
	o.cut = nil
}

// findingsStage is the goroutine behind the slot owners: it puts findings
// into merged order, judges correlations over correlations, and keeps the
// incident book.
type findingsStage struct {
	p      *Pipeline
	plan   *observation.Plan
	rules  *ruleCounters
	book   *alerting.Book
	shadow shadow
	upper  *detectors.Engine // owns its own set of all slots
	chain  bool              // some rule is chained, so upper has work
	all    detectors.Findings

	waiting []chan struct{} // closed once the next cut is durable

	evictedAlive uint64 // as told by the last incident of our own
}

func (f *findingsStage) run(ctx context.Context, rounds <-chan *round) {
	defer close(f.p.stageDone)
	for {
		var r *round
		select {
		case q := <-f.p.queries:
			q(f)
			continue
		case r = <-rounds:
		}
		if r == nil {
			return
		}
		r.workers.Wait()
		f.apply(r)
		if r.cut != nil {
			f.cut(ctx, r.cut)
		}
		if r.reload != nil {
			f.reload(r.reload)
		}
		if r.final {
			f.book.Finish()
			f.shadow.book.Finish()
			f.texts(ctx, f.book, 0)
			f.texts(ctx, f.shadow.book, 0)
		}
		f.recycle(r)
	}
}

func (f *findingsStage) apply(r *round) {
	f.all.List = f.all.List[:0]
	for i := range r.results {
		f.all.Append(&r.results[i])
	}
	if len(f.all.List) > 0 {
		f.all.Sort()
		if f.chain {
			f.upper.Chain(&f.all)
		}
	}
	if f.chain && len(r.runs) > 0 {
		at := len(f.all.List)
		f.upper.Advance(r.upto, &f.all)
		f.upper.Cascade(&f.all, at)
		for i, n := range f.upper.TakeMissing() {
			f.rules.all[i].missing.Add(n)
		}
	}
	fired := false
	for i := range f.all.List {
		x := &f.all.List[i]
		f.rules.found(x)
		switch rule := &f.plan.Rules[x.Rule]; {
		case !rule.Alerting:
		case rule.Shadow:
			if f.shadow.book.Apply(x) {
				f.rules.joined(x.Rule)
			}
		default:
			if f.book.Apply(x) {
				f.rules.joined(x.Rule)
			}
			fired = fired || x.Fired
		}
	}
	if len(r.runs) > 0 {
		f.book.Advance(r.upto)
		f.shadow.book.Advance(r.upto)
	}
	if fired {
		f.p.wantCut.Store(true)
	}
}

// recycle gives blocks, batches and the round back.
func (f *findingsStage) recycle(r *round) {
	for i := range r.runs {
		x := &r.runs[i]
		x.work.lane.status.judged(x.turn, x.offset, x.line, x.clock)
		if x.to == len(x.work.batch.Records) {
			f.p.release(x.work.lane, x.work)
		}
		r.runs[i] = roundRun{}
	}
	for i := range r.results {
		r.results[i].Reset()
	}
	f.all.Reset()
	if len(r.runs) > 0 {
		f.p.mergedTime.Store(r.upto)
	}
	r.runs, r.records = r.runs[:0], 0
	r.cut, r.reload, r.final = nil, nil, false
	select {
	case f.p.spare <- r:
	default:
	}
}

const (
	// textsAtOnce is how many log lines are fetched for evidence in one go, and
	// textsFor how long one cut goes on doing so.
	textsAtOnce = 256
	textsFor    = 20 * time.Millisecond
	// textWait is how long the first telling of an incident waits for its lines.
	textWait = 5 * time.Second
)

// textsOf fetches lines for the evidence of both books until all are there, or
// the cut has waited long enough.
func (f *findingsStage) textsOf(ctx context.Context) {
	for end := time.Now().Add(textsFor); ; {
		n := f.texts(ctx, f.book, textsAtOnce) + f.texts(ctx, f.shadow.book, textsAtOnce)
		if n < textsAtOnce {
			return
		}
		if time.Now().After(end) {
			f.p.wantCut.Store(true) // for the rest
			return
		}
	}
}

// texts fetches the lines that the incidents of a book show, at most limit of
// them, and returns how many it asked for.
func (f *findingsStage) texts(ctx context.Context, book *alerting.Book, limit int) (asked int) {
	if limit == 0 {
		limit = 1 << 30
	}
	bySource := map[uint32][]alerting.Want{}
	for _, w := range book.Wanted(limit) {
		bySource[w.Ref.Source] = append(bySource[w.Ref.Source], w)
		asked++
	}
	for id, wants := range bySource {
		src := f.p.sourceByID(id)
		if src == nil {
			for _, w := range wants {
				book.SetText(w, "", 0, "")
			}
			continue
		}
		lookups := make([]collectors.Lookup, len(wants))
		for i, w := range wants {
			lookups[i] = collectors.Lookup{Offset: w.Ref.Offset, Length: w.Ref.Length, Line: w.Ref.Line}
		}
		for i, text := range src.Fetch(ctx, lookups) {
			book.SetText(wants[i], text.File, text.Line, string(f.p.o.Mask.Append(nil, text.Text)))
		}
	}
	return asked
}

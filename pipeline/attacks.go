package pipeline

import (
	"strings"

	"gatewatch/detectors/injection"
	"gatewatch/event"
)

// WithAttacks adds the injection detector to the options of an event.Deriver:
// it is what fills attack.class. The pipeline does so by itself.
func WithAttacks(o event.DeriveOptions) event.DeriveOptions {
	if o.Classify == nil {
		o.Classify = classify
	}
	return o
}

func classify() func(*event.Event, []string) []string {
	a := injection.New()
	var r injection.Request
	var agents [event.MaxAgents]struct {
		agent *event.Agent
		found injection.Set
	}
	return func(ev *event.Event, classes []string) []string {
		r = request(ev)
		var found injection.Set
		if g := ev.Agent; g != nil {
			k := &agents[g.Number]
			if k.agent != g {
				k.agent, k.found = g, a.Analyze(&injection.Request{Agent: g.Text})
			}
			found, r.Agent = k.found, ""
		}
		return (found | a.Analyze(&r)).Append(classes)
	}
}

func request(ev *event.Event) injection.Request {
	r := injection.Request{Path: ev.Path, Query: ev.Query, Agent: ev.UserAgent, Referer: ev.Referer, Host: ev.Host}
	if ev.Malformed != event.Wellformed {
		r.Path, r.Query, _ = strings.Cut(ev.Target, "?")
	}
	return r
}

// ExplainAttacks says why a request has its attack.class.
func ExplainAttacks(ev *event.Event) []injection.Finding {
	r := request(ev)
	_, why := injection.New().Explain(&r)
	return why
}

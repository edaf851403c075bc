package detectors

import "gatewatch/detectors/observation"

// Probe is told what a window of a rule that counts reaches after each
// observation, whether the condition is true or not: the index of the rule in the
// plan, the entity, and the number, which is exact up to what the rule's bound
// needs and stays there. Values belong to the engine and are only valid during the
// call. A probe is called by the goroutine of the engine; engines that own
// different slots call it for different entities.
type Probe func(rule uint32, o *observation.Observation, at int64, number uint32)

// probe tells the number of each rule that shares the window.
func (e *Engine) probe(v view, t *touch) {
	if v.r.least == 0 {
		return // judged by a number that is no count, or true of few
	}
	if len(v.r.spans) > 1 {
		e.spread(v, t.rec.Window)
	}
	for _, m := range v.r.members {
		_, n := e.part(v, e.rules[m].span)
		e.opts.Probe(m, t.o, t.rec.Window, n)
	}
}

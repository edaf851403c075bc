package sigma

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// The correlation types that are ours and not Sigma's. They have the form of
// Sigma's; their condition says what Sigma cannot.
const (
	typeBaseline = "rate_anomaly"
	typeWalk     = "id_walk"
)

// baselineSpec is the condition of a rate_anomaly: how far from what was
// learned a bucket has to be.
type baselineSpec struct {
	where    place
	up, down bool
	factor   float64 // least quotient of what is seen and what is expected, 0 for none
	score    float64 // least distance in standard deviations of what is expected, 0 for none
	minCount int64   // what has to be seen, or for silence expected, in a bucket
	seasonal bool    // by hour of the week
	spread   observation.Spread

	spreadWhere place
}

// walkSpec is the condition of an id_walk: how many different objects of a
// route, and what their ids have to look like.
type walkSpec struct {
	where place
	like  observation.Walk
}

const (
	leastBucket     = 10 * time.Second
	greatestBucket  = time.Hour
	defaultMinCount = 20
	defaultShare    = 0.5
	maxCountBound   = 1_000_000_000
)

// number reads a number between two limits.
func number(file string, kv pair, whole bool, low, high float64, p *problems) (float64, bool) {
	f, err := strconv.ParseFloat(kv.value.Value, 64)
	if kv.value.Kind == yaml.ScalarNode && err == nil && low <= f && f <= high && (!whole || f == math.Trunc(f)) {
		return f, true
	}
	what := "a number"
	if whole {
		what = "a whole number"
	}
	p.refuse(at(file, kv.value), kv.value.Value, "write "+what+" from "+formatNumber(low)+" to "+formatNumber(high),
		"%s: %q is none that it can have", kv.key.Value, kv.value.Value)
	return 0, false
}

// oneOf reads one of some words.
func oneOf(file string, kv pair, words []string, p *problems) string {
	v := kv.value
	if v.Kind != yaml.ScalarNode || !slices.Contains(words, v.Value) {
		p.refuse(at(file, v), v.Value, didYouMean(v.Value, words, "write one of: "+strings.Join(words, ", ")), "unknown %s %q", kv.key.Value, v.Value)
		return ""
	}
	return v.Value
}

// setBaseline reads the condition of a rate_anomaly.
func (c *correlationSpec) setBaseline(file string, n *yaml.Node, p *problems) {
	b := c.baseline
	b.up, b.minCount, b.seasonal = true, defaultMinCount, true
	if n.Kind != yaml.MappingNode {
		p.refuse(at(file, n), n.Value, "write factor: or score: under it", "the condition of %s must be a map", typeBaseline)
		return
	}
	known := baselineKeys()
	for _, kv := range pairs(n) {
		switch key := kv.key.Value; key {
		case "direction":
			d := oneOf(file, kv, directions(), p)
			b.up, b.down = d != "down", d == "down" || d == "both"
		case "factor":
			b.factor, _ = number(file, kv, false, 1.1, 1e6, p)
		case "score":
			b.score, _ = number(file, kv, false, 1, 1000, p)
		case "min_count":
			v, _ := number(file, kv, true, 1, maxCountBound, p)
			b.minCount = int64(v)
		case "season":
			b.seasonal = oneOf(file, kv, seasons(), p) == "hour_of_week"
		case "spread":
			b.spread = observation.Spread(max(0, slices.Index(spreads(), oneOf(file, kv, spreads(), p))))
			b.spreadWhere = at(file, kv.value)
		case "field":
			c.fields = refs(file, kv.value, "field", "write a field that holds a number", p)
			if len(c.fields) > 1 {
				p.refuse(c.fields[1].where, c.fields[1].name, "write a rule for each field", "%s measures one field, not several", typeBaseline)
			}
		default:
			if _, ok := ops()[key]; ok {
				p.refuse(at(file, kv.key), key, "write factor: or score:, or use event_count for a fixed number",
					"%s compares with what it has learned and takes no fixed %s", typeBaseline, key)
				continue
			}
			p.refuse(at(file, kv.key), key, didYouMean(key, known, "write one of: "+strings.Join(known, ", ")), "unknown key %q in the condition of %s", key, typeBaseline)
		}
	}
	if get(n, "factor") == nil && get(n, "score") == nil {
		p.refuse(at(file, n), "", "add factor: such as 3, or score: such as 6", "the condition does not say how far from the baseline is too far")
	}
	if b.spread != observation.SpreadAny && !b.up {
		p.refuse(b.spreadWhere, b.spread.String(), "remove it", "spread says who brings what is too much, and the rule looks for less")
	}
	if c.timespan != 0 && !validBucket(c.timespan) {
		p.refuse(c.spanWhere, formatSpan(c.timespan), "write one such as 10s, 1m, 5m, 15m or 1h",
			"the timespan of %s is the bucket that is judged: it has to divide an hour and be %s at least", typeBaseline, formatSpan(leastBucket))
	}
}

// validBucket reports whether a rate_anomaly can have this timespan.
func validBucket(d time.Duration) bool {
	return leastBucket <= d && d <= greatestBucket && greatestBucket%d == 0 && d%time.Second == 0
}

// setWalk reads the condition of an id_walk.
func (c *correlationSpec) setWalk(file string, n *yaml.Node, p *problems) {
	w := c.walk
	w.like.Share = defaultShare
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		p.refuse(at(file, n), n.Value, "write gte: and a number under it", "the condition of %s must be a map", typeWalk)
		return
	}
	known := walkKeys()
	for _, kv := range pairs(n) {
		switch key := kv.key.Value; key {
		case "gte", "gt":
			if b, ok := c.bound(file, kv, p); ok {
				c.bounds = append(c.bounds, b)
			}
		case "field":
			if c.fields = refs(file, kv.value, "field", "write field: "+event.FieldObjectID.String()+", or leave it out", p); len(c.fields) == 0 {
				continue
			}
			if len(c.fields) > 1 || c.fields[0].name != event.FieldObjectID.String() {
				p.refuse(c.fields[0].where, c.fields[0].name, "write field: "+event.FieldObjectID.String()+", or leave it out",
					"%s follows the ids of objects and no other field", typeWalk)
			}
		case "step":
			v, _ := number(file, kv, true, 1, maxCountBound, p)
			w.like.Step = int64(v)
		case "order":
			w.like.Order = observation.Order(max(0, slices.Index(orders(), oneOf(file, kv, orders(), p))))
		case "share":
			w.like.Share, _ = number(file, kv, false, 0.01, 1, p)
		case "served":
			w.like.Served, _ = number(file, kv, false, 0.01, 1, p)
		case "denied":
			w.like.Denied, _ = number(file, kv, false, 0.01, 1, p)
		case "missing":
			w.like.Missing, _ = number(file, kv, false, 0.01, 1, p)
		case "refused":
			w.like.Refused, _ = number(file, kv, false, 0.01, 1, p)
		case "factor":
			w.like.Factor, _ = number(file, kv, false, 1.1, 1e6, p)
		default:
			if _, ok := ops()[key]; ok {
				p.refuse(at(file, kv.key), key, "write gte: and a number", "%s fires on many ids and takes no %s", typeWalk, key)
				continue
			}
			p.refuse(at(file, kv.key), key, didYouMean(key, known, "write one of: "+strings.Join(known, ", ")), "unknown key %q in the condition of %s", key, typeWalk)
		}
	}
	hasShare := get(n, "share")
	switch {
	case get(n, "gte") == nil && get(n, "gt") == nil:
		p.refuse(at(file, n), "", "add gte: and a number", "the condition does not say how many different ids are too many")
	case get(n, "gte") != nil && get(n, "gt") != nil:
		p.refuse(at(file, get(n, "gt")), get(n, "gt").Value, "keep one of them", "gte and gt say the same thing twice")
	case len(c.bounds) == 1 && c.bounds[0].Value < 2 && c.bounds[0].Op == observation.Gte || len(c.bounds) == 1 && c.bounds[0].Value < 1:
		p.refuse(at(file, n), "", "raise the number", "one id is no walk")
	case hasShare != nil && !p.refused && !w.like.Follows():
		p.refuse(at(file, hasShare), hasShare.Value, "add step: or order:, or remove share", "share says how many ids keep to step and order, and there is neither")
	}
	if got := w.like.Served + max(w.like.Denied+w.like.Missing, w.like.Refused); got > 1 {
		p.refuse(at(file, n), formatNumber(got), "lower the shares", "served, denied, missing and refused are shares of the same ids: together they are above 1, so it never fires")
	}
	if len(c.fields) == 0 {
		c.fields = []ref{{event.FieldObjectID.String(), c.where}}
	}
	if !slices.ContainsFunc(c.groupBy, func(g ref) bool { return g.name == event.FieldRoute.String() }) {
		p.refuse(c.where, "", "write group-by: [principal, http.route]", "%s needs http.route in its group-by: the ids of different routes are different things", typeWalk)
	}
}

// plan returns what the condition asks of a window.
func (b *baselineSpec) plan() observation.Baseline {
	return observation.Baseline{
		Up: b.up, Down: b.down, Factor: b.factor, Score: b.score, Least: float64(b.minCount), Seasonal: b.seasonal, Spread: b.spread,
	}
}

// checkCrowd refuses to ask who sends what a group gets whose group names that.
func (b *baselineSpec) checkCrowd(names []string, p *problems) {
	kind := observation.NewKind(names, make([]bool, len(names)))
	if b.spread != observation.SpreadAny && !kind.Crowd() {
		p.refuse(b.spreadWhere, b.spread.String(), "remove spread, or group by a route or by nothing",
			"spread: %s asks which clients bring what is too much, and group-by names a client, a principal or an account", b.spread)
	}
}

// overIDs plans an id_walk. One that is measured by the habit of its route is
// two rules: the ids of each group, which opens nothing, and what is made of it by route.
func (c *compiler) overIDs(r *Rule, spec *correlationSpec, p *problems) {
	if spec.overFindings() {
		p.refuse(spec.where, "", "name detections", "a %s is over detections, not over correlations", spec.typeName())
		return
	}
	c.overEvents(r, p)
	if p.refused || spec.walk.like.Factor == 0 {
		return
	}
	lower := c.planned[r]
	pr := c.x.plan.Rules[lower]
	c.x.plan.Rules[lower].ID, c.x.plan.Rules[lower].Name = "ids of "+r.ID, ""
	c.x.plan.Rules[lower].Shadow = false
	pr.Depth, pr.Inputs, pr.Feed, pr.Guard = 2, []uint32{lower}, "", observation.Guard{}
	pr.Kind = c.kind([]string{event.FieldRoute.String()}, []bool{false}, "")
	c.add(r, pr)
}

package learn

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatewatch/detectors/observation"
)

// Measurable reports whether a rule has the one threshold that peaks are held
// against, and returns it.
func Measurable(r *observation.Rule) (threshold float64, ok bool) {
	if r.Plain || r.Depth > 1 || !r.Type.Counts() || len(r.Bounds) != 1 {
		return 0, false
	}
	b := r.Bounds[0]
	return b.Value, (b.Op == observation.Gte || b.Op == observation.Gt) && b.Value >= 2
}

// Raised is the threshold with which a rule is measured: far above its own, so
// that its windows keep what it takes to see how far they get.
func Raised(threshold float64) float64 {
	const times = 8
	return min(max(times*threshold, threshold+64), observation.MaxKept-2)
}

// Judge makes tunings of the peaks. rules are those of the plan that peaks were
// taken with, in its order; threshold returns the number that a rule has without
// the raise, false for one that was not measured.
func Judge(plan *observation.Plan, peaks *Peaks, clients *Clients, threshold func(*observation.Rule) (float64, bool)) []Tuning {
	var out []Tuning
	byWho := map[string]*Client{}
	for _, c := range clients.List() {
		if c.Who != "" && byWho[c.Who] == nil {
			byWho[c.Who] = c
		}
	}
	for i := range plan.Rules {
		r := &plan.Rules[i]
		limit, ok := threshold(r)
		if !ok || !r.Alerting {
			continue
		}
		kind := &plan.Kinds[r.Kind]
		t := Tuning{Rule: RuleName{r.ID, r.Name, r.Title}, Family: r.Family, Threshold: limit, Counts: counts(r, kind)}
		for _, p := range peaks.Of(i) {
			values := kind.Values(p.Values)
			who, single := someone(kind, values, clients, byWho)
			text := entityText(kind, values)
			if float64(p.Number) < limit {
				if t.Most == 0 {
					t.take(p, text, Raised(limit))
				}
				break
			}
			if !single {
				if t.Reached == "" {
					t.Reached = fmt.Sprintf("%d of %s", p.Number, text)
				}
				continue
			}
			honest, why := false, "is not known well enough"
			if who != nil {
				honest, why = who.Honest(r.Family)
			}
			if !honest {
				t.Doubted++
				continue
			}
			if t.Most == 0 {
				t.take(p, text, Raised(limit))
				t.Why = why
			}
		}
		if float64(t.Most) >= limit {
			if q := roundUp(1.25 * float64(t.Most)); !t.AtLeast && q <= 6*limit && q < observation.MaxKept-1 {
				t.Quiet = q
			}
		}
		out = append(out, t)
	}
	return out
}

func (t *Tuning) take(p Peak, who string, raised float64) {
	t.Most, t.Who, t.At = p.Number, who, time.Unix(p.At, 0).UTC()
	t.AtLeast = float64(p.Number) >= raised
}

// entityText names an entity. The names of accounts are not for a file that is
// kept and shared.
func entityText(kind *observation.Kind, values []string) string {
	out := slices.Clone(values)
	for i, f := range kind.Fields {
		if i < len(out) && (f == "auth.account" || f == "user.name") {
			out[i] = "one account"
		}
	}
	return strings.Join(out, ", ")
}

// someone finds the client behind an entity. single is false for populations,
// and for accounts, which are those who suffer.
func someone(kind *observation.Kind, values []string, clients *Clients, byWho map[string]*Client) (c *Client, single bool) {
	for i, f := range kind.Fields {
		if i >= len(values) {
			break
		}
		switch f {
		case "client.address":
			single = true
			if p, ok := parseClient(values[i]); ok {
				c = clients.Of(p)
			}
		case "principal":
			single = true
			if c = byWho[values[i]]; c == nil {
				if p, ok := parseClient(values[i]); ok {
					c = clients.Of(p)
				}
			}
		}
	}
	return c, single
}

// parseClient reads an address, or a /64.
func parseClient(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// counts says in words what a rule counts.
func counts(r *observation.Rule, kind *observation.Kind) string {
	what := "matches"
	if r.Type == observation.ValueCount {
		what = "different " + r.ValueField
	}
	by := "of all together"
	if len(kind.Fields) > 0 {
		by = "of one " + strings.Join(kind.Fields, " and ")
	}
	return fmt.Sprintf("%s %s in %s", what, by, (time.Duration(r.Timespan) * time.Second).String())
}

// roundUp rounds up to two digits.
func roundUp(x float64) float64 {
	if x <= 0 {
		return 0
	}
	step := math.Pow(10, math.Floor(math.Log10(x))-1)
	return math.Ceil(x/max(step, 1)) * max(step, 1)
}

// Accused is what an incident says: whom it accuses, and by which rules.
type Accused struct {
	Clients    []netip.Prefix
	Principals []string
	Rules      []string // ids
	Families   []string // of the rules, in the same order
	Titles     []string
}

// Suspect makes suspects of all whom incidents accuse.
func Suspect(incidents []Accused) *Suspects {
	s := &Suspects{Clients: map[netip.Prefix]bool{}, Principals: map[string]bool{}}
	for _, i := range incidents {
		for _, c := range i.Clients {
			s.Clients[c] = true
		}
		for _, p := range i.Principals {
			s.Principals[p] = true
		}
	}
	return s
}

// Clear takes those out of the suspects who look honest in all that incidents say
// of them, where all of that was counting. countable are the ids of rules that only
// count.
func (s *Suspects) Clear(incidents []Accused, clients *Clients, countable map[string]bool) []Cleared {
	doubt := map[netip.Prefix]bool{}
	cleared := map[netip.Prefix]Cleared{}
	for _, i := range incidents {
		for _, p := range i.Clients {
			c := clients.Of(p)
			// What accuses several at once says too little of each of them.
			if c == nil || len(i.Clients) != 1 || len(i.Principals) > 0 && !slices.Contains(i.Principals, c.Who) {
				doubt[p] = true
				continue
			}
			for k, id := range i.Rules {
				ok, why := c.Honest(i.Families[k])
				if !countable[id] || !ok {
					doubt[p] = true
					break
				}
				cleared[p] = Cleared{c, i.Titles[k], why}
			}
		}
	}
	var out []Cleared
	for p, c := range cleared {
		if doubt[p] {
			continue
		}
		delete(s.Clients, p)
		if c.Client.Who != "" && len(c.Client.whos.list) == 1 {
			delete(s.Principals, c.Client.Who)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Cleared) int { return comparePrefix(a.Client.Prefix, b.Client.Prefix) })
	return out
}

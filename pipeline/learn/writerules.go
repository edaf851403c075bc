package learn

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting/escape"
)

func (r *Result) rules(p *printer) {
	if r.Requests == 0 {
		return
	}
	p.line("")
	p.line("rules:")
	r.tune(p)
	if names := r.verified(); len(names) > 0 {
		p.line("")
		p.note("  ", "Published ranges of crawlers that were seen, from the files given.")
		p.line("  lists:")
		for _, name := range names {
			p.line("    %s:", listName(name))
			for _, net := range r.Ranges[name] {
				p.line("      - %s", scalar(net.String()))
			}
		}
	}
	r.filters(p)
}

func (r *Result) tune(p *printer) {
	p.note("  ", "Thresholds, and how far those came to them whom no incident accuses. An entry is here where somebody honest went "+
		"beyond the number; the others had room.")
	p.line("  tune:")
	for i := range r.Tunings {
		t := &r.Tunings[i]
		if t.Quiet > 0 {
			p.note("    ", "%s: %s What speaks for it: %s.", text(t.Rule.Title, 120), t.numbers(), t.Why)
			p.line("    - rules: [%s]", scalar(t.Rule.ID))
			p.line("      threshold: %g", t.Quiet)
		}
	}
	var idle []string
	for i := range r.Tunings {
		t := &r.Tunings[i]
		switch {
		case t.Quiet > 0:
		case t.Most == 0 && t.Reached == "" && t.Doubted == 0:
			idle = append(idle, text(t.Rule.Title, 120))
		default:
			p.note("    ", "%s: %s", text(t.Rule.Title, 120), t.numbers())
		}
	}
	if len(idle) > 0 {
		p.note("    ", "Nobody honest had anything that these count: %s.", strings.Join(idle, "; "))
	}
	r.unmeasured(p)
}

// unmeasured says of which rules nothing was learned.
func (r *Result) unmeasured(p *printer) {
	if len(r.Unmeasured) == 0 {
		return
	}
	var titles []string
	for _, t := range r.Unmeasured {
		titles = append(titles, text(t, 120))
	}
	p.note("    ", "Not measured, as they hold no single number: %s.", strings.Join(titles, "; "))
}

// numbers says what the rule would have seen.
func (t *Tuning) numbers() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fires at %g %s.", t.Threshold, text(t.Counts, 200))
	switch {
	case t.Most == 0:
		b.WriteString(" Nobody honest had any.")
	case t.AtLeast:
		fmt.Fprintf(&b, " %s had %d or more at %s, far beyond it: no number helps, make it known below instead.", text(t.Who, 80), t.Most, stampOf(t.At))
	default:
		fmt.Fprintf(&b, " At most %d, by %s at %s", t.Most, text(t.Who, 80), stampOf(t.At))
		if float64(t.Most) < t.Threshold {
			fmt.Fprintf(&b, ": room for %.3g times as many.", t.Threshold/float64(t.Most))
		} else {
			b.WriteString(".")
		}
		if t.Quiet == 0 && float64(t.Most) >= t.Threshold {
			b.WriteString(" That is too far for another number; make it known below instead.")
		}
	}
	if t.Quiet > 0 {
		fmt.Fprintf(&b, " %g would have been quiet.", t.Quiet)
	}
	if t.Reached != "" {
		fmt.Fprintf(&b, " It reached %s without the suspects; look at that incident before you raise it.", text(t.Reached, 120))
	}
	if t.Doubted > 0 {
		fmt.Fprintf(&b, " %s reached it and did not look honest enough to count.", plural(t.Doubted, "client", "clients"))
	}
	return b.String()
}

// verified are the names of published ranges in which clients were seen.
func (r *Result) verified() []string {
	var out []string
	for i := range r.Known {
		if k := &r.Known[i]; k.Verified && !slices.Contains(out, k.Name) {
			out = append(out, k.Name)
		}
	}
	slices.Sort(out)
	return out
}

// listName makes the name of a list of that of a crawler.
func listName(name string) string {
	return "known_" + strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
			return c
		case c >= 'A' && c <= 'Z':
			return c | 0x20
		default:
			return '_'
		}
	}, name)
}

// maxListed bounds the addresses that are written of one known client.
const maxListed = 64

func (r *Result) filters(p *printer) {
	if len(r.Known) == 0 && len(r.Pretenders) == 0 {
		return
	}
	p.line("")
	p.note("  ", "Known clients. A filter leaves them out of rules that only count requests; what an attack looks like is still found "+
		"in theirs. Those whose address is in a published range of the one they say they are work at once, the others are for "+
		"you to confirm: anybody can send an agent.")
	p.line("  filters:")
	for i := range r.Known {
		k := &r.Known[i]
		if k.Once {
			c := k.Clients[0]
			p.note("    ", "Perhaps an export: %s requests of %s for about %s different ids from %s on, all of them served; agent %s. It came once "+
				"and does not say whose it is, and a theft looks the same. Learn from more days, or ask its owner.",
				thousands(c.Requests), c.Prefix, thousands(c.Objects()), stampOf(time.Unix(c.First, 0)), text(k.Agent, 120))
			continue
		}
		p.in = "    "
		if !k.Verified {
			p.off = true
		}
		for _, line := range k.evidence() {
			p.note("    ", "%s", line)
		}
		r.filter(p, k)
		p.off = false
	}
	for i := range r.Pretenders {
		k := &r.Pretenders[i]
		var where []string
		for _, c := range k.Clients[:min(len(k.Clients), 10)] {
			where = append(where, c.Prefix.Addr().String())
		}
		p.note("    ", "Not %s: %s in no published range of it, though the agent says so (%s requests): %s",
			text(k.Name, 60), plural(len(k.Clients), "client is", "clients are"), thousands(k.Requests()), strings.Join(where, ", "))
	}
}

// evidence says what speaks for a known client.
func (k *Known) evidence() []string {
	c := k.Clients[0]
	first, last := c.First, c.Last
	var asked, robots, bad int64
	for _, c := range k.Clients {
		first, last = min(first, c.First), max(last, c.Last)
		asked, robots, bad = asked+c.Good+c.Moved, robots+c.Robots, bad+c.Denied+c.Missing
	}
	out := []string{fmt.Sprintf("%s: %s requests of %s, %s to %s; agent %s", strings.ToUpper(string(k.Kind[0]))+string(k.Kind[1:]), thousands(k.Requests()),
		plural(len(k.Clients), "client", "clients"), stampOf(time.Unix(first, 0)), stampOf(time.Unix(last, 0)), text(c.Agents[0], 160))}
	line := fmt.Sprintf("%s of the answers gave what was asked for, %s were refused or missing; there in %.0f %% of the log",
		percent(c.GoodShare()), thousands(bad), 100*c.Presence())
	if k.Verified {
		line += "; verified by the published ranges of " + text(k.Name, 60)
	}
	switch k.Kind {
	case Crawler:
		if robots > 0 {
			line += fmt.Sprintf("; asked for robots.txt %s", plural(int(robots), "time", "times"))
		} else {
			line += "; never asked for robots.txt"
		}
	case Exporter:
		line += fmt.Sprintf("; about %s different ids", thousands(c.Objects()))
	}
	if every, varies, ok := c.Every(); ok && varies <= 0.5 {
		line += fmt.Sprintf("; comes every %s, give or take %.0f %%", (time.Duration(every) * time.Second).String(), 100*varies)
	} else if ratio(c.Requests, c.minutes) > 0 && c.Presence() > leastPresence {
		line += fmt.Sprintf("; %.3g requests a minute while it is there", ratio(c.Requests, c.minutes))
	}
	out = append(out, line)
	if k.Kind != Crawler && len(k.Routes) > 0 {
		out = append(out, "routes: "+text(strings.Join(k.Routes, ", "), 300))
	}
	return out
}

func (r *Result) filter(p *printer, k *Known) {
	title := fmt.Sprintf("Known %s: %s", k.Kind, escapeTitle(k.Agent))
	p.line("    - title: %s", sigmaPlain(title))
	var key strings.Builder
	key.WriteString(title)
	for _, c := range k.Clients {
		key.WriteString(c.Prefix.String())
	}
	p.line("      id: %s", documentID(key.String()))
	p.line("      logsource: {category: webserver}")
	p.line("      filter:")
	p.line("        rules:")
	for _, rule := range r.Counting {
		p.line("          - %s", sigmaPlain(cmp.Or(rule.Name, rule.ID)))
	}
	p.line("        known:")
	switch {
	case k.Verified:
		p.line("          client.address|cidr|expand: '%%%s%%'", listName(k.Name))
		p.line("          user_agent.original|contains: %s", sigmaScalar(k.Name))
	case k.Who != "":
		p.line("          principal: %s", sigmaScalar(k.Who))
		p.line("          user_agent.original: %s", sigmaScalar(k.Agent))
		p.addresses(k)
	default:
		p.line("          user_agent.original: %s", sigmaScalar(k.Agent))
		p.addresses(k)
	}
	if !k.Verified && k.Kind != Crawler && len(k.Routes) > 0 {
		var routes []string
		for _, x := range k.Routes {
			_, route, _ := strings.Cut(x, " ")
			if !slices.Contains(routes, route) {
				routes = append(routes, route)
			}
		}
		p.line("          http.route:")
		for _, x := range routes {
			p.line("            - %s", sigmaScalar(x))
		}
	}
	p.line("        condition: not known")
}

func (p *printer) addresses(k *Known) {
	p.line("          client.address|cidr:")
	var nets []netip.Prefix
	for _, c := range k.Clients[:min(len(k.Clients), maxListed)] {
		nets = append(nets, c.Prefix)
	}
	slices.SortFunc(nets, comparePrefix)
	for _, n := range nets {
		p.line("            - %s", scalar(n.String()))
	}
}

// sigmaPlain is a text of a Sigma document that is no pattern. Variables are
// not put into those.
func sigmaPlain(s string) string { return escape.YAML(s, 0) }

// escapeTitle cuts an agent to what a title holds.
func escapeTitle(s string) string { return text(s, 100) }

package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/alerting"
	markup "gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
	"gatewatch/pipeline"
)

// A report is one HTML file that loads nothing and runs nothing: it can be
// mailed, kept and printed. Everything in it that came from a log or a rule goes
// through escape.HTML, and its own policy forbids what might slip by.

const reportHead = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>%s</title>
<style>
:root { --page: #f4f5f7; --card: #fff; --text: #1d1f23; --dim: #5c6270; --line: #dfe2e8; --log: #f4f5f7; --bar: #e6e9ee;
  --critical: #8b1027; --high: #c0332b; --medium: #a86400; --low: #44617c; --informational: #667080; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --card: #1e2125; --text: #e7e9ec; --dim: #a0a7b4; --line: #353a42; --log: #15171a; --bar: #2c3138;
  --critical: #e0576f; --high: #e8746d; --medium: #d99a3d; --low: #7fa6c9; --informational: #96a0b0; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 16px 48px; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; }
h1 { font-size: 22px; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
p { margin: 4px 0; }
a { color: inherit; }
.dim { color: var(--dim); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-top: 3px solid var(--dim); border-radius: 6px; padding: 8px 16px; min-width: 104px; }
.tile b { display: block; font-size: 22px; line-height: 1.2; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%%; }
.list th { text-align: left; font-weight: 600; color: var(--dim); font-size: 13px; }
.list th, .list td { padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
.list tr:last-child td { border-bottom: 0; }
.list td.who { overflow-wrap: anywhere; min-width: 120px; }
.list td.title { min-width: 220px; }
.child td.title { padding-left: 26px; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.when { white-space: nowrap; font-variant-numeric: tabular-nums; }
.level { display: inline-block; padding: 0 8px; border-radius: 10px; border: 1px solid currentColor; font-size: 12px; line-height: 19px; white-space: nowrap; }
.critical { color: var(--critical); } .high { color: var(--high); } .medium { color: var(--medium); } .low { color: var(--low); } .informational { color: var(--informational); }
.tile.critical, .tile.high, .tile.medium, .tile.low, .tile.informational { border-top-color: currentColor; }
.span { position: relative; display: block; height: 8px; width: 150px; margin-top: 8px; background: var(--bar); border-radius: 4px; }
.span i { position: absolute; top: 0; bottom: 0; min-width: 3px; border-radius: 4px; background: currentColor; }
section { background: var(--card); border: 1px solid var(--line); border-left: 4px solid currentColor; border-radius: 6px; padding: 14px 18px; margin: 16px 0; break-inside: avoid; }
section > * { color: var(--text); }
section .dim { color: var(--dim); }
.facts td { padding: 2px 14px 2px 0; vertical-align: top; overflow-wrap: anywhere; }
.facts td:first-child { color: var(--dim); white-space: nowrap; width: 1%%; }
pre { margin: 2px 0 8px; padding: 6px 10px; background: var(--log); border-radius: 4px; font: 12px/1.45 ui-monospace, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--dim); }
@media print { body { background: #fff; padding: 0; } details > * { display: block; } }
</style>
</head>
<body>
<main>
`

const reportFoot = "</main>\n</body>\n</html>\n"

// reportText bounds each text of a report, in bytes.
const reportText = 4 << 10

// reportPage writes incidents as an HTML page.
type reportPage struct {
	w    *bufio.Writer
	all  []*alerting.Incident
	from time.Time // what the timelines begin and end with
	to   time.Time
}

// printReport writes the incidents of a replay as one HTML page.
func printReport(w io.Writer, list []*alerting.Incident, begin *span, s *pipeline.Status, now time.Time) error {
	r := &reportPage{w: bufio.NewWriter(w), all: list}
	r.from, r.to = begin.until(s)
	for _, i := range list {
		if r.from.IsZero() || i.FirstSeen.Before(r.from) {
			r.from = i.FirstSeen
		}
		if i.LastSeen.After(r.to) {
			r.to = i.LastSeen
		}
	}
	title := "gatewatch report"
	if !r.from.IsZero() {
		title += ", " + r.from.UTC().Format(stamp) + " to " + r.to.UTC().Format(stamp)
	}
	r.say(reportHead, html(title))
	r.head(s, now)
	r.list()
	for _, n := range nest(r.all) {
		r.incident(n.incident)
	}
	r.say(reportFoot)
	return r.w.Flush()
}

func html(s string) string { return markup.HTML(s, reportText) }

// say writes to the page; what cannot be written is told by Flush.
func (r *reportPage) say(format string, args ...any) { _, _ = fmt.Fprintf(r.w, format, args...) }

// head says what was read, and what was not.
func (r *reportPage) head(s *pipeline.Status, now time.Time) {
	var lines, events, late, behind int64
	unreadable, skipped, formats := map[string]int64{}, map[string]int64{}, map[string]int64{}
	var names []string
	for i := range s.Sources {
		src := &s.Sources[i]
		names = append(names, src.Name)
		lines, events, late, behind = lines+src.Lines, events+src.Events, late+src.Late, behind+src.Behind
		add(unreadable, src.Unreadable)
		add(skipped, src.Skipped)
		add(formats, src.Formats)
	}
	slices.Sort(names)
	r.say("<h1>Incidents in access logs</h1>\n<p class=\"dim\">")
	if !r.from.IsZero() {
		r.say("%s to %s UTC. ", r.from.UTC().Format(stamp), r.to.UTC().Format(stamp))
	}
	r.say("Made by gatewatch %s on %s UTC.</p>\n", html(readVersion().Version), now.UTC().Format(stamp))
	const most = 20
	shown := names[:min(len(names), most)]
	r.say("<p class=\"dim\">%s", html(strings.Join(shown, ", ")))
	if n := len(names) - len(shown); n > 0 {
		r.say(" and %s more", thousands(int64(n)))
	}
	r.say("</p>\n<div class=\"tiles\">\n")
	levels := map[observation.Level]int64{}
	for _, i := range r.all {
		levels[i.Level]++
	}
	for _, l := range slices.Backward(slices.Sorted(maps.Keys(levels))) {
		r.say("<div class=\"tile %s\"><b>%s</b>%s</div>\n", l, thousands(levels[l]), l)
	}
	r.say("<div class=\"tile\"><b>%s</b>lines read</div>\n", thousands(lines))
	if n := total(unreadable); n > 0 {
		r.say("<div class=\"tile\"><b>%s</b>unreadable</div>\n", thousands(n))
	}
	r.say("</div>\n")
	r.say("<p class=\"dim\">Formats: %s.", html(shares(formats, events)))
	if len(unreadable) > 0 {
		r.say(" Unreadable: %s.", html(counts(unreadable)))
	}
	if len(skipped) > 0 {
		r.say(" Passed over: %s.", html(counts(skipped)))
	}
	if late > 0 {
		r.say(" %s came more than the lateness behind their source's clock and count for rules of single requests only.", countLines(late))
	}
	if behind > 0 {
		r.say(" %s came behind the merge.", countLines(behind))
	}
	if n := s.Windows.EvictedAlive; n > 0 {
		r.say(" %s entities were pushed out of memory while they still counted; raise state.budget.", thousands(int64(n)))
	}
	r.say("</p>\n")
}

// list is the table of all incidents, children below their parents.
func (r *reportPage) list() {
	if len(r.all) == 0 {
		r.say("<p>No incidents.</p>\n")
		return
	}
	r.say("<div class=\"scroll\"><table class=\"list\">\n<tr><th>First seen</th><th>Level</th><th>What</th><th>Who</th><th class=\"num\">Count</th><th>When</th></tr>\n")
	for _, n := range nest(r.all) {
		i, class := n.incident, ""
		if n.child {
			class = ` class="child"`
		}
		r.say("<tr%s><td class=\"when\">%s</td><td>%s</td><td class=\"title\"><a href=\"#%s\">%s</a></td><td class=\"who\">%s</td><td class=\"num\">%s</td><td class=\"%s\">%s</td></tr>\n",
			class, i.FirstSeen.UTC().Format(shortStamp), badge(i), html(i.ID), html(i.Rule.Title), html(who(i)), html(countOf(i)), i.Level, r.bar(i))
	}
	r.say("</table></div>\n")
}

func badge(i *alerting.Incident) string {
	return fmt.Sprintf(`<span class="level %s">%s</span>`, i.Level, i.Level)
}

// bar shows when an incident was, within the time of the logs.
func (r *reportPage) bar(i *alerting.Incident) string {
	whole := r.to.Sub(r.from).Seconds()
	if whole <= 0 {
		return ""
	}
	left := 100 * i.FirstSeen.Sub(r.from).Seconds() / whole
	width := 100 * i.LastSeen.Sub(i.FirstSeen).Seconds() / whole
	left = min(max(left, 0), 98)
	width = min(max(width, 1), 100-left)
	return fmt.Sprintf(`<span class="span"><i style="left:%s%%;width:%s%%"></i></span>`,
		strconv.FormatFloat(left, 'f', 1, 64), strconv.FormatFloat(width, 'f', 1, 64))
}

// incident is the section of one incident.
func (r *reportPage) incident(i *alerting.Incident) {
	s := summary.Of(i, alerting.CauseOpened)
	r.say("<section class=\"%s\" id=\"%s\">\n<h2>%s %s</h2>\n<p>%s</p>\n<p class=\"dim\">%s</p>\n<table class=\"facts\">\n",
		i.Level, html(i.ID), badge(i), html(i.Rule.Title), html(s.Who), html(s.Line))
	for _, f := range s.Facts {
		r.say("<tr><td>%s</td><td>%s</td></tr>\n", html(f.Name), html(f.Text()))
	}
	if len(i.Rules) > 1 {
		var rules []string
		for k := range i.Rules {
			x := &i.Rules[k]
			rules = append(rules, fmt.Sprintf("%s (%s, %s)", html(x.Title), x.Level, thousands(x.Count)))
		}
		r.say("<tr><td>All rules</td><td>%s</td></tr>\n", strings.Join(rules, "<br>"))
	}
	if i.Parent != "" && slices.ContainsFunc(r.all, func(p *alerting.Incident) bool { return p.ID == i.Parent }) {
		r.say("<tr><td>Part of</td><td><a href=\"#%s\">%s</a></td></tr>\n", html(i.Parent), html(i.Parent))
	}
	r.say("</table>\n")
	for _, note := range s.Notes {
		r.say("<p class=\"dim\">%s</p>\n", html(note))
	}
	if len(i.Evidence) > 0 {
		r.say("<details open><summary>%s of the log</summary>\n", countLines(int64(len(i.Evidence))))
		for _, e := range i.Evidence {
			text := e.Text
			if text == "" {
				text = "(the line could not be read again)"
			}
			r.say("<div class=\"dim\">%s:%d</div><pre>%s</pre>\n", html(e.File), e.Line, html(text))
		}
		r.say("</details>\n")
	}
	r.say("</section>\n")
}

package email

import (
	"fmt"
	"strings"

	"gatewatch/alerting"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
)

// The styles stand in the elements, since many mail programs drop style sheets;
// the sheet is for those that keep it and want dark colours.
const (
	pageHead = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>%s</title>
<style>@media (prefers-color-scheme: dark) { .page { background: #1a1a1a !important; } .card { background: #242424 !important; color: #eee !important; border-color: #444 !important; } .log { background: #1a1a1a !important; color: #eee !important; } .dim { color: #aaa !important; } }</style></head>
<body class="page" style="margin:0;padding:16px;background:#f2f3f5;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:15px;line-height:1.45">
<div style="display:none;max-height:0;overflow:hidden">%s</div>
<div class="card" style="max-width:680px;margin:0 auto;background:#fff;color:#1d1c1d;border:1px solid #dcdcdc;border-radius:8px;overflow:hidden">
`
	pageFoot = "</div>\n</body></html>\n"

	headStyle  = "background:%s;color:#fff;padding:14px 20px"
	levelStyle = "font-size:12px;letter-spacing:1px;text-transform:uppercase;opacity:.9"
	titleStyle = "margin:2px 0 0;font-size:19px;line-height:1.3;font-weight:600"
	whoStyle   = "font-size:15px;word-break:break-all"
	nameStyle  = "padding:4px 16px 4px 0;vertical-align:top;white-space:nowrap;color:#616061"
	valueStyle = "padding:4px 0;vertical-align:top;word-break:break-word"
	logStyle   = "margin:2px 0 10px;padding:6px 10px;background:#f6f6f6;border-radius:4px;font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px;white-space:pre-wrap;word-break:break-all"
	dimStyle   = "color:#616061;font-size:13px"
)

// colour is that of the head by level; green is for what is over.
func colour(inc *alerting.Incident) string {
	switch {
	case inc.State == alerting.StateResolved:
		return "#1f7a4d"
	case inc.Level >= observation.Critical:
		return "#8b1027"
	case inc.Level >= observation.High:
		return "#b3261e"
	case inc.Level >= observation.Medium:
		return "#9a5b00"
	default:
		return "#44546a"
	}
}

// htmlPage is the mail for who reads HTML. There is nothing in it to load and
// nothing to follow.
func htmlPage(inc *alerting.Incident, s summary.Summary) string {
	var b strings.Builder
	e := func(text string, limit int) string { return escape.HTML(text, limit) }
	preview := strings.TrimSuffix(s.News, ".") + ". " + s.Line
	fmt.Fprintf(&b, pageHead, e(s.Headline, maxText), e(preview, maxText))

	badge := inc.Level.String()
	if inc.State != alerting.StateOpen && inc.State != "" {
		badge += ", " + inc.State
	}
	fmt.Fprintf(&b, `<div style="`+headStyle+`"><div style="`+levelStyle+`">%s</div><h1 style="`+titleStyle+`">%s</h1>`, colour(inc), e(badge, maxText), e(s.Title, maxText))
	if s.Who != "" {
		fmt.Fprintf(&b, `<div style="`+whoStyle+`">%s</div>`, e(s.Who, maxText))
	}
	b.WriteString("</div>\n<div style=\"padding:16px 20px\">\n")
	fmt.Fprintf(&b, `<p style="margin:0 0 4px"><b>%s</b></p>`+"\n", e(s.News, maxText))
	if s.Line != "" {
		fmt.Fprintf(&b, `<p style="margin:0 0 14px;word-break:break-word">%s</p>`+"\n", e(s.Line, maxText))
	}
	for _, d := range s.Entries {
		fmt.Fprintf(&b, `<p style="margin:0 0 8px;word-break:break-word"><b>%s</b><br><span class="dim" style="`+dimStyle+`">%s</span></p>`+"\n", e(d.Headline, maxText), e(d.Line, maxText))
	}
	if more := len(inc.Digest) - len(s.Entries); more > 0 {
		fmt.Fprintf(&b, "<p>and %d more</p>\n", more)
	}
	if len(s.Facts) > 0 {
		b.WriteString(`<table role="presentation" style="border-collapse:collapse;font-size:14px">` + "\n")
		for _, f := range s.Facts {
			fmt.Fprintf(&b, `<tr><td class="dim" style="`+nameStyle+`">%s</td><td style="`+valueStyle+`">%s</td></tr>`+"\n", e(f.Name, 64), e(f.Text(), maxText))
		}
		b.WriteString("</table>\n")
	}
	if len(s.Evidence) > 0 {
		b.WriteString(`<h2 style="margin:18px 0 6px;font-size:15px">Log lines</h2>` + "\n")
		for _, l := range s.Evidence {
			fmt.Fprintf(&b, `<div class="dim" style="`+dimStyle+`;word-break:break-all">%s</div><div class="log" style="`+logStyle+`">%s</div>`+"\n", e(l.Place, maxText), e(l.Text, maxEvidence))
		}
	}
	for _, note := range s.Notes {
		fmt.Fprintf(&b, `<p class="dim" style="margin:4px 0 0;`+dimStyle+`">Note: %s</p>`+"\n", e(note, maxText))
	}
	b.WriteString("</div>\n" + pageFoot)
	return b.String()
}

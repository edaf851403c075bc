package slack

import (
	"fmt"
	"strings"

	"gatewatch/alerting"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"

	"github.com/slack-go/slack"
)

// Limits in bytes. Slack's own are in characters and larger or the same.
const (
	maxHeader   = 150
	maxText     = 400 // of the line that phones show
	maxValue    = 600
	maxFact     = 300
	maxEvidence = 1000
	maxEntries  = 25
	maxFacts    = 20
)

// form is what a message looks like.
type form struct {
	// text is what phones and screen readers show. It is mrkdwn.
	text        string
	blocks      []slack.Block
	attachments []slack.Attachment
}

// mark is the sign of a level, for who reads colours faster than words.
func mark(inc *alerting.Incident) string {
	switch {
	case inc.State == alerting.StateResolved && len(inc.Digest) == 0:
		return "✅"
	case inc.Level >= observation.Critical:
		return "🔴"
	case inc.Level >= observation.High:
		return "🟠"
	case inc.Level >= observation.Medium:
		return "🟡"
	case inc.Level >= observation.Low:
		return "🔵"
	default:
		return "⚪"
	}
}

// colour is that of the bar beside the message.
func colour(inc *alerting.Incident) string {
	switch {
	case inc.State == alerting.StateResolved:
		return "#2eb67d"
	case inc.Level >= observation.Critical:
		return "#8b1027"
	case inc.Level >= observation.High:
		return "#e01e5a"
	case inc.Level >= observation.Medium:
		return "#ecb22e"
	case inc.Level >= observation.Low:
		return "#36c5f0"
	default:
		return "#868686"
	}
}

// prefix says before the headline what is no plain open incident.
func prefix(inc *alerting.Incident) string {
	switch {
	case inc.Test:
		return "Test: "
	case inc.FalsePositive:
		return "False positive: "
	case len(inc.Digest) > 0:
		return ""
	case inc.State == alerting.StateResolved:
		return "Resolved: "
	case inc.State == alerting.StateAcknowledged:
		return "Acknowledged: "
	case inc.State == alerting.StateSilenced:
		return "Silenced: "
	}
	return ""
}

// phone is the line for the lock screen of a phone: what, how bad, who, how much.
func phone(inc *alerting.Incident, s summary.Summary) string {
	text := s.Headline
	if s.Line != "" {
		text += ". " + s.Line
	}
	return mark(inc) + " " + prefix(inc) + escape.Slack(text, maxText)
}

// main is the message of an incident.
func mainForm(inc *alerting.Incident, cause alerting.Cause, buttons bool) form {
	s := summary.Of(inc, cause)
	// The title comes from a rule, not from a client; it is plain text all the
	// same, of which Slack makes nothing.
	title := strings.ToUpper(inc.Level.String()) + ": " + s.Title
	head := slack.NewTextBlockObject(slack.PlainTextType, mark(inc)+" "+prefix(inc)+escape.Relay(title, maxHeader-32), false, false)
	f := form{text: phone(inc, s), blocks: []slack.Block{slack.NewHeaderBlock(head)}}

	var blocks []slack.Block
	var lines []slack.RichTextSectionElement
	if s.Who != "" {
		lines = append(lines, code(s.Who), plain("\n"))
	}
	if s.Line != "" {
		lines = append(lines, value(s.Line), plain("\n"))
	}
	if news := state(inc, s); news != "" {
		lines = append(lines, bold(news))
	}
	if len(lines) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("about", slack.NewRichTextSection(lines...)))
	}
	if entries := digest(s); len(entries) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("entries", entries...))
	}
	if facts := factList(s); len(facts) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("facts", slack.NewRichTextSection(facts...)))
	}
	if len(s.Notes) > 0 {
		note := slack.NewTextBlockObject(slack.PlainTextType, escape.Relay("Note: "+strings.Join(s.Notes, "; "), maxValue), false, false)
		blocks = append(blocks, slack.NewContextBlock("notes", note))
	}
	if row := buttonRow(inc, buttons); row != nil {
		blocks = append(blocks, row)
	}
	f.attachments = []slack.Attachment{{Color: colour(inc), Fallback: f.text, Blocks: slack.Blocks{BlockSet: blocks}}}
	return f
}

// state is what is bold in the message: where the incident stands.
func state(inc *alerting.Incident, s summary.Summary) string {
	switch {
	case inc.Parent != "" && inc.State != alerting.StateResolved:
		return "Part of incident " + inc.Parent + ", which tells of it from now on"
	case inc.Acknowledged != nil && inc.State != alerting.StateResolved:
		return "Acknowledged by " + inc.Acknowledged.By
	case inc.State == alerting.StateSilenced && inc.SilencedUntil != nil:
		return "Silenced until " + summary.Time(*inc.SilencedUntil)
	default:
		return s.News
	}
}

func digest(s summary.Summary) []slack.RichTextElement {
	var items []slack.RichTextElement
	for _, e := range s.Entries[:min(maxEntries, len(s.Entries))] {
		items = append(items, slack.NewRichTextSection(bold(e.Headline), plain(" "), value(e.Line)))
	}
	if more := len(s.Entries) - len(items); more > 0 {
		items = append(items, slack.NewRichTextSection(plain(fmt.Sprintf("and %d more", more))))
	}
	if len(items) == 0 {
		return nil
	}
	return []slack.RichTextElement{slack.NewRichTextList(slack.RTEListBullet, 0, items...)}
}

func factList(s summary.Summary) []slack.RichTextSectionElement {
	var out []slack.RichTextSectionElement
	for _, f := range s.Facts[:min(maxFacts, len(s.Facts))] {
		if f.Name == "Client" && len(f.Values) == 1 && f.Values[0] == s.Who {
			continue // it stands above
		}
		if len(out) > 0 {
			out = append(out, plain("\n"))
		}
		out = append(out, bold(f.Name), plain("  "), plain(escape.Text(f.Text(), maxFact)))
	}
	return out
}

// The elements of rich text hold text as it is: no mrkdwn, no mention, no link is
// read in them.

func plain(s string) slack.RichTextSectionElement {
	return slack.NewRichTextSectionTextElement(s, nil)
}

func value(s string) slack.RichTextSectionElement { return plain(escape.Text(s, maxValue)) }

func bold(s string) slack.RichTextSectionElement {
	return slack.NewRichTextSectionTextElement(escape.Text(s, maxValue), &slack.RichTextSectionTextStyle{Bold: true})
}

func code(s string) slack.RichTextSectionElement {
	return slack.NewRichTextSectionTextElement(escape.Text(s, maxValue), &slack.RichTextSectionTextStyle{Code: true})
}

// threadForm is what goes into the thread with a revision: what is new and, with
// lines, the log lines. ok is false where there is nothing to say.
func threadForm(inc *alerting.Incident, cause alerting.Cause, first bool) (f form, ok bool) {
	s := summary.Of(inc, cause)
	var blocks []slack.Block
	if !first {
		f.text = escape.Slack(s.News, maxText)
		elements := []slack.RichTextSectionElement{bold(s.News)}
		if s.Line != "" {
			f.text += escape.Slack(". "+s.Line, maxText)
			elements = append(elements, plain("\n"), value(s.Line))
		}
		blocks = append(blocks, slack.NewRichTextBlock("news", slack.NewRichTextSection(elements...)))
	}
	evidence := s.Evidence
	if !first {
		// The first ones are told already.
		evidence = evidence[max(0, len(evidence)-2):]
		if cause == alerting.CauseResolved || cause == alerting.CauseAcknowledged || cause == alerting.CauseFalsePositive || cause == alerting.CauseParent {
			evidence = nil
		}
	}
	if len(evidence) > 0 {
		elements := make([]slack.RichTextElement, 0, 2*len(evidence))
		for _, e := range evidence {
			elements = append(elements, slack.NewRichTextSection(value(e.Place)), &slack.RichTextPreformatted{
				Type: slack.RTEPreformatted, Elements: []slack.RichTextSectionElement{plain(orBlank(escape.Text(e.Text, maxEvidence)))},
			})
		}
		blocks = append(blocks, slack.NewRichTextBlock("evidence", elements...))
		if f.text == "" {
			f.text = "Log lines"
		}
	}
	f.blocks = blocks
	return f, len(blocks) > 0
}

// digestReply tells of one incident in the thread of a digest.
func digestReply(inc *alerting.Incident, cause alerting.Cause) form {
	s := summary.Of(inc, cause)
	return form{text: phone(inc, s), blocks: []slack.Block{slack.NewRichTextBlock("news", slack.NewRichTextSection(
		plain(mark(inc)+" "), bold(s.Headline), plain("\n"), value(s.News), plain("\n"), value(orBlank(s.Line)),
	))}}
}

// orBlank is for places where Slack takes no empty text.
func orBlank(s string) string {
	if s == "" {
		return " "
	}
	return s
}

// simple is the same in the oldest form that there is, for a Slack that does not
// take the other. Values stand in code spans.
func simple(inc *alerting.Incident, cause alerting.Cause, main bool) form {
	s := summary.Of(inc, cause)
	lines := []string{escape.Slack(s.News, maxValue)}
	if main {
		for _, f := range s.Facts {
			lines = append(lines, escape.Slack(f.Name, 64)+": "+escape.SlackCode(f.Text(), maxValue))
		}
		for _, e := range s.Entries[:min(maxEntries, len(s.Entries))] {
			lines = append(lines, escape.SlackCode(e.Headline+" "+e.Line, maxValue))
		}
	} else {
		for _, e := range s.Evidence[:min(3, len(s.Evidence))] {
			lines = append(lines, escape.SlackCode(e.Place+" "+e.Text, maxEvidence))
		}
	}
	return form{text: phone(inc, s), attachments: []slack.Attachment{{
		Color: colour(inc), Text: strings.Join(lines, "\n"), MarkdownIn: []string{"text"},
	}}}
}

// The ids of the buttons.
const (
	buttonBlock   = "gatewatch"
	buttonAck     = "gatewatch_acknowledge"
	buttonFalse   = "gatewatch_false_positive"
	buttonSilence = "gatewatch_silence_" // and hours
)

// silences are how long the buttons silence, in hours.
var silences = [...]struct {
	hours int
	words string
}{{1, "1 h"}, {8, "8 h"}, {72, "3 d"}}

// buttonRow are the buttons that mean something now; nil for none.
func buttonRow(inc *alerting.Incident, wanted bool) *slack.ActionBlock {
	if !wanted || inc.State == alerting.StateResolved || inc.FalsePositive || inc.Parent != "" || len(inc.Digest) > 0 || inc.Test {
		return nil
	}
	button := func(id, words string) *slack.ButtonBlockElement {
		return slack.NewButtonBlockElement(id, inc.ID, slack.NewTextBlockObject(slack.PlainTextType, words, false, false))
	}
	var row []slack.BlockElement
	if inc.Acknowledged == nil {
		row = append(row, button(buttonAck, "Acknowledge").WithStyle(slack.StylePrimary))
	}
	if inc.State != alerting.StateSilenced {
		for _, s := range silences {
			row = append(row, button(fmt.Sprintf("%s%d", buttonSilence, s.hours), "Silence "+s.words))
		}
	}
	text := func(s string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
	}
	confirm := slack.NewConfirmationBlockObject(text("False positive?"),
		text("It is resolved and stays so unless another rule finds something. The thread says who did it."), text("Mark it"), text("Cancel"))
	row = append(row, button(buttonFalse, "False positive").WithStyle(slack.StyleDanger).WithConfirm(confirm))
	return slack.NewActionBlock(buttonBlock, row...)
}

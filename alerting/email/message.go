package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
)

const (
	maxSubject  = 200
	maxText     = 1024
	maxEvidence = 1024
	maxEntries  = 100
)

// message returns the whole mail with its header. It is the same for each
// attempt.
func message(from *mail.Address, to []*mail.Address, inc *alerting.Incident, n alerting.Notification) ([]byte, error) {
	s := summary.Of(inc, n.Cause)
	s.Entries = s.Entries[:min(maxEntries, len(s.Entries))]
	text, page := plainText(inc, s), htmlPage(inc, s)
	sum := sha256.Sum256([]byte(n.Key + text + page))
	boundary := "gatewatch-" + hex.EncodeToString(sum[:16])

	var b bytes.Buffer
	field := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	var list []string
	for _, a := range to {
		list = append(list, a.String())
	}
	field("From", from.String())
	field("To", strings.Join(list, ",\r\n "))
	field("Subject", escape.Header(subject(inc, s), len("Subject: "), maxSubject))
	field("Date", n.Made.UTC().Format(time.RFC1123Z))
	_, domain, _ := strings.Cut(from.Address, "@")
	// One thread an incident: all its mails answer one that never was, so it
	// does not matter which revision came first.
	thread := fmt.Sprintf("<%s.incident.gatewatch@%s>", escape.SyslogToken(inc.ID, 64), domain)
	field("Message-ID", fmt.Sprintf("<%s.%d.incident.gatewatch@%s>", escape.SyslogToken(inc.ID, 64), n.Revision, domain))
	field("In-Reply-To", thread)
	field("References", thread)
	field("Auto-Submitted", "auto-generated")
	field("X-Auto-Response-Suppress", "All")
	field("X-Gatewatch-Incident", escape.SyslogToken(inc.ID, 64))
	if inc.Level >= observation.High && inc.State != alerting.StateResolved {
		field("Importance", "high")
	}
	field("MIME-Version", "1.0")
	field("Content-Type", fmt.Sprintf("multipart/alternative;\r\n boundary=%q", boundary))
	b.WriteString("\r\n")
	for _, part := range []struct{ kind, text string }{{"text/plain", text}, {"text/html", page}} {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", boundary, part.kind)
		w := quotedprintable.NewWriter(&b)
		if _, err := w.Write([]byte(strings.ReplaceAll(part.text, "\n", "\r\n"))); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		b.WriteString("\r\n")
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return b.Bytes(), nil
}

// subject is the headline; what is over says so first.
func subject(inc *alerting.Incident, s summary.Summary) string {
	switch {
	case inc.Test:
		return "Test: " + s.Headline
	case inc.State == alerting.StateResolved:
		return "Resolved: " + s.Headline
	default:
		return s.Headline
	}
}

// plainText is the mail for who reads no HTML.
func plainText(inc *alerting.Incident, s summary.Summary) string {
	var b strings.Builder
	b.WriteString(escape.Text(s.Headline, maxText) + "\n")
	b.WriteString(escape.Text(s.News, maxText) + ".\n")
	if s.Line != "" {
		b.WriteString("\n" + escape.Text(s.Line, maxText) + "\n")
	}
	b.WriteString("\n")
	for _, e := range s.Entries {
		fmt.Fprintf(&b, "%s\n    %s\n", escape.Text(e.Headline, maxText), escape.Text(e.Line, maxText))
	}
	if more := len(inc.Digest) - len(s.Entries); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	for _, f := range s.Facts {
		fmt.Fprintf(&b, "%-13s %s\n", escape.Text(f.Name, 64), escape.Text(f.Text(), maxText))
	}
	if len(s.Evidence) > 0 {
		b.WriteString("\nLog lines\n\n")
		for _, e := range s.Evidence {
			fmt.Fprintf(&b, "%s\n    %s\n", escape.Text(e.Place, maxText), escape.Text(e.Text, maxEvidence))
		}
	}
	if len(s.Notes) > 0 {
		b.WriteString("\n")
		for _, note := range s.Notes {
			b.WriteString("Note: " + escape.Text(note, maxText) + "\n")
		}
	}
	return b.String()
}

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"gatewatch/api"
	"gatewatch/pipeline"

	"github.com/spf13/cobra"
)

func newStatus(a *app) *cobra.Command {
	cl := &client{app: a}
	c := &cobra.Command{
		Use:   "status",
		Short: "Print how a running gatewatch does: its sources, receivers and state",
		Long: "Status prints whether a running gatewatch can be relied on and why not, where it is in\n" +
			"each source and what is unread there, what was passed over and why, and what receivers\n" +
			"wait for. It ends with 1 when gatewatch is not ready.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var raw json.RawMessage
			if err := cl.get(c.Context(), "/api/v1/status", nil, &raw); err != nil {
				return failed(err)
			}
			var s api.Status
			if err := json.Unmarshal(raw, &s); err != nil {
				return failed(fmt.Errorf("read the answer: %w", err))
			}
			var err error
			if cl.out == formatJSONL {
				err = writeLines(a.stdout, []json.RawMessage{raw})
			} else {
				err = printStatus(a.stdout, &s, a.now())
			}
			if err == nil && !s.Ready {
				return silent(exitFailed)
			}
			return failed(err)
		},
	}
	cl.flags(c)
	return c
}

// printStatus writes a status for people.
func printStatus(w io.Writer, s *api.Status, now time.Time) error {
	b := bufio.NewWriter(w)
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(b, format+"\n", args...) } // Flush tells
	say("gatewatch %s, up %s", escape(s.Version), now.Sub(s.StartedAt).Truncate(time.Second))
	if s.Ready {
		say("ready")
	}
	for _, r := range s.Reasons {
		say("not ready: %s", escape(r))
	}
	for i := range s.CatchUp {
		say("%s", catchUpText(&s.CatchUp[i], now))
	}
	say("rules: %d loaded, %d disabled, %d refused", s.Rules.Loaded, s.Rules.Disabled, s.Rules.Refused)
	saved := "no checkpoint yet"
	if s.Checkpoint.Last != nil {
		saved = fmt.Sprintf("last checkpoint %s ago", ago(now, *s.Checkpoint.Last))
	}
	say("state: %s, %s; %s entities in windows, %s pushed out while they still counted\n",
		sizeText(s.Checkpoint.StateBytes), saved, thousands(s.Windows.Entities), thousands(s.Windows.EvictedAlive))
	if err := b.Flush(); err != nil {
		return err
	}
	if err := printSources(w, s.Sources, now); err != nil || len(s.Receivers) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	var rows [][]string
	for i := range s.Receivers {
		r := &s.Receivers[i]
		last := "never"
		if r.LastSuccess != nil {
			last = ago(now, *r.LastSuccess) + " ago"
		}
		rows = append(rows, []string{escape(r.Name), thousands(r.Pending), last, counts(r.Attempts)})
	}
	return writeTable(w, []column{{title: "RECEIVER", max: 24}, {title: "WAITING", max: 9, right: true}, {title: "ACCEPTED", max: 14}, {title: "ATTEMPTS"}}, rows)
}

// catchUpText says how far it is and how long it will take.
func catchUpText(c *api.CatchUp, now time.Time) string {
	amount, unit := sizeText, ""
	if c.Unit != pipeline.UnitBytes {
		amount, unit = thousands, " "+escape(c.Unit)
	}
	share := 0
	if all := c.Read + c.Left; all > 0 {
		share = int(100 * float64(c.Read) / float64(all))
	}
	text := fmt.Sprintf("catching up: %d %%, %s of %s%s in %s", share, amount(c.Read), amount(c.Read+c.Left), unit, ago(now, c.Since))
	if c.PerSecond > 0 {
		text += fmt.Sprintf(", %s a second", amount(int64(c.PerSecond)))
	}
	switch {
	case c.Seconds != nil:
		text += fmt.Sprintf("; done in about %s", time.Duration(*c.Seconds*float64(time.Second)).Round(time.Second))
	case c.PerSecond > 0:
		text += "; as much is written as is read"
	}
	if c.EventTime != nil {
		text += ", now at " + c.EventTime.UTC().Format("2006-01-02 15:04:05")
	}
	return text
}

func printSources(w io.Writer, sources []api.Source, now time.Time) error {
	if len(sources) == 0 {
		_, err := fmt.Fprintln(w, "no source was found yet")
		return err
	}
	columns := []column{
		{title: "SOURCE"},
		{title: "STATE", max: 8},
		{title: "POSITION", max: 16, right: true},
		{title: "UNREAD", max: 14, right: true},
		{title: "BEHIND", max: 9, right: true},
		{title: "FILE", max: 6, right: true},
		{title: "LINES", max: 14, right: true},
	}
	var rows [][]string
	var notes []string
	for i := range sources {
		x := &sources[i]
		unread, behind, generation := "?", "-", "-"
		switch {
		case x.Lag != nil:
			unread = thousands(x.Lag.Messages)
			behind = (time.Duration(x.Lag.Seconds) * time.Second).String()
		case x.Unread != nil:
			unread = sizeText(x.Unread.Bytes)
			behind = (time.Duration(x.Unread.Seconds) * time.Second).String()
		}
		if x.Generation > 0 {
			generation = thousands(x.Generation)
		}
		rows = append(rows, []string{escape(x.Name), x.State, thousands(x.Offset), unread, behind, generation, thousands(x.Lines)})
		notes = append(notes, sourceNotes(x, now)...)
	}
	if err := writeTable(w, columns, rows); err != nil {
		return err
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return nil
}

// sourceNotes says what is worth a word of a source.
func sourceNotes(x *api.Source, now time.Time) []string {
	var out []string
	say := func(format string, args ...any) {
		out = append(out, "  "+escape(x.Name)+": "+fmt.Sprintf(format, args...))
	}
	if x.Error != "" {
		say("cannot be read: %s", escape(x.Error))
	}
	if x.Clock != nil && now.Sub(*x.Clock) > time.Hour && x.State != "reading" {
		say("the newest line is %s old", ago(now, *x.Clock))
	}
	if len(x.Skipped) > 0 {
		say("passed over: %s", counts(x.Skipped))
	}
	if len(x.Unreadable) > 0 {
		say("unreadable: %s", counts(x.Unreadable))
	}
	if x.Late > 0 || x.Behind > 0 {
		say("%s behind its clock, %s behind the merge", countLines(x.Late), countLines(x.Behind))
	}
	return out
}

func ago(now, t time.Time) string { return max(now.Sub(t), 0).Truncate(time.Second).String() }

// sizeText prints bytes with a unit.
func sizeText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v := float64(n)
	for len(units) > 1 && v >= 1024 {
		v, units = v/1024, units[1:]
	}
	text := strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	return text + " " + units[0]
}

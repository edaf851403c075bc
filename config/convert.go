package config

import (
	"strconv"

	"gatewatch/alerting"
	"gatewatch/collectors/file"
	"gatewatch/collectors/format"
	"gatewatch/event"
)

// Derive returns the options of event.NewDeriver.
func (c *Config) Derive() event.DeriveOptions {
	o := event.DeriveOptions{TrustedProxies: c.TrustedProxies, IPv6Whole: c.IPv6Group == 128, Principals: c.Principal}
	for _, l := range c.Logins {
		o.Logins = append(o.Logins, l.rule())
	}
	for _, r := range c.Routes {
		o.Routes = append(o.Routes, event.RouteRule{Pattern: r})
	}
	return o
}

func (l Login) rule() event.LoginRule {
	return event.LoginRule{
		Method: l.Method, Path: l.Path, Success: spell(l.Success), Failure: spell(l.Failure),
		SuccessSize: l.SuccessSize, FailureSize: l.FailureSize, Action: l.Action,
	}
}

// spell writes each status of the ranges.
func spell(ranges []StatusRange) []string {
	var out []string
	for _, r := range ranges {
		for n := r.From; n <= r.To; n++ {
			out = append(out, strconv.Itoa(n))
		}
	}
	return out
}

// Book returns the options of alerting.NewBook, without what the pipeline
// adds.
func (c *Config) Book() alerting.BookOptions {
	return alerting.BookOptions{
		ResolveAfter:   c.Incidents.ResolveAfter,
		MaxKept:        c.Incidents.Keep,
		GroupInterval:  c.Incidents.GroupInterval,
		RepeatInterval: c.Incidents.RepeatInterval,
		WholeIPv6:      c.IPv6Group == 128,
	}
}

// FormatOptions returns the options of format.New.
func (s *Source) FormatOptions() format.Options {
	return format.Options{Name: s.Format, Aliases: s.Aliases}
}

// FileOptions returns the options of file.New, without what the command line
// adds. It is for sources that are not standard input.
func (s *Source) FileOptions() file.Options {
	o := file.Options{Paths: s.Files, Exclude: s.Exclude, Begin: file.Start, MaxLineBytes: int(s.MaxLine), Poll: s.Poll, Rescan: s.Rescan, Linger: s.Linger, Late: s.Late, Notify: s.Notify}
	if s.FromEnd {
		o.Begin = file.End
	}
	return o
}

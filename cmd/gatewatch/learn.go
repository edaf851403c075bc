package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/collectors/format"
	"gatewatch/config"
	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/pipeline"
	"gatewatch/pipeline/learn"
	"gatewatch/rules/sigma"

	"github.com/spf13/cobra"
)

// learning holds the flags of the subcommand, and what its steps share.
type learning struct {
	app     *app
	in      input
	out     string
	force   bool
	ranges  []string
	workers int
	quiet   bool

	config *config.Config
	format format.Options
	derive event.DeriveOptions
}

func newLearn(a *app) *cobra.Command {
	l := &learning{app: a}
	c := &cobra.Command{
		Use:   "learn FILE...",
		Short: "Write a configuration to review from past logs",
		Long: "Learn reads days of finished logs and writes what a human would want to set as a configuration:\n" +
			"routes whose segments are values, logins and how their answers read, trusted proxies, known crawlers,\n" +
			"monitors and partners, and thresholds that would have been quiet. Each entry has the numbers behind it\n" +
			"as comments, and what nobody should trust unseen is commented out. Read it before you use it.\n\n" +
			"Attacks in the logs teach nothing: whoever an incident at medium or above accuses is left out. The logs are\n" +
			"read five times; standard input is copied to a temporary file for that. Files are given as to replay.",
		Example: "  gatewatch learn /var/log/nginx/access.log* > learned.yaml\n" +
			"  gatewatch learn -o learned.yaml --ranges googlebot=googlebot.json access.log\n" +
			"  gatewatch check -c learned.yaml\n" +
			"  gatewatch replay -c learned.yaml access.log",
		Args: needFiles,
		RunE: func(c *cobra.Command, args []string) error {
			l.in.files = args
			return failed(l.run(c.Context()))
		},
	}
	l.in.flags(c)
	f := c.Flags()
	f.StringVarP(&l.out, "output", "o", "", "`file` to write instead of standard output")
	f.BoolVar(&l.force, "force", false, "replace the file of --output where it is there already")
	f.StringArrayVar(&l.ranges, "ranges", nil, "published address ranges of a crawler, as `NAME=FILE`; NAME is what its agent\n"+
		"says, FILE is JSON with prefixes of ipv4Prefix and ipv6Prefix; may be given several times")
	f.IntVar(&l.workers, "workers", 0, "`n` goroutines for decoding, and half as many for windows (default: one a processor)")
	f.BoolVarP(&l.quiet, "quiet", "q", false, "print neither progress nor summary")
	_ = c.MarkFlagFilename("output", "yaml", "yml") // fails only for a flag that does not exist
	return c
}

func (l *learning) run(ctx context.Context) (err error) {
	if l.workers < 0 {
		return usage("--workers is %d; write 1 or more", l.workers)
	}
	if err := l.checkOutput(); err != nil {
		return err
	}
	ranges, err := readRanges(l.ranges)
	if err != nil {
		return err
	}
	if l.config, err = l.app.readConfig(l.in.config, l.in.rules); err != nil {
		return err
	}
	if l.format, err = l.in.options(l.config); err != nil {
		return err
	}
	set, err := loadRules(l.config)
	if err != nil {
		return err
	}
	l.app.warnRules(set)
	named := slices.Clone(l.in.files)
	done, err := l.spool()
	if err != nil {
		return err
	}
	defer done()
	l.derive = l.config.Derive()
	begun := l.app.now()
	r, err := l.learn(ctx, set, ranges)
	if err != nil {
		return err
	}
	r.Logs = named
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return err
	}
	if err := l.write(b.Bytes()); err != nil {
		return err
	}
	if !l.quiet {
		l.summary(r, l.app.now().Sub(begun))
	}
	return nil
}

// learn reads the logs five times: who speaks for whom, who attacks, what the
// others ask for, who they are, and how near they come to the thresholds. Each step
// stands on what the ones before it learned.
func (l *learning) learn(ctx context.Context, set *ruleSet, ranges learn.Ranges) (*learn.Result, error) {
	survey := learn.NewSurvey()
	counts, err := l.read(ctx, "1 of 5, what is there", false, survey.Add)
	if err != nil {
		return nil, err
	}
	r := &learn.Result{
		First: time.Unix(survey.First, 0), Last: time.Unix(survey.Last, 0), Lines: counts.Lines, Requests: survey.Requests,
		Formats: survey.Formats, Coverage: survey.Coverage(), Risks: survey.Risks(), Proxies: l.newProxies(survey.Proxies()), Ranges: ranges,
		Counting: countingRules(set),
	}
	if survey.Requests == 0 {
		return r, nil
	}
	r.Trusted = learn.Trusted(r.Proxies)
	l.derive.TrustedProxies = append(slices.Clip(l.derive.TrustedProxies), r.Trusted...)

	accused, err := l.attacks(ctx, set, r)
	if err != nil {
		return nil, err
	}
	suspects := learn.Suspect(accused)
	routes, logins := learn.NewRoutes(), learn.NewLogins()
	if _, err := l.read(ctx, "3 of 5, routes and logins", false, func(f *learn.Fact) {
		if !suspects.Suspect(f) {
			routes.Add(f)
			logins.Add(f)
		}
	}); err != nil {
		return nil, err
	}
	r.Routes, r.Logins = l.newRoutes(routes.Learned()), l.newLogins(logins.Learned())
	for i := range r.Routes {
		if x := &r.Routes[i]; !x.Broad {
			l.derive.Routes = append(l.derive.Routes, event.RouteRule{Pattern: x.Pattern})
		}
	}
	for i := range r.Logins {
		if x := &r.Logins[i]; x.Active() {
			l.derive.Logins = append(l.derive.Logins, x.Rule())
		}
	}
	clients := learn.NewClients(survey.First, survey.Last, suspects)
	if _, err := l.read(ctx, "4 of 5, clients", true, clients.Add); err != nil {
		return nil, err
	}
	r.Cleared = suspects.Clear(accused, clients, countable(set.index.Plan()))
	r.Known, r.Pretenders = learn.FindKnown(clients, suspects, ranges)
	r.Suspects = len(suspects.Clients) + len(suspects.Principals)
	if survey.MorePeers || routes.Full || logins.Full || clients.Dropped > 0 {
		r.Notes = append(r.Notes, bounds(survey, routes, logins, clients)...)
	}
	return r, l.thresholds(ctx, set, suspects, clients, r)
}

// bounds says which tables were too small for the logs.
func bounds(s *learn.Survey, routes *learn.Routes, logins *learn.Logins, clients *learn.Clients) []string {
	var out []string
	say := func(is bool, text string) {
		if is {
			out = append(out, text)
		}
	}
	say(s.MorePeers, "more peers than are told apart sent X-Forwarded-For; some proxies may be missing")
	say(routes.Full, "there were more paths than are told apart; some routes may be missing")
	say(logins.Full, "there were more routes with POST than are told apart; some logins may be missing")
	say(clients.Dropped > 0, fmt.Sprintf("there were more clients than are told apart; %s with the fewest requests were let go", thousands(clients.Dropped)))
	return out
}

// read has all requests of the logs handed to each in their order.
func (l *learning) read(ctx context.Context, step string, attacks bool, each func(*learn.Fact)) (learn.Counts, error) {
	sources, err := l.app.open(l.config, l.format, l.in.files, true)
	if err != nil {
		return learn.Counts{}, err
	}
	stop := l.app.progressOf(step, sources, l.quiet)
	defer stop()
	reader := learn.Reader{Format: l.format, Derive: l.derive, Attacks: attacks, Workers: l.workers}
	n, err := reader.Read(ctx, sources, each)
	if ctx.Err() != nil {
		return n, fmt.Errorf("stopped before the end of the logs")
	}
	return n, err
}

// replay runs the logs through rules and returns the incidents.
func (l *learning) replay(ctx context.Context, step string, index *sigma.Index, probe func(*observation.Plan) *learn.Peaks) ([]*alerting.Incident, *learn.Peaks, error) {
	sources, err := l.app.open(l.config, l.format, l.in.files, true)
	if err != nil {
		return nil, nil, err
	}
	o := pipeline.Options{
		Inputs: []pipeline.Input{{Collector: fixed(sources), Format: l.format, Lateness: l.config.Sources[0].Lateness}},
		Derive: l.derive, Index: index, Book: l.config.Book(), Workers: l.workers, Budget: l.config.State.Budget, Now: l.app.now,
	}
	var peaks *learn.Peaks
	if probe != nil {
		peaks = probe(index.Plan())
		o.Probe = peaks.Probe
	}
	p, err := pipeline.New(o)
	if err != nil {
		return nil, nil, err
	}
	stop := l.app.progressOf(step, sources, l.quiet)
	err = p.Run(ctx)
	stop()
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("stopped before the end of the logs")
	}
	if err != nil {
		return nil, nil, err
	}
	incidents, err := p.Incidents(context.WithoutCancel(ctx))
	return incidents, peaks, err
}

// attacks returns whom the incidents at medium or above accuse.
func (l *learning) attacks(ctx context.Context, set *ruleSet, r *learn.Result) ([]learn.Accused, error) {
	incidents, _, err := l.replay(ctx, "2 of 5, attacks", set.index, nil)
	if err != nil {
		return nil, err
	}
	families := map[string]string{}
	for _, rule := range set.index.Plan().Rules {
		families[rule.ID] = rule.Family
	}
	var out []learn.Accused
	for _, i := range incidents {
		if i.Level < observation.Medium || i.Subject == alerting.SubjectGatewatch.String() {
			continue
		}
		r.Incidents++
		a := learn.Accused{}
		seen := map[netip.Prefix]bool{}
		for _, s := range append(slices.Clip(i.Sources), i.Group["client.address"]) {
			if p, ok := l.client(s); ok && !seen[p] {
				seen[p] = true
				a.Clients = append(a.Clients, p)
			}
		}
		if who := i.Group["principal"]; who != "" && who != "*" {
			a.Principals = append(a.Principals, who)
		}
		for _, rule := range i.Rules {
			a.Rules, a.Titles, a.Families = append(a.Rules, rule.ID), append(a.Titles, rule.Title), append(a.Families, families[rule.ID])
		}
		out = append(out, a)
	}
	return out, nil
}

// client returns the group that counts as one client.
func (l *learning) client(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	bits := a.BitLen()
	if a.Is6() && !l.derive.IPv6Whole {
		bits = 64
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}

// newProxies leaves out the peers that the configuration trusts already.
func (l *learning) newProxies(all []learn.Proxy) []learn.Proxy {
	return slices.DeleteFunc(all, func(p learn.Proxy) bool {
		return slices.ContainsFunc(l.config.TrustedProxies, func(n netip.Prefix) bool { return n.Contains(p.Peer) })
	})
}

// newRoutes leaves out what the configuration has already.
func (l *learning) newRoutes(all []learn.Route) []learn.Route {
	return slices.DeleteFunc(all, func(r learn.Route) bool { return slices.Contains(l.config.Routes, r.Pattern) })
}

// newLogins leaves out those that the configuration names and reads as was
// learned.
func (l *learning) newLogins(all []learn.Login) []learn.Login {
	return slices.DeleteFunc(all, func(x learn.Login) bool {
		return x.AsBuiltIn && slices.ContainsFunc(l.config.Logins, func(c config.Login) bool {
			path, err := regexp.Compile(c.Path) // the configuration was checked
			return err == nil && (c.Method == "*" || cmp.Or(c.Method, "POST") == x.Method) && path.MatchString(x.Route)
		})
	})
}

// countingRules are the detections that only feed rules which count, and do not
// look for attacks: what a filter for a known client is about.
func countingRules(set *ruleSet) []learn.RuleName {
	loaded := map[string]string{} // families of the rules that are there
	for _, r := range set.index.Plan().Rules {
		loaded[r.ID] = r.Family
	}
	var out []learn.RuleName
	seen := map[*sigma.Rule]bool{}
	for _, r := range set.all {
		counted, ok := r.Counted()
		family := loaded[r.ID]
		baseline := counted.Type == observation.RateAnomaly
		if !ok || !baseline && counted.Type != observation.IDWalk && !counted.Type.Counts() || counted.Generate || family == "credential" || family == "" {
			continue
		}
		for _, in := range counted.Inputs {
			if in.Kind != sigma.Detection || in.Level != observation.Informational || seen[in] {
				continue
			}
			c, ok := in.Condition()
			// What a baseline of errors counts is the server's doing.
			if !ok || asksFor(c, isTarget) || baseline && asksFor(c, isStatus) {
				continue
			}
			seen[in] = true
			out = append(out, learn.RuleName{ID: in.ID, Name: in.Name, Title: in.Title})
		}
	}
	slices.SortFunc(out, func(a, b learn.RuleName) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// asksFor reports whether a detection asks for something of a source. What it only
// excepts does not count.
func asksFor(c sigma.Condition, is func(source string) bool) bool {
	if c.Op() == sigma.Leaf {
		item, exception := c.Item()
		return !exception && is(item.Source())
	}
	return slices.ContainsFunc(c.Kids(), func(k sigma.Condition) bool { return asksFor(k, is) })
}

// isTarget: then a detection is about what is asked for, not about how much.
func isTarget(source string) bool { return source == "" || strings.HasPrefix(source, "url.") }

func isStatus(source string) bool { return source == "http.response.status_code" }

// countable are the rules that say nothing but how much somebody asked for: those
// with a threshold that can be measured, and baselines.
func countable(plan *observation.Plan) map[string]bool {
	out := map[string]bool{}
	for i := range plan.Rules {
		if _, ok := learn.Measurable(&plan.Rules[i]); ok || plan.Rules[i].Type == observation.RateAnomaly {
			out[plan.Rules[i].ID] = true
		}
	}
	return out
}

// The lists of those who are left out of the measurement.
const (
	suspectClients    = "gatewatch_learn_suspect_clients"
	suspectPrincipals = "gatewatch_learn_suspect_principals"
)

// leaveOut are filters for all rules.
const leaveOut = `title: Suspects teach nothing
id: 6d1c4f1e-6a53-4b0c-9f0e-0c2f8b1f7a01
logsource: {category: webserver}
filter:
  rules: any
  client:
    client.address|cidr|expand: '%` + suspectClients + `%'
  condition: not client
---
title: Principals of suspects teach nothing
id: 6d1c4f1e-6a53-4b0c-9f0e-0c2f8b1f7a02
logsource: {category: webserver}
filter:
  rules: any
  principal:
    principal|expand: '%` + suspectPrincipals + `%'
  condition: not principal
`

// thresholds runs the rules once more, without the suspects, under what was
// learned, and with thresholds so high that windows show how far they get.
func (l *learning) thresholds(ctx context.Context, set *ruleSet, suspects *learn.Suspects, clients *learn.Clients, r *learn.Result) error {
	was := map[string]float64{}
	c := *l.config
	c.Rules.Tune = slices.Clip(c.Rules.Tune)
	for i := range set.index.Plan().Rules {
		rule := &set.index.Plan().Rules[i]
		t, ok := learn.Measurable(rule)
		if !ok {
			if rule.Alerting && !rule.Plain {
				r.Unmeasured = append(r.Unmeasured, rule.Title)
			}
			continue
		}
		was[rule.ID] = t
		raised := learn.Raised(t)
		c.Rules.Tune = append(c.Rules.Tune, sigma.Tuning{Rules: []string{rule.ID}, Threshold: &raised, File: "learn", Line: 1, Column: 1})
	}
	c.Rules.Lists = map[string][]string{suspectClients: {}, suspectPrincipals: {}}
	maps.Copy(c.Rules.Lists, l.config.Rules.Lists)
	for p := range suspects.Clients {
		c.Rules.Lists[suspectClients] = append(c.Rules.Lists[suspectClients], p.String())
	}
	for p := range suspects.Principals {
		c.Rules.Lists[suspectPrincipals] = append(c.Rules.Lists[suspectPrincipals], sigmaText(p))
	}
	c.Rules.Filters = append(slices.Clip(c.Rules.Filters), sigma.Document{File: "learn", Data: []byte(leaveOut)})
	raised, err := loadRules(&c)
	if err != nil {
		return err
	}
	_, peaks, err := l.replay(ctx, "5 of 5, thresholds", raised.index, learn.NewPeaks)
	if err != nil {
		return err
	}
	r.Tunings = learn.Judge(raised.index.Plan(), peaks, clients, func(rule *observation.Rule) (float64, bool) {
		t, ok := was[rule.ID]
		return t, ok
	})
	return nil
}

// spool copies standard input to a file, since it is read several times. done
// removes it.
func (l *learning) spool() (done func(), err error) {
	at := slices.Index(l.in.files, "-")
	if at < 0 {
		return func() {}, nil
	}
	if slices.Contains(l.in.files[at+1:], "-") {
		return nil, usage("- is there twice; there is only one standard input")
	}
	dir, err := os.MkdirTemp("", "gatewatch-learn-")
	if err != nil {
		return nil, fmt.Errorf("keep standard input: %w", err)
	}
	done = func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, "stdin.log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		done()
		return nil, fmt.Errorf("keep standard input: %w", err)
	}
	_, err = io.Copy(f, l.app.stdin)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		done()
		return nil, fmt.Errorf("keep standard input: %w", err)
	}
	l.in.files = slices.Clone(l.in.files)
	l.in.files[at] = path
	return done, nil
}

// checkOutput refuses early what would fail after a long time.
func (l *learning) checkOutput() error {
	if l.out == "" {
		if l.force {
			return usage("--force is about the file of --output; name one with -o")
		}
		return nil
	}
	info, err := os.Stat(l.out)
	switch {
	case err == nil && info.IsDir():
		return usage("--output is %q, which is a folder; name a file in it", l.out)
	case err == nil && !l.force:
		return usage("%s is there already; name another file, or replace it with --force", l.out)
	}
	if dir := filepath.Dir(l.out); !isFolder(dir) {
		return usage("--output is %q, but there is no folder %s; make it first", l.out, dir)
	}
	return nil
}

func (l *learning) write(data []byte) error {
	if l.out == "" {
		_, err := l.app.stdout.Write(data)
		return err
	}
	if !l.force {
		return writeNew(l.out, data)
	}
	tmp := l.out + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", l.out, err)
	}
	if err := os.Rename(tmp, l.out); err != nil {
		return fmt.Errorf("write %s: %w", l.out, err)
	}
	return nil
}

func (l *learning) summary(r *learn.Result, took time.Duration) {
	// Nothing is left to do where standard error cannot be written.
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(l.app.stderr, format+"\n", args...) }
	say("%s read five times in %.2f s, %s of them requests", countLines(r.Lines), took.Seconds(), thousands(r.Requests))
	if r.Requests == 0 {
		if r.Lines > 0 {
			say("nothing could be read as a request; 'gatewatch explain FILE' shows why line by line")
		}
		return
	}
	quiet := 0
	for i := range r.Tunings {
		if r.Tunings[i].Quiet > 0 {
			quiet++
		}
	}
	say("%s, %s, %s, %s, %s; %s of %s left out", count(len(r.Proxies), "proxy", "proxies"), count(len(r.Routes), "route", "routes"),
		count(len(r.Logins), "login", "logins"), count(len(r.Known), "known client", "known clients"), count(quiet, "threshold", "thresholds"),
		count(r.Suspects, "suspect", "suspects"), count(r.Incidents, "incident", "incidents"))
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatewatch/alerting"
	"gatewatch/api"
	"gatewatch/collectors"
	"gatewatch/collectors/file"
	"gatewatch/config"
	"gatewatch/detectors"
	"gatewatch/detectors/observation"
	"gatewatch/pipeline"

	"github.com/spf13/cobra"
)

// replay holds the flags of the subcommand.
type replay struct {
	in      input
	out     outputFormat
	least   level // printed
	failOn  level
	workers int
	quiet   bool
	shadow  bool // what rules that are only watched would have opened

	topics           []string // addresses of topics
	fromText, toText string
	from, to         time.Time           // of messages; zero for no bound
	opened           []collectors.Source // partitions
}

func newReplay(a *app) *cobra.Command {
	r := &replay{}
	c := &cobra.Command{
		Use:   "replay FILE|kafka://BROKER/TOPIC...",
		Short: "Print the incidents of finished logs",
		Long: "Replay runs finished logs through the same pipeline as run, at full speed, and prints\n" +
			"the incidents at their final state. Rotations of one log (x.log.2.gz x.log.1 x.log)\n" +
			"become one source. A file may be gzip or zstd; - is standard input. Lines are read as the\n" +
			"first entry of sources in the configuration says, or as --format does.\n\n" +
			"kafka://broker:9092/topic reads what a topic holds now, without joining a group or\n" +
			"committing anything. --from and --to bound the times of its messages. If a source of\n" +
			"the configuration has this broker, its login, encryption and other settings hold;\n" +
			"kafka:///topic takes the broker from there, too.",
		Example: "  gatewatch replay /var/log/nginx/access.log*\n" +
			"  zcat old.gz | gatewatch replay -o jsonl -\n" +
			"  gatewatch replay -o html access.log > report.html\n" +
			"  gatewatch replay --fail-on high access.log\n" +
			"  gatewatch replay kafka://kafka1:9092/access-logs --from 2026-11-20T08:00:00Z --to 2026-11-20T10:00:00Z",
		Args: needLogs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := r.split(a, args); err != nil {
				return failed(err)
			}
			return failed(a.replay(c.Context(), r))
		},
	}
	r.in.flags(c)
	c.Flags().StringVar(&r.fromText, "from", "", "of topics: the first `time` of messages to read, such as 2026-11-20T08:00:00Z, or how long ago, such as 90m")
	c.Flags().StringVar(&r.toText, "to", "", "of topics: the `time` of messages to stop before")
	reportFlag(c, &r.out)
	levelFlag(c, &r.least, "level", "the least level to print")
	levelFlag(c, &r.failOn, "fail-on", "end with 3 when there is an incident of this level or above")
	c.Flags().IntVar(&r.workers, "workers", 0, "`n` goroutines for decoding, and half as many for windows (default: one a processor)")
	c.Flags().BoolVar(&r.shadow, "shadow", false, "print what rules that are only watched (shadow) would have opened, instead")
	c.Flags().BoolVarP(&r.quiet, "quiet", "q", false, "print neither progress nor summary")
	return c
}

func (a *app) replay(ctx context.Context, r *replay) error {
	if r.workers < 0 {
		return usage("--workers is %d; write 1 or more", r.workers)
	}
	c, err := a.readConfig(r.in.config, r.in.rules)
	if err != nil {
		return err
	}
	set, err := loadRules(c)
	if err != nil {
		return err
	}
	a.warnRules(set)
	mask, err := c.Masker()
	if err != nil {
		return configError(err)
	}
	begun := a.now()
	var begin span
	inputs, sources, err := a.replayInputs(ctx, c, r, &begin)
	if err != nil {
		return err
	}
	p, err := pipeline.New(pipeline.Options{
		Inputs: inputs,
		Derive: c.Derive(), Mask: mask, Index: set.index, Book: c.Book(), Workers: r.workers, Budget: c.State.Budget, Now: a.now,
		Logger: warnings(a, r.quiet),
	})
	if err != nil {
		return err
	}
	stop := a.progress(sources, r.quiet)
	err = p.Run(ctx)
	stop()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stopped before the end of the logs")
	}
	incidents, err := p.Incidents(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	untold, err := p.ShadowIncidents(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if r.shadow {
		incidents, untold = untold, nil
	}
	api.SortIncidents(incidents)
	if err := a.printReplay(r, incidents, &begin, p.Status()); err != nil {
		return err
	}
	if !r.quiet {
		printSummary(a.stderr, &begin, p.Status(), a.now().Sub(begun))
		r.printCounts(a.stderr, incidents)
		if len(untold) > 0 {
			// Nothing is left to do where standard error cannot be written.
			_, _ = fmt.Fprintf(a.stderr, "%s more of rules that are only watched; --shadow prints them\n", count(len(untold), "incident", "incidents"))
		}
	}
	return r.verdict(incidents)
}

// replayInputs opens files and topics.
func (a *app) replayInputs(ctx context.Context, c *config.Config, r *replay, begin *span) (inputs []pipeline.Input, sources []collectors.Source, err error) {
	if len(r.in.files) > 0 {
		o, err := r.in.options(c)
		if err != nil {
			return nil, nil, err
		}
		if sources, err = a.open(c, o, r.in.files, true); err != nil {
			return nil, nil, err
		}
		inputs = append(inputs, pipeline.Input{Collector: fixed(begin.watch(sources, o)), Format: o, Lateness: c.Sources[0].Lateness})
	}
	topics, err := a.kafkaInputs(ctx, c, r, begin)
	return append(inputs, topics...), append(sources, r.opened...), err
}

func (a *app) printReplay(r *replay, all []*alerting.Incident, begin *span, s pipeline.Status) error {
	shown := slices.DeleteFunc(slices.Clone(all), func(i *alerting.Incident) bool { return r.least.set && i.Level < r.least.value })
	switch r.out {
	case formatJSONL:
		return writeLines(a.stdout, shown)
	case formatHTML:
		return printReport(a.stdout, shown, begin, &s, a.now())
	}
	return printIncidents(a.stdout, shown, false)
}

// printCounts says how many incidents there are of each level, and, after a
// table, where the rest of what is known of them is.
func (r *replay) printCounts(w io.Writer, all []*alerting.Incident) {
	if len(all) == 0 {
		return
	}
	levels := map[observation.Level]int{}
	for _, i := range all {
		levels[i.Level]++
	}
	var parts []string
	for _, l := range slices.Backward(slices.Sorted(maps.Keys(levels))) {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(int64(levels[l])), l))
	}
	hint := ""
	if r.out == formatTable {
		hint = "; -o jsonl and -o html have their evidence"
	}
	// Nothing is left to do where standard error cannot be written.
	_, _ = fmt.Fprintf(w, "%s: %s%s\n", count(len(all), "incident", "incidents"), strings.Join(parts, ", "), hint)
}

// verdict is what --fail-on makes of the incidents.
func (r *replay) verdict(all []*alerting.Incident) error {
	if r.failOn.set && slices.ContainsFunc(all, func(i *alerting.Incident) bool { return i.Level >= r.failOn.value }) {
		return silent(exitFound)
	}
	return nil
}

// warnings is where a replay says what it cannot read, with a masked example.
func warnings(a *app, quiet bool) *slog.Logger {
	if quiet {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// printSummary says on one line what was read, and on further lines what was
// not.
func printSummary(w io.Writer, begin *span, s pipeline.Status, took time.Duration) {
	var lines, events, late, behind int64
	unreadable, skipped, formats := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for i := range s.Sources {
		src := &s.Sources[i]
		lines, events, late, behind = lines+src.Lines, events+src.Events, late+src.Late, behind+src.Behind
		add(unreadable, src.Unreadable)
		add(skipped, src.Skipped)
		add(formats, src.Formats)
	}
	// Nothing is left to do where standard error cannot be written.
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	span := ""
	if first, last := begin.until(&s); !last.IsZero() {
		span = fmt.Sprintf("; %s to %s", first.Format(stamp), last.Format(stamp))
	}
	say("%s in %s s, %s unreadable; %s%s", countLines(lines), strconv.FormatFloat(took.Seconds(), 'f', 2, 64),
		thousands(total(unreadable)), shares(formats, events), span)
	if len(unreadable) > 0 {
		say("unreadable: %s", counts(unreadable))
	}
	if lines > 0 && events == 0 {
		say("nothing could be read as a request; 'gatewatch explain FILE' shows why line by line")
	}
	if len(skipped) > 0 {
		say("passed over: %s", counts(skipped))
	}
	if late > 0 {
		say("%s more than the lateness behind their source's clock; they count for rules of single requests only", countLines(late))
	}
	if behind > 0 {
		say("%s behind the merge", countLines(behind))
	}
	if n := s.Windows.EvictedAlive; n > 0 {
		say("%s entities were pushed out of memory while they still counted, the nearest to firing at %d %% of its threshold; raise state.budget",
			thousands(int64(n)), s.Windows.EvictedScore*100/detectors.ScoreFiring)
	}
}

func add(dst, src map[string]int64) {
	for k, n := range src {
		dst[k] += n
	}
}

func total(m map[string]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

// byCount returns the keys of m, greatest number first.
func byCount(m map[string]int64) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
}

func counts(m map[string]int64) string {
	var parts []string
	for _, k := range byCount(m) {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(m[k]), escape(k)))
	}
	return strings.Join(parts, ", ")
}

// shares prints each format with its share of the events.
func shares(formats map[string]int64, events int64) string {
	if events == 0 {
		return "no request"
	}
	var parts []string
	for _, k := range byCount(formats) {
		parts = append(parts, fmt.Sprintf("%s %.4g %%", escape(k), 100*float64(formats[k])/float64(events)))
	}
	return strings.Join(parts, ", ")
}

func countLines(n int64) string {
	if n == 1 {
		return "1 line"
	}
	return thousands(n) + " lines"
}

// thousands groups the digits of a number: 12,345.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// progress draws how far reading is while standard error is a terminal. The
// returned function ends it and leaves the line empty.
func (a *app) progress(sources []collectors.Source, quiet bool) (stop func()) {
	return a.progressOf("", sources, quiet)
}

// progressOf is progress with a word on what is done.
func (a *app) progressOf(what string, sources []collectors.Source, quiet bool) (stop func()) {
	if quiet || !a.terminal {
		return func() {}
	}
	var meters []file.Progress
	var size int64
	for _, s := range sources {
		if m, ok := s.(file.Progress); ok {
			meters = append(meters, m)
			size += m.Size()
		}
	}
	if size == 0 {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		const every = 200 * time.Millisecond
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				_, _ = fmt.Fprint(a.stderr, "\r\x1b[K")
				return
			case <-tick.C:
				var read int64
				for _, m := range meters {
					read += m.Read()
				}
				drawProgress(a.stderr, what, min(read, size), size)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func drawProgress(w io.Writer, what string, read, size int64) {
	const width = 40
	full := int(read * width / size)
	if what != "" {
		what = "  " + what
	}
	_, _ = fmt.Fprintf(w, "\r%s%s %3d %%  %s of %s MiB%s", strings.Repeat("█", full), strings.Repeat("░", width-full),
		read*100/size, thousands(read>>20), thousands(size>>20), what)
}

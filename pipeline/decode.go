package pipeline

import (
	"bytes"
	"errors"
	"math"

	"gatewatch/collectors"
	"gatewatch/collectors/format"
	"gatewatch/detectors/observation"
	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// work is one block on its way: read, decoded, given window times, merged,
// judged. It holds on to the block until all of its records are judged, since
// a reload decodes what is left of it again.
type work struct {
	lane  *lane
	item  collectors.Item
	batch *observation.Batch
	setup *setup
	done  chan struct{} // closed once batch and tally are filled
	tally tally

	// Records before this logical offset were judged already, under an earlier setup.
	from   int64
	passed int64 // logical offset behind the last record that the merge let pass, 0 before the first
	lines  int64 // lines in the block
	end    int64 // logical offset after the block
	gap    bool  // records are missing before the first one, and nothing was said of that yet
	ended  bool  // no block: the source's Run has returned
}

// lastLine is the number of the block's last line, 0 in a queue, whose lines
// have no numbers.
func (w *work) lastLine() int64 {
	if w.lane.queue != nil {
		return 0
	}
	return w.item.Block.Line + w.lines - 1
}

// tally counts what became of the lines of a block.
type tally struct {
	lines, events, blank int64
	unreadable           map[string]int64 // by format.LineError reason
	formats              []formatCount
	sample               string // a masked line that could not be read
	sampleReason         string
	rejects              rejectList
}

// setup is everything that turns lines into observations. A reload makes a new one.
type setup struct {
	derive event.DeriveOptions
	index  *sigma.Index
	plan   *observation.Plan
	needs  event.FieldSet
	rules  *ruleCounters
}

func newSetup(index *sigma.Index, derive event.DeriveOptions, before *ruleCounters) *setup {
	plan := index.Plan()
	return &setup{derive: derive, index: index, plan: plan, needs: index.Needs(), rules: newRuleCounters(plan, before)}
}

// stateless is one decoding goroutine's set of tools for one setup.
type stateless struct {
	setup    *setup
	deriver  *event.Deriver
	matcher  *sigma.Matcher
	decoders map[int]*format.Decoder // by input
	inputs   []Input
	stage    stage
	message  message
	mask     *event.Masker
	hide     *hider // nil where no field of a window needs it
}

func newStateless(s *setup, inputs []Input, mask *event.Masker) (*stateless, error) {
	d, err := event.NewDeriver(WithAttacks(s.derive))
	if err != nil {
		return nil, err
	}
	t := &stateless{
		setup: s, deriver: d, matcher: s.index.NewMatcher(), decoders: map[int]*format.Decoder{}, inputs: inputs,
		mask: mask, hide: newHider(mask, s.plan),
	}
	for i := range inputs {
		if t.decoders[i], err = format.New(inputs[i].Format); err != nil {
			return nil, err
		}
		t.decoders[i].Hold = true
	}
	d.Hold = true
	return t, nil
}

// stage holds the events that are worked on side by side. One kind of work is done
// for all of them before the next: each kind has code and tables that fill the
// processor's caches, and for one event at a time each would push out the
// other's (BenchmarkReplay; Boncz et al., MonetDB/X100: Hyper-Pipelining Query Execution, 2005).
type stage struct {
	n      int
	events [stageSize]event.Event
	spots  [stageSize]spot
	found  []uint32       // the detections that they match
	ends   [stageSize]int // of each event's in found
}

const stageSize = 32

// spot is where an event's text is.
type spot struct {
	start, end, line int64
	length           int
}

// next returns the event to decode into.
func (s *stage) next() *event.Event { return &s.events[s.n] }

// decode fills w.batch with the observations of w's block.
func (t *stateless) decode(w *work) {
	block := w.item.Block
	if w.lane.queue != nil {
		t.messages(w)
		return
	}
	dec := t.decoders[w.lane.input]
	data, offset, line := block.Data, block.Offset, block.Line
	for ; len(data) > 0; line++ {
		n := bytes.IndexByte(data, '\n')
		text, whole := data, len(data)
		if n >= 0 {
			text, whole = data[:n], n+1
		}
		start := offset
		offset += int64(whole)
		data = data[whole:]
		if start < w.from {
			continue
		}
		w.tally.lines++
		if err := dec.Decode(text, t.stage.next()); err != nil {
			w.tally.unread(t.mask, unreadReason(err), text)
			continue
		}
		t.push(w, dec, spot{start, offset, line, len(text)})
	}
	t.flush(w, dec)
	w.lines, w.end = line-block.Line, offset
	t.setup.rules.takeMissing(t.matcher)
}

// push takes in the event that was decoded into the stage's next place.
func (t *stateless) push(w *work, dec *format.Decoder, at spot) {
	s := &t.stage
	w.tally.events++
	w.tally.format(s.events[s.n].Format)
	s.spots[s.n] = at
	if s.n++; s.n == stageSize {
		t.flush(w, dec)
	}
}

// flush observes the events of the stage.
func (t *stateless) flush(w *work, dec *format.Decoder) {
	s := &t.stage
	needs := t.setup.needs
	for i := range s.events[:s.n] {
		t.deriver.Identify(&s.events[i], needs)
	}
	for i := range s.events[:s.n] {
		t.deriver.Classify(&s.events[i], needs)
	}
	s.found = s.found[:0]
	for i := range s.events[:s.n] {
		s.found = t.matcher.Find(s.found, &s.events[i])
		s.ends[i] = len(s.found)
	}
	from := 0
	for i, to := range s.ends[:s.n] {
		t.observe(w.batch, &s.events[i], &s.spots[i], s.found[from:to])
		from = to
	}
	s.n = 0
	t.deriver.Forget()
	dec.Forget()
}

func (t *stateless) observe(b *observation.Batch, ev *event.Event, at *spot, found []uint32) {
	first := len(b.Obs)
	t.matcher.Emit(found, ev, b)
	b.Records = append(b.Records, observation.Record{
		Time: eventSecond(ev.Time), Offset: at.start, End: at.end, Line: at.line, Length: uint32(at.length),
		First: uint32(first), Count: uint32(len(b.Obs) - first),
	})
	r := &b.Records[len(b.Records)-1]
	if r.Count == 0 {
		return
	}
	r.Card = observation.Card{
		Client:    ev.Client,
		Principal: b.Keep(observation.Cut(ev.Principal, observation.MaxAccount)),
		Account:   b.Keep(observation.Cut(ev.Account, observation.MaxAccount)),
		Method:    b.Keep(ev.Method),
		Route:     b.Keep(observation.Cut(ev.Route, observation.MaxRoute)),
		Status:    ev.Status,
		Outcome:   uint8(ev.Outcome),
		Bytes:     ev.BodySize,
	}
	if t.hide != nil {
		t.hide.record(b, r)
	}
	r.Card.Sum()
}

// eventSecond is the whole second of an event time. Windows keep times in 32
// bits; a stamp before 1970 or after 2106 is wrong anyway.
func eventSecond(ns int64) int64 {
	return min(max(ns/1e9, 0), math.MaxUint32)
}

// formatCount is how many events of a block were read as one format.
type formatCount struct {
	name   string
	events int64
}

// format counts an event. A block holds one or two formats, so a short list
// whose last entry is looked at first costs less than a map.
func (t *tally) format(name string) {
	for i := len(t.formats) - 1; i >= 0; i-- {
		if t.formats[i].name == name {
			t.formats[i].events++
			return
		}
	}
	t.formats = append(t.formats, formatCount{name, 1})
}

// maxSample bounds the line that is logged as an example of an unreadable one.
const maxSample = 200

// unreadReason is why a line could not be read, "" for one that holds nothing.
func unreadReason(err error) string {
	if errors.Is(err, format.ErrBlank) {
		return ""
	}
	if le, ok := errors.AsType[*format.LineError](err); ok {
		return le.Reason
	}
	return "other"
}

// unread counts a line that could not be read.
func (t *tally) unread(mask *event.Masker, reason string, text []byte) {
	if reason == "" {
		t.blank++
		return
	}
	if t.unreadable == nil {
		t.unreadable = map[string]int64{}
	}
	t.unreadable[reason]++
	if t.sample == "" {
		t.sample = string(mask.Append(nil, string(text[:min(len(text), maxSample)])))
		t.sampleReason = reason
	}
}

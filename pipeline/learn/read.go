package learn

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/cespare/xxhash/v2"

	"gatewatch/collectors"
	"gatewatch/collectors/format"
	"gatewatch/event"
	"gatewatch/pipeline"
)

// Reader reads finished logs. Its fields are not changed while it reads.
type Reader struct {
	Format  format.Options
	Derive  event.DeriveOptions
	Attacks bool // fill Fact.Attack, which costs something
	Workers int  // decoding goroutines; default one a processor
}

// Counts is what became of the lines.
type Counts struct{ Lines, Events int64 }

// Read reads the sources one after another and calls each for every request, in
// the order of the lines, from one goroutine. It returns the first error of a
// source, or that of ctx.
func (r *Reader) Read(ctx context.Context, sources []collectors.Source, each func(*Fact)) (Counts, error) {
	workers := r.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	tools := make([]*decoder, workers)
	for i := range tools {
		var err error
		if tools[i], err = r.decoder(); err != nil {
			return Counts{}, err
		}
	}
	var total Counts
	for _, s := range sources {
		n, err := readSource(ctx, s, tools, each)
		total.Lines += n.Lines
		total.Events += n.Events
		if err != nil {
			return total, fmt.Errorf("read %s: %w", s.Name(), err)
		}
	}
	return total, nil
}

// sheet holds the facts of a block.
type sheet struct {
	block *collectors.Block
	facts []Fact
	text  []byte // what the strings of the facts are views of
	lines int64
	done  chan struct{}
}

// readSource has the blocks of a source decoded by several goroutines, and
// their facts taken in by this one in the order of the blocks.
func readSource(ctx context.Context, s collectors.Source, tools []*decoder, each func(*Fact)) (Counts, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	depth := 2 * len(tools)
	jobs, ordered := make(chan *sheet, depth), make(chan *sheet, depth)
	spare := make(chan *sheet, 2*depth+1)
	var wg sync.WaitGroup
	for _, d := range tools {
		wg.Go(func() {
			for sh := range jobs {
				d.decode(sh)
				close(sh.done)
			}
		})
	}
	var runErr error
	wg.Go(func() {
		defer close(ordered)
		defer close(jobs)
		runErr = s.Run(ctx, collectors.Position{}, func(it collectors.Item) error {
			if it.Block == nil {
				return nil
			}
			var sh *sheet
			select {
			case sh = <-spare:
			default:
				sh = new(sheet)
			}
			sh.block, sh.done = it.Block, make(chan struct{})
			for _, to := range [...]chan *sheet{jobs, ordered} {
				select {
				case to <- sh:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	var n Counts
	for sh := range ordered {
		<-sh.done
		n.Lines += sh.lines
		n.Events += int64(len(sh.facts))
		if ctx.Err() == nil {
			for i := range sh.facts {
				each(&sh.facts[i])
			}
		}
		if sh.block.Release != nil {
			sh.block.Release()
		}
		clear(sh.facts)
		sh.facts, sh.text, sh.block, sh.lines = sh.facts[:0], sh.text[:0], nil, 0
		select {
		case spare <- sh:
		default:
		}
	}
	wg.Wait()
	return n, runErr
}

// decoder is what one goroutine needs to make facts of lines.
type decoder struct {
	format  *format.Decoder
	deriver *event.Deriver
	need    event.FieldSet
	ev      event.Event
	last    map[string]string // few texts that come with every line
}

func (r *Reader) decoder() (*decoder, error) {
	d := &decoder{need: event.FieldSet(0).Add(event.FieldObjectID).Add(event.FieldRoute), last: map[string]string{}}
	o := r.Derive
	if r.Attacks {
		o = pipeline.WithAttacks(o)
		d.need = d.need.Add(event.FieldAttackClass)
	}
	var err error
	if d.deriver, err = event.NewDeriver(o); err != nil {
		return nil, err
	}
	if d.format, err = format.New(r.Format); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *decoder) decode(sh *sheet) {
	for line := range bytes.Lines(sh.block.Data) {
		sh.lines++
		if d.format.Decode(bytes.TrimSuffix(line, []byte("\n")), &d.ev) != nil {
			continue
		}
		gatewayRoute := d.ev.Route != ""
		d.deriver.Derive(&d.ev, d.need)
		sh.facts = append(sh.facts, d.fact(sh, gatewayRoute))
	}
}

// Bounds of the texts of a fact, in bytes.
const (
	maxPath  = 256
	maxAgent = 256
	maxName  = 128
)

func (d *decoder) fact(sh *sheet, gatewayRoute bool) Fact {
	ev := &d.ev
	f := Fact{
		Time: ev.Time / 1e9, Client: ev.ClientGroup, Addr: ev.Client, Peer: ev.Peer, Hop: lastHop(ev.ForwardedFor),
		Format: d.word(ev.Format), Method: d.word(ev.Method),
		Route: sh.keep(ev.Route, maxPath), Path: sh.keep(ev.Path, maxPath), Agent: sh.keep(ev.UserAgent, maxAgent),
		Account: sh.keep(ev.Account, maxName), Who: sh.keep(ev.Principal, maxName),
		Status: ev.Status, Size: ev.BodySize, Login: ev.Login, Action: ev.Action,
		Failed: ev.Login && ev.Outcome == event.OutcomeFailure, Passed: ev.Login && ev.Outcome == event.OutcomeSuccess,
		Attack: len(ev.AttackClass) > 0,
	}
	if ev.ObjectID != "" {
		f.Object = xxhash.Sum64String(ev.ObjectID) | 1
	}
	if f.Agent != "" {
		f.AgentID = xxhash.Sum64String(f.Agent)
	}
	set := func(p presence, is bool) {
		if is {
			f.Present |= p
		}
	}
	set(hasClient, ev.Client.IsValid())
	set(hasPeer, ev.Peer.IsValid())
	set(hasStatus, ev.Status != 0)
	set(hasAgent, ev.UserAgent != "")
	set(hasReferer, ev.Referer != "")
	set(hasQuery, ev.Query != "")
	set(hasSize, ev.BodySize >= 0)
	set(hasDuration, ev.Duration >= 0)
	set(hasWho, ev.Principal != "")
	set(hasAccount, ev.Account != "")
	set(hasHost, ev.Host != "")
	set(hasForwarded, ev.ForwardedFor != "")
	set(hasRoute, gatewayRoute)
	return f
}

// word keeps a text of which there are few, such as a method.
func (d *decoder) word(s string) string {
	if w, ok := d.last[s]; ok {
		return w
	}
	w := strings.Clone(s)
	if len(d.last) < 64 {
		d.last[w] = w
	}
	return w
}

// keep copies at most n bytes of a text to the sheet.
func (sh *sheet) keep(s string, n int) string {
	if s == "" {
		return ""
	}
	s = s[:min(len(s), n)]
	at := len(sh.text)
	sh.text = append(sh.text, s...)
	// Growing moves only what comes later: earlier strings keep the old array alive.
	return unsafe.String(&sh.text[at], len(s))
}

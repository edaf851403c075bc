package pipeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"gatewatch/collectors"
	"gatewatch/detectors"
	"gatewatch/detectors/observation"
	"gatewatch/storage"
)

// The versions that begin every value which this file writes. A position of
// a source that knows gaps or notes has the second one.
const (
	positionVersion = 1
	notedVersion    = 2
)

// savedPosition is where a source goes on, with its clock there.
type savedPosition struct {
	position collectors.Position
	clock    int64
	set      bool
	gap      gapState
}

// The flags of a position.
const (
	positionClock = 1 << iota // it has a clock
	positionGap               // it is at a gap
)

func encodePosition(l *lane) []byte {
	b := []byte{positionVersion, 0}
	if l.posSet {
		b[1] |= positionClock
	}
	if l.gap.fresh {
		b[1] |= positionGap
	}
	if l.gap.fresh || l.gap.until != 0 || l.note != nil {
		b[0] = notedVersion
	}
	b = binary.AppendVarint(b, l.posClock)
	b = binary.AppendVarint(b, l.position.Offset)
	b = binary.AppendVarint(b, l.position.Line)
	if b[0] == notedVersion {
		b = binary.AppendVarint(b, l.gap.until)
		b = binary.AppendVarint(b, int64(len(l.note)))
		b = append(b, l.note...)
	}
	return append(b, l.position.Origin...)
}

var errPosition = errors.New("saved position is damaged")

func decodePosition(b []byte) (savedPosition, error) {
	var s savedPosition
	if len(b) < 2 || b[0] != positionVersion && b[0] != notedVersion || b[1] > positionClock|positionGap {
		return s, errPosition
	}
	s.set, s.gap.fresh = b[1]&positionClock != 0, b[1]&positionGap != 0
	fields := []*int64{&s.clock, &s.position.Offset, &s.position.Line}
	var note int64
	if b[0] == notedVersion {
		fields = append(fields, &s.gap.until, &note)
	}
	b = b[2:]
	for _, to := range fields {
		v, n := binary.Varint(b)
		if n <= 0 {
			return s, errPosition
		}
		*to, b = v, b[n:]
	}
	if s.position.Offset < 0 || s.position.Line < 0 || note < 0 || note > int64(len(b)) {
		return s, errPosition
	}
	if note > 0 {
		s.position.Note = bytes.Clone(b[:note])
	}
	b = b[note:]
	s.position.Origin = bytes.Clone(b)
	return s, nil
}

// load reads everything back. It is the only time that the database is read.
func (p *Pipeline) load(m *merger, f *findingsStage) error {
	db := p.o.DB
	if err := p.sources.load(db); err != nil {
		return err
	}
	err := db.Scan(storage.Positions, nil, func(k, v []byte) error {
		s, err := decodePosition(v)
		if err != nil {
			return fmt.Errorf("position of %q: %w", k, err)
		}
		p.saved[string(k)] = s
		return nil
	})
	if err != nil {
		return err
	}
	err = db.Scan(storage.Meta, []byte("merged"), func(_, v []byte) error {
		if len(v) == 0 || v[0] != positionVersion {
			return errPosition
		}
		t, n := binary.Varint(v[1:])
		if n <= 0 {
			return errPosition
		}
		m.merged, m.anyRun, m.mergedName = t, true, string(v[1+n:])
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.loadSlots(m, f); err != nil {
		return err
	}
	for _, part := range [...]struct {
		bucket string
		load   func(scan func(each func(k, v []byte) error) error) error
	}{
		{storage.Incidents, f.book.Load}, {storage.Silences, f.book.LoadSilences}, {storage.Groups, f.book.LoadGroups},
	} {
		if err := part.load(func(each func(k, v []byte) error) error { return db.Scan(part.bucket, nil, each) }); err != nil {
			return err
		}
	}
	return f.shadow.load(db)
}

func (p *Pipeline) loadSlots(m *merger, f *findingsStage) error {
	tables := map[uint64][]byte{}
	err := p.o.DB.Scan(storage.Meta, []byte("plan/"), func(k, v []byte) error {
		if len(k) == len("plan/")+8 {
			n := binary.BigEndian.Uint64(k[len("plan/"):])
			tables[n] = v
			m.cuts.plan = max(m.cuts.plan, n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	mappings := map[uint64]*detectors.Mapping{}
	err = p.o.DB.Scan(storage.Slots, nil, func(k, v []byte) error {
		if len(k) != 10 || k[0] > 1 {
			return errors.New("slot key is damaged")
		}
		set, slot, seq := int(k[0]), int(k[1]), binary.BigEndian.Uint64(k[2:])
		engine := f.upper
		if set == 0 {
			engine = p.owners[slot%len(p.owners)].engine
		}
		n, err := detectors.PlanOf(v)
		if err != nil {
			return err
		}
		if mappings[n] == nil {
			if mappings[n], err = engine.MapTable(tables[n]); err != nil {
				return fmt.Errorf("plan %d: %w", n, err)
			}
		}
		m.cuts.ledger.add(set, slot, seq, len(v))
		return engine.Load(slot, v, mappings[n])
	})
	if err != nil {
		return err
	}
	f.upper.FinishLoad()
	for _, o := range p.owners {
		o.engine.FinishLoad()
	}
	m.cuts.table = tables[m.cuts.plan]
	m.planned(detectors.PlanTable(f.plan))
	return nil
}

// planned gives the plan in force a number: the one it has, if it stands for
// the same, else the next one.
func (m *merger) planned(table []byte) {
	if !bytes.Equal(table, m.cuts.table) {
		m.cuts.plan++
		m.cuts.table, m.cuts.planTable = table, table
	}
}

// registry numbers sources: entries of windows refer to them by number, so a
// name keeps its number for good.
type registry struct {
	mu    sync.Mutex
	ids   map[string]uint32
	names []string // index 0 is unused
	fresh []storage.Op
}

func newRegistry() *registry { return &registry{ids: map[string]uint32{}, names: []string{""}} }

func (r *registry) load(db *storage.DB) error {
	return db.Scan(storage.Sources, nil, func(k, v []byte) error {
		n, w := binary.Uvarint(v)
		if w <= 0 || n == 0 || n > maxSources {
			return fmt.Errorf("number of source %q is damaged", k)
		}
		for uint64(len(r.names)) <= n {
			r.names = append(r.names, "")
		}
		r.names[n] = string(k)
		r.ids[string(k)] = uint32(n)
		return nil
	})
}

// maxSources bounds source numbers; windows keep them in 16 bits.
const maxSources = 1<<16 - 1

func (r *registry) id(name string) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id, ok := r.ids[name]; ok {
		return id
	}
	if len(r.names) > maxSources {
		return 0 // evidence of further sources has no text; detection is not touched
	}
	id := uint32(len(r.names))
	r.names = append(r.names, name)
	r.ids[name] = id
	r.fresh = append(r.fresh, storage.Op{Bucket: storage.Sources, Key: []byte(name), Value: binary.AppendUvarint(nil, uint64(id))})
	return id
}

// name returns the name of the source with a number, "" for none.
func (r *registry) name(id uint32) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(id) >= len(r.names) {
		return ""
	}
	return r.names[id]
}

// take returns the changes not yet saved.
func (r *registry) take() []storage.Op {
	ops := r.fresh
	r.fresh = nil
	return ops
}

// ownsSlot tells which slots belong to an owner.
func ownsSlot(number, owners int) func(slot int) bool {
	return func(slot int) bool { return slot%owners == number%observation.Slots }
}

package alerting

import (
	"container/list"
	"encoding/binary"
	"slices"
	"strings"
)

const (
	// maxKeep bounds what a receiver may ask to keep of one incident, in bytes.
	maxKeep = 512
	// maxNotes bounds how much is kept; beyond that the oldest goes.
	maxNotes = 20_000
	// notePrefix begins the keys of notes in the bucket of the outbox. No name
	// of a receiver holds a zero byte.
	notePrefix  = "\x00kept\x00"
	noteVersion = 1
)

// note is what a receiver asked to keep of one incident, such as where its
// message is. Each change has a key of its own: what is deleted late never
// deletes what is newer.
type note struct {
	receiver, incident string
	seq                int64
	value              []byte
}

func (n *note) key() []byte {
	k := append([]byte(notePrefix), n.receiver...)
	k = append(append(append(k, 0), n.incident...), 0)
	return binary.BigEndian.AppendUint64(k, uint64(n.seq))
}

func (n *note) op() StoreOp {
	return StoreOp{BucketOutbox, n.key(), append([]byte{noteVersion}, n.value...)}
}

func isNote(key []byte) bool { return strings.HasPrefix(string(key), notePrefix) }

func decodeNote(key, value []byte) (*note, error) {
	rest := key[len(notePrefix):]
	if len(rest) < 8 || len(value) == 0 || value[0] != noteVersion {
		return nil, errDamaged
	}
	n := &note{seq: int64(binary.BigEndian.Uint64(rest[len(rest)-8:])), value: slices.Clone(value[1:])}
	names := strings.Split(string(rest[:len(rest)-8]), "\x00")
	if len(names) != 3 || names[0] == "" || names[1] == "" || names[2] != "" {
		return nil, errDamaged
	}
	n.receiver, n.incident = names[0], names[1]
	return n, nil
}

// notes are those of all receivers. The outbox's mutex guards them.
type notes struct {
	byKey map[[2]string]*list.Element // by receiver and incident
	order *list.List                  // of *note, the oldest first
}

func newNotes() notes { return notes{byKey: map[[2]string]*list.Element{}, order: list.New()} }

// get returns what was kept, nil for nothing.
func (ns *notes) get(receiver, incident string) []byte {
	if e := ns.byKey[[2]string{receiver, incident}]; e != nil {
		return slices.Clone(e.Value.(*note).value)
	}
	return nil
}

// set keeps n in the place of an older one and returns what makes that durable.
func (ns *notes) set(n *note) []StoreOp {
	id := [2]string{n.receiver, n.incident}
	ops := []StoreOp{n.op()}
	if e := ns.byKey[id]; e != nil {
		if old := e.Value.(*note); old.seq >= n.seq {
			return []StoreOp{{Bucket: BucketOutbox, Key: n.key()}} // one that was to be deleted
		}
		ops = append(ops, ns.remove(e))
	}
	ns.byKey[id] = ns.order.PushBack(n)
	for ns.order.Len() > maxNotes {
		ops = append(ops, ns.remove(ns.order.Front()))
	}
	return ops
}

func (ns *notes) remove(e *list.Element) StoreOp {
	n := ns.order.Remove(e).(*note)
	delete(ns.byKey, [2]string{n.receiver, n.incident})
	return StoreOp{Bucket: BucketOutbox, Key: n.key()}
}

// forget drops the notes of a receiver and returns their keys.
func (ns *notes) forget(receiver string) [][]byte {
	var keys [][]byte
	for e := ns.order.Front(); e != nil; {
		next := e.Next()
		if e.Value.(*note).receiver == receiver {
			keys = append(keys, ns.remove(e).Key)
		}
		e = next
	}
	return keys
}

// keep notes what a result asks to keep, and returns what makes that durable.
func (b *Outbox) keep(q *queue, m *message, value []byte) []StoreOp {
	if value == nil || len(value) > maxKeep {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.gone {
		return nil
	}
	incidents := []string{m.Incident}
	if m.digest() {
		for _, x := range m.Members {
			incidents = append(incidents, x.Incident)
		}
	}
	var ops []StoreOp
	for _, id := range incidents {
		b.seq++
		ops = append(ops, b.notes.set(&note{q.name, id, b.seq, slices.Clone(value)})...)
	}
	return ops
}

// loadNotes enters the notes that were found, whatever their order.
func (b *Outbox) loadNotes(found []*note) {
	slices.SortFunc(found, func(x, y *note) int { return int(min(max(x.seq-y.seq, -1), 1)) })
	for _, n := range found {
		b.seq = max(b.seq, n.seq)
		if b.queues[n.receiver] == nil {
			b.garbage[string(n.key())] = true
			continue
		}
		for _, op := range b.notes.set(n) {
			if op.Value == nil {
				b.garbage[string(op.Key)] = true
			}
		}
	}
}

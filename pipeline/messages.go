package pipeline

import (
	"cmp"
	"unsafe"

	"gatewatch/collectors"
	"gatewatch/collectors/format"
	"gatewatch/collectors/format/envelope"
	"gatewatch/event"
)

// message is a decoding goroutine's tools for messages.
type message struct {
	lines envelope.Splitter
	inner [maxWrappers][]byte
}

// maxWrappers is how many objects may be wrapped around a line.
const maxWrappers = 3

// reasonTooLong is the reason of a line in a message that is over the limit.
const reasonTooLong = "too_long"

// reasonTooMany is the reason of lines of one message beyond those that have offsets.
const reasonTooMany = "too_many_lines"

const defaultMaxLine = 1 << 20

// messages fills w.batch with the observations of the lines in w's messages.
// The last record of a message ends it: no position lies behind all records of
// a message but inside it. One may lie between two of them; then the source
// begins with that message again, in a block whose Offset is the position.
func (t *stateless) messages(w *work) {
	block := w.item.Block
	o := &t.inputs[w.lane.input].Messages
	topic, _ := w.lane.queue.Place()
	for i := range block.Messages {
		m := &block.Messages[i]
		before := w.tally.events
		t.lines(w, m, o, topic)
		if w.tally.events == before {
			continue
		}
		end := collectors.LogicalOffset(m.Offset + 1)
		if n := t.stage.n; n > 0 {
			t.stage.spots[n-1].end = end
		} else {
			w.batch.Records[len(w.batch.Records)-1].End = end
		}
	}
	t.flush(w, t.decoders[w.lane.input])
	w.end = block.End
	t.setup.rules.takeMissing(t.matcher)
}

// lines reads the lines of one message.
func (t *stateless) lines(w *work, m *collectors.Message, o *Messages, topic string) {
	dec := t.decoders[w.lane.input]
	dec.Fallback = m.Time
	if o.OwnTime {
		dec.Fallback = 0
	}
	most := cmp.Or(o.MaxLine, defaultMaxLine)
	t.message.lines.Reset(m.Value)
	start := collectors.LogicalOffset(m.Offset)
	end := collectors.LogicalOffset(m.Offset + 1)
	for ; ; start++ {
		line, ok := t.message.lines.Next()
		if !ok {
			return
		}
		if start < w.from || start < w.item.Block.Offset {
			continue
		}
		w.tally.lines++
		if start+1 >= end {
			w.tally.unread(t.mask, reasonTooMany, line)
			w.tally.keepReject(w, start, m, reasonTooMany, nil)
			return // all of what is left counts as one
		}
		if len(line) > most {
			w.tally.unread(t.mask, reasonTooLong, line)
			w.tally.keepReject(w, start, m, reasonTooLong, nil)
			continue
		}
		ev := t.stage.next()
		wrapped, err := t.unwrap(dec, line, ev)
		if err != nil {
			reason := unreadReason(err)
			w.tally.unread(t.mask, reason, line)
			w.tally.keepReject(w, start, m, reason, line)
			continue
		}
		if len(m.Key) > 0 {
			ev.MessageKey = unsafe.String(&m.Key[0], len(m.Key))
		}
		ev.Destination = topic
		fillFrom(ev, m.Headers, o.Headers)
		t.push(w, dec, spot{start, start + 1, 0, len(line)})
		if wrapped || !within(line, m.Value) {
			t.flush(w, dec) // what it is a view of is used for the next line
		}
	}
}

// within reports whether a line is a part of a message, not a copy.
func within(line, message []byte) bool {
	first := uintptr(unsafe.Pointer(unsafe.SliceData(message)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(line)))
	return at >= first && at < first+uintptr(len(message))
}

// unwrap decodes a line, or the one that is inside it: wrapped is true then. The error is
// that of the outermost one that was tried.
func (t *stateless) unwrap(dec *format.Decoder, line []byte, ev *event.Event) (wrapped bool, err error) {
	first := dec.Decode(line, ev)
	if first == nil {
		return false, nil
	}
	for depth := range maxWrappers {
		var ok bool
		if line, ok = envelope.Inner(line, &t.message.inner[depth]); !ok {
			break
		}
		if dec.Decode(line, ev) == nil {
			return true, nil
		}
	}
	return false, first
}

// fillFrom gives fields that the line does not have the values of headers. The
// first header of a name counts.
func fillFrom(ev *event.Event, headers []collectors.Header, to map[string]event.Field) {
	if len(to) == 0 {
		return
	}
	for i := range headers {
		h := &headers[i]
		if f, ok := to[string(h.Key)]; ok && len(h.Value) > 0 {
			ev.Fill(f, unsafe.String(&h.Value[0], len(h.Value)))
		}
	}
}

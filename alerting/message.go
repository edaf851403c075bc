package alerting

import (
	"container/heap"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// message is one revision of an incident on its way to one receiver, or a
// digest of several.
type message struct {
	Receiver  string
	Incident  string
	Revision  int64
	Cause     Cause
	Made      int64 // Unix nanoseconds
	Seq       int64 // order of staging
	Attempts  int   `json:",omitempty"`
	Attempted bool  `json:",omitempty"` // an attempt began whose outcome is not known
	Parked    bool  `json:",omitempty"`
	// Group is shared by what may be folded into one digest; "" is alone.
	Group string `json:",omitempty"`
	// Members are the revisions that a digest stands for; Incident is then an
	// id of its own. What it says is settled when it is made: another attempt
	// may not say something else under the same key.
	Members []member `json:",omitempty"`

	payload   []byte
	parts     []*message // of a digest that is not durable yet
	notBefore time.Time
	flying    bool
	refused   int // times in a row
	index     int // in the queue's heap, -1 when not there
}

// member is one revision in a digest.
type member struct {
	Incident string
	Revision int64
}

// incidents are those that the message tells of.
func (m *message) incidents() []member {
	if len(m.Members) > 0 {
		return m.Members
	}
	return []member{{m.Incident, m.Revision}}
}

// revision is that of one incident in the message.
func (m *message) revision(incident string) int64 {
	for _, x := range m.incidents() {
		if x.Incident == incident {
			return x.Revision
		}
	}
	return 0
}

func (m *message) digest() bool { return len(m.Members) > 0 }

// key is unique for each revision and receiver, so that what is written about
// one revision never touches another.
func (m *message) key() []byte {
	k := append([]byte(m.Receiver), 0)
	k = append(append(k, m.Incident...), 0)
	return binary.BigEndian.AppendUint64(k, uint64(m.Revision))
}

func (m *message) notification() Notification {
	return Notification{
		Key:      fmt.Sprintf("%s/%d", m.Incident, m.Revision),
		Incident: m.Incident, Revision: m.Revision, Cause: m.Cause,
		Made: time.Unix(0, m.Made).UTC(), Payload: m.payload, Repeat: m.Attempted,
	}
}

func (m *message) encode() []byte {
	head, err := json.Marshal(m)
	if err != nil {
		panic(err) // plain data: cannot happen
	}
	w := writer{b: make([]byte, 0, len(head)+len(m.payload)+16)}
	w.b = append(w.b, storedVersion)
	w.bytes(head)
	w.bytes(m.payload)
	return w.b
}

func decodeMessage(value []byte) (*message, error) {
	if len(value) == 0 || value[0] != storedVersion {
		return nil, errors.New("it has an unknown version")
	}
	r := reader{b: value[1:]}
	m := &message{index: -1}
	if err := json.Unmarshal(r.bytes(), m); err != nil {
		return nil, err
	}
	m.payload = slices.Clone(r.bytes())
	if r.bad || len(r.b) != 0 || m.Receiver == "" || m.Incident == "" || !json.Valid(m.payload) {
		return nil, errDamaged
	}
	seen := map[string]bool{}
	for _, x := range m.Members {
		if x.Incident == "" || seen[x.Incident] {
			return nil, errDamaged
		}
		seen[x.Incident] = true
	}
	return m, nil
}

// messageHeap orders what is ready by the time before which it must not be
// sent, then by age.
type messageHeap []*message

func (h messageHeap) Len() int { return len(h) }
func (h messageHeap) Less(i, j int) bool {
	if c := h[i].notBefore.Compare(h[j].notBefore); c != 0 {
		return c < 0
	}
	return h[i].Seq < h[j].Seq
}

func (h messageHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *messageHeap) Push(x any) {
	m := x.(*message)
	m.index = len(*h)
	*h = append(*h, m)
}

func (h *messageHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	m.index = -1
	return m
}

var _ heap.Interface = (*messageHeap)(nil)

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
)

// store keeps what was committed, as a state file would.
type store struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *store) Commit(ops []alerting.StoreOp) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range ops {
		if op.Value == nil {
			delete(s.values, string(op.Key))
		} else {
			s.values[string(op.Key)] = op.Value
		}
	}
	return nil
}

// attempted reports whether the store says that the revision is on its way.
func (s *store) attempted(incident string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.values {
		if bytes.Contains(v, []byte(`"Incident":"`+incident+`"`)) && bytes.Contains(v, []byte(`"Attempted":true`)) {
			return true
		}
	}
	return false
}

// TestThroughTheOutbox sends to an endpoint that is rude in every way before
// it takes anything: each revision gets through once, in order, and none is
// asked for before the attempt is durable.
func TestThroughTheOutbox(t *testing.T) {
	s := &store{values: map[string][]byte{}}
	var mu sync.Mutex
	calls := 0
	accepted := map[string]int{}
	last := map[string]int64{}
	done := make(chan struct{}, 100)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		var b struct{ Data alerting.Incident }
		if err := json.Unmarshal(text, &b); err != nil {
			t.Error(err)
		}
		if !s.attempted(b.Data.ID) {
			t.Errorf("%s came before its attempt was durable", r.Header.Get("Webhook-Id"))
		}
		mu.Lock()
		calls++
		call := calls
		mu.Unlock()
		switch call {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
			return
		case 2:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case 3:
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
			return
		case 4:
			<-r.Context().Done()
			return
		}
		mu.Lock()
		defer mu.Unlock()
		key := r.Header.Get("Webhook-Id")
		if key != fmt.Sprintf("%s/%d", b.Data.ID, b.Data.Revision) || b.Data.Revision <= last[b.Data.ID] {
			t.Errorf("%s came after revision %d", key, last[b.Data.ID])
		}
		last[b.Data.ID] = b.Data.Revision
		accepted[key]++
		if b.Data.Revision == 3 {
			done <- struct{}{}
		}
	})
	r := receiver(t, server.URL, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	outbox, err := alerting.NewOutbox(alerting.OutboxOptions{
		Store: s, Targets: []alerting.Target{{Receiver: r}},
		MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { outbox.Run(ctx) })
	const incidents = 10
	for n := range int64(3) {
		var rs []alerting.Revision
		for i := range incidents {
			inc := &alerting.Incident{ID: fmt.Sprintf("%016x", i), Revision: n + 1, Level: observation.High}
			rs = append(rs, alerting.Revision{Incident: inc, Number: n + 1, At: time.Now(), Cause: alerting.CauseGrew})
		}
		seq, ops, err := outbox.Stage(rs)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ops); err != nil {
			t.Fatal(err)
		}
		outbox.Committed(seq)
	}
	for range incidents {
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("not all incidents came through")
		}
	}
	cancel()
	wg.Wait()
	for key, n := range accepted {
		if n != 1 {
			t.Errorf("%s was accepted %d times", key, n)
		}
	}
	if len(s.values) != 0 || len(outbox.Pending()) != 0 {
		t.Errorf("want nothing left, got %d stored and %v", len(s.values), outbox.Pending())
	}
}

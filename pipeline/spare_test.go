package pipeline

import (
	"context"
	"testing"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/file"
)

// TestSpareDecoder: a decoder that is there for that takes a block, the oldest, when those
// that wait have no more room, and none before.
func TestSpareDecoder(t *testing.T) {
	sources, err := file.Replay([]string{"../testdata/attack-hour.log.gz"}, file.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Options{Inputs: []Input{{Collector: fixed(sources)}}, Index: builtinIndex(t), Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.decodeLoop(ctx, true) }()
	l := newLane(sources[0], 0, 0)
	line := []byte("203.0.113.7 - - [23/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"x\"\n")
	emit := func() {
		t.Helper()
		if err := p.emit(ctx, l, collectors.Item{Block: &collectors.Block{Data: line, Line: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(p.jobs) {
		emit()
	}
	if got := len(p.jobs); got != cap(p.jobs) {
		t.Fatalf("%d of %d blocks wait", got, cap(p.jobs))
	}
	emit()
	first := l.inbox.items[0]
	select {
	case <-first.done:
	case <-ctx.Done():
		t.Fatal("nobody decoded the oldest block")
	}
	if n := len(first.batch.Records); n != 1 {
		t.Errorf("%d records", n)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

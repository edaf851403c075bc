package pipeline

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"gatewatch/collectors"
	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// TestStage: what a line contributes does not depend on the lines that are worked on beside it.
func TestStage(t *testing.T) {
	var log bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&log, `{"time":"2026-11-23T10:00:00Z","remote_addr":"203.0.113.%d","request":"%s /api/v1/users/%d/%%6frders?q=%d HTTP/1.1","status":%d,`+
			`"authorization":"Bearer 0a1b2c3d4e5f%08d","session_id":"5e6f7a8b9c0d%08d","login_name":"user\u00e4%d","http_user_agent":"tool %d"}`+"\n",
			i, []string{"GET", "POST"}[i%2], i, i, []int{200, 401, 403}[i%3], i, i*7, i, i%9)
		if i%17 == 0 {
			log.WriteString("no request\n\n")
		}
	}
	for _, path := range []string{"../testdata/hostile.jsonl", "../testdata/attack-hour.log.gz"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		in := io.Reader(f)
		if strings.HasSuffix(path, ".gz") {
			if in, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.Copy(&log, io.LimitReader(in, 2<<20)); err != nil {
			t.Fatal(err)
		}
		log.WriteByte('\n')
		_ = f.Close()
	}
	mask, err := event.NewMasker(event.MaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tools, err := newStateless(newSetup(builtinIndex(t), event.DeriveOptions{}, nil), []Input{{}}, mask)
	if err != nil {
		t.Fatal(err)
	}
	decode := func(data []byte) *observation.Batch {
		w := &work{lane: &lane{}, batch: new(observation.Batch), item: collectors.Item{Block: &collectors.Block{Data: data, Line: 1}}}
		tools.decode(w)
		return w.batch
	}
	text := func(b *observation.Batch, r *observation.Record) string {
		out := fmt.Sprintf("%d %d %+v", r.Time, r.Length, r.Card)
		for _, o := range b.Of(r) {
			out += fmt.Sprintf("\n  %d %x %q %t", o.Kind, o.Hash, o.Values, o.Mark)
			for _, h := range b.HitsOf(&o) {
				out += fmt.Sprintf(" %+v", h)
			}
		}
		return out
	}
	together := decode(log.Bytes())
	n, principals := 0, map[string]bool{}
	for line := range bytes.Lines(log.Bytes()) {
		alone := decode(line)
		for i := range alone.Records {
			if n == len(together.Records) {
				t.Fatal("together there are fewer")
			}
			r := &together.Records[n]
			if got, want := text(together, r), text(alone, &alone.Records[i]); got != want {
				t.Fatalf("%.200q\nalone    %s\ntogether %s", line, want, got)
			}
			principals[strings.Clone(r.Card.Principal)] = true
			n++
		}
	}
	if n != len(together.Records) || n < 1000 || len(principals) < 50 {
		t.Errorf("%d of %d records, %d principals", n, len(together.Records), len(principals))
	}
}

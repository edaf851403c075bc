package format

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/event"
)

func decoder(t testing.TB, o Options) *Decoder {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var addrs = cmpopts.EquateComparable(event.Event{}.Peer, event.Event{}.ClientGroup)

// want completes an expected event with what Reset gives and the line itself.
func want(line string, ev event.Event) event.Event {
	ev.Raw = line
	if ev.Peer, _ = event.ParseAddr(ev.PeerText); ev.BodySize == 0 {
		ev.BodySize = -1
	}
	if ev.RequestSize == 0 {
		ev.RequestSize = -1
	}
	if ev.Duration == 0 {
		ev.Duration = -1
	}
	return ev
}

const at = 1795068002 // 19/Nov/2026:06:00:02 +0000

func TestCombined(t *testing.T) {
	d := decoder(t, Options{})
	line := `192.0.2.7 - bob smith [19/Nov/2026:07:00:02 +0100] "GET /a%20b?q=1&r=%27 HTTP/1.1" 404 153 "http://x/" "agent (1; 2)"`
	var got event.Event
	if err := d.Decode([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(line, event.Event{
		Format: "combined", Time: at * 1e9, Method: "GET", Target: "/a%20b?q=1&r=%27", Path: "/a%20b", Query: "q=1&r=%27",
		Protocol: "1.1", Status: 404, BodySize: 153, UserAgent: "agent (1; 2)", Referer: "http://x/", PeerText: "192.0.2.7", User: "bob smith",
	}), got, addrs); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestBlankLines(t *testing.T) {
	d := decoder(t, Options{})
	var ev event.Event
	for _, line := range []string{"", "\r", " ", "#Fields: a b", "\xef\xbb\xbf", "\xef\xbb\xbf# x"} {
		if err := d.Decode([]byte(line), &ev); !errors.Is(err, ErrBlank) {
			t.Errorf("%q: want ErrBlank, got %v", line, err)
		}
	}
}

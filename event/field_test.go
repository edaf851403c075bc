package event

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFieldTable(t *testing.T) {
	names := FieldNames()
	if len(names) != int(fieldCount)-1 {
		t.Fatalf("want %d names, got %d", fieldCount-1, len(names))
	}
	for i, name := range names {
		f, ok := Lookup(name)
		if !ok || f.String() != name || name == "" || f.Kind() == 0 || i > 0 && names[i-1] == name {
			t.Errorf("field %q: found %t as %q of kind %d", name, ok, f, f.Kind())
		}
	}
	if f, ok := Lookup("no.such"); ok || f.String() != "none" {
		t.Errorf("an unknown name: want none, got %q", f)
	}
	if fieldCount > 64 {
		t.Errorf("%d fields do not fit a FieldSet", fieldCount)
	}
}

func TestFieldText(t *testing.T) {
	ev := Event{Status: 404, BodySize: 12345, Duration: 2_500_000, RequestSize: -1, Client: netip.MustParseAddr("2001:db8:1:2::3"), Login: true, Outcome: OutcomeFailure}
	f := func(field Field, want string, has bool) {
		t.Helper()
		if got, ok := ev.Text(field); got != want || ok != has {
			t.Errorf("%s: want %q %t, got %q %t", field, want, has, got, ok)
		}
	}
	f(FieldStatus, "404", true)
	f(FieldBodySize, "12345", true)
	f(FieldRequestSize, "", false)
	f(FieldDurationMS, "2", true)
	f(FieldClient, "2001:db8:1:2::3", true)
	f(FieldClientPrefix, "2001:db8:1:2::/64", true)
	f(FieldPrincipal, "2001:db8:1:2::3", true)
	f(FieldPeer, "", false)
	f(FieldLogin, "true", true)
	f(FieldOutcome, "failure", true)
	f(FieldUserVerified, "false", false)

	ev.Reset()
	if diff := cmp.Diff(Event{RequestSize: -1, BodySize: -1, Duration: -1}, ev, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("after Reset (-want +got):\n%s", diff)
	}
	f(FieldPrincipal, "", false)
	f(FieldStatus, "", false)
}

func TestFill(t *testing.T) {
	for _, f := range Fillable() {
		var e Event
		e.Reset()
		value := "203.0.113.7"
		if f == FieldTokenHash || f == FieldSession {
			value = "0a1b2c3d4e5f60718293"
		}
		if !e.Fill(f, value) {
			t.Errorf("%s takes no value", f)
		}
		want := value
		switch f {
		case FieldTokenHash:
			want = string(HashToken(nil, value))
		case FieldSession:
			want = string(HashSession(nil, value))
		}
		if got, ok := e.Text(f); got != want || !ok {
			t.Errorf("%s is %q", f, got)
		}
		if e.Fill(f, "203.0.113.8") {
			t.Errorf("%s took a second value", f)
		}
	}
	var e Event
	if e.Fill(FieldClient, "no address") || e.Fill(FieldStatus, "200") || e.Fill(FieldHost, "") {
		t.Error("took what is no value of the field")
	}
}

// TestSampled: one id in sixteen, also of ids that follow each other, and always the same.
func TestSampled(t *testing.T) {
	for name, id := range map[string]func(int) string{
		"numbers":  strconv.Itoa,
		"hundreds": func(i int) string { return strconv.Itoa(i * 100) },
		"words":    func(i int) string { return fmt.Sprintf("order-%d-x", i) },
		"hashes":   func(i int) string { return fmt.Sprintf("%016x", uint64(i+1)*0x9E3779B97F4A7C15) },
	} {
		n, gap, most := 0, 0, 0
		const ids = 20_000
		for i := range ids {
			if gap++; Sampled(id(i)) {
				n, gap = n+1, 0
			}
			most = max(most, gap)
		}
		if share := float64(n) / ids; share < 0.055 || share > 0.07 || most > 250 {
			t.Errorf("%s: a share of %g, and at most %d in a row without one", name, share, most)
		}
	}
	if !Sampled("1100") || Sampled("1200") {
		t.Error("the sample is another one than before: what windows hold would be of other objects")
	}
}

package event

import (
	"strconv"
	"strings"
	"testing"
)

func TestPrincipal(t *testing.T) {
	all := Event{KeyID: "key-1", ConsumerID: "shop", User: "ana", TokenHash: "token-1", SessionHash: "session-1", Status: 200}
	without := func(change func(*Event)) Event { ev := all; change(&ev); return ev }
	refused := func(ev *Event) { ev.KeyID, ev.ConsumerID, ev.Status = "", "", 401 }
	for name, c := range map[string]struct {
		fields []Field
		ev     Event
		want   string
	}{
		"key first":                    {nil, all, "key-1"},
		"then the consumer":            {nil, without(func(ev *Event) { ev.KeyID = "" }), "shop"},
		"then the user":                {nil, without(func(ev *Event) { ev.KeyID, ev.ConsumerID = "", "" }), "ana"},
		"then the token":               {nil, without(func(ev *Event) { ev.KeyID, ev.ConsumerID, ev.User = "", "", "" }), "token-1"},
		"then the session":             {nil, Event{SessionHash: "session-1", Status: 200}, "session-1"},
		"what is refused is nobody's":  {nil, without(refused), ""},
		"but for a name vouched for":   {nil, without(func(ev *Event) { refused(ev); ev.UserVerified = true }), "ana"},
		"a session may be forbidden":   {nil, Event{User: "ana", SessionHash: "session-1", Status: 403}, "session-1"},
		"another order":                {[]Field{FieldSession, FieldUser}, all, "session-1"},
		"what is not named is nobody":  {[]Field{FieldSession}, without(func(ev *Event) { ev.SessionHash = "" }), ""},
		"nobody but the client at all": {[]Field{}, all, ""},
	} {
		d, err := NewDeriver(DeriveOptions{Principals: c.fields})
		if err != nil {
			t.Fatal(err)
		}
		d.Derive(&c.ev, 0)
		if c.ev.Principal != c.want {
			t.Errorf("%s: got %q, want %q", name, c.ev.Principal, c.want)
		}
	}
	for _, bad := range [][]Field{{FieldPath}, {FieldUser, FieldUser}} {
		if _, err := NewDeriver(DeriveOptions{Principals: bad}); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

func TestHashToken(t *testing.T) {
	const secret = "Bearer abcdef0123456789ABCDEF"
	one := string(HashToken(nil, secret))
	if !strings.HasPrefix(one, "token-") || len(one) != len("token-")+16 || strings.Contains(one, "abcdef") {
		t.Errorf("got %q", one)
	}
	// Windows and messages are masked: what stands for a secret must not be taken for one.
	for i := range 1000 {
		for _, stands := range [][]byte{HashToken(nil, secret+strconv.Itoa(i)), HashSession(nil, secret+strconv.Itoa(i))} {
			if shown := string(Mask(nil, string(stands))); shown != string(stands) {
				t.Fatalf("%s is masked as %s", stands, shown)
			}
		}
	}
	if two := string(HashToken(nil, secret+"g")); two == one {
		t.Error("two tokens have one hash")
	}
	if again := string(HashToken([]byte("x"), secret)); again != "x"+one {
		t.Errorf("got %q behind an x", again)
	}
	for _, none := range []string{
		"", "REDACTED", "Bearer ***", "Bearer eyJhbGciOiJIUzI1NiJ9...", "[REDACTED_BY_GATEWAY]", "Bearer ****************1a2b", "Bearer 1111111111111111111111",
		"Basic YWxhZGRpbjpvcGVuc2VzYW1lMTIz", "basic YWxhZGRpbjpvcGVuc2VzYW1lMTIz", "Bearer abcdef",
	} {
		if got := HashToken(nil, none); len(got) > 0 {
			t.Errorf("%q tells no client, got %q", none, got)
		}
	}
	for _, none := range []string{"", "1234", "-", "xxxxxxxxxxxxxxxxxxxxxxxx"} {
		if got := HashSession(nil, none); len(got) > 0 {
			t.Errorf("%q tells no client, got %q", none, got)
		}
	}
	if session := string(HashSession(nil, secret)); session[8:] != one[6:] || !strings.HasPrefix(session, "session-") {
		t.Errorf("got %q", session)
	}
}

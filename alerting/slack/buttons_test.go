package slack

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/alerting/slack/fakeslack"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

// actor knows one incident and notes what it is asked for.
type actor struct {
	mu   sync.Mutex
	did  []string
	fail error
	inc  *alerting.Incident
}

func (a *actor) note(format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return a.fail
	}
	a.did = append(a.did, fmt.Sprintf(format, args...))
	return nil
}

func (a *actor) all() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.did...)
}

func (a *actor) Act(_ context.Context, x alerting.Act) (*alerting.Incident, error) {
	return a.inc, a.note("%s %s by %s", x.Action, x.Incident, x.By)
}

func (a *actor) Silence(_ context.Context, s alerting.Silence) (alerting.Silence, error) {
	var matchers []string
	for _, m := range s.Matchers {
		matchers = append(matchers, m.String())
	}
	s.ID = "feedbeef"
	return s, a.note("silence %s for %s by %s: %s", strings.Join(matchers, " "), s.End.Sub(s.Start), s.Author, s.Comment)
}

func (a *actor) Incident(_ context.Context, id string) (*alerting.Incident, error) {
	if a.inc == nil || a.inc.ID != id {
		return nil, nil
	}
	return a.inc, nil
}

// buttons starts a listener and returns the connection that Slack has to it.
func buttons(t *testing.T, f *fakeslack.Fake, a *actor, logged *bytes.Buffer, receivers ...*Receiver) (*Buttons, *websocket.Conn) {
	t.Helper()
	var logger *slog.Logger
	if logged != nil {
		logger = slog.New(slog.NewTextHandler(logged, nil))
	}
	b := NewButtons(a, logger, receivers)
	b.now = func() time.Time { return time.Date(2026, 11, 19, 6, 40, 0, 0, time.UTC) }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the listener does not stop")
		}
	})
	return b, connection(t, f)
}

func connection(t *testing.T, f *fakeslack.Fake) *websocket.Conn {
	t.Helper()
	select {
	case c := <-f.Sockets:
		t.Cleanup(func() { _ = c.Close() })
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("nobody connected")
		return nil
	}
}

func acked(t *testing.T, f *fakeslack.Fake, want string) {
	t.Helper()
	select {
	case got := <-f.Acks:
		if got != want {
			t.Errorf("want %s acknowledged, got %s", want, got)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not acknowledged", want)
	}
}

func TestButtons(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("clicks", func(t *testing.T) {
		f := fakeslack.New(t)
		r := bot(t, f, withButtons)
		s := newSender(t, r)
		s.tell(alerting.CauseOpened, nil)
		top := f.Top()[0]
		inc := s.inc
		a := &actor{inc: &inc}
		_, c := buttons(t, f, a, nil, r)
		try := func(envelope, user, in, action, value string) {
			t.Helper()
			if err := fakeslack.Click(c, envelope, user, in, action, value, top.TS); err != nil {
				t.Fatal(err)
			}
			acked(t, f, envelope)
		}
		try("e1", "U0ANN", fakeslack.Channel, buttonAck, inc.ID)
		soon(t, "the acknowledgement", func() bool { return len(a.all()) == 1 })
		try("e2", "U0ANN", fakeslack.Channel, buttonSilence+"8", inc.ID)
		soon(t, "the silence", func() bool { return len(a.all()) == 2 })
		try("e3", "U0ANN", fakeslack.Channel, buttonFalse, inc.ID)
		soon(t, "the mark", func() bool { return len(a.all()) == 3 })
		want := []string{
			"acknowledge 654adc8f559de823 by ann (Slack U0ANN)",
			`silence client.address="203.0.113.7" level<="high" for 8h0m0s by ann (Slack U0ANN): by the button in Slack, for incident 654adc8f559de823`,
			"false_positive 654adc8f559de823 by ann (Slack U0ANN)",
		}
		for i, did := range a.all() {
			if did != want[i] {
				t.Errorf("want %s, got %s", want[i], did)
			}
		}
		soon(t, "the answer in the thread", func() bool { return len(f.Replies()) == 2 })
		if m := f.Replies()[1]; m.Thread != top.TS || !strings.Contains(m.Reading(), "Silenced by ann (Slack U0ANN) until 2026-11-19 14:40:00 UTC") ||
			!strings.Contains(m.Reading(), "gatewatch silences expire feedbeef") {
			t.Errorf("answer %s", m.Reading())
		}

		// Who is not on the list is told so, and nothing happens.
		try("e4", "U0EVE", fakeslack.Channel, buttonAck, inc.ID)
		soon(t, "the refusal", func() bool { return len(f.Whispers()) == 1 })
		if w := f.Whispers()[0]; w.User != "U0EVE" || !strings.Contains(w.Text, "not on the list") {
			t.Errorf("got %+v", w)
		}
		try("e5", "U0ANN", fakeslack.Channel, buttonSilence+"1000000", inc.ID)
		soon(t, "the second refusal", func() bool { return len(f.Whispers()) == 2 })
		try("e6", "U0ANN", fakeslack.Channel, buttonSilence+"1", "no such incident")
		soon(t, "the third refusal", func() bool { return len(f.Whispers()) == 3 })
		if w := f.Whispers()[2]; !strings.Contains(w.Text, "no longer knows") {
			t.Errorf("got %+v", w)
		}
		a.mu.Lock()
		a.fail = fmt.Errorf("%w: incident x is acknowledged already by <bob>", alerting.ErrConflict)
		a.mu.Unlock()
		try("e7", "U0ANN", fakeslack.Channel, buttonAck, inc.ID)
		soon(t, "the fourth refusal", func() bool { return len(f.Whispers()) == 4 })
		if w := f.Whispers()[3]; !strings.Contains(w.Text, "acknowledged already by &lt;bob&gt;") {
			t.Errorf("got %+v", w)
		}
		// Channels and buttons of others do nothing.
		try("e8", "U0ANN", "C0OTHER", buttonAck, inc.ID)
		try("e9", "U0ANN", fakeslack.Channel, "somebody_elses_button", inc.ID)
		try("e10", "U0EVE", fakeslack.Channel, buttonAck, inc.ID)
		soon(t, "the last refusal", func() bool { return len(f.Whispers()) == 5 })
		if len(a.all()) != 3 {
			t.Errorf("did %q", a.all())
		}
		inc.State = alerting.StateResolved
		a.mu.Lock()
		a.fail = nil
		a.mu.Unlock()
		try("e11", "U0ANN", fakeslack.Channel, buttonSilence+"1", inc.ID)
		soon(t, "what is over cannot be silenced", func() bool { return len(f.Whispers()) == 6 })
	})
}

// TestReconnect: when Slack says that it will disconnect, and when it breaks off, the
// buttons go on working.
func TestReconnect(t *testing.T) {
	f := fakeslack.New(t)
	r := bot(t, f, withButtons)
	inc := receivertest.Incident("203.0.113.7")
	a := &actor{inc: &inc}
	_, c := buttons(t, f, a, nil, r)
	_ = c.WriteJSON(map[string]any{"type": "disconnect", "reason": "refresh_requested"})
	c = connection(t, f)
	_ = fakeslack.Click(c, "e1", "U0ANN", fakeslack.Channel, buttonAck, inc.ID, "1.1")
	soon(t, "a click after a disconnect", func() bool { return len(a.all()) == 1 })
	f.Fail("apps.connections.open", "500", "html")
	_ = c.Close()
	c = connection(t, f)
	_ = fakeslack.Click(c, "e2", "U0ANN", fakeslack.Channel, buttonAck, inc.ID, "1.1")
	soon(t, "a click after trouble", func() bool { return len(a.all()) == 2 })
}

// TestReceiversChange: connections that are needed stay over a reload, others go.
func TestReceiversChange(t *testing.T) {
	f := fakeslack.New(t)
	r := bot(t, f, withButtons)
	inc := receivertest.Incident("203.0.113.7")
	a := &actor{inc: &inc}
	b, c := buttons(t, f, a, nil, r)
	again := bot(t, f, func(c *Config) { withButtons(c); c.Users = []string{"U0BOB"} })
	b.SetReceivers([]*Receiver{again, bot(t, f, nil)})
	_ = fakeslack.Click(c, "e1", "U0BOB", fakeslack.Channel, buttonAck, inc.ID, "1.1")
	soon(t, "bob's click", func() bool { return len(a.all()) == 1 })
	_ = fakeslack.Click(c, "e2", "U0ANN", fakeslack.Channel, buttonAck, inc.ID, "1.1")
	soon(t, "ann's refusal", func() bool { return len(f.Whispers()) == 1 })
	if n := f.Count("apps.connections.open"); n != 1 {
		t.Errorf("%d connections", n)
	}
	b.SetReceivers(nil)
	soon(t, "the end of the connection", func() bool { return c.WriteJSON(map[string]any{"type": "hello"}) != nil })
}

// TestBadAppToken: it is said, without the token, and tried again.
func TestBadAppToken(t *testing.T) {
	f := fakeslack.New(t)
	var logged lockedBuffer
	r := bot(t, f, func(c *Config) {
		withButtons(c)
		c.AppToken = alerting.Secret("xapp-other-s3cret")
	})
	b := NewButtons(&actor{}, slog.New(slog.NewTextHandler(&logged, nil)), []*Receiver{r})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx)
	}()
	soon(t, "a word on it", func() bool { return strings.Contains(logged.String(), "invalid_auth") })
	cancel()
	<-done
	if strings.Contains(logged.String(), "s3cret") {
		t.Error(logged.String())
	}
}

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/alerting/slack/fakeslack"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func bot(t testing.TB, f *fakeslack.Fake, change func(*Config)) *Receiver {
	t.Helper()
	c := Config{Name: "team", Token: alerting.Secret(fakeslack.BotToken), Channel: fakeslack.Channel, APIURL: f.URL, Timeout: 5 * time.Second}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	// Tests do not wait a second a message; pace has its own.
	r.posts, r.edits, r.reads = newPace(0, 1), newPace(0, 1), newPace(0, 1)
	t.Cleanup(r.Close)
	return r
}

func withButtons(c *Config) {
	c.AppToken, c.Users = alerting.Secret(fakeslack.AppToken), []string{"U0ANN"}
}

// sender sends revisions of one incident as the outbox does.
type sender struct {
	t    *testing.T
	r    *Receiver
	inc  alerting.Incident
	kept []byte
}

func newSender(t *testing.T, r *Receiver) *sender {
	inc := receivertest.Incident("203.0.113.7")
	inc.Routes, inc.Revision = []string{"/login"}, 0
	return &sender{t: t, r: r, inc: inc}
}

func (s *sender) note(cause alerting.Cause) alerting.Notification {
	n := receivertest.Note(s.t, s.inc, cause)
	n.Kept = s.kept
	return n
}

func (s *sender) try(cause alerting.Cause, repeat bool) alerting.Result {
	n := s.note(cause)
	n.Repeat = repeat
	res := s.r.Notify(s.t.Context(), n)
	if res.Keep != nil {
		s.kept = res.Keep
	}
	return res
}

func (s *sender) tell(cause alerting.Cause, change func(*alerting.Incident)) {
	s.t.Helper()
	s.inc.Revision++
	if change != nil {
		change(&s.inc)
	}
	if res := s.try(cause, false); res.Err != nil {
		s.t.Fatalf("%s: %v", cause, res.Err)
	}
}

// TestLife reads the channel as its members do, from the first message of an
// incident to its end.
func TestLife(t *testing.T) {
	f := fakeslack.New(t)
	s := newSender(t, bot(t, f, withButtons))
	var story strings.Builder
	show := func(what string) {
		fmt.Fprintf(&story, "==== %s\n", what)
		for _, m := range f.Top() {
			fmt.Fprintf(&story, "-- message, edited %d times, on phones: %s\n%s", m.Edits, m.Text, m.Reading())
		}
		all := f.Replies()
		for _, m := range all[max(0, len(all)-1):] {
			fmt.Fprintf(&story, "-- latest reply, in the channel too: %t, on phones: %s\n%s", m.Broadcast, m.Text, m.Reading())
		}
	}
	s.tell(alerting.CauseOpened, func(i *alerting.Incident) { i.Level = observation.Medium; i.Evidence = i.Evidence[:3] })
	show("it opens")
	s.tell(alerting.CauseGrew, func(i *alerting.Incident) { i.Count = 2311; i.LastSeen = i.LastSeen.Add(5 * time.Minute) })
	show("it grows")
	s.tell(alerting.CauseLevel, func(i *alerting.Incident) { i.Level = observation.Critical })
	show("its level rises")
	ack := alerting.Action{Action: alerting.ActionAcknowledge, By: "ann (Slack U0ANN)", At: s.inc.LastSeen}
	s.tell(alerting.CauseAcknowledged, func(i *alerting.Incident) {
		i.State, i.Acknowledged, i.Actions = alerting.StateAcknowledged, &ack, []alerting.Action{ack}
	})
	show("ann acknowledges it")
	until := s.inc.LastSeen.Add(8 * time.Hour)
	s.tell(alerting.CauseSilenced, func(i *alerting.Incident) { i.State, i.SilencedUntil = alerting.StateSilenced, &until })
	show("it is silenced")
	s.tell(alerting.CauseResolved, func(i *alerting.Incident) {
		i.State, i.ResolvedAt, i.Acknowledged, i.SilencedUntil = alerting.StateResolved, &until, nil, nil
	})
	show("it is over")
	s.tell(alerting.CauseReopened, func(i *alerting.Incident) { i.State, i.ResolvedAt = alerting.StateOpen, nil })
	show("it begins again")

	if n := len(f.Top()); n != 1 || f.Top()[0].Edits != 6 {
		t.Errorf("want one message, edited six times, got %d", n)
	}
	const golden = "testdata/life.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(story.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), story.String()); diff != "" {
		t.Errorf("story (-want +got):\n%s", diff)
	}
}

// TestCutShort loses the answer of each call of each step in turn, as a kill does, with
// and without what the outbox kept: what is in the channel in the end is there
// once.
func TestCutShort(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		for _, method := range []string{"chat.postMessage", "chat.update"} {
			for nth := range 4 {
				f := fakeslack.New(t)
				s := newSender(t, bot(t, f, nil))
				for i := range 4 {
					if i == nth {
						f.Lose(method)
					}
					s.inc.Revision++
					cause := alerting.CauseGrew
					if i == 0 {
						cause = alerting.CauseOpened
					}
					before := s.kept
					res := s.try(cause, false)
					for tries := 0; res.Err != nil; tries++ {
						if !res.Retry || tries > 3 {
							t.Fatalf("got %+v", res)
						}
						if forgotten {
							s.kept = before // killed before the outcome was marked
						}
						res = s.try(cause, true)
					}
				}
				if top, replies := len(f.Top()), len(f.Replies()); top != 1 || replies != 4 {
					t.Errorf("%s of revision %d lost, forgotten %t: %d messages and %d replies", method, nth+1, forgotten, top, replies)
				}
			}
		}
	}
}

// TestFoundAgain: a message far back in the history, on a later page, with others'
// messages around it.
func TestFoundAgain(t *testing.T) {
	f := fakeslack.New(t)
	r := bot(t, f, nil)
	s := newSender(t, r)
	s.tell(alerting.CauseOpened, nil)
	for i := range 10 {
		other := newSender(t, r)
		other.inc.ID = fmt.Sprintf("%016d", i)
		other.tell(alerting.CauseOpened, nil)
	}
	s.kept = nil
	s.tell(alerting.CauseResolved, func(i *alerting.Incident) { i.State = alerting.StateResolved })
	if n := len(f.Top()); n != 11 {
		t.Errorf("%d messages, want 11", n)
	}
	if m := f.Top()[0]; m.Edits != 1 || !strings.Contains(m.Text, "Resolved") {
		t.Errorf("it was not found: %+v", m)
	}
	// Another channel than before: the note of the old one does not count.
	s.kept, _ = json.Marshal(place{Channel: "C0OTHER", TS: "1.1", Revision: 1, Parts: 2})
	s.tell(alerting.CauseGrew, nil)
	if n := len(f.Top()); n != 11 {
		t.Errorf("%d messages, want 11", n)
	}
}

// TestWithoutHistory: a bot that may not read works all the same, and says once
// what it cannot do.
func TestWithoutHistory(t *testing.T) {
	f := fakeslack.New(t)
	f.Forbid("channels:history")
	var logged bytes.Buffer
	s := newSender(t, bot(t, f, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) }))
	s.inc.Revision = 1
	for range 2 {
		s.kept = nil
		if res := s.try(alerting.CauseOpened, true); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if n := len(f.Top()); n != 2 {
		t.Errorf("%d messages", n)
	}
	if strings.Count(logged.String(), "\n") != 1 || !strings.Contains(logged.String(), "it needs the scope channels:history, the token has chat:write") {
		t.Errorf("log: %s", logged.String())
	}
}

func TestErrors(t *testing.T) {
	f := func(answer string, retry bool, reason alerting.Reason, want string) {
		t.Helper()
		fake := fakeslack.New(t)
		fake.Fail("chat.postMessage", answer)
		s := newSender(t, bot(t, fake, func(c *Config) { c.Timeout = 500 * time.Millisecond }))
		s.inc.Revision = 1
		res := s.try(alerting.CauseOpened, false)
		if res.Err == nil || res.Retry != retry || res.Reason != reason || !strings.Contains(res.Err.Error(), want) {
			t.Errorf("%s: got %+v", answer, res)
			return
		}
		if strings.Contains(fmt.Sprintf("%v %#v", res.Err, res.Err), "s3cret") {
			t.Errorf("%s: the token is in %v", answer, res.Err)
		}
		if !strings.HasPrefix(res.Err.Error(), "slack team: chat.postMessage: ") {
			t.Errorf("%s: %v", answer, res.Err)
		}
	}
	f("429 7", true, alerting.ReasonRateLimited, "asks to wait 7s")
	f("500", true, alerting.ReasonServerError, "500")
	f("503", true, alerting.ReasonServerError, "503")
	f("404", false, alerting.ReasonClientError, "404")
	f("302", false, alerting.ReasonRedirect, "api_url")
	f("html", true, alerting.ReasonServerError, "no JSON")
	f("half", true, alerting.ReasonConnection, "")
	f("cut", true, alerting.ReasonConnection, "EOF")
	f("internal_error", true, alerting.ReasonServerError, "this passes")
	f("invalid_auth", false, alerting.ReasonClientError, "install the app again")
	f("token_revoked", false, alerting.ReasonClientError, "install the app again")
	f("missing_scope", false, alerting.ReasonClientError, "it needs the scope chat:write, the token has channels:history")
	f("channel_not_found", false, alerting.ReasonClientError, "/invite @gatewatch")
	f("not_in_channel", false, alerting.ReasonClientError, "/invite @gatewatch")
	f("is_archived", false, alerting.ReasonClientError, "archived")
	f("some_new_error", false, alerting.ReasonClientError, "some_new_error")

	fake := fakeslack.New(t)
	fake.Fail("chat.postMessage", "429 7")
	s := newSender(t, bot(t, fake, nil))
	s.inc.Revision = 1
	if res := s.try(alerting.CauseOpened, false); res.After != 7*time.Second {
		t.Errorf("want 7s, got %s", res.After)
	}
	// The whole channel is left alone until then.
	if res := s.try(alerting.CauseOpened, false); res.Reason != alerting.ReasonRateLimited || res.After < 5*time.Second || fake.Count("chat.postMessage") != 1 {
		t.Errorf("got %+v after %d calls", res, fake.Count("chat.postMessage"))
	}
}

// TestFormIsRefused: the field that Slack names is in the log, and the message
// arrives in a simpler form.
func TestFormIsRefused(t *testing.T) {
	f := fakeslack.New(t)
	f.Fail("chat.postMessage", "invalid_blocks")
	var logged bytes.Buffer
	s := newSender(t, bot(t, f, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&logged, nil)) }))
	s.tell(alerting.CauseOpened, nil)
	m := f.Top()
	if len(m) != 1 || !strings.Contains(string(m[0].Attachments), "`203.0.113.7`") {
		t.Errorf("got %+v", m)
	}
	if !strings.Contains(logged.String(), "json-pointer:/blocks/0/text/text") {
		t.Errorf("log: %s", logged.String())
	}
	f.Fail("chat.update", "invalid_blocks")
	s.tell(alerting.CauseGrew, nil)
	if m := f.Top(); len(m) != 1 || m[0].Edits != 1 || string(m[0].Blocks) != "[]" {
		t.Errorf("got %+v", m)
	}
	f.Fail("chat.postMessage", "invalid_blocks", "invalid_blocks")
	s.inc.Revision++
	s.kept = nil
	s.inc.ID = "feedfeedfeedfeed"
	if res := s.try(alerting.CauseOpened, false); res.Retry || res.Err == nil || !strings.Contains(res.Err.Error(), "json-pointer:/blocks/0/text/text") {
		t.Errorf("both forms refused: got %+v", res)
	}
}

func TestDeletedAndUneditable(t *testing.T) {
	f := fakeslack.New(t)
	s := newSender(t, bot(t, f, nil))
	s.tell(alerting.CauseOpened, nil)
	f.Clear()
	s.tell(alerting.CauseGrew, nil)
	if n := len(f.Top()); n != 1 {
		t.Errorf("a deleted message: %d", n)
	}
	f.Fail("chat.update", "edit_window_closed")
	replies := len(f.Replies())
	s.tell(alerting.CauseGrew, nil)
	if len(f.Top()) != 1 || f.Top()[0].Edits != 0 || len(f.Replies()) != replies+1 {
		t.Errorf("edits are over: %+v", f.Top())
	}
}

// TestThreadFails: what has arrived is not sent again when what follows failed.
func TestThreadFails(t *testing.T) {
	f := fakeslack.New(t)
	s := newSender(t, bot(t, f, nil))
	s.inc.Revision = 1
	f.Fail("chat.postMessage", "", "429 1")
	res := s.try(alerting.CauseOpened, false)
	if !res.Retry || res.Keep == nil || len(f.Top()) != 1 {
		t.Fatalf("got %+v", res)
	}
	s.r.posts = newPace(0, 1)
	if res := s.try(alerting.CauseOpened, false); res.Err != nil || len(f.Top()) != 1 || len(f.Replies()) != 1 {
		t.Errorf("got %+v, %d and %d", res, len(f.Top()), len(f.Replies()))
	}
	if calls := f.Count("chat.update"); calls != 0 {
		t.Errorf("%d edits of what was as it should be", calls)
	}
}

func TestDigests(t *testing.T) {
	f := fakeslack.New(t)
	s := newSender(t, bot(t, f, withButtons))
	s.inc = alerting.Incident{ID: "digest-0123", Rule: alerting.RuleRef{Title: "80 incidents at once: 3 critical, 77 high"}, Level: observation.Critical, State: alerting.StateOpen}
	for i := range 80 {
		s.inc.Digest = append(s.inc.Digest, alerting.DigestEntry{
			ID: fmt.Sprint(i), Title: "Flood of <!here>", Level: observation.High, State: alerting.StateOpen,
			Group: map[string]string{"client.address": fmt.Sprintf("192.0.2.%d", i)}, Count: 3,
		})
	}
	s.tell(alerting.CauseDigest, nil)
	m := f.Top()
	if len(m) != 1 || !strings.Contains(m[0].Reading(), "192.0.2.24") || !strings.Contains(m[0].Reading(), "and 55 more") || strings.Contains(m[0].Reading(), "[") {
		t.Fatalf("got %s", m[0].Reading())
	}
	// Posted once, also when nobody knows whether it was.
	s.kept = nil
	if res := s.try(alerting.CauseDigest, true); res.Err != nil || len(f.Top()) != 1 {
		t.Errorf("again: %+v, %d messages", res, len(f.Top()))
	}
	// One of its incidents is over: the digest's thread says it.
	one := newSender(t, s.r)
	one.kept, one.inc.ID, one.inc.Revision = s.kept, "7", 1
	one.tell(alerting.CauseResolved, func(i *alerting.Incident) { i.State = alerting.StateResolved })
	if len(f.Top()) != 1 || len(f.Replies()) != 1 || !strings.Contains(f.Replies()[0].Text, "Resolved: HIGH: Flood") {
		t.Errorf("got %d messages, replies %+v", len(f.Top()), f.Replies())
	}
	if res := one.try(alerting.CauseResolved, true); res.Err != nil || len(f.Replies()) != 1 {
		t.Errorf("said twice: %+v", f.Replies())
	}
	// Another begins again: it is loud, so it gets a message of its own.
	two := newSender(t, s.r)
	two.kept, two.inc.ID, two.inc.Revision = s.kept, "8", 1
	two.tell(alerting.CauseReopened, nil)
	if len(f.Top()) != 2 {
		t.Errorf("got %d messages", len(f.Top()))
	}
	two.tell(alerting.CauseGrew, nil)
	if len(f.Top()) != 2 || f.Top()[1].Edits != 1 {
		t.Errorf("got %d messages", len(f.Top()))
	}
}

func TestHostile(t *testing.T) {
	f := fakeslack.New(t) // its checks fail the test
	r := bot(t, f, withButtons)
	for _, p := range hostile.Payloads(t) {
		s := newSender(t, r)
		s.inc = receivertest.Hostile(p.Text)
		s.inc.Acknowledged = &alerting.Action{Action: alerting.ActionAcknowledge, By: p.Text}
		s.inc.Actions = []alerting.Action{{Action: alerting.ActionAcknowledge, By: p.Text, Comment: p.Text}}
		s.inc.Rule.Title = p.Text
		s.tell(alerting.CauseOpened, nil)
		s.tell(alerting.CauseAcknowledged, nil)
		s.tell(alerting.CauseParent, func(i *alerting.Incident) { i.Parent = "feedfeedfeedfeed" })
		f.Fail("chat.update", "invalid_blocks")
		f.Fail("chat.postMessage", "invalid_blocks")
		s.tell(alerting.CauseGrew, nil)
	}
	for _, m := range f.All() {
		if size := len(m.Reading()) + len(m.Text); size > 16_000 {
			t.Errorf("a message of %d bytes", size)
		}
	}
}

func TestPlaces(t *testing.T) {
	r := bot(t, fakeslack.New(t), nil)
	for _, kept := range []string{"", "x", "{", `{"c":"C0OTHER","t":"1.1"}`, `null`} {
		if p := r.place([]byte(kept)); p != (place{}) {
			t.Errorf("%q: %+v", kept, p)
		}
	}
	p := place{Channel: fakeslack.Channel, TS: "1790000001.000000", Revision: 9223372036854775807, Parts: 2, Digest: true}
	if got := r.place(p.keep()); got != p || len(p.keep()) > 256 {
		t.Errorf("got %+v", got)
	}
}

func TestTrouble(t *testing.T) {
	n := receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened)
	over := make(chan struct{})
	s := receivertest.Server(t, nil)
	s.Close()
	f := fakeslack.New(t)
	r := bot(t, f, func(c *Config) { c.APIURL = s.URL + "/api/" })
	if res := r.Notify(t.Context(), n); !res.Retry || res.Reason != alerting.ReasonConnection {
		t.Errorf("refused: %+v", res)
	}
	hang := newHang(t, over)
	r = bot(t, f, func(c *Config) { c.APIURL, c.Timeout = hang, 200*time.Millisecond })
	if res := r.Notify(t.Context(), n); !res.Retry || res.Reason != alerting.ReasonTimeout || !strings.Contains(res.Err.Error(), "200ms") {
		t.Errorf("hang: %+v", res)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	r = bot(t, f, func(c *Config) { c.APIURL = hang })
	if res := r.Notify(ctx, n); !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("stopped: %+v", res)
	}
	close(over)
	missing := bot(t, f, nil)
	missing.c.Token = gone{}
	if res := missing.Notify(t.Context(), n); !res.Retry || res.Reason != alerting.ReasonInvalid {
		t.Errorf("no token file: %+v", res)
	}
	n.Payload = []byte("{")
	if res := r.Notify(t.Context(), n); res.Retry || res.Reason != alerting.ReasonInvalid {
		t.Errorf("no payload: %+v", res)
	}
}

// gone is a secret whose file is not there.
type gone struct{}

func (gone) Read() (string, error) { return "", os.ErrNotExist }

func TestBadConfiguration(t *testing.T) {
	f := func(want string, c Config) {
		t.Helper()
		c.Name = "team"
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	token, app := endpoint.Secret(alerting.Secret(fakeslack.BotToken)), endpoint.Secret(alerting.Secret(fakeslack.AppToken))
	hook := endpoint.Secret(alerting.Secret("https://hooks.example/s3cret"))
	f("either", Config{})
	f("either", Config{Token: token, WebhookURL: hook})
	f("go with the token of a bot", Config{WebhookURL: hook, Channel: fakeslack.Channel})
	f("write its id", Config{Token: token, Channel: "#general"})
	f("xoxb-", Config{Token: alerting.Secret("xoxp-s3cret"), Channel: fakeslack.Channel})
	f("xapp-", Config{Token: token, Channel: fakeslack.Channel, AppToken: token, Users: []string{"U0ANN"}})
	f("names nobody", Config{Token: token, Channel: fakeslack.Channel, AppToken: app})
	f("no id of a member", Config{Token: token, Channel: fakeslack.Channel, AppToken: app, Users: []string{"@ann"}})
	f("go with app_token", Config{Token: token, Channel: fakeslack.Channel, Users: []string{"U0ANN"}})
	f("api_url", Config{Token: token, Channel: fakeslack.Channel, APIURL: "https://slack.example/api"})
	f("https://host/path", Config{WebhookURL: alerting.Secret("s3cret")})
	f("proxy", Config{Token: token, Channel: fakeslack.Channel, Proxy: alerting.Secret("s3cret")})
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Error(err)
	}
}

// Package fakeslack is Slack as far as a client can tell: a channel with messages,
// edits, threads and metadata, rate limits, errors, and Socket Mode. It refuses what
// Slack refuses: what is beyond the limits or the schema of Block Kit. It is for tests
// alone.
package fakeslack

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"gatewatch/alerting/internal/receivertest"

	"github.com/gorilla/websocket"
)

// What the workspace knows.
const (
	BotToken = "xoxb-0123456789-s3cret-of-the-bot"
	AppToken = "xapp-1-A0-0123456789-s3cret-of-the-app"
	Channel  = "C0123ABCDEF"
)

// Fake is one workspace with one channel. Its fields and methods may be used at any
// time.
type Fake struct {
	t testing.TB
	// URL is where the Web API is.
	URL string

	mu       sync.Mutex
	clock    int64 // of message timestamps
	messages []*Message
	whispers []Message
	calls    map[string]int
	// faults are answers to the next calls of a method, "" for the usual.
	faults map[string][]string
	// lost are methods whose next answer gets lost: done, but not told.
	lost   map[string]int
	scopes map[string]bool // that the token lacks

	// Sockets are the connections of Socket Mode as they come, and Acks the
	// envelopes that were acknowledged.
	Sockets chan *websocket.Conn
	Acks    chan string
}

// Message is one message.
type Message struct {
	Channel, TS, Thread, Text string
	User                      string // of an ephemeral one
	Broadcast                 bool
	Blocks, Attachments       json.RawMessage
	Metadata                  json.RawMessage
	Edits                     int
}

// New starts a fake that is stopped with the test.
func New(t testing.TB) *Fake {
	f := &Fake{
		t: t, clock: 1_795_080_000_000_000, calls: map[string]int{}, faults: map[string][]string{}, lost: map[string]int{}, scopes: map[string]bool{},
		Sockets: make(chan *websocket.Conn, 10), Acks: make(chan string, 100),
	}
	s := receivertest.Server(t, f.serve)
	f.URL = s.URL + "/api/"
	return f
}

// Fail makes the next calls of a method answer so: a status such as "500", "429" with
// its seconds, "html", or an error of the API.
func (f *Fake) Fail(method string, answers ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[method] = append(f.faults[method], answers...)
}

// Count returns how often a method was called.
func (f *Fake) Count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// Top returns the messages of the channel itself.
func (f *Fake) Top() []Message { return f.list(func(m *Message) bool { return m.Thread == "" }) }

// Replies returns the messages of threads.
func (f *Fake) Replies() []Message { return f.list(func(m *Message) bool { return m.Thread != "" }) }

func (f *Fake) list(want func(*Message) bool) []Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Message
	for _, m := range f.messages {
		if want(m) {
			out = append(out, *m)
		}
	}
	return out
}

// SetClock makes messages from now on have timestamps from t on, a second apart.
func (f *Fake) SetClock(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = t.UnixMicro()
}

// Lose makes the answer to the next call of a method get lost: it is done, but
// nobody is told.
func (f *Fake) Lose(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost[method]++
}

// Forbid takes a scope from the token.
func (f *Fake) Forbid(scope string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scopes[scope] = true
}

// Clear deletes all messages.
func (f *Fake) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages = nil
}

// All returns every message of the channel and its threads.
func (f *Fake) All() []Message { return f.list(func(*Message) bool { return true }) }

// Whispers returns the ephemeral messages.
func (f *Fake) Whispers() []Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.whispers)
}

func (f *Fake) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/socket" {
		f.socket(w, r)
		return
	}
	method := strings.TrimPrefix(r.URL.Path, "/api/")
	answer, cut := f.answer(method, r)
	if cut {
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			_ = c.Close()
		}
		return
	}
	answer(w)
}

func ok(body map[string]any) func(http.ResponseWriter) {
	body["ok"] = true
	return func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(body) }
}

func refuse(code string, more map[string]any) func(http.ResponseWriter) {
	body := map[string]any{"ok": false, "error": code}
	maps.Copy(body, more)
	return func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(body) }
}

func (f *Fake) answer(method string, r *http.Request) (answer func(http.ResponseWriter), cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[method]++
	if err := r.ParseForm(); err != nil {
		f.t.Error(err)
	}
	if list := f.faults[method]; len(list) > 0 {
		f.faults[method] = list[1:]
		if list[0] != "" {
			return f.fault(list[0]), list[0] == "cut"
		}
	}
	token := r.FormValue("token")
	if h := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); h != "" {
		token = h
	}
	want := BotToken
	if method == "apps.connections.open" {
		want = AppToken
	}
	if token != want {
		return refuse("invalid_auth", nil), false
	}
	answer = f.method(method, r)
	if f.lost[method] > 0 {
		f.lost[method]--
		return nil, true
	}
	return answer, false
}

func (f *Fake) fault(word string) func(http.ResponseWriter) {
	if status, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(word, " ", 2)[0])); err == nil {
		return func(w http.ResponseWriter) {
			if _, after, ok := strings.Cut(word, " "); ok {
				w.Header().Set("Retry-After", after)
			}
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(status)
		}
	}
	switch word {
	case "html":
		return func(w http.ResponseWriter) { fmt.Fprint(w, "<html>login to the proxy</html>") }
	case "half":
		return func(w http.ResponseWriter) { fmt.Fprint(w, `{"ok":tr`) }
	case "invalid_blocks":
		return refuse(word, map[string]any{"response_metadata": map[string]any{"messages": []string{"[ERROR] must be more than 0 characters [json-pointer:/blocks/0/text/text]"}}})
	case "missing_scope":
		return refuse(word, map[string]any{"needed": "chat:write", "provided": "channels:history"})
	}
	return refuse(word, nil)
}

func (f *Fake) method(method string, r *http.Request) func(http.ResponseWriter) {
	switch method {
	case "chat.postMessage", "chat.update", "chat.postEphemeral":
		return f.write(method, r)
	case "conversations.history":
		if f.scopes["channels:history"] {
			return refuse("missing_scope", map[string]any{"needed": "channels:history", "provided": "chat:write"})
		}
		return f.pages(r, func(m *Message) bool { return m.Channel == r.FormValue("channel") && (m.Thread == "" || m.Broadcast) }, true)
	case "conversations.replies":
		if f.scopes["channels:history"] {
			return refuse("missing_scope", map[string]any{"needed": "channels:history", "provided": "chat:write"})
		}
		return f.pages(r, func(m *Message) bool { return m.Thread == r.FormValue("ts") || m.TS == r.FormValue("ts") }, false)
	case "apps.connections.open":
		return ok(map[string]any{"url": strings.Replace(strings.TrimSuffix(f.URL, "api/"), "http:", "ws:", 1) + "socket?ticket=t1cket"})
	}
	f.t.Errorf("the fake has no method %s", method)
	return refuse("unknown_method", nil)
}

func (f *Fake) write(method string, r *http.Request) func(http.ResponseWriter) {
	if r.FormValue("channel") != Channel {
		return refuse("channel_not_found", nil)
	}
	m := &Message{
		Channel: Channel, Thread: r.FormValue("thread_ts"), Text: r.FormValue("text"), User: r.FormValue("user"),
		Broadcast: r.FormValue("reply_broadcast") == "true", Metadata: json.RawMessage(r.FormValue("metadata")),
		Blocks: json.RawMessage(r.FormValue("blocks")), Attachments: json.RawMessage(r.FormValue("attachments")),
	}
	if err := CheckMessage(m); err != nil {
		f.t.Errorf("%s: %v", method, err)
		return refuse("invalid_blocks", nil)
	}
	if method == "chat.postEphemeral" {
		f.whispers = append(f.whispers, *m)
		return ok(map[string]any{"message_ts": "1.1"})
	}
	if method == "chat.update" {
		i := slices.IndexFunc(f.messages, func(x *Message) bool { return x.TS == r.FormValue("ts") })
		if i < 0 {
			return refuse("message_not_found", nil)
		}
		old := f.messages[i]
		m.TS, m.Edits, m.Thread = old.TS, old.Edits+1, old.Thread
		*old = *m
		return ok(map[string]any{"channel": Channel, "ts": m.TS, "text": m.Text})
	}
	if m.Thread != "" && !slices.ContainsFunc(f.messages, func(x *Message) bool { return x.TS == m.Thread }) {
		return refuse("thread_not_found", nil)
	}
	f.clock += 1_000_000
	m.TS = fmt.Sprintf("%d.%06d", f.clock/1_000_000, f.clock%1_000_000)
	f.messages = append(f.messages, m)
	return ok(map[string]any{"channel": Channel, "ts": m.TS, "message": map[string]any{"ts": m.TS}})
}

// pages lists messages, a page of at most three at a time: so that cursors are used.
func (f *Fake) pages(r *http.Request, want func(*Message) bool, newestFirst bool) func(http.ResponseWriter) {
	oldest, _ := strconv.ParseFloat(r.FormValue("oldest"), 64)
	var all []map[string]any
	for _, m := range f.messages {
		if ts, _ := strconv.ParseFloat(m.TS, 64); !want(m) || ts < oldest {
			continue
		}
		out := map[string]any{"type": "message", "ts": m.TS, "text": m.Text}
		if len(m.Metadata) > 0 && r.FormValue("include_all_metadata") == "1" {
			out["metadata"] = m.Metadata
		}
		all = append(all, out)
	}
	if newestFirst {
		slices.Reverse(all)
	}
	from, _ := strconv.Atoi(r.FormValue("cursor"))
	to := min(from+3, len(all))
	cursor := ""
	if to < len(all) {
		cursor = strconv.Itoa(to)
	}
	return ok(map[string]any{"messages": all[min(from, to):to], "has_more": cursor != "", "response_metadata": map[string]any{"next_cursor": cursor}})
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// socket is the side of Socket Mode that Slack has.
func (f *Fake) socket(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	_ = c.WriteJSON(map[string]any{"type": "hello", "num_connections": 1, "connection_info": map[string]any{"app_id": "A0"}})
	f.Sockets <- c
	for {
		var m struct {
			EnvelopeID string `json:"envelope_id"`
		}
		if err := c.ReadJSON(&m); err != nil {
			return
		}
		f.Acks <- m.EnvelopeID
	}
}

// Click sends what Slack sends when a member clicks a button.
func Click(c *websocket.Conn, envelope, user, in, action, value, ts string) error {
	return c.WriteJSON(map[string]any{
		"type": "interactive", "envelope_id": envelope, "accepts_response_payload": true,
		"payload": map[string]any{
			"type": "block_actions", "user": map[string]any{"id": user, "username": "ann", "name": "ann"},
			"channel": map[string]any{"id": in}, "message": map[string]any{"ts": ts},
			"container": map[string]any{"type": "message", "channel_id": in, "message_ts": ts},
			"actions":   []map[string]any{{"action_id": action, "block_id": "gatewatch", "type": "button", "value": value, "action_ts": "1.1"}},
		},
	})
}

var (
	slackSpecial = regexp.MustCompile(`<[^>]*>|\*[^*\s][^*]*\*|_[^_\s][^_]*_|~[^~\s][^~]*~|:[a-z0-9_+-]+:|(?i)https?://|mailto:`)
	codeSpan     = regexp.MustCompile("`[^`]*`")
)

// checkMrkdwn reports what in a mrkdwn text is more than text and code.
func checkMrkdwn(s string) error {
	if m := slackSpecial.FindString(codeSpan.ReplaceAllString(s, "")); m != "" {
		return fmt.Errorf("%q in %.200q is markup", m, s)
	}
	if strings.ContainsAny(s, "<>") || strings.HasPrefix(s, "&gt;") {
		return fmt.Errorf("%.200q has an angle bracket", s)
	}
	return nil
}

// CheckMessage checks a message against the limits and the schema of Block Kit, and that
// no text of it is read as markup.
func CheckMessage(m *Message) error {
	if m.Text == "" || utf8.RuneCountInString(m.Text) > 4000 {
		return fmt.Errorf("text of %d characters", utf8.RuneCountInString(m.Text))
	}
	if err := checkMrkdwn(m.Text); err != nil {
		return err
	}
	if len(m.Metadata) > 0 {
		var meta struct {
			EventType string         `json:"event_type"`
			Payload   map[string]any `json:"event_payload"`
		}
		if err := json.Unmarshal(m.Metadata, &meta); err != nil || meta.EventType == "" || meta.Payload == nil {
			return fmt.Errorf("metadata %s", m.Metadata)
		}
	}
	if len(m.Blocks) > 0 {
		if err := checkBlocks(m.Blocks); err != nil {
			return err
		}
	}
	if len(m.Attachments) == 0 {
		return nil
	}
	var attachments []struct {
		Color, Text, Fallback string
		Blocks                json.RawMessage
		MarkdownIn            []string `json:"mrkdwn_in"`
	}
	if err := json.Unmarshal(m.Attachments, &attachments); err != nil || len(attachments) > 20 {
		return fmt.Errorf("attachments: %w", err)
	}
	for _, a := range attachments {
		if !regexp.MustCompile(`^#[0-9a-f]{6}$`).MatchString(a.Color) {
			return fmt.Errorf("colour %q", a.Color)
		}
		for line := range strings.SplitSeq(a.Text, "\n") {
			if err := checkMrkdwn(line); err != nil {
				return err
			}
		}
		if len(a.Blocks) > 0 {
			if err := checkBlocks(a.Blocks); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkBlocks(raw json.RawMessage) error {
	var blocks []map[string]any
	if err := json.Unmarshal(raw, &blocks); err != nil || len(blocks) > 50 {
		return fmt.Errorf("%d blocks: %w", len(blocks), err)
	}
	ids := map[string]bool{}
	for i, b := range blocks {
		if id, _ := b["block_id"].(string); id != "" {
			if ids[id] || len(id) > 255 {
				return fmt.Errorf("block_id %q", id)
			}
			ids[id] = true
		}
		if err := checkBlock(b); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

func checkBlock(b map[string]any) error {
	list := func(v any) []any { l, _ := v.([]any); return l }
	object := func(v any) map[string]any { o, _ := v.(map[string]any); return o }
	switch b["type"] {
	case "header":
		return checkText(b["text"], 150)
	case "context":
		if n := len(list(b["elements"])); n < 1 || n > 10 {
			return fmt.Errorf("%d elements", n)
		}
		for _, e := range list(b["elements"]) {
			if err := checkText(e, 2000); err != nil {
				return err
			}
		}
		return nil
	case "actions":
		if n := len(list(b["elements"])); n < 1 || n > 25 {
			return fmt.Errorf("%d elements", n)
		}
		seen := map[any]bool{}
		for _, e := range list(b["elements"]) {
			o := object(e)
			id, _ := o["action_id"].(string)
			val, _ := o["value"].(string)
			if o["type"] != "button" || id == "" || len(id) > 255 || seen[id] || len(val) > 2000 {
				return fmt.Errorf("button %v", o)
			}
			seen[id] = true
			if err := checkText(o["text"], 75); err != nil {
				return err
			}
			if c := object(o["confirm"]); c != nil {
				for field, limit := range map[string]int{"title": 100, "text": 300, "confirm": 30, "deny": 30} {
					if err := checkText(c[field], limit); err != nil {
						return fmt.Errorf("%s: %w", field, err)
					}
				}
			}
		}
		return nil
	case "rich_text":
		if len(list(b["elements"])) == 0 {
			return fmt.Errorf("empty rich text")
		}
		for _, e := range list(b["elements"]) {
			if err := checkRich(object(e), true); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("type %v", b["type"])
}

// checkRich checks elements of rich text: nothing but text may be in them.
func checkRich(e map[string]any, outer bool) error {
	children, _ := e["elements"].([]any)
	switch e["type"] {
	case "rich_text_list":
		if e["style"] != "bullet" || !outer {
			return fmt.Errorf("list %v", e["style"])
		}
	case "rich_text_section", "rich_text_preformatted":
	case "text":
		text, _ := e["text"].(string)
		if text == "" || len(text) > 3000 || len(children) > 0 {
			return fmt.Errorf("text of %d bytes", len(text))
		}
		for _, r := range text {
			if r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				return fmt.Errorf("%U in %.100q", r, text)
			}
		}
		return nil
	default:
		return fmt.Errorf("element %v is more than text", e["type"])
	}
	if len(children) == 0 {
		return fmt.Errorf("%v is empty", e["type"])
	}
	for _, c := range children {
		o, _ := c.(map[string]any)
		if err := checkRich(o, false); err != nil {
			return err
		}
	}
	return nil
}

// checkText checks a plain_text object.
func checkText(v any, limit int) error {
	o, _ := v.(map[string]any)
	text, _ := o["text"].(string)
	if o["type"] != "plain_text" || text == "" || utf8.RuneCountInString(text) > limit {
		return fmt.Errorf("text %v of %d characters", o["type"], utf8.RuneCountInString(text))
	}
	if strings.ContainsAny(text, "<>&`\n") || o["emoji"] == true {
		return fmt.Errorf("%.100q is more than plain", text)
	}
	return nil
}

// texts are what a member reads, block by block.
func texts(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return ""
	}
	var b strings.Builder
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if s, ok := v["text"].(string); ok {
				style, _ := v["style"].(map[string]any)
				switch {
				case style["bold"] == true:
					s = "**" + s + "**"
				case style["code"] == true:
					s = "`" + s + "`"
				}
				b.WriteString(s)
				return
			}
			switch v["type"] {
			case "button":
				b.WriteString("[")
				walk(v["text"])
				b.WriteString("] ")
				return
			case "rich_text_preformatted":
				b.WriteString("    ")
			case "header":
				b.WriteString("# ")
			}
			for _, k := range []string{"text", "elements", "blocks"} {
				walk(v[k])
			}
			switch v["type"] {
			case "header", "rich_text_section", "rich_text_preformatted", "context", "actions":
				if !strings.HasSuffix(b.String(), "\n") {
					b.WriteByte('\n')
				}
			}
		}
	}
	walk(v)
	return b.String()
}

// Reading is a whole message as a member reads it.
func (m Message) Reading() string { return texts(m.Blocks) + texts(m.Attachments) }

package slack

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"gatewatch/alerting"

	"github.com/slack-go/slack"
)

// The metadata by which a message is found again.
const (
	eventType  = "gatewatch_incident"
	partMain   = "main"
	partThread = "thread"
)

// place is where an incident's message is, and how much of which revision is
// there. The outbox keeps it.
type place struct {
	Channel  string `json:"c,omitempty"`
	TS       string `json:"t,omitempty"` // "" where there is none
	Revision int64  `json:"r,omitempty"`
	Parts    int    `json:"p,omitempty"` // 1: the message itself, 2: its thread too
	Digest   bool   `json:"d,omitempty"` // the message is a digest, of which it is a part
}

func (r *Receiver) place(kept []byte) place {
	var p place
	if json.Unmarshal(kept, &p) != nil || p.Channel != r.c.Channel {
		return place{} // nothing, or in a channel that was used before
	}
	return p
}

func (p place) keep() []byte {
	if p.TS == "" {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil
	}
	return b
}

// notify brings the message and its thread to where the incident is. Each step
// leaves a trace, so that an attempt that was cut short goes on where it was.
func (r *Receiver) notify(ctx context.Context, inc *alerting.Incident, n alerting.Notification) alerting.Result {
	p := r.place(n.Kept)
	f := r.bring(ctx, inc, n, &p)
	if f != nil {
		f.result.Keep = p.keep()
		return f.result
	}
	return alerting.Result{Reason: alerting.ReasonOK, Keep: p.keep()}
}

func (r *Receiver) bring(ctx context.Context, inc *alerting.Incident, n alerting.Notification, p *place) *fault {
	if p.TS == "" && (n.Repeat || n.Cause != alerting.CauseOpened && n.Cause != alerting.CauseDigest && n.Cause != alerting.CauseTest) {
		// It may be there, posted by an attempt of which nothing is known.
		if f := r.find(ctx, inc, n, p); f != nil {
			return f
		}
	}
	first := p.TS == ""
	if p.Digest && p.TS != "" && len(inc.Digest) == 0 {
		if !loud(n.Cause) {
			return r.inDigest(ctx, inc, n, p)
		}
		first, *p = true, place{}
	}
	if first || p.Revision != n.Revision || p.Parts == 0 {
		f := r.message(ctx, inc, n, p, first)
		if f != nil {
			return f
		}
	}
	first = first || n.Cause == alerting.CauseOpened || n.Cause == alerting.CauseTest
	if p.Parts >= 2 || n.Cause == alerting.CauseSilenced || n.Cause == alerting.CauseDigest {
		p.Parts = 2
		return nil
	}
	return r.thread(ctx, inc, n, p, first)
}

// loud says that a revision has to be seen by who does not follow the thread.
func loud(c alerting.Cause) bool {
	return c == alerting.CauseLevel || c == alerting.CauseReopened || c == alerting.CauseRepeat || c == alerting.CauseUnsilenced
}

// message posts the message of an incident, or edits it.
func (r *Receiver) message(ctx context.Context, inc *alerting.Incident, n alerting.Notification, p *place, first bool) *fault {
	meta := slack.MsgOptionMetadata(r.metadata(n, partMain))
	if !first {
		c := call{"chat.update", r.edits}
		f := r.formed(ctx, c, inc, n, true, func(api *slack.Client, look form) error {
			options := append(look.options(), meta)
			if len(look.blocks) == 0 {
				options = append(options, slack.MsgOptionBlocks()) // or those of before stay
			}
			_, _, _, err := api.UpdateMessageContext(ctx, p.Channel, p.TS, options...)
			return err
		})
		switch {
		case f == nil:
			p.Revision, p.Parts = n.Revision, 1
			return nil
		case f.code == "message_not_found":
			*p = place{} // somebody deleted it: it is posted anew
		case f.code == "cant_update_message" || f.code == "edit_window_closed":
			r.warnOnce("edit", "messages cannot be edited; what is new stands in the thread alone", f.result.Err)
			p.Revision, p.Parts = n.Revision, 1
			return nil
		default:
			return f
		}
	}
	return r.formed(ctx, call{"chat.postMessage", r.posts}, inc, n, true, func(api *slack.Client, look form) error {
		_, ts, err := api.PostMessageContext(ctx, r.c.Channel, append(look.options(), meta)...)
		if err == nil {
			*p = place{Channel: r.c.Channel, TS: ts, Revision: n.Revision, Parts: 1, Digest: len(inc.Digest) > 0}
		}
		return err
	})
}

// formed makes a call with the message in its form and, where Slack refuses that,
// in the simplest.
func (r *Receiver) formed(ctx context.Context, c call, inc *alerting.Incident, n alerting.Notification, main bool, f func(*slack.Client, form) error) *fault {
	var look form
	if main {
		look = mainForm(inc, n.Cause, r.c.AppToken != nil)
	} else {
		look, _ = threadForm(inc, n.Cause, n.Cause == alerting.CauseOpened || n.Cause == alerting.CauseTest)
	}
	out := r.do(ctx, c, func(api *slack.Client) error { return f(api, look) })
	if out == nil || !out.form() {
		return out
	}
	r.warnOnce("form", "it does not take our blocks; messages are sent in a simpler form", out.result.Err)
	return r.do(ctx, c, func(api *slack.Client) error { return f(api, simple(inc, n.Cause, main)) })
}

// options are the form of a message as the API wants it.
func (f form) options() []slack.MsgOption {
	out := []slack.MsgOption{
		slack.MsgOptionText(f.text, false), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
		slack.MsgOptionParse(false), slack.MsgOptionLinkNames(false),
	}
	if len(f.blocks) > 0 {
		out = append(out, slack.MsgOptionBlocks(f.blocks...))
	}
	if len(f.attachments) > 0 {
		out = append(out, slack.MsgOptionAttachments(f.attachments...))
	}
	return out
}

func (r *Receiver) metadata(n alerting.Notification, part string) slack.SlackMetadata {
	return slack.SlackMetadata{EventType: eventType, EventPayload: map[string]any{
		"receiver": r.c.Name, "incident": n.Incident, "revision": strconv.FormatInt(n.Revision, 10), "key": n.Key, "part": part,
	}}
}

// read returns a field of the metadata of one of our messages, "" for others.
func read(m *slack.Message, field string) string {
	if m.Metadata.EventType != eventType {
		return ""
	}
	s, _ := m.Metadata.EventPayload[field].(string)
	return s
}

// thread posts what is new into the thread.
func (r *Receiver) thread(ctx context.Context, inc *alerting.Incident, n alerting.Notification, p *place, first bool) *fault {
	if _, ok := threadForm(inc, n.Cause, n.Cause == alerting.CauseOpened || n.Cause == alerting.CauseTest); !ok {
		p.Parts = 2
		return nil
	}
	if n.Repeat {
		there, f := r.inThread(ctx, n, p)
		if f != nil {
			return f
		}
		if there {
			p.Parts = 2
			return nil
		}
	}
	f := r.reply(ctx, inc, n, p, !first && loud(n.Cause))
	if f == nil {
		p.Parts = 2
	}
	return f
}

// reply posts into the thread, and with broadcast into the channel as well.
func (r *Receiver) reply(ctx context.Context, inc *alerting.Incident, n alerting.Notification, p *place, broadcast bool) *fault {
	return r.formed(ctx, call{"chat.postMessage", r.posts}, inc, n, false, func(api *slack.Client, look form) error {
		options := append(look.options(), slack.MsgOptionTS(p.TS), slack.MsgOptionMetadata(r.metadata(n, partThread)))
		if broadcast {
			options = append(options, slack.MsgOptionBroadcast())
		}
		_, _, err := api.PostMessageContext(ctx, p.Channel, options...)
		return err
	})
}

// inDigest tells of an incident that has no message of its own, in the thread of the
// digest that told of it.
func (r *Receiver) inDigest(ctx context.Context, inc *alerting.Incident, n alerting.Notification, p *place) *fault {
	if p.Revision == n.Revision && p.Parts >= 2 {
		return nil
	}
	if n.Repeat {
		if there, f := r.inThread(ctx, n, p); f != nil || there {
			return f
		}
	}
	look := digestReply(inc, n.Cause)
	f := r.do(ctx, call{"chat.postMessage", r.posts}, func(api *slack.Client) error {
		options := append(look.options(), slack.MsgOptionTS(p.TS), slack.MsgOptionMetadata(r.metadata(n, partThread)))
		_, _, err := api.PostMessageContext(ctx, p.Channel, options...)
		return err
	})
	if f == nil {
		p.Revision, p.Parts = n.Revision, 2
	}
	return f
}

const (
	historyPage, historyPages = 200, 10
	// historyBefore is how much earlier than the incident the search begins,
	// for clocks that differ.
	historyBefore = time.Hour
)

// find looks for the message of an incident in the channel's history. Without the
// right to read it, the message counts as not there.
func (r *Receiver) find(ctx context.Context, inc *alerting.Incident, n alerting.Notification, p *place) *fault {
	oldest := n.Made
	if !inc.DetectedAt.IsZero() && inc.DetectedAt.Before(oldest) {
		oldest = inc.DetectedAt
	}
	params := slack.GetConversationHistoryParameters{
		ChannelID: r.c.Channel, Limit: historyPage, IncludeAllMetadata: true, Inclusive: true,
		Oldest: strconv.FormatInt(oldest.Add(-historyBefore).Unix(), 10),
	}
	for range historyPages {
		var page *slack.GetConversationHistoryResponse
		f := r.do(ctx, call{"conversations.history", r.reads}, func(api *slack.Client) (err error) {
			page, err = api.GetConversationHistoryContext(ctx, &params)
			return err
		})
		if f != nil {
			return r.unreadable(f)
		}
		for i := range page.Messages {
			m := &page.Messages[i]
			if read(m, "incident") != n.Incident || read(m, "receiver") != r.c.Name || read(m, "part") != partMain {
				continue
			}
			revision, _ := strconv.ParseInt(read(m, "revision"), 10, 64)
			*p = place{Channel: r.c.Channel, TS: m.Timestamp, Revision: revision, Parts: 1, Digest: len(inc.Digest) > 0}
			return nil
		}
		if params.Cursor = page.ResponseMetaData.NextCursor; !page.HasMore || params.Cursor == "" {
			break
		}
	}
	return nil
}

// unreadable passes on what may be mended by waiting, and says the rest once.
func (r *Receiver) unreadable(f *fault) *fault {
	if f.result.Retry {
		return f
	}
	r.warnOnce("history", "the history of the channel cannot be read, so a message may be posted twice after a crash; see docs/slack.md for the scope", f.result.Err)
	return nil
}

// inThread reports whether the thread has the revision already.
func (r *Receiver) inThread(ctx context.Context, n alerting.Notification, p *place) (bool, *fault) {
	params := slack.GetConversationRepliesParameters{ChannelID: p.Channel, Timestamp: p.TS, Limit: historyPage, IncludeAllMetadata: true, Inclusive: true}
	for range historyPages {
		var messages []slack.Message
		var more bool
		f := r.do(ctx, call{"conversations.replies", r.reads}, func(api *slack.Client) (err error) {
			messages, more, params.Cursor, err = api.GetConversationRepliesContext(ctx, &params)
			return err
		})
		if f != nil {
			return false, r.unreadable(f)
		}
		for i := range messages {
			if read(&messages[i], "key") == n.Key && read(&messages[i], "part") == partThread {
				return true, nil
			}
		}
		if !more || params.Cursor == "" {
			break
		}
	}
	return false, nil
}

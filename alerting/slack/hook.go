package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"

	"github.com/slack-go/slack"
)

// post sends one message to an incoming webhook.
func (r *Receiver) post(ctx context.Context, inc *alerting.Incident, n alerting.Notification) alerting.Result {
	if late, err := r.posts.wait(ctx); err != nil {
		return r.result(alerting.ReasonRateLimited, true, min(late, r.c.MaxRetryAfter), "%s", err)
	}
	f := mainForm(inc, n.Cause, false)
	// There is no thread to put log lines in: a few go along.
	if lines, ok := threadForm(inc, n.Cause, true); ok && len(f.attachments) > 0 {
		lines.trim(3)
		f.attachments[0].Blocks.BlockSet = append(f.attachments[0].Blocks.BlockSet, lines.blocks...)
	}
	res, code := r.send(ctx, f)
	if (&fault{code: code}).form() {
		r.warnOnce("form", "it does not take our blocks; messages are sent in a simpler form", res.Err)
		res, _ = r.send(ctx, simple(inc, n.Cause, true))
	}
	if res.Reason == alerting.ReasonRateLimited {
		r.posts.hold(res.After)
	}
	return res
}

// trim keeps the first n log lines.
func (f *form) trim(n int) {
	for _, b := range f.blocks {
		if rich, ok := b.(*slack.RichTextBlock); ok {
			rich.Elements = rich.Elements[:min(2*n, len(rich.Elements))]
		}
	}
}

// send makes one call. code is Slack's word for what it refused.
func (r *Receiver) send(ctx context.Context, f form) (res alerting.Result, code string) {
	no := false
	m := slack.WebhookMessage{Text: f.text, Attachments: f.attachments, UnfurlLinks: &no, UnfurlMedia: &no}
	if len(f.blocks) > 0 {
		m.Blocks = &slack.Blocks{BlockSet: f.blocks}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return alerting.Result{Err: fmt.Errorf("slack %s: encode: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}, ""
	}
	res = r.hook.Do(ctx, endpoint.Call{ContentType: "application/json", Body: body, Explain: func(_ int, answer []byte) string {
		code = strings.TrimSpace(string(answer))
		return hookWords(code)
	}})
	return res, code
}

// hookWords explains the short answers of incoming webhooks.
func hookWords(code string) string {
	var text string
	switch code {
	case "invalid_payload", "invalid_blocks", "invalid_attachments":
		text = "it does not take the form of the message"
	case "no_service", "no_service_id", "no_team", "team_disabled", "invalid_token":
		text = "the webhook is gone or was never there; make a new one"
	case "channel_not_found", "user_not_found":
		text = "its channel or member is gone; make a new webhook"
	case "channel_is_archived":
		text = "its channel is archived"
	case "action_prohibited", "posting_to_general_channel_denied":
		text = "the workspace does not let it post there"
	case "rollup_error":
		text = "this passes"
	default:
		return ""
	}
	return escape.Text(code, 64) + " (" + text + ")"
}

package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"

	"github.com/slack-go/slack"
)

const (
	// maxAnswer bounds what is read of an answer: a page of history is the
	// longest.
	maxAnswer = 8 << 20
	maxShown  = 400
)

var errNotYet = errors.New("the rate limit does not let it through in time")

// bounded is an HTTP client that reads only so much of an answer.
type bounded struct{ client *http.Client }

func (b bounded) Do(req *http.Request) (*http.Response, error) {
	res, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, maxAnswer), res.Body}
	return res, nil
}

// api returns a client with the token as it is now.
func (r *Receiver) api(options ...slack.Option) (*slack.Client, string, error) {
	token, err := r.token()
	if err != nil {
		return nil, "", err
	}
	options = append([]slack.Option{slack.OptionAPIURL(r.c.APIURL), slack.OptionHTTPClient(bounded{r.client})}, options...)
	return slack.New(token, options...), token, nil
}

// call is one call of the API: its method for messages, and its pace.
type call struct {
	method string
	pace   *pace
}

// fault is a call that failed.
type fault struct {
	result alerting.Result
	code   string // Slack's word, "" where there is none
}

// do makes one call at its pace.
func (r *Receiver) do(ctx context.Context, c call, f func(*slack.Client) error) *fault {
	api, token, err := r.api()
	if err != nil {
		// A file may be on its way to being replaced.
		return &fault{result: r.result(alerting.ReasonInvalid, true, 0, "%s", err)}
	}
	if late, err := c.pace.wait(ctx); errors.Is(err, errNotYet) {
		return &fault{result: r.result(alerting.ReasonRateLimited, true, min(late, r.c.MaxRetryAfter), "%s: %s", c.method, err)}
	}
	if err := f(api); err != nil {
		return r.fault(ctx, c, err, token)
	}
	return nil
}

func (r *Receiver) result(reason alerting.Reason, retry bool, after time.Duration, format string, args ...any) alerting.Result {
	return alerting.Result{Err: fmt.Errorf("slack %s: "+format, append([]any{r.c.Name}, args...)...), Retry: retry, After: after, Reason: reason}
}

// fault explains the error of a call.
func (r *Receiver) fault(ctx context.Context, c call, err error, token string) *fault {
	var hidden endpoint.Scrubber
	hidden.Hide(token)
	var (
		api     slack.SlackErrorResponse
		limited *slack.RateLimitedError
		status  slack.StatusCodeError
		syntax  *json.SyntaxError
	)
	switch {
	case errors.As(err, &limited):
		after := min(max(limited.RetryAfter, time.Second), r.c.MaxRetryAfter)
		c.pace.hold(after)
		return &fault{r.result(alerting.ReasonRateLimited, true, after, "%s: Slack asks to wait %s", c.method, after), "ratelimited"}
	case errors.As(err, &api):
		retry, text := explain(api.Err)
		reason := alerting.ReasonClientError
		if retry {
			reason = alerting.ReasonServerError
		}
		return &fault{r.result(reason, retry, 0, "%s: Slack answered %s", c.method, hidden.Clean(text+details(&api))), api.Err}
	case errors.As(err, &status):
		switch {
		case status.Code/100 == 3:
			return &fault{result: r.result(alerting.ReasonRedirect, false, 0, "%s: it answered %d; redirects are not followed, check api_url", c.method, status.Code)}
		case status.Code >= 500 || status.Code == http.StatusRequestTimeout || status.Code == http.StatusTooManyRequests:
			return &fault{result: r.result(alerting.ReasonServerError, true, 0, "%s: it answered %d %s", c.method, status.Code, http.StatusText(status.Code))}
		default:
			return &fault{result: r.result(alerting.ReasonClientError, false, 0, "%s: it answered %d %s", c.method, status.Code, http.StatusText(status.Code))}
		}
	case errors.As(err, &syntax):
		// A page of HTML from a proxy, or half an answer.
		return &fault{result: r.result(alerting.ReasonServerError, true, 0, "%s: the answer is no JSON; something between here and Slack answers in its place", c.method)}
	}
	reason, text := endpoint.Classify(ctx, err)
	return &fault{result: r.result(reason, true, 0, "%s: %s", c.method, hidden.Clean(text))}
}

// details are the fields that Slack names, and the scopes that are missing.
func details(e *slack.SlackErrorResponse) string {
	var parts []string
	if e.Needed != "" {
		parts = append(parts, fmt.Sprintf("it needs the scope %s, the token has %s", e.Needed, e.Provided))
	}
	parts = append(parts, e.ResponseMetadata.Messages...)
	for _, x := range e.Errors {
		if x.Message != nil {
			parts = append(parts, *x.Message)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + escape.Text(strings.Join(parts, "; "), maxShown)
}

// explain says what an error of the API means, and whether trying again may help.
func explain(code string) (retry bool, text string) {
	shown := escape.Text(code, 64)
	with := func(text string) string { return shown + " (" + text + ")" }
	switch code {
	case "internal_error", "fatal_error", "service_unavailable", "request_timeout", "ratelimited", "rate_limited", "team_added_to_org", "message_limit_exceeded", "accesslimited":
		return true, with("this passes")
	case "invalid_auth", "not_authed", "account_inactive", "token_expired", "token_revoked", "not_allowed_token_type":
		return false, with("the token is not, or no longer, that of a bot in this workspace; install the app again and take its new token")
	case "missing_scope", "no_permission":
		return false, with("add the scope to the app and install it again")
	case "channel_not_found", "not_in_channel":
		return false, with("the app has to be in the channel: write /invite @gatewatch there, and check its id")
	case "is_archived":
		return false, with("the channel is archived")
	case "restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel", "restricted_action_non_threadable_channel", "posting_to_channel_denied":
		return false, with("the workspace does not let the app post there")
	case "invalid_blocks", "invalid_attachments", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "attachment_payload_limit_exceeded", "too_many_attachments":
		return false, with("it does not take the form of the message")
	default:
		return false, shown
	}
}

// form reports whether Slack refused the form of a message.
func (f *fault) form() bool {
	switch f.code {
	case "invalid_blocks", "invalid_attachments", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "attachment_payload_limit_exceeded", "too_many_attachments":
		return true
	}
	return false
}

// warnings are what is said once, until the receiver is made anew.
type warnings struct {
	mu   sync.Mutex
	said map[string]bool
}

func (r *Receiver) warnOnce(key, text string, err error) {
	r.warned.mu.Lock()
	defer r.warned.mu.Unlock()
	if r.warned.said[key] {
		return
	}
	if r.warned.said == nil {
		r.warned.said = map[string]bool{}
	}
	r.warned.said[key] = true
	r.c.Logger.Warn("slack does less than it might", slog.String("receiver", r.c.Name), slog.String("problem", text), slog.Any("error", err))
}

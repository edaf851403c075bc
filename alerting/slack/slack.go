// Package slack sends incidents to a channel of Slack.
//
// With the token of a bot there is one message an incident. It is edited in place
// as the incident goes on, with log lines and later revisions in its thread. Each
// message carries the incident and the revision in its metadata, so that one whose
// posting was cut short by a crash is found again in the channel's history. With the
// address of an incoming webhook there are only posts: Slack does not let these be
// changed.
//
// Buttons come back over Socket Mode, see [Buttons].
package slack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"

	"github.com/slack-go/slack"
)

// Config is the configuration. Name is required, and either WebhookURL or Token
// and Channel.
type Config struct {
	Name string
	// WebhookURL is the address of an incoming webhook.
	WebhookURL endpoint.Secret
	// Token is that of a bot, xoxb-.
	Token endpoint.Secret
	// Channel is the id of a channel that the bot is in, such as C0123ABCDEF.
	Channel string
	// AppToken is for Socket Mode, xapp-; nil for messages without buttons.
	AppToken endpoint.Secret
	// Users are the ids of those who may use the buttons, such as U0123ABCDEF.
	Users []string
	// APIURL is where the Web API is. Default https://slack.com/api/.
	APIURL  string
	Timeout time.Duration // of one notification, with all its calls. Default 1 min
	TLS     endpoint.TLS
	Proxy   endpoint.Secret
	// MaxRetryAfter bounds the wait that Slack may ask for. Default 1 h.
	MaxRetryAfter time.Duration
	Version       string
	Logger        *slog.Logger // may be nil
}

// Receiver sends to one channel. It may be used by many goroutines.
type Receiver struct {
	c      Config
	hook   *endpoint.Client // for an incoming webhook, else nil
	client *http.Client
	posts  *pace // chat.postMessage
	edits  *pace // chat.update
	reads  *pace // conversations.history and .replies
	warned warnings
	now    func() time.Time
}

var _ alerting.Traits = (*Receiver)(nil)

var (
	channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{2,20}$`)
	userID    = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)
)

// The paces are those of Slack's rate limits: a message a second and channel, and
// what tier 3 allows for the rest.
const (
	postEvery, postBurst = time.Second, 3
	editEvery, editBurst = 1200 * time.Millisecond, 10
	readEvery, readBurst = 1200 * time.Millisecond, 10
)

// New checks the configuration, reading each secret once. Its errors name the
// field that is wrong, never its value.
func New(c Config) (*Receiver, error) {
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	c.APIURL = cmp.Or(c.APIURL, slack.APIURL)
	c.MaxRetryAfter = cmp.Or(c.MaxRetryAfter, time.Hour)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{
		c: c, now: time.Now,
		posts: newPace(postEvery, postBurst), edits: newPace(editEvery, editBurst), reads: newPace(readEvery, readBurst),
	}
	if c.Name == "" {
		return nil, errors.New("slack: no name")
	}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("slack %s: %w", c.Name, err)
	}
	return r, nil
}

func (r *Receiver) open() (err error) {
	c := &r.c
	if (c.WebhookURL == nil) == (c.Token == nil) {
		return errors.New("give it either the address of an incoming webhook or the token of a bot")
	}
	if c.WebhookURL != nil {
		if c.Channel != "" || c.AppToken != nil || len(c.Users) > 0 {
			return errors.New("channel, app_token and users go with the token of a bot: an incoming webhook posts to its own channel and has no buttons")
		}
		r.hook, err = endpoint.New(endpoint.Options{
			Kind: "slack", Name: c.Name, URL: c.WebhookURL, Timeout: c.Timeout, TLS: c.TLS, Proxy: c.Proxy, MaxRetryAfter: c.MaxRetryAfter, Version: c.Version,
		})
		if err != nil {
			_, text, _ := strings.Cut(err.Error(), c.Name+": ")
			return errors.New(text)
		}
		return nil
	}
	if !channelID.MatchString(c.Channel) {
		return fmt.Errorf("channel is %q; write its id, such as C0123ABCDEF: it stands at the end of the channel's details", c.Channel)
	}
	if u, err := url.Parse(c.APIURL); err != nil || u.Host == "" || !strings.HasSuffix(u.Path, "/") {
		return fmt.Errorf("api_url is %q; write https://slack.com/api/ with its last slash", c.APIURL)
	}
	if _, err := r.token(); err != nil {
		return err
	}
	if c.AppToken != nil {
		if _, err := r.appToken(); err != nil {
			return err
		}
		if len(c.Users) == 0 {
			return errors.New("users names nobody, so nobody could use the buttons; list the ids of members, such as U0123ABCDEF")
		}
	} else if len(c.Users) > 0 {
		return errors.New("users go with app_token: without Socket Mode there are no buttons")
	}
	for _, u := range c.Users {
		if !userID.MatchString(u) {
			return fmt.Errorf("users: %q is no id of a member; write one such as U0123ABCDEF: it stands in the member's profile", u)
		}
	}
	r.client, err = endpoint.HTTPClient(c.Timeout, c.TLS, c.Proxy)
	return err
}

func (r *Receiver) token() (string, error) { return readToken(r.c.Token, "token", "xoxb-") }

func (r *Receiver) appToken() (string, error) { return readToken(r.c.AppToken, "app_token", "xapp-") }

func readToken(s endpoint.Secret, field, prefix string) (string, error) {
	token, err := s.Read()
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(token, prefix) || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return "", fmt.Errorf("%s does not begin with %s or holds blanks; see docs/slack.md for where to get it", field, prefix)
	}
	return token, nil
}

// Name returns the receiver's name.
func (r *Receiver) Name() string { return r.c.Name }

// Keeps says whether a message stands for an incident and changes with it.
func (r *Receiver) Keeps() bool { return r.hook == nil }

// Folds says that people read it message by message.
func (*Receiver) Folds() bool { return true }

// Close lets go of idle connections.
func (r *Receiver) Close() {
	if r.hook != nil {
		r.hook.Close()
		return
	}
	r.client.CloseIdleConnections()
}

// Notify posts or changes the message of an incident.
func (r *Receiver) Notify(ctx context.Context, n alerting.Notification) alerting.Result {
	var inc alerting.Incident
	if err := json.Unmarshal(n.Payload, &inc); err != nil {
		return alerting.Result{Err: fmt.Errorf("slack %s: read the incident: %w", r.c.Name, err), Reason: alerting.ReasonInvalid}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.c.Timeout, fmt.Errorf("not done within %s", r.c.Timeout))
	defer cancel()
	if r.hook != nil {
		return r.post(ctx, &inc, n)
	}
	return r.notify(ctx, &inc, n)
}

package config

import (
	"regexp"
	"strings"
	"time"

	"gatewatch/alerting/slack"

	"go.yaml.in/yaml/v4"
)

// Slack is a receiver that is a channel of Slack.
type Slack struct {
	WebhookURL Secret // of an incoming webhook, or:
	Token      Secret // of a bot
	Channel    string // its id
	AppToken   Secret // for Socket Mode; may be unset
	Users      []string
	APIURL     string // "" for the default
	Timeout    time.Duration
	TLS        TLS
	Proxy      Secret
}

// AttemptTimeout returns the timeout of one notification.
func (s *Slack) AttemptTimeout() time.Duration { return s.Timeout }

// Options returns the options of slack.New for a receiver of that name.
func (s *Slack) Options(name, version string) slack.Config {
	return slack.Config{
		Name: name, WebhookURL: orNil(s.WebhookURL), Token: orNil(s.Token), Channel: s.Channel, AppToken: orNil(s.AppToken), Users: s.Users,
		APIURL: s.APIURL, Timeout: s.Timeout, TLS: s.TLS.Files(), Proxy: orNil(s.Proxy), Version: version,
	}
}

var (
	slackChannel = regexp.MustCompile(`^[CGD][A-Z0-9]{2,20}$`)
	slackUser    = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)
)

func readSlack(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	s := &Slack{Timeout: time.Minute}
	m := d.mapping(n, name)
	d.address(m, "webhook_url", &s.WebhookURL)
	token := func(key, prefix string, dst *Secret) {
		at := m.secret(key, dst)
		if at != nil && dst.value != "" && !strings.HasPrefix(dst.value, prefix) {
			// The value is not repeated.
			d.fail(at, "%s does not begin with %s; see docs/slack.md for where to get it", m.path(key), prefix)
		}
	}
	token("token", "xoxb-", &s.Token)
	token("app_token", "xapp-", &s.AppToken)
	channel := m.text("channel", &s.Channel)
	if channel != nil && !slackChannel.MatchString(s.Channel) {
		d.fail(channel, "%s is %s; write the channel's id, such as C0123ABCDEF: it stands at the end of the channel's details", m.path("channel"), quote(s.Channel))
	}
	m.list("users", func(item *yaml.Node, name string) {
		id, ok := d.text(item, name)
		if !ok {
			return
		}
		if !slackUser.MatchString(id) {
			d.fail(item, "%s is %s; write a member's id, such as U0123ABCDEF: it stands in the member's profile", name, quote(id))
			return
		}
		s.Users = append(s.Users, id)
	})
	if at := m.text("api_url", &s.APIURL); at != nil {
		if err := parseURL(s.APIURL); err != nil || !strings.HasSuffix(s.APIURL, "/") {
			d.fail(at, "%s is %s; write https://slack.com/api/ with its last slash", m.path("api_url"), quote(s.APIURL))
		}
	}
	m.duration("timeout", &s.Timeout, time.Second, 5*time.Minute)
	d.tls(m, n, &s.TLS)
	d.address(m, "proxy", &s.Proxy)
	m.done()
	if len(d.problems) > before {
		return s
	}
	switch {
	case s.WebhookURL.IsSet() && s.Token.IsSet():
		d.fail(n, "%s has both webhook_url and token; keep token for one message an incident, webhook_url for posts alone", name)
	case s.WebhookURL.IsSet() && (channel != nil || s.AppToken.IsSet() || len(s.Users) > 0):
		d.fail(n, "%s has keys that go with token: an incoming webhook posts to its own channel and has no buttons; remove channel, app_token and users", name)
	case s.WebhookURL.IsSet():
	case !s.Token.IsSet():
		d.fail(n, "%s has neither token nor webhook_url; write token: ${SLACK_TOKEN} and channel: C0123ABCDEF, or webhook_url: ${SLACK_WEBHOOK_URL}", name)
	case channel == nil:
		d.fail(n, "%s has no channel; write its id, such as channel: C0123ABCDEF", name)
	case s.AppToken.IsSet() && len(s.Users) == 0:
		d.fail(n, "%s has an app_token but no users, so nobody could use the buttons; write users: [U0123ABCDEF]", name)
	case !s.AppToken.IsSet() && len(s.Users) > 0:
		d.fail(n, "%s has users but no app_token, so there are no buttons for them; write app_token: ${SLACK_APP_TOKEN}", name)
	}
	return s
}

package slack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/escape"
	"gatewatch/alerting/summary"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

// Actor does what the buttons ask for. What it answers with is durable.
type Actor interface {
	// Act does something to an incident.
	Act(ctx context.Context, a alerting.Act) (*alerting.Incident, error)
	// Silence adds a silence and returns it with its id.
	Silence(ctx context.Context, s alerting.Silence) (alerting.Silence, error)
	// Incident returns an incident, nil where there is none with the id.
	Incident(ctx context.Context, id string) (*alerting.Incident, error)
}

const (
	// actionTimeout bounds one click.
	actionTimeout = 20 * time.Second
	// maxMessage bounds what is read of a message over Socket Mode.
	maxMessage = 1 << 20
	// maxClicks bounds the clicks that are worked on at once.
	maxClicks = 8
	// minReconnect and maxReconnect bound the wait after a connection that ended
	// with an error.
	minReconnect, maxReconnect = time.Second, 5 * time.Minute
)

// Buttons listens over Socket Mode for clicks on the buttons of messages, one
// connection an app, and has them done. Only members that the receiver of the channel
// lists can do anything.
type Buttons struct {
	actor  Actor
	logger *slog.Logger
	now    func() time.Time

	mu        sync.Mutex
	receivers []*Receiver
	changed   chan struct{}
}

// NewButtons returns a listener for the receivers, of which those without an app
// token are passed over. logger may be nil.
func NewButtons(actor Actor, logger *slog.Logger, receivers []*Receiver) *Buttons {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	b := &Buttons{actor: actor, logger: logger, now: time.Now, changed: make(chan struct{}, 1)}
	b.SetReceivers(receivers)
	return b
}

// SetReceivers replaces the receivers, after a reload. Connections that are still
// needed stay.
func (b *Buttons) SetReceivers(receivers []*Receiver) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.receivers = slices.DeleteFunc(slices.Clone(receivers), func(r *Receiver) bool { return r.c.AppToken == nil })
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// app is one connection.
type app struct {
	stop func()
	done chan struct{}
}

// Run keeps the connections until ctx is done. It is to be called once.
func (b *Buttons) Run(ctx context.Context) error {
	apps := map[string]*app{}
	defer func() {
		for _, a := range apps {
			a.stop()
			<-a.done
		}
	}()
	for {
		wanted := b.wanted()
		for token, a := range apps {
			if wanted[token] == nil {
				a.stop()
				<-a.done
				delete(apps, token)
			}
		}
		for token, r := range wanted {
			if apps[token] != nil {
				continue
			}
			appCtx, stop := context.WithCancel(ctx)
			a := &app{stop, make(chan struct{})}
			apps[token] = a
			go func() {
				defer close(a.done)
				b.connect(appCtx, r, token)
			}()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.changed:
		}
	}
}

// wanted returns a receiver for each app token.
func (b *Buttons) wanted() map[string]*Receiver {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]*Receiver{}
	for _, r := range b.receivers {
		token, err := r.appToken()
		if err != nil {
			b.logger.Error("slack buttons do not work", slog.String("receiver", r.c.Name), slog.Any("error", err))
			continue
		}
		if out[token] == nil {
			out[token] = r
		}
	}
	return out
}

// connect keeps one connection.
func (b *Buttons) connect(ctx context.Context, r *Receiver, token string) {
	for wait := minReconnect; ctx.Err() == nil; wait = min(2*wait, maxReconnect) {
		began := time.Now()
		err := b.listen(ctx, r, token)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxReconnect {
			wait = minReconnect
		}
		b.logger.Warn("slack buttons are not connected", slog.String("receiver", r.c.Name), slog.Any("error", err), slog.Duration("again_in", wait))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// listen holds one connection, which reconnects by itself when Slack asks for it.
func (b *Buttons) listen(ctx context.Context, r *Receiver, token string) error {
	api, botToken, err := r.api(slack.OptionAppLevelToken(token))
	if err != nil {
		return err
	}
	trust, err := r.c.TLS.Config("")
	if err != nil {
		return err
	}
	dialer := &websocket.Dialer{HandshakeTimeout: 30 * time.Second, WriteBufferSize: 32 << 10, TLSClientConfig: trust}
	if t, ok := r.client.Transport.(*http.Transport); ok {
		dialer.Proxy = t.Proxy
	}
	var hidden endpoint.Scrubber
	hidden.Hide(token)
	hidden.Hide(botToken)
	client := socketmode.New(api, socketmode.OptionDialer(dialer), socketmode.OptionReadLimit(maxMessage),
		socketmode.OptionLog(log.New(io.Discard, "", 0)))
	var working sync.WaitGroup
	defer working.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before the wait
	slots := make(chan struct{}, maxClicks)
	working.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-client.Events:
				b.event(ctx, client, e, &hidden, &working, slots)
			}
		}
	})
	return errors.New(hidden.Clean(client.RunContext(ctx).Error())) // it ends with an error alone
}

func (b *Buttons) event(ctx context.Context, client *socketmode.Client, e socketmode.Event, hidden *endpoint.Scrubber, working *sync.WaitGroup, slots chan struct{}) {
	switch e.Type {
	case socketmode.EventTypeConnected:
		b.logger.Info("slack buttons are connected")
	case socketmode.EventTypeConnectionError:
		if failed, ok := e.Data.(*slack.ConnectionErrorEvent); ok {
			b.logger.Warn("slack buttons cannot connect", slog.String("error", hidden.Clean(failed.ErrorObj.Error())), slog.Duration("again_in", failed.Backoff))
		}
	case socketmode.EventTypeInteractive:
		if e.Request != nil {
			// Slack sends it again to who does not say at once that it has come.
			_ = client.AckCtx(ctx, e.Request.EnvelopeID, nil) // it is done all the same
		}
		clicked, ok := e.Data.(slack.InteractionCallback)
		if !ok || clicked.Type != slack.InteractionTypeBlockActions {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		working.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, actionTimeout)
			defer cancel()
			b.clicked(ctx, &clicked)
		})
	}
}

// clicked does what the buttons of one click say.
func (b *Buttons) clicked(ctx context.Context, c *slack.InteractionCallback) {
	channel := c.Channel.ID
	if channel == "" {
		channel = c.Container.ChannelID
	}
	r, allowed := b.receiver(channel, c.User.ID)
	if r == nil {
		b.logger.Warn("a slack button was clicked in a channel of nobody", slog.String("channel", escape.Text(channel, 64)))
		return
	}
	for _, a := range c.ActionCallback.BlockActions {
		if a == nil || !strings.HasPrefix(a.ActionID, "gatewatch_") {
			continue
		}
		if !allowed {
			b.logger.Warn("a slack button was clicked by who may not", slog.String("receiver", r.c.Name), slog.String("user", escape.Text(c.User.ID, 64)))
			r.whisper(ctx, channel, c.User.ID, "You are not on the list of those who may use these buttons. It is users of this receiver in the configuration of gatewatch.")
			return
		}
		answer, err := b.do(ctx, a.ActionID, a.Value, who(c))
		if err != nil {
			b.logger.Warn("what a slack button asked for was not done", slog.String("receiver", r.c.Name), slog.String("action", escape.Text(a.ActionID, 64)),
				slog.String("incident", escape.Text(a.Value, 64)), slog.String("user", c.User.ID), slog.Any("error", err))
			r.whisper(ctx, channel, c.User.ID, "That was not done: "+words(err))
			continue
		}
		b.logger.Info("a slack button was clicked", slog.String("receiver", r.c.Name), slog.String("action", a.ActionID),
			slog.String("incident", a.Value), slog.String("user", c.User.ID))
		if answer != "" {
			r.answer(ctx, channel, message(c), answer)
		}
	}
}

// receiver returns the one that sends to the channel, and whether the member may
// use its buttons.
func (b *Buttons) receiver(channel, user string) (found *Receiver, allowed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.receivers {
		if r.c.Channel != channel {
			continue
		}
		found = r
		if user != "" && slices.Contains(r.c.Users, user) {
			return r, true
		}
	}
	return found, false
}

// message is the message under which to answer.
func message(c *slack.InteractionCallback) string {
	for _, ts := range []string{c.Message.ThreadTimestamp, c.Container.ThreadTs, c.Container.MessageTs, c.Message.Timestamp, c.MessageTs} {
		if ts != "" {
			return ts
		}
	}
	return ""
}

// who names a member for people and beyond doubt.
func who(c *slack.InteractionCallback) string {
	name := escape.Text(c.User.Name, 100)
	if name == "" {
		return c.User.ID + " (Slack)"
	}
	return fmt.Sprintf("%s (Slack %s)", name, c.User.ID)
}

// do does one thing. The thread is told by the revision that comes of it; where
// that does not say who, answer does.
func (b *Buttons) do(ctx context.Context, action, incident, by string) (answer string, err error) {
	switch {
	case action == buttonAck:
		_, err := b.actor.Act(ctx, alerting.Act{Incident: incident, Action: alerting.ActionAcknowledge, By: by})
		return "", err
	case action == buttonFalse:
		_, err := b.actor.Act(ctx, alerting.Act{Incident: incident, Action: alerting.ActionFalsePositive, By: by})
		return "", err
	case strings.HasPrefix(action, buttonSilence):
		return b.silence(ctx, strings.TrimPrefix(action, buttonSilence), incident, by)
	default:
		return "", fmt.Errorf("%w: there is no button %q", alerting.ErrInvalid, action)
	}
}

func (b *Buttons) silence(ctx context.Context, hours, incident, by string) (string, error) {
	n, err := strconv.Atoi(hours)
	known := false
	for _, s := range silences {
		known = known || s.hours == n
	}
	if err != nil || !known {
		return "", fmt.Errorf("%w: there is no button for %q hours", alerting.ErrInvalid, hours)
	}
	inc, err := b.actor.Incident(ctx, incident)
	if err != nil {
		return "", err
	}
	if inc == nil {
		return "", fmt.Errorf("incident %s: %w", incident, alerting.ErrNotFound)
	}
	if inc.State == alerting.StateResolved {
		return "", fmt.Errorf("%w: incident %s is resolved", alerting.ErrConflict, incident)
	}
	s, err := alerting.SilenceFor(inc, by, "by the button in Slack, for incident "+incident, b.now(), time.Duration(n)*time.Hour)
	if err != nil {
		return "", err
	}
	if s, err = b.actor.Silence(ctx, s); err != nil {
		return "", err
	}
	return fmt.Sprintf("Silenced by %s until %s, as long as its level does not rise. The silence is %s; end it with: gatewatch silences expire %s",
		by, summary.Time(s.End), s.ID, s.ID), nil
}

// words explains an error to who clicked.
func words(err error) string {
	switch {
	case errors.Is(err, alerting.ErrNotFound):
		return "gatewatch no longer knows this incident."
	case errors.Is(err, alerting.ErrConflict), errors.Is(err, alerting.ErrInvalid):
		return err.Error() + "."
	case errors.Is(err, context.DeadlineExceeded):
		return "gatewatch did not answer in time. Look at the incident before you try again."
	default:
		return "something failed; the log of gatewatch says what."
	}
}

// whisper tells one member alone.
func (r *Receiver) whisper(ctx context.Context, channel, user, text string) {
	f := r.do(ctx, call{"chat.postEphemeral", r.posts}, func(api *slack.Client) error {
		_, err := api.PostEphemeralContext(ctx, channel, user, slack.MsgOptionText(escape.Slack(text, maxValue), false))
		return err
	})
	r.logFault(f)
}

// answer posts into a thread.
func (r *Receiver) answer(ctx context.Context, channel, thread, text string) {
	look := form{text: escape.Slack(text, maxText), blocks: []slack.Block{slack.NewRichTextBlock("answer", slack.NewRichTextSection(value(text)))}}
	f := r.do(ctx, call{"chat.postMessage", r.posts}, func(api *slack.Client) error {
		_, _, err := api.PostMessageContext(ctx, channel, append(look.options(), slack.MsgOptionTS(thread))...)
		return err
	})
	r.logFault(f)
}

func (r *Receiver) logFault(f *fault) {
	if f != nil {
		r.c.Logger.Warn("an answer to a slack button was not sent", slog.String("receiver", r.c.Name), slog.Any("error", f.result.Err))
	}
}

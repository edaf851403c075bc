package conn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/sasl"
)

// OAuth says where the token for OAUTHBEARER comes from: either Token, or the
// client credentials grant of RFC 6749 at TokenURL.
type OAuth struct {
	Token Secret // renewed by somebody else, as a file is

	TokenURL     string
	ClientID     string
	ClientSecret Secret
	Scope        string
	Extensions   map[string]string // SASL extensions of RFC 7628, such as logicalCluster
}

// oauthMechanism is OAUTHBEARER of RFC 7628.
type oauthMechanism struct {
	cfg    OAuth
	client *http.Client

	mu    sync.Mutex
	token string
	until time.Time // the token is used until then
}

func newOAuth(cfg OAuth, timeout time.Duration) (*oauthMechanism, error) {
	if (cfg.Token == nil) == (cfg.TokenURL == "") {
		return nil, errors.New("a login by OAUTHBEARER needs either token or token_url")
	}
	if cfg.TokenURL != "" {
		u, err := url.Parse(cfg.TokenURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
			return nil, errors.New("token_url has to be an https address")
		}
		if cfg.ClientID == "" || cfg.ClientSecret == nil {
			return nil, errors.New("token_url needs client_id and client_secret")
		}
	}
	for k, v := range cfg.Extensions {
		if k == "auth" || k == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || strings.ContainsRune(v, 1) {
			return nil, fmt.Errorf("%q is no SASL extension; its name may have letters only, and may not be auth", k)
		}
	}
	return &oauthMechanism{cfg: cfg, client: tokenClient(timeout)}, nil
}

// tokenClient returns a client that leaves no connection open behind it.
func tokenClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a redirect is not followed with a secret")
		},
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Name implements sasl.Mechanism.
func (*oauthMechanism) Name() string { return OAuthBearer }

// Start implements sasl.Mechanism.
func (m *oauthMechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := m.bearer(ctx)
	if err != nil {
		return nil, nil, err
	}
	var b strings.Builder
	b.WriteString("n,,\x01auth=Bearer " + token + "\x01")
	for _, k := range slices.Sorted(maps.Keys(m.cfg.Extensions)) {
		b.WriteString(k + "=" + m.cfg.Extensions[k] + "\x01")
	}
	b.WriteString("\x01")
	return &oauthSession{m: m}, []byte(b.String()), nil
}

// oauthSession is one login.
type oauthSession struct {
	m       *oauthMechanism
	refused bool
}

// Next implements sasl.StateMachine.
func (s *oauthSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if s.refused {
		return false, nil, errors.New("the broker did not end the refused login")
	}
	if len(challenge) == 0 {
		return true, nil, nil
	}
	// The broker says what it does not like and wants to hear one byte before
	// it answers with an error. The token is not used again.
	s.refused = true
	s.m.forget()
	return false, []byte{1}, nil
}

func (m *oauthMechanism) forget() {
	m.mu.Lock()
	m.token = ""
	m.mu.Unlock()
}

// bearer returns a token that is good for a while yet.
func (m *oauthMechanism) bearer(ctx context.Context) (string, error) {
	if m.cfg.Token != nil {
		token, err := m.cfg.Token.Read()
		if err == nil && strings.Trim(token, " \r\n\t") == "" {
			err = errors.New("the token is empty")
		}
		if err == nil && strings.ContainsAny(token, "\x01 \r\n") {
			err = errors.New("the token has a character that none may have")
		}
		return token, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.token != "" && time.Now().Before(m.until) {
		return m.token, nil
	}
	token, life, err := m.request(ctx)
	if err != nil {
		return "", fmt.Errorf("get a token: %w", err)
	}
	m.token, m.until = token, time.Now().Add(life*4/5)
	return token, nil
}

// request asks the token endpoint.
func (m *oauthMechanism) request(ctx context.Context) (token string, life time.Duration, err error) {
	secret, err := m.cfg.ClientSecret.Read()
	if err != nil {
		return "", 0, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if m.cfg.Scope != "" {
		form.Set("scope", m.cfg.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.cfg.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.SetBasicAuth(url.QueryEscape(m.cfg.ClientID), url.QueryEscape(secret))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	body, err := answer(m.client, req)
	if err != nil {
		return "", 0, err
	}
	var out struct {
		Token string      `json:"access_token"`
		Life  json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &out); err != nil || out.Token == "" || strings.ContainsAny(out.Token, "\x01 \r\n") {
		return "", 0, errors.New("the answer has no access_token")
	}
	seconds, err := out.Life.Int64()
	if err != nil || seconds <= 0 || seconds > 7*24*3600 {
		seconds = 60
	}
	return out.Token, time.Duration(seconds) * time.Second, nil
}

// answer sends a request and returns the body of an answer that is fine.
func answer(client *http.Client, req *http.Request) ([]byte, error) {
	res, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the address may hold what nobody should see
		}
		return nil, fmt.Errorf("call %s: %w", req.URL.Host, err)
	}
	defer func() { _ = res.Body.Close() }()
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", req.URL.Host, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", req.URL.Host, res.StatusCode)
	}
	return body, nil
}

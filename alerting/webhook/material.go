package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// material is what one request needs of the secrets, as they are now.
type material struct {
	url     *url.URL
	keys    [][]byte
	headers map[string]string
	hidden  []string // what must not be in an error, longest first
}

func (r *Receiver) material() (*material, error) {
	m := &material{headers: map[string]string{}}
	var err error
	if m.url, err = parse(r.c.URL, "url"); err != nil {
		return nil, err
	}
	m.hideURL(m.url)
	for _, s := range r.c.Secrets {
		text, err := s.Read()
		if err != nil {
			return nil, err
		}
		key, err := signingKey(text)
		if err != nil {
			return nil, err
		}
		m.keys = append(m.keys, key)
		m.hide(text)
		m.hide(strings.TrimPrefix(text, keyPrefix))
	}
	for name, s := range r.c.Headers {
		value, err := s.Read()
		if err != nil {
			return nil, err
		}
		if err := checkHeader(name, value); err != nil {
			return nil, err
		}
		m.headers[name] = value
		m.hide(value)
		if _, token, ok := strings.Cut(value, " "); ok {
			m.hide(token) // "Bearer x"
		}
	}
	if r.c.Proxy != nil {
		if proxy, err := parse(r.c.Proxy, "proxy"); err == nil {
			m.hideURL(proxy)
		}
	}
	slices.SortFunc(m.hidden, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return m, nil
}

// parse reads a URL from a secret. Its errors do not repeat it.
func parse(s Secret, field string) (*url.URL, error) {
	text, err := s.Read()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s is no address of the form https://host/path", field)
	}
	return u, nil
}

func checkHeader(name, value string) error {
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if name == "" || strings.Trim(name, token) != "" || strings.ContainsAny(name, " \t\r\n:") {
		return fmt.Errorf("header %q has no valid name", name)
	}
	switch lower := strings.ToLower(name); {
	case strings.HasPrefix(lower, "webhook-"), lower == "content-length", lower == "transfer-encoding",
		lower == "connection", lower == "content-type":
		return fmt.Errorf("header %s is set by gatewatch; remove it", name)
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return fmt.Errorf("the value of header %s has control characters", name)
	}
	return nil
}

// minHidden is the length from which a part of a URL is taken for a secret.
// Anything shorter would blot out half of an error.
const minHidden = 4

func (m *material) hide(text string) {
	if len(text) >= minHidden {
		m.hidden = append(m.hidden, text)
	}
}

func (m *material) hideURL(u *url.URL) {
	m.hide(u.String())
	if password, ok := u.User.Password(); ok {
		m.hide(password)
		m.hide(u.User.String())
	}
	m.hide(u.User.Username())
	m.hide(u.RawQuery)
	for _, values := range u.Query() {
		for _, v := range values {
			m.hide(v)
		}
	}
	if len(u.EscapedPath()) > 1 {
		m.hide(u.EscapedPath())
		m.hide(u.Path)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= 16 { // as long as tokens in paths are
			m.hide(part)
		}
	}
}

// scrub takes everything secret out of a text that others had a hand in.
func (m *material) scrub(text string) string {
	for _, h := range m.hidden {
		text = strings.ReplaceAll(text, h, "<redacted>")
	}
	return text
}

const keyPrefix = "whsec_"

// signingKey returns the bytes of a secret.
func signingKey(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, keyPrefix)
	if !ok {
		if text == "" {
			return nil, errors.New("secret is empty")
		}
		return []byte(text), nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return nil, fmt.Errorf("secret begins with %s but what follows is no base64", keyPrefix)
	}
	return key, nil
}

// sign returns the value of webhook-signature: one signature a key.
func sign(keys [][]byte, id, timestamp string, payload []byte) string {
	var out []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(payload)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(out, " ")
}

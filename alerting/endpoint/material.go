package endpoint

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// material is what one request needs of the secrets, as they are now.
type material struct {
	url     *url.URL
	headers map[string]string
	Scrubber
}

func (c *Client) material() (*material, error) {
	m := &material{headers: map[string]string{}}
	var err error
	if m.url, err = parse(c.o.URL, "url"); err != nil {
		return nil, err
	}
	m.HideURL(m.url)
	for name, s := range c.o.Headers {
		value, err := s.Read()
		if err != nil {
			return nil, err
		}
		if err := c.checkHeader(name, value); err != nil {
			return nil, err
		}
		m.headers[name] = value
		m.Hide(value)
		if _, token, ok := strings.Cut(value, " "); ok {
			m.Hide(token) // "Bearer x"
		}
	}
	if c.o.Proxy != nil {
		if proxy, err := parse(c.o.Proxy, "proxy"); err == nil {
			m.HideURL(proxy)
		}
	}
	return m, nil
}

func (m *material) hideAll(texts []string) {
	for _, s := range texts {
		m.Hide(s)
	}
}

func (m *material) scrub(text string) string { return m.Clean(text) }

func (c *Client) checkHeader(name, value string) error {
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if name == "" || strings.Trim(name, token) != "" || strings.ContainsAny(name, " \t\r\n:") {
		return fmt.Errorf("header %q has no valid name", name)
	}
	lower := strings.ToLower(name)
	reserved := append([]string{"content-length", "transfer-encoding", "connection", "content-type"}, c.o.Reserved...)
	if slices.ContainsFunc(reserved, func(r string) bool { return lower == r || strings.HasSuffix(r, "-") && strings.HasPrefix(lower, r) }) {
		return fmt.Errorf("header %s is set by gatewatch; remove it", name)
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return fmt.Errorf("the value of header %s has control characters", name)
	}
	return nil
}

// minHidden is the length from which a text is taken for a secret. Anything
// shorter would blot out half of an error.
const minHidden = 4

// Scrubber takes secrets out of texts that others had a hand in. The zero value
// knows none. It is not safe for concurrent use.
type Scrubber struct{ hidden []string }

// Hide adds a secret. What is shorter than four bytes is not looked for.
func (s *Scrubber) Hide(text string) {
	if len(text) >= minHidden {
		s.hidden = append(s.hidden, text)
	}
}

// HideURL adds everything in an address that may be a secret: all but scheme
// and host.
func (s *Scrubber) HideURL(u *url.URL) {
	s.Hide(u.String())
	if password, ok := u.User.Password(); ok {
		s.Hide(password)
		s.Hide(u.User.String())
	}
	s.Hide(u.User.Username())
	s.Hide(u.RawQuery)
	for _, values := range u.Query() {
		for _, v := range values {
			s.Hide(v)
		}
	}
	if len(u.EscapedPath()) > 1 {
		s.Hide(u.EscapedPath())
		s.Hide(u.Path)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= 16 { // as long as tokens in paths are
			s.Hide(part)
		}
	}
}

// Clean returns text with "<redacted>" for each secret.
func (s *Scrubber) Clean(text string) string {
	// The longest first: one secret may be a part of another.
	slices.SortFunc(s.hidden, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, h := range s.hidden {
		text = strings.ReplaceAll(text, h, "<redacted>")
	}
	return text
}

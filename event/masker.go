package event

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// MaskOptions are what is hidden besides what [Mask] hides. The zero value
// adds nothing.
type MaskOptions struct {
	// Names are further names of keys whose values are secrets. Case, dashes and
	// underscores do not matter: X-Customer-Id is x_customer_id.
	Names []string
	// Patterns are regular expressions (RE2) of text that is a secret wherever
	// it stands. Of a pattern with a group, the first group is.
	Patterns []string
	// HashKey, if not empty, puts the beginning of a keyed hash (HMAC-SHA-256)
	// behind the three asterisks: equal secrets can be told to be equal, and
	// nobody without the key can try which one it was.
	HashKey []byte
	// Identities hides addresses and the names of users as well, each replaced
	// by what the HashKey makes of it.
	Identities bool
}

// Masker hides secrets in text. It is not changed after [NewMasker] and safe
// for concurrent use; a nil one does what [Mask] does.
type Masker struct {
	names      map[string]bool
	patterns   []*regexp.Regexp
	key        []byte
	identities bool
}

// minHashKey is how long a key has to be, in bytes.
const minHashKey = 16

// NewMasker checks the options. Its error joins all faults.
func NewMasker(o MaskOptions) (*Masker, error) {
	var errs []error
	m := &Masker{names: map[string]bool{}, key: o.HashKey, identities: o.Identities}
	for _, n := range o.Names {
		name := string(normalKey(nil, n))
		if name == "" || len(name) > maxSecretKey {
			errs = append(errs, fmt.Errorf("name %q: write letters and digits, at most %d", n, maxSecretKey))
			continue
		}
		m.names[name] = true
	}
	for _, p := range o.Patterns {
		re, err := regexp.Compile(p)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("pattern %q: %s", p, strings.TrimPrefix(err.Error(), "error parsing regexp: ")))
		case re.MatchString(""):
			errs = append(errs, fmt.Errorf("pattern %q matches where there is nothing; let it match at least one character", p))
		default:
			m.patterns = append(m.patterns, re)
		}
	}
	if len(o.HashKey) > 0 && len(o.HashKey) < minHashKey {
		errs = append(errs, fmt.Errorf("the key is shorter than %d bytes; make one with: openssl rand -hex 32", minHashKey))
	}
	if o.Identities && len(o.HashKey) == 0 {
		errs = append(errs, errors.New("to hide addresses and users needs a key for their hashes"))
	}
	return m, errors.Join(errs...)
}

// normalKey appends the letters and digits of a name, in lower case.
func normalKey(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'A' && c <= 'Z':
			dst = append(dst, c|0x20)
		case class[c]&(cDigit|cLower) != 0:
			dst = append(dst, c)
		}
	}
	return dst
}

// Append appends line to dst with its secrets hidden, as [Mask] does, and with
// what the options add. Masking twice is masking once.
func (m *Masker) Append(dst []byte, line string) []byte {
	if m == nil {
		return Mask(dst, line)
	}
	from := len(dst)
	dst = appendMasked(dst, line, m)
	if len(m.patterns) == 0 && !m.identities {
		return dst
	}
	text := string(dst[from:])
	for _, re := range m.patterns {
		text = outsideMarks(text, func(part string) string { return m.hidePattern(re, part) })
	}
	if m.identities {
		text = outsideMarks(text, m.hideIdentities)
	}
	return append(dst[:from], text...)
}

func (m *Masker) hidePattern(re *regexp.Regexp, part string) string {
	var out strings.Builder
	done := 0
	for _, at := range re.FindAllStringSubmatchIndex(part, -1) {
		from, to := at[0], at[1]
		if len(at) > 2 && at[2] >= 0 {
			from, to = at[2], at[3]
		}
		if from == to || from < done {
			continue
		}
		out.WriteString(part[done:from])
		out.WriteString(m.mark(part[from:to]))
		done = to
	}
	out.WriteString(part[done:])
	return out.String()
}

// marks are what masking leaves, and addresses that stand for others.
var marks = regexp.MustCompile(`\*\*\*(?:[0-9a-f]{12}\b)?|\bfd67(?::[0-9a-f]{0,4}){2,7}(?:/64)?`)

// outsideMarks replaces what stands between marks.
func outsideMarks(text string, replace func(string) string) string {
	var out strings.Builder
	done := 0
	for _, at := range marks.FindAllStringIndex(text, -1) {
		out.WriteString(replace(text[done:at[0]]))
		out.WriteString(text[at[0]:at[1]])
		done = at[1]
	}
	out.WriteString(replace(text[done:]))
	return out.String()
}

// mark returns what stands for a secret.
func (m *Masker) mark(secret string) string {
	if m == nil || len(m.key) == 0 {
		return masked
	}
	if isMark(secret) {
		return secret
	}
	return masked + hex.EncodeToString(m.hash("text", secret)[:6])
}

// isMark reports whether s is what masking leaves.
func isMark(s string) bool {
	rest, ok := strings.CutPrefix(s, masked)
	if !ok || len(rest) != 12 {
		return ok && rest == ""
	}
	_, err := hex.DecodeString(rest)
	return err == nil && strings.ToLower(rest) == rest
}

func (m *Masker) hash(kind, s string) []byte {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(kind + "\x00"))
	h.Write([]byte(s))
	return h.Sum(nil)
}

// HidesIdentities reports whether addresses and the names of users are hidden.
func (m *Masker) HidesIdentities() bool { return m != nil && m.identities }

// Name returns what stands for the name of a user.
func (m *Masker) Name(s string) string {
	if s == "" || s == "-" || !m.HidesIdentities() {
		return s
	}
	return m.mark(s)
}

// Address returns what stands for an address: one of fd67::/16, the first 64
// bits of which depend on the first 64 bits of an IPv6 address alone. Rules are
// matched against the address itself before.
func (m *Masker) Address(a netip.Addr) netip.Addr {
	if !a.IsValid() || !m.HidesIdentities() {
		return a
	}
	a = a.Unmap().WithZone("")
	raw := a.As16()
	if raw[0] == 0xfd && raw[1] == 0x67 {
		return a
	}
	var out [16]byte
	net := m.hash("network", string(raw[:8]))
	if a.Is4() {
		net = m.hash("address", string(raw[:]))
	}
	copy(out[:8], net)
	copy(out[8:], m.hash("host", string(raw[:])))
	out[0], out[1] = 0xfd, 0x67
	return netip.AddrFrom16(out)
}

var (
	mailAddress = regexp.MustCompile(`[A-Za-z0-9._%+-]+(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+`)
	addressLike = regexp.MustCompile(`[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:[0-9]{0,3}(?:\.[0-9]{1,3}){3})?`)
	// clfUser is the third word of the common log format.
	clfUser = regexp.MustCompile(`^[^ ]+ [^ ]+ ((?:[^ "\[]| [^\[])+) \[[0-3][0-9]/`)
)

// hideIdentities hides addresses, mail addresses and the user of a common log
// line. Values of keys that name a user are hidden before.
func (m *Masker) hideIdentities(part string) string {
	if at := clfUser.FindStringSubmatchIndex(part); at != nil && part[at[2]:at[3]] != "-" {
		part = part[:at[2]] + m.Name(part[at[2]:at[3]]) + part[at[3]:]
	}
	part = outsideMarks(part, func(s string) string { return mailAddress.ReplaceAllStringFunc(s, m.Name) })
	return outsideMarks(part, func(s string) string {
		return addressLike.ReplaceAllStringFunc(s, func(text string) string {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return text
			}
			return m.Address(a).String()
		})
	})
}

// userKey reports whether a bare key names a user.
func userKey(key []byte) bool {
	switch string(key) {
	case "user", "username", "userid", "login", "loginname", "email", "mail", "account", "accountname", "remoteuser", "xuser", "xforwardeduser",
		"xremoteuser", "xuserid", "useremail", "sub", "principal", "consumer", "consumerid", "consumerusername":
		return true
	default:
		return false
	}
}

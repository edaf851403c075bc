package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// HashToken appends what stands for a token that a client sent in the value of its
// Authorization header: "token-" and 16 hexadecimal digits of the SHA-256 of the value. It appends
// nothing for what tells no client: see telling; and nothing for Basic, since a password
// could be guessed from its hash.
func HashToken(dst []byte, value string) []byte {
	scheme, token, ok := strings.Cut(value, " ")
	if !ok {
		scheme, token = "", value
	}
	if strings.EqualFold(scheme, "Basic") || !telling(token) {
		return dst
	}
	return appendHash(dst, "token-", value)
}

// HashSession does the same for the id of a session, with "session-" in front.
func HashSession(dst []byte, id string) []byte {
	if !telling(id) {
		return dst
	}
	return appendHash(dst, "session-", id)
}

const leastToken = 16

// telling reports whether a secret is long and varied enough to be one client's: gateways
// write the same "REDACTED", stars or first few characters for everybody, and who
// shares such a word is not one principal.
func telling(s string) bool {
	if len(s) < leastToken || strings.Contains(s, "**") || strings.Contains(s, "...") || strings.Contains(s, "…") {
		return false
	}
	var seen [256]bool
	different, digits := 0, 0
	for i := range len(s) {
		c := s[i]
		if !seen[c] {
			seen[c] = true
			different++
		}
		if '0' <= c && c <= '9' {
			digits++
		}
	}
	return different >= leastToken/2 && digits > 0
}

func appendHash(dst []byte, kind, s string) []byte {
	dst = append(dst, kind...)
	from := len(dst)
	dst = append(dst, s...)
	sum := sha256.Sum256(dst[from:])
	return hex.AppendEncode(dst[:from], sum[:8])
}

// defaultPrincipals is who acts where nothing else is said. A user comes before
// a token, as tokens are renewed and users stay.
var defaultPrincipals = []Field{FieldKeyID, FieldConsumer, FieldUser, FieldTokenHash, FieldSession}

// PrincipalFields returns the fields that can say who acts, in the order in which they do by default.
func PrincipalFields() []Field { return slices.Clone(defaultPrincipals) }

// checkPrincipals refuses fields that cannot say who acts.
func checkPrincipals(fields []Field) error {
	for i, f := range fields {
		if !slices.Contains(defaultPrincipals, f) {
			var names []string
			for _, f := range defaultPrincipals {
				names = append(names, f.String())
			}
			return fmt.Errorf("%s cannot say who acts; write some of %s", f, strings.Join(names, ", "))
		}
		if slices.Contains(fields[:i], f) {
			return fmt.Errorf("%s is there twice", f)
		}
	}
	return nil
}

// principal returns who acts by the first of the fields that is there. A name, token or session
// that was just refused, or is only tried, is nobody's. A 403 refuses the name that
// comes with a password, but of a token or session it says that it was taken and may not do this.
func (d *Deriver) principal(ev *Event) string {
	taken := ev.Status != 401 && !ev.Login
	believed := taken && ev.Status != 403
	for _, f := range d.principals {
		s := ""
		switch f {
		case FieldKeyID:
			s = ev.KeyID
		case FieldConsumer:
			s = ev.ConsumerID
		case FieldUser:
			if believed || ev.UserVerified {
				s = ev.User
			}
		case FieldTokenHash:
			if taken {
				s = ev.TokenHash
			}
		case FieldSession:
			if taken {
				s = ev.SessionHash
			}
		}
		if s != "" {
			return s
		}
	}
	return ""
}

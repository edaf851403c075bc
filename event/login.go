package event

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// LoginRule names requests that are login attempts and tells how their end is
// seen. The first rule whose method and path fit decides.
type LoginRule struct {
	Method string // "" means POST, "*" any
	Path   string // a regular expression (RE2) searched in the path; anchor it with ^ and $
	// Success and Failure list statuses: "200", "2xx", "401,403". A status in
	// neither is an unknown outcome. Where both are empty, and for the one
	// side that is, the built-in reading of JSON logins applies: 2xx is
	// success; 400, 401, 403, 422 and 429 are failure.
	Success []string
	Failure []string
	// Action says what is attempted: "login", "reset" or "register". "" means login.
	Action string
	// SuccessSize and FailureSize tell answers of one status apart, where a form
	// answers 200 to both: the size of the body has to be in one of the ranges
	// too. Empty means any. A side with sizes is looked at before one without.
	SuccessSize []SizeRange
	FailureSize []SizeRange
}

// SizeRange is a run of body sizes in bytes, both ends included.
type SizeRange struct{ From, To int64 }

type loginRule struct {
	method  string
	path    *regexp.Regexp
	success statusSet
	failure statusSet
	action  Action
	// sizes of the body; empty for any
	successSizes, failureSizes []SizeRange
}

func compileLogin(r LoginRule) (loginRule, error) {
	c := loginRule{method: strings.ToUpper(r.Method)}
	if c.method == "" {
		c.method = "POST"
	}
	if r.Path == "" {
		return c, fmt.Errorf("a login rule has no path; write a regular expression such as ^/api/login$")
	}
	var err error
	if c.path, err = regexp.Compile(r.Path); err != nil {
		return c, fmt.Errorf("path of login rule: %w", err)
	}
	if c.success, err = parseStatuses(r.Success); err != nil {
		return c, fmt.Errorf("success of login rule %q: %w", r.Path, err)
	}
	if c.failure, err = parseStatuses(r.Failure); err != nil {
		return c, fmt.Errorf("failure of login rule %q: %w", r.Path, err)
	}
	var known bool
	if c.action, known = ParseAction(r.Action); !known {
		return c, fmt.Errorf("action of login rule %q: %q is none; write login, reset or register", r.Path, r.Action)
	}
	for _, sizes := range [...][]SizeRange{r.SuccessSize, r.FailureSize} {
		for _, s := range sizes {
			if s.From < 0 || s.To < s.From {
				return c, fmt.Errorf("sizes of login rule %q: %d-%d is no range of sizes", r.Path, s.From, s.To)
			}
		}
	}
	c.successSizes, c.failureSizes = r.SuccessSize, r.FailureSize
	if c.success.empty() {
		c.success.addRange(200, 299)
		if len(c.failureSizes) == 0 {
			c.success.remove(&c.failure)
		}
	}
	if c.failure.empty() {
		for _, n := range [...]int{400, 401, 403, 422, 429} {
			c.failure.addRange(n, n)
		}
		c.failure.remove(&c.success)
	}
	return c, nil
}

// outcome reads an answer; size is that of its body, -1 where the log has none.
func (r *loginRule) outcome(status int32, size int64) Outcome {
	failed, good := r.failure.has(status), r.success.has(status)
	if failed && good && size < 0 {
		return OutcomeUnknown // what would tell them apart is not in the log
	}
	failed = failed && sizeIn(r.failureSizes, size)
	good = good && sizeIn(r.successSizes, size)
	switch {
	case failed && good && len(r.failureSizes) == 0 && len(r.successSizes) > 0:
		return OutcomeSuccess
	case failed:
		return OutcomeFailure
	case good:
		return OutcomeSuccess
	default:
		return OutcomeUnknown
	}
}

// sizeIn reports whether a size is in one of the ranges; all are in none.
func sizeIn(ranges []SizeRange, size int64) bool {
	for _, r := range ranges {
		if r.From <= size && size <= r.To {
			return true
		}
	}
	return len(ranges) == 0
}

// statusSet is a set of HTTP statuses.
type statusSet [16]uint64

func (s *statusSet) addRange(from, to int) {
	for n := from; n <= to; n++ {
		s[n>>6] |= 1 << (n & 63)
	}
}

func (s *statusSet) remove(o *statusSet) {
	for i := range s {
		s[i] &^= o[i]
	}
}

func (s *statusSet) has(n int32) bool {
	return n >= 0 && n < 1000 && s[n>>6]&(1<<(n&63)) != 0
}

func (s *statusSet) empty() bool { return *s == statusSet{} }

func parseStatuses(list []string) (statusSet, error) {
	var s statusSet
	for _, item := range list {
		for part := range strings.SplitSeq(item, ",") {
			part = strings.TrimSpace(part)
			if len(part) == 3 && strings.EqualFold(part[1:], "xx") && part[0] >= '1' && part[0] <= '5' {
				n := int(part[0]-'0') * 100
				s.addRange(n, n+99)
				continue
			}
			n, err := strconv.Atoi(part)
			if err != nil || n < 100 || n > 999 {
				return s, fmt.Errorf("%q is no status; write one such as 401 or a class such as 2xx", part)
			}
			s.addRange(n, n)
		}
	}
	return s, nil
}

// loginKind is what a path's words say of a request.
type loginKind uint8

const (
	loginNone     loginKind = iota
	loginForm               // may be an HTML form, which answers 200 to a wrong password
	loginAPI                // answers with the status that fits
	loginReset              // asks for a new password: an unknown account answers 404
	loginRegister           // an account that exists answers 409
	// Of WordPress, which sends whoever succeeds elsewhere and shows the form again to everybody else.
	loginWordPress
	loginWordPressReset
	loginWordPressRegister
)

func (k loginKind) action() Action {
	switch k {
	case loginNone:
		return ActionNone
	case loginReset, loginWordPressReset:
		return ActionReset
	case loginRegister, loginWordPressRegister:
		return ActionRegister
	default:
		return ActionLogin
	}
}

// ofWordPress returns what a request for wp-login.php asks for, by its query: of several actions the last holds, and
// one that WordPress does not know is a login to it.
func ofWordPress(query string) loginKind {
	action := ""
	for p := range strings.SplitSeq(query, "&") {
		if a, ok := strings.CutPrefix(p, "action="); ok {
			action = a
		}
	}
	switch action {
	case "lostpassword", "retrievepassword":
		return loginWordPressReset
	case "register":
		return loginWordPressRegister
	case "validate_2fa": // a step of a plugin: says nothing of a password
		return loginForm
	case "postpass", "logout", "rp", "resetpass", "checkemail", "confirmaction", "confirm_admin_email":
		return loginNone
	default:
		return loginWordPress
	}
}

// maxLoginPath bounds the work on hostile paths, in bytes.
const maxLoginPath = 512

// loginWords finds logins by the words of a path. Words that mean other
// things too, such as "token", count only as one of the last two segments.
func loginWords(path, host string) loginKind {
	if len(path) > maxLoginPath {
		return loginNone
	}
	var strong, weak loginKind
	api := strings.HasPrefix(host, "api.")
	n, weakAt := 0, 0
	word, previous := "", ""
	var low [24]byte
	for rest := path; rest != ""; {
		var seg string
		if seg, rest = nextSegment(rest); seg == "" {
			break
		}
		if i := strings.IndexByte(seg, ';'); i > 0 {
			seg = seg[:i]
		}
		n++
		previous, word = word, ""
		if len(seg) > len(low) {
			continue
		}
		for i := range len(seg) {
			c := seg[i]
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			low[i] = c
		}
		word = wordOf(low[:len(seg)])
		switch word {
		case "api", "version":
			api = true
		case "login":
			strong = loginForm
		case "token":
			weak, weakAt, api = loginForm, n, true
		case "session", "auth":
			weak, weakAt = loginForm, n
		case "register":
			weak, weakAt = loginRegister, n
		case "reset":
			if previous == "password" {
				strong = loginReset
			}
		case "password-reset":
			strong = loginReset
		}
	}
	kind := strong
	if kind == loginNone && weakAt > 0 && n-weakAt <= 1 {
		kind = weak
	}
	switch {
	case word == "end":
		return loginNone // the end of a session, or a token that is not tried but used
	case kind == loginForm && api:
		return loginAPI
	default:
		return kind
	}
}

// wordOf maps the spellings of one word to one name, "" for other words.
func wordOf(b []byte) string {
	if dot := bytes.LastIndexByte(b, '.'); dot > 0 {
		switch string(b[dot:]) {
		case ".php", ".aspx", ".jsp", ".do", ".action", ".html", ".cgi":
			b = b[:dot]
		}
	}
	switch string(b) {
	case "login", "log-in", "log_in", "signin", "sign-in", "sign_in", "authenticate", "j_security_check", "login_form",
		"loginform", "login-form", "user_login", "do_login", "dologin",
		"wp-login", "xmlrpc", "otp", "mfa", "2fa", "totp":
		return "login"
	case "auth":
		return "auth"
	case "session", "sessions":
		return "session"
	case "token", "access_token", "tokens":
		return "token"
	case "register", "signup", "sign-up", "sign_up":
		return "register"
	case "password", "passwords", "passwd":
		return "password"
	case "reset", "forgot", "recover":
		return "reset"
	case "forgot-password", "forgot_password", "reset-password", "reset_password", "password-reset", "password_reset":
		return "password-reset"
	case "api", "rest", "oauth", "oauth2", "connect", "graphql", "rpc", "openid-connect":
		return "api"
	case "logout", "log-out", "log_out", "signout", "sign-out", "sign_out", "refresh", "revoke", "introspect", "userinfo":
		return "end"
	}
	if len(b) >= 2 && b[0] == 'v' && isVersion(view(b)) {
		return "version"
	}
	return ""
}

// outcome reads the status of a login found by its words. It says unknown
// rather than guess: an HTML form answers 200 to a wrong password as well as
// to a good one.
func (k loginKind) outcome(status int32) Outcome {
	switch {
	case status == 400, status == 401, status == 403, status == 422, status == 429,
		status == 404 && k == loginReset, status == 409 && k == loginRegister:
		return OutcomeFailure
	case status == 200 && k >= loginWordPress:
		return OutcomeFailure
	case status == 302, status == 303:
		return OutcomeSuccess
	case status == 201, status == 202, status == 204:
		return OutcomeSuccess
	case status >= 200 && status < 300:
		if k == loginForm {
			return OutcomeUnknown
		}
		return OutcomeSuccess
	default:
		return OutcomeUnknown
	}
}

// pathCache remembers what the login rules said of a path. It is a fixed
// table where a newer path takes the place of an older one, so it is bounded
// and, once its keys have grown, allocates nothing.
type pathCache struct {
	entries [256]struct {
		method string
		path   []byte
		rule   int
	}
}

const maxCachedPath = 128

func (c *pathCache) find(method, path string, slow func(method, path string) int) int {
	if len(path) > maxCachedPath {
		return slow(method, path)
	}
	e := &c.entries[xxhash.Sum64String(path)%uint64(len(c.entries))]
	if e.path != nil && e.method == method && string(e.path) == path {
		return e.rule
	}
	e.method = strings.Clone(method)
	e.path = append(e.path[:0], path...)
	if e.path == nil {
		e.path = []byte{}
	}
	e.rule = slow(method, path)
	return e.rule
}

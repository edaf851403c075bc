package escape

import (
	"strings"
)

// Slack makes s text for Slack's mrkdwn that is nothing but text: no link, no
// mention, no channel, no emoji, no bold, italic, struck or code, no quote. Slack knows no
// escape for its formatting characters, so these become others that look like
// them; use SlackCode for values that people copy. Addresses are written so
// that no client makes a link of them: http[:]//host.
func Slack(s string, limit int) string { return string(fit(nil, s, limit, slack)) }

func slack(dst []byte, s string, i, n int, r rune) []byte {
	switch r {
	case '&', '<', '>':
		if r == '>' && i == 0 {
			dst = append(dst, "\u2060"...) // at the start of a line it would be a quote
		}
		return slackEntity(dst, r)
	case '*':
		return append(dst, "∗"...)
	case '_':
		return append(dst, "ˍ"...)
	case '~':
		return append(dst, "∼"...)
	case '`':
		return append(dst, "ˋ"...)
	case '@':
		return append(dst, "@\u2060"...) // @here, where a client completes it
	case '#':
		return append(dst, "#\u2060"...)
	case ':':
		if strings.HasPrefix(s[i:], "://") || linkScheme(s[:i]) {
			return append(dst, "[:]"...)
		}
		if emoji(s, i) {
			return append(dst, "꞉"...)
		}
	case '.':
		if i >= 3 && strings.EqualFold(s[i-3:i], "www") {
			return append(dst, "[.]"...)
		}
	}
	return visible(dst, s, i, n, r)
}

func slackEntity(dst []byte, r rune) []byte {
	switch r {
	case '&':
		return append(dst, "&amp;"...)
	case '<':
		return append(dst, "&lt;"...)
	default:
		return append(dst, "&gt;"...)
	}
}

// linkScheme reports whether s ends with a scheme that makes a link without
// slashes.
func linkScheme(s string) bool {
	for _, scheme := range [...]string{"mailto", "tel", "slack", "javascript", "data"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[len(s)-len(scheme):], scheme) {
			return true
		}
	}
	return false
}

// emoji reports whether the colon at i begins or ends a name such as :name:.
func emoji(s string, i int) bool {
	name := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '+' || c == '\''
	}
	const longest = 100
	for j := i + 1; j < len(s) && j-i <= longest; j++ {
		if s[j] == ':' {
			if j > i+1 {
				return true
			}
			break
		}
		if !name(s[j]) {
			break
		}
	}
	for j := i - 1; j >= 0 && i-j <= longest; j-- {
		if s[j] == ':' {
			return j < i-1
		}
		if !name(s[j]) {
			break
		}
	}
	return false
}

// SlackCode makes s a code span of Slack's mrkdwn, with its backticks, in which
// nothing is formatted or linked. Backticks in s become look-alikes. The limit
// holds for all of it.
func SlackCode(s string, limit int) string {
	if s == "" {
		s = " "
	}
	if limit > 2 {
		limit -= 2
	}
	dst := fit([]byte{'`'}, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		switch r {
		case '&', '<', '>':
			return slackEntity(dst, r)
		case '`':
			return append(dst, "ˋ"...)
		}
		return visible(dst, s, i, n, r)
	})
	return string(append(dst, '`'))
}

// Relay makes s text for programs that pass it on to places that we do not
// know, often without escaping it: Alertmanager and PagerDuty put it into chats
// and mails by templates. Angle brackets and ampersands become look-alikes, addresses and mentions are
// broken as for Slack; the rest stays readable.
func Relay(s string, limit int) string {
	return string(fit(nil, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		switch r {
		case '<':
			return append(dst, "‹"...)
		case '>':
			return append(dst, "›"...)
		case '&':
			return append(dst, "＆"...)
		case '@':
			return append(dst, "@\u2060"...)
		case '`':
			return append(dst, "ˋ"...)
		case ':':
			if strings.HasPrefix(s[i:], "://") || linkScheme(s[:i]) {
				return append(dst, "[:]"...)
			}
		}
		return visible(dst, s, i, n, r)
	}))
}

// Markdown makes s text for Markdown in the forms of CommonMark, GitHub,
// Mattermost and Discord: each mark of punctuation has a backslash, so that
// there is no markup, no HTML and no link, and mentions are broken by a space
// of no width.
func Markdown(s string, limit int) string {
	return string(fit(nil, s, limit, func(dst []byte, s string, i, n int, r rune) []byte {
		if r == ' ' && i == 0 {
			return append(dst, "\u00a0"...) // four blanks would begin a block of code
		}
		if r < 0x80 && punctuation(byte(r)) {
			dst = append(dst, '\\', byte(r))
			if r == '@' {
				dst = append(dst, "\u200b"...)
			}
			return dst
		}
		if r < 0x20 || r >= 0x7f || n == 1 && r >= 0x80 {
			// Its escapes begin with a backslash, which has to show.
			at := len(dst)
			dst = visible(dst, s, i, n, r)
			if dst[at] == '\\' {
				rest := string(dst[at+1:])
				dst = append(append(dst[:at], `\\`...), strings.NewReplacer("{", `\{`, "}", `\}`).Replace(rest)...)
			}
			return dst
		}
		return append(dst, byte(r))
	}))
}

func punctuation(c byte) bool {
	return '!' <= c && c <= '/' || ':' <= c && c <= '@' || '[' <= c && c <= '`' || '{' <= c && c <= '~'
}

package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Env looks up an environment variable.
type Env func(name string) (string, bool)

// expand replaces ${NAME} in one decoded scalar; "$$" stands for "$", any
// other "$" for itself. Values are not expanded again, so a variable cannot
// change the shape of the file.
func expand(s string, env Env) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return "", fmt.Errorf("\"${\" has no closing brace; write ${NAME}, or $${ for the text itself")
			}
			name := s[i+2 : i+end]
			if !isEnvName(name) {
				return "", fmt.Errorf("%s is no name of an environment variable; write letters, digits and _ between the braces", quote(name))
			}
			value, ok := env(name)
			if !ok {
				return "", fmt.Errorf("environment variable %s is not set; set it, or write $${%s} for the text itself", name, name)
			}
			b.WriteString(value)
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String(), nil
}

func isEnvName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is no duration; write a number with a unit, such as 500ms, 10s, 5m or 12h", quote(s))
	}
	return d, nil
}

// sizeUnits holds the units of sizes in bytes.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

func parseSize(s string) (int64, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%s is no size; write a whole number with a unit, such as 64KiB, 1MiB or 2GiB", quote(s))
	}
	return n * unit, nil
}

// quote returns s for a message: quoted, and cut when it is long.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "..."
	}
	return strconv.Quote(s)
}

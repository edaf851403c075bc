package summary

import (
	"fmt"
	"strconv"
	"time"
)

// Number writes n with commas between thousands.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Duration writes d in the two units that say most: 45 s, 18 min, 1 h 12 min, 3 d 4 h.
func Duration(d time.Duration) string {
	seconds := int64(d.Round(time.Second) / time.Second)
	two := func(n int64, unit string, rest int64, lower string) string {
		if rest == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, rest, lower)
	}
	switch {
	case seconds < 60:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 3600:
		if seconds >= 600 {
			return fmt.Sprintf("%d min", (seconds+30)/60)
		}
		return two(seconds/60, "min", seconds%60, "s")
	case seconds < 86400:
		return two(seconds/3600, "h", seconds%3600/60, "min")
	default:
		return two(seconds/86400, "d", seconds%86400/3600, "h")
	}
}

// Time writes a moment in UTC, to the second; "" for none.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// within says how long something took, if it took any time.
func within(first, last time.Time) string {
	if d := last.Sub(first); d > 0 {
		return " in " + Duration(d)
	}
	return ""
}

package api

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// days is the part of a duration that package time does not know.
var days = regexp.MustCompile(`^([0-9]{1,4})(d|w)`)

// longest keeps what is added up inside of what a duration can be.
const longest = 10 * 365 * 24 * time.Hour

// ParseDuration reads durations as people write them for silences: 30m, 8h,
// 3d, 1w or 1d12h. They are more than zero.
func ParseDuration(s string) (time.Duration, error) {
	var total time.Duration
	rest := s
	for m := days.FindStringSubmatch(rest); m != nil; m = days.FindStringSubmatch(rest) {
		n, _ := strconv.Atoi(m[1]) // four digits at most
		unit := 24 * time.Hour
		if m[2] == "w" {
			unit *= 7
		}
		total += time.Duration(n) * unit
		rest = rest[len(m[0]):]
		if total > longest {
			break
		}
	}
	if total <= longest && (rest != "" || s == "") {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is no duration; write one such as 30m, 8h or 3d", s)
		}
		total += min(d, longest)
	}
	if total > longest {
		return 0, fmt.Errorf("%.40q is longer than ten years", s)
	}
	if total <= 0 {
		return 0, fmt.Errorf("%q is no time at all; write one such as 30m, 8h or 3d", s)
	}
	return total, nil
}

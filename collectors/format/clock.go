package format

import (
	"strconv"
	"strings"
)

// clock reads times and remembers the last of each kind, as lines of one
// second repeat it. It never changes what a text means.
type clock struct {
	clfText [26]byte
	clfNS   int64 // 0 when nothing is remembered
	isoText [40]byte
	isoLen  int
	isoNS   int64
}

const maxDuration = 1 << 57 // nanoseconds, four years; added to any time it still fits

// bracketed reads the time at the start of s up to its closing bracket and
// returns it with the index after the bracket, or 0.
func (c *clock) bracketed(s string) (ns int64, n int) {
	if len(s) > 26 && s[26] == ']' {
		if ns, ok := c.clf(s[:26]); ok {
			return ns, 27
		}
	}
	if len(s) > 10 && s[4] == '-' {
		if end := strings.IndexByte(s[:min(len(s), 80)], ']'); end > 0 {
			text := s[:end]
			// A zone name in brackets of its own, as java.time writes it.
			if zone := strings.IndexByte(text, '['); zone > 0 && end+1 < len(s) && s[end+1] == ']' {
				text = text[:zone]
				end++
			}
			if ns, ok := c.iso(text); ok {
				return ns, end + 1
			}
		}
	}
	return 0, 0
}

// clf reads "19/Nov/2026:06:00:02 +0000".
func (c *clock) clf(s string) (int64, bool) {
	if len(s) != 26 {
		return 0, false
	}
	if c.clfNS != 0 && s == string(c.clfText[:]) {
		return c.clfNS, true
	}
	if s[2] != '/' || s[6] != '/' || s[11] != ':' || s[14] != ':' || s[17] != ':' || s[20] != ' ' {
		return 0, false
	}
	day, ok1 := two(s[0:])
	hour, ok2 := two(s[12:])
	minute, ok3 := two(s[15:])
	second, ok4 := two(s[18:])
	century, ok5 := two(s[7:])
	years, ok6 := two(s[9:])
	offset, ok7 := zone(s[21:])
	month := monthOf(s[3:6])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 {
		return 0, false
	}
	sec, ok := unix(century*100+years, month, day, hour, minute, second)
	if !ok {
		return 0, false
	}
	copy(c.clfText[:], s)
	c.clfNS = (sec - offset) * 1e9
	return c.clfNS, true
}

// iso reads "2026-11-19T06:00:02.5+01:00" with any of its liberties: a blank
// for the T, a fraction, "Z", "+0100", "+01" or no zone, which means UTC.
func (c *clock) iso(s string) (int64, bool) {
	if len(s) < 19 || len(s) > len(c.isoText) {
		return 0, false
	}
	if c.isoLen == len(s) && s == string(c.isoText[:c.isoLen]) {
		return c.isoNS, true
	}
	if s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' || s[10] != 'T' && s[10] != ' ' && s[10] != 't' {
		return 0, false
	}
	century, ok1 := two(s[0:])
	years, ok2 := two(s[2:])
	month, ok3 := two(s[5:])
	day, ok4 := two(s[8:])
	hour, ok5 := two(s[11:])
	minute, ok6 := two(s[14:])
	second, ok7 := two(s[17:])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 {
		return 0, false
	}
	sec, ok := unix(century*100+years, month, day, hour, minute, second)
	if !ok {
		return 0, false
	}
	rest := s[19:]
	var nanos int64
	if rest != "" && (rest[0] == '.' || rest[0] == ',') {
		i := 1
		for scale := int64(1e8); i < len(rest) && rest[i]-'0' <= 9; i++ {
			nanos += int64(rest[i]-'0') * scale
			scale /= 10
		}
		if i == 1 {
			return 0, false
		}
		rest = rest[i:]
	}
	offset, ok := zone(rest)
	if !ok {
		return 0, false
	}
	c.isoLen = copy(c.isoText[:], s)
	c.isoNS = (sec-offset)*1e9 + nanos
	return c.isoNS, true
}

// any reads a time in one of the notations of JSON logs: an epoch of seconds,
// milli-, micro- or nanoseconds by its size, CLF, or ISO 8601.
func (c *clock) any(s string) (int64, bool) {
	switch {
	case len(s) > 10 && s[4] == '-':
		return c.iso(s)
	case len(s) == 26 && s[2] == '/':
		return c.clf(s)
	case len(s) == 28 && s[0] == '[':
		return c.clf(s[1:27])
	default:
		return epoch(s)
	}
}

// epoch reads seconds since 1970 with or without a fraction, and whole
// milli-, micro- and nanoseconds.
func epoch(s string) (int64, bool) {
	point := strings.IndexByte(s, '.')
	whole := s
	if point >= 0 {
		whole = s[:point]
	}
	n, ok := number(whole)
	if !ok || strings.IndexByte(s, 'e') > 0 || strings.IndexByte(s, 'E') > 0 {
		if len(s) > 32 || s == "" || s[0]-'0' > 9 {
			return 0, false // spares the error of ParseFloat
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0 && f < 1e11) {
			return 0, false
		}
		return int64(f * 1e9), true
	}
	scale := int64(1)
	switch {
	case n < 9e9: // the year 2255
		scale = 1e9
	case n < 9e12:
		scale = 1e6
	case n < 9e15:
		scale = 1e3
	}
	ns := n * scale
	if point >= 0 {
		for i := point + 1; i < len(s); i++ {
			if s[i]-'0' > 9 {
				return 0, false
			}
			scale /= 10
			ns += int64(s[i]-'0') * scale
		}
	}
	return ns, ns > 0
}

// seconds reads a duration in seconds, such as "0.123", to nanoseconds.
func seconds(s string) (int64, bool) { return decimal(s, 1e9) }

// decimal reads an unsigned decimal number times unit, which is a power of ten.
func decimal(s string, unit int64) (int64, bool) {
	i, n := 0, int64(0)
	for i < len(s) && s[i]-'0' <= 9 {
		if n > maxDuration/10/unit {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
		i++
	}
	if i == 0 {
		return 0, false
	}
	n *= unit
	if i < len(s) {
		if s[i] != '.' {
			return 0, false
		}
		for i++; i < len(s); i++ {
			if s[i]-'0' > 9 {
				return 0, false
			}
			unit /= 10
			n += int64(s[i]-'0') * unit
		}
	}
	return n, true
}

// number reads an unsigned whole number of at most 18 digits.
func number(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		// Nanoseconds since 1970 have 19 digits and fit.
		if len(s) == 19 && s[0] < '9' {
			n, err := strconv.ParseInt(s, 10, 64)
			return n, err == nil && n >= 0
		}
		return 0, false
	}
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

func two(s string) (int, bool) {
	a, b := s[0]-'0', s[1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

// zone reads "+0100", "+01:00", "+01", "Z" or nothing to seconds east.
func zone(s string) (int64, bool) {
	if s == "" || s == "Z" || s == "z" {
		return 0, true
	}
	if len(s) < 3 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	h, ok := two(s[1:])
	m, rest := 0, s[3:]
	if rest != "" && rest[0] == ':' {
		rest = rest[1:]
	}
	if ok && len(rest) == 2 {
		m, ok = two(rest)
	} else if rest != "" {
		ok = false
	}
	if !ok || h > 18 || m > 59 {
		return 0, false
	}
	sec := int64(h*3600 + m*60)
	if s[0] == '-' {
		sec = -sec
	}
	return sec, true
}

func monthOf(s string) int {
	switch s {
	case "Jan":
		return 1
	case "Feb":
		return 2
	case "Mar":
		return 3
	case "Apr":
		return 4
	case "May":
		return 5
	case "Jun":
		return 6
	case "Jul":
		return 7
	case "Aug":
		return 8
	case "Sep":
		return 9
	case "Oct":
		return 10
	case "Nov":
		return 11
	case "Dec":
		return 12
	default:
		return 0
	}
}

// unix counts the seconds from 1970 to a time in UTC. A leap second is the
// one after it. Years from 1970 to 2255 fit the nanoseconds of events.
func unix(year, month, day, hour, minute, second int) (int64, bool) {
	if year < 1970 || year > 2255 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	leap := year%4 == 0 && (year%100 != 0 || year%400 == 0)
	length := 31
	switch month {
	case 4, 6, 9, 11:
		length = 30
	case 2:
		length = 28
		if leap {
			length = 29
		}
	}
	if day > length {
		return 0, false
	}
	// Days before the month in a year that begins with March.
	y, m := year, month-3
	if m < 0 {
		y, m = y-1, m+12
	}
	days := y*365 + y/4 - y/100 + y/400 + (m*153+2)/5 + day - 1 - 719468
	return int64(days)*86400 + int64(hour*3600+minute*60+second), true
}

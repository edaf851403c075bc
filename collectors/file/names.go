package file

import (
	"cmp"
	"path/filepath"
	"strconv"
	"strings"

	"gatewatch/collectors/internal/packed"
)

// rotation is what a file name says about its place among the rotations of a
// base path.
type rotation struct {
	kind   rotationKind
	number int64  // for numbered
	date   string // for dated: the digits of the date and what follows them
}

type rotationKind uint8

const (
	current  rotationKind = iota // the base path itself
	numbered                     // x.log.1, usually the higher the older
	dated                        // x.log-20261101, x-20261101.log
	labelled                     // x.log.old
)

// splitRotation tells base paths that path may be a rotation of, with what it
// says of its place. An ending .gz or .zst is not part of the name.
//
//	x.log.1          x.log
//	x.log-20261101   x.log
//	x-20261101.log   x.log
//	x.log.old        x.log
//	x.log.gz         x.log
func splitRotation(path string) (base string, r rotation, ok bool) {
	dir, name := filepath.Split(path)
	name, compressed := packed.Cut(name)
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != '.' && name[i] != '-' && name[i] != '_' {
			continue
		}
		stem, mark := name[:i], name[i+1:]
		if r, ok := parseMark(name[i], mark); ok {
			return dir + stem, r, true
		}
		// x-20261101.log: the date stands before the extension.
		if dot := strings.LastIndexByte(mark, '.'); dot > 0 && !strings.ContainsAny(mark[dot:], "-_") {
			if d, ok := parseDate(mark[:dot]); ok {
				return dir + stem + mark[dot:], rotation{kind: dated, date: d}, true
			}
		}
	}
	return dir + name, rotation{kind: labelled}, compressed
}

// plainName returns the name that a compressed file had before.
func plainName(path string) string {
	name, _ := packed.Cut(path)
	return name
}

// parseMark reads what a rotation put behind a name after sep.
func parseMark(sep byte, mark string) (rotation, bool) {
	if d, ok := parseDate(mark); ok {
		return rotation{kind: dated, date: d}, true
	}
	if sep != '.' {
		return rotation{}, false
	}
	switch mark {
	case "old", "prev", "bak", "save":
		return rotation{kind: labelled}, true
	}
	if n, err := strconv.ParseUint(mark, 10, 31); err == nil && len(mark) <= 6 {
		return rotation{kind: numbered, number: int64(n)}, true
	}
	return rotation{}, false
}

// parseDate reads a date such as 20261101, 2026-11-01, 20261101-153000,
// 2026-11-01T15-30-00.123, 2026110115 or Unix seconds, and returns its digits,
// which sort by time.
func parseDate(s string) (string, bool) {
	digits := make([]byte, 0, 24)
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits = append(digits, c)
		case i > 0 && i < len(s)-1 && strings.IndexByte("-_.:T", c) >= 0:
		case i == len(s)-1 && c == 'Z':
		default:
			return "", false
		}
	}
	if len(digits) < 8 || len(digits) > 24 {
		return "", false
	}
	year, month, day := string(digits[:4]), string(digits[4:6]), string(digits[6:8])
	if year >= "1970" && year <= "2199" && month >= "01" && month <= "12" && day >= "01" && day <= "31" {
		return string(digits), true
	}
	// Unix seconds, as "dateformat -%s" makes them.
	if len(s) == 10 && len(digits) == 10 && digits[0] == '1' {
		return string(digits), true
	}
	return "", false
}

// compare orders rotations of one base, oldest first, by name alone.
func (r rotation) compare(o rotation) int {
	rank := [...]int{current: 3, labelled: 0, dated: 1, numbered: 2}
	if c := cmp.Compare(rank[r.kind], rank[o.kind]); c != 0 {
		return c
	}
	switch r.kind {
	case numbered:
		return cmp.Compare(o.number, r.number)
	case dated:
		return cmp.Compare(r.date, o.date)
	}
	return 0
}

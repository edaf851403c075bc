package event

import "strings"

// turns counts the changes between letters and digits. Random words have
// many, names have few.
func turns(w string) (n int) {
	var prev uint8
	for i := range len(w) {
		c := class[w[i]] & (cDigit | cLower | cUpper)
		if c != cDigit {
			c = cLower
		}
		if i > 0 && c != prev {
			n++
		}
		prev = c
	}
	return n
}

func isHex(w string) bool {
	for i := range len(w) {
		if class[w[i]]&(cDigit|cHexLetter) == 0 {
			return false
		}
	}
	return true
}

func isUUID(w string) bool {
	return len(w) == 36 && w[8] == '-' && w[13] == '-' && w[18] == '-' && w[23] == '-' &&
		isHex(w[:8]) && isHex(w[9:13]) && isHex(w[14:18]) && isHex(w[19:23]) && isHex(w[24:])
}

// isDashedHex recognises ids written as groups of hexadecimal digits.
func isDashedHex(w string) bool {
	if len(w) < 16 {
		return false
	}
	group := 0
	for i := range len(w) {
		switch {
		case class[w[i]]&(cDigit|cHexLetter) != 0:
			group++
		case w[i] == '-' && group >= 4:
			group = 0
		default:
			return false
		}
	}
	return group >= 4
}

// isDate recognises 2026-11 and 2026-11-19, alone or before a time.
func isDate(w string) bool {
	if len(w) < 7 || w[4] != '-' || bitsOf(w[:4]) != cDigit || (w[:2] != "19" && w[:2] != "20") {
		return false
	}
	if m := w[5:7]; m < "01" || m > "12" || class[m[1]] != cDigit {
		return false
	}
	if len(w) == 7 {
		return true
	}
	if len(w) < 10 || w[7] != '-' || w[8:10] < "01" || w[8:10] > "31" || class[w[9]] != cDigit {
		return false
	}
	return len(w) == 10 || (w[10]|0x20 == 't' || w[10] == '_') && len(w) > 11 && class[w[11]] == cDigit
}

// isVersion recognises v1, V2beta1, v1.2.3, 1.0 and 2.4.1.
func isVersion(w string) bool {
	if len(w) > 12 {
		return false
	}
	i := 0
	named := w[0]|0x20 == 'v'
	if named {
		i++
	}
	digits, dots := 0, 0
	for ; i < len(w); i++ {
		switch c := w[i]; {
		case c-'0' <= 9:
			digits++
			if digits > 3 {
				return false
			}
		case c == '.' && digits > 0:
			digits = 0
			dots++
		default:
			rest := w[i:]
			return named && digits > 0 && (strings.HasPrefix(rest, "alpha") || strings.HasPrefix(rest, "beta"))
		}
	}
	return digits > 0 && (named || dots > 0 && dots <= 2)
}

package event

import "strings"

// tokenShape is how a secret begins that tells what it is by itself, and how
// many more characters it has at least.
type tokenShape struct {
	prefix string
	rest   int
}

// tokenShapes are by first byte. The forms are those that issuers publish so
// that leaked keys can be found.
var tokenShapes = [256][]tokenShape{
	'A': {{"AKIA", 16}, {"ASIA", 16}, {"AIza", 30}, {"AGE-SECRET-KEY-1", 20}},
	'E': {{"EAACEdEose0cBA", 10}},
	'P': {{"PMAK-", 20}},
	'S': {{"SG.", 20}},
	'd': {{"dop_v1_", 30}, {"dp.pt.", 20}},
	'g': {{"ghp_", 30}, {"gho_", 30}, {"ghu_", 30}, {"ghs_", 30}, {"ghr_", 30}, {"github_pat_", 22}, {"glpat-", 16}, {"glptt-", 16}},
	'h': {{"hvs.", 20}, {"hf_", 20}},
	'k': {{"key-", 32}},
	'l': {{"lin_api_", 30}},
	'n': {{"npm_", 30}},
	'p': {{"pypi-", 20}},
	'r': {{"rk_live_", 10}, {"rk_test_", 10}, {"rubygems_", 40}},
	's': {{"sk_live_", 10}, {"sk_test_", 10}, {"sk-", 20}, {"shpat_", 20}, {"shpss_", 20}, {"shpca_", 20}, {"sq0atp-", 20}, {"sq0csp-", 20}},
	'w': {{"whsec_", 16}},
	'x': {{"xoxb-", 10}, {"xoxp-", 10}, {"xoxa-", 10}, {"xoxr-", 10}, {"xoxs-", 10}, {"xapp-", 10}},
	'y': {{"ya29.", 20}},
}

// shape masks a token that begins at i, where a word begins.
func (m *masker) shape(i int) int {
	for _, t := range tokenShapes[m.s[i]] {
		if !strings.HasPrefix(m.s[i:], t.prefix) {
			continue
		}
		to := i + len(t.prefix)
		for to < len(m.s) && (class[m.s[to]]&(cDigit|cLower|cUpper|cDash|cDot) != 0 || m.s[to] == '_') {
			to++
		}
		if to-i-len(t.prefix) >= t.rest {
			return m.hide(i, to, to, masked)
		}
	}
	return 0
}

// privateKey masks a key in PEM form, to its end mark or the end of the line.
func (m *masker) privateKey(i int) int {
	const begin, end = "-----BEGIN ", "-----END "
	if !strings.HasPrefix(m.s[i:], begin) {
		return 0
	}
	head := m.s[i:min(len(m.s), i+64)]
	if !strings.Contains(head, "PRIVATE KEY") {
		return 0
	}
	to := len(m.s)
	if at := strings.Index(m.s[i:], end); at >= 0 {
		to = i + at
	} else if at := strings.IndexByte(m.s[i:], '"'); at >= 0 {
		to = i + at
	}
	return m.hide(i, to, to, masked)
}

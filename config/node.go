package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decoder reads a tree of YAML nodes by hand, so that every mistake is found
// in one pass and has its place.
type decoder struct {
	file    string
	dir     string // what relative paths start from
	env     Env
	reading bool // receivers are left out
	// allowExec says that receivers may run programs.
	allowExec bool
	data      []byte
	root      *yaml.Node
	problems  Problems
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) {
	p := Problem{File: d.file, Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)}
	if n != nil && n.Line > 0 {
		p.Line, p.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

// resolve follows an alias to the node it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	n = resolve(n)
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// mapping is one mapping of the file whose keys are taken one by one; what is
// left at the end is unknown.
type mapping struct {
	d     *decoder
	node  *yaml.Node // the mapping itself, the place of messages about what is missing
	name  string     // for messages, such as "merge"; "" at the top
	keys  map[string][2]*yaml.Node
	known []string
}

// mapping opens n, which may be absent. It never returns nil, so that the keys
// of a broken mapping are all simply absent.
func (d *decoder) mapping(n *yaml.Node, name string) *mapping {
	m := &mapping{d: d, node: n, name: name, keys: map[string][2]*yaml.Node{}}
	if isNull(n) {
		return m
	}
	r := resolve(n)
	if r.Kind != yaml.MappingNode {
		d.fail(n, "%s has to be a mapping of keys to values, not %s", m.title(), kindName(r))
		return m
	}
	for i := 0; i+1 < len(r.Content); i += 2 {
		key, value := r.Content[i], r.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.fail(key, "a key of %s has to be a word, not %s", m.title(), kindName(key))
			continue
		}
		if key.Value == "<<" {
			d.fail(key, "merge keys (<<) are not supported; write the keys out")
			continue
		}
		if old, twice := m.keys[key.Value]; twice {
			d.fail(key, "key %s of %s is there twice, first on line %d; remove one", quote(key.Value), m.title(), old[0].Line)
			continue
		}
		m.keys[key.Value] = [2]*yaml.Node{key, value}
	}
	return m
}

func (m *mapping) title() string {
	if m.name == "" {
		return "the configuration"
	}
	return m.name
}

// path names a key of m for messages.
func (m *mapping) path(key string) string {
	if m.name == "" {
		return key
	}
	return m.name + "." + key
}

// take returns the value of a key, nil where it is absent or null.
func (m *mapping) take(key string) *yaml.Node {
	m.known = append(m.known, key)
	kv, ok := m.keys[key]
	if !ok {
		return nil
	}
	delete(m.keys, key)
	if isNull(kv[1]) {
		return nil
	}
	return kv[1]
}

// done reports the keys that nobody took.
func (m *mapping) done() {
	for name, kv := range m.keys {
		if near := Nearest(name, m.known); near != "" {
			m.d.fail(kv[0], "%s has no key %s; did you mean %s?", m.title(), quote(name), near)
			continue
		}
		slices.Sort(m.known)
		m.d.fail(kv[0], "%s has no key %s; it may have %s", m.title(), quote(name), strings.Join(m.known, ", "))
	}
}

// text returns a scalar with its variables expanded. ok is false where n is
// absent or was reported.
func (d *decoder) text(n *yaml.Node, name string) (s string, ok bool) {
	if n == nil {
		return "", false
	}
	r := resolve(n)
	if r.Kind != yaml.ScalarNode {
		d.fail(n, "%s has to be one value, not %s", name, kindName(r))
		return "", false
	}
	s, err := expand(r.Value, d.env)
	if err != nil {
		d.fail(n, "%s: %s", name, err)
		return "", false
	}
	return s, true
}

func (m *mapping) text(key string, dst *string) *yaml.Node {
	n := m.take(key)
	if s, ok := m.d.text(n, m.path(key)); ok {
		*dst = s
		return n
	}
	return nil
}

// oneOf is text for a closed set of words.
func (m *mapping) oneOf(key string, dst *string, words ...string) {
	var s string
	n := m.text(key, &s)
	if n == nil {
		return
	}
	if !slices.Contains(words, s) {
		m.d.fail(n, "%s is %s; write %s", m.path(key), quote(s), orList(words))
		return
	}
	*dst = s
}

func (m *mapping) boolean(key string, dst *bool) {
	var s string
	n := m.text(key, &s)
	if n == nil {
		return
	}
	switch s {
	case "true":
		*dst = true
	case "false":
		*dst = false
	default:
		m.d.fail(n, "%s is %s; write true or false", m.path(key), quote(s))
	}
}

func (m *mapping) integer(key string, dst *int, least, most int) {
	var s string
	n := m.text(key, &s)
	if n == nil {
		return
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < least || v > most {
		m.d.fail(n, "%s is %s; write a whole number from %d to %d", m.path(key), quote(s), least, most)
		return
	}
	*dst = v
}

func (m *mapping) duration(key string, dst *time.Duration, least, most time.Duration) {
	var s string
	n := m.text(key, &s)
	if n == nil {
		return
	}
	v, err := parseDuration(s)
	if err != nil {
		m.d.fail(n, "%s: %s", m.path(key), err)
		return
	}
	if v < least || v > most {
		m.d.fail(n, "%s is %s; write a duration from %s to %s", m.path(key), quote(s), short(least), short(most))
		return
	}
	*dst = v
}

// silence is a duration, or a word: auto is 0 and off is SilentNever.
func (m *mapping) silence(key string, dst *time.Duration) {
	n := m.keys[key][1]
	switch {
	case n == nil:
	case resolve(n).Value == "auto":
		m.take(key)
		*dst = 0
	case resolve(n).Value == "off":
		m.take(key)
		*dst = SilentNever
	default:
		before := len(m.d.problems)
		m.duration(key, dst, time.Minute, 30*24*time.Hour)
		for i := before; i < len(m.d.problems); i++ {
			m.d.problems[i].Message += ", auto or off"
		}
	}
}

func (m *mapping) size(key string, dst *int64, least, most int64) {
	var s string
	n := m.text(key, &s)
	if n == nil {
		return
	}
	v, err := parseSize(s)
	if err != nil {
		m.d.fail(n, "%s: %s", m.path(key), err)
		return
	}
	if v < least || v > most {
		m.d.fail(n, "%s is %s; write a size from %s to %s", m.path(key), quote(s), formatSize(least), formatSize(most))
		return
	}
	*dst = v
}

// list calls each for the items of a sequence and reports whether the key was
// there. A single value where a list belongs is an error that says how to
// write it.
func (m *mapping) list(key string, each func(item *yaml.Node, name string)) bool {
	n := m.take(key)
	if n == nil {
		return false
	}
	r := resolve(n)
	if r.Kind != yaml.SequenceNode {
		m.d.fail(n, "%s has to be a list, not %s; put it in brackets or behind a dash", m.path(key), kindName(r))
		return true
	}
	for i, item := range r.Content {
		each(item, fmt.Sprintf("%s[%d]", m.path(key), i))
	}
	return true
}

// texts reads a list of texts; check, if not nil, returns what is wrong with one.
func (m *mapping) texts(key string, dst *[]string, check func(string) error) {
	var out []string
	there := m.list(key, func(item *yaml.Node, name string) {
		if isNull(item) {
			m.d.fail(item, "%s is empty; write a value or remove it", name)
			return
		}
		s, ok := m.d.text(item, name)
		if !ok {
			return
		}
		if s == "" {
			m.d.fail(item, "%s is empty; write a value or remove it", name)
			return
		}
		if check != nil {
			if err := check(s); err != nil {
				m.d.fail(item, "%s: %s", name, err)
				return
			}
		}
		out = append(out, s)
	})
	if there {
		*dst = out
	}
}

// pairs calls each for the entries of a mapping with free keys, in file order.
func (m *mapping) pairs(key string, each func(keyNode, valueNode *yaml.Node, key, value string)) {
	n := m.take(key)
	if n == nil {
		return
	}
	inner := m.d.mapping(n, m.path(key))
	r := resolve(n)
	if r.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(r.Content); i += 2 {
		k := r.Content[i]
		kv, ok := inner.keys[k.Value]
		if !ok || kv[0] != k {
			continue // reported when it was opened
		}
		if isNull(kv[1]) {
			m.d.fail(k, "%s has no value for %s", m.path(key), quote(k.Value))
			continue
		}
		if s, ok := m.d.text(kv[1], m.path(key)+"."+k.Value); ok {
			each(k, kv[1], k.Value, s)
		}
	}
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return "one value"
	default:
		return "something else"
	}
}

// orList joins words for "write a, b or c".
func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// short formats a duration without trailing zero units: 12h, not 12h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func formatSize(n int64) string {
	for _, u := range [...]struct {
		name  string
		bytes int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return fmt.Sprintf("%d%s", n/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// path resolves a path of the file against the folder of the file.
func (d *decoder) path(p string) string { return join(d.dir, p) }

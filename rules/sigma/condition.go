package sigma

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of a condition.
const (
	maxConditionLength = 16 << 10
	maxConditionDepth  = 64
)

// condition reads a condition: one expression, or a list of which one has to
// hold. It returns nil after reporting a fault.
func (d *detection) condition(n *yaml.Node) *node {
	exprs, ok := texts(n)
	if !ok || len(exprs) == 0 {
		d.p.refuse(at(d.file, n), n.Value, "write an expression such as: selection and not filter", "the condition is no expression")
		return nil
	}
	used := map[string]bool{}
	var kids []*node
	for _, e := range exprs {
		c := conditionParser{d: d, node: e, used: used}
		if k := c.parse(); k != nil {
			kids = append(kids, k)
		}
	}
	if len(kids) < len(exprs) {
		return nil
	}
	for _, name := range d.order {
		if !used[name] && !strings.HasPrefix(name, "_") {
			d.p.warn(at(d.file, n), name, "use it in the condition or remove it", "the condition does not use the selection %q", name)
		}
	}
	return join(nodeOr, kids, at(d.file, n))
}

// conditionParser is a recursive descent parser: or binds least, then and,
// then not, then "N of".
type conditionParser struct {
	d     *detection
	node  *yaml.Node
	toks  []token
	pos   int
	depth int
	used  map[string]bool
	fail  bool
}

type token struct {
	text string
	off  int
}

// place returns where a token stands. In a scalar of several lines only the
// begin of the scalar is known.
func (c *conditionParser) place(off int) place {
	w := at(c.d.file, c.node)
	switch {
	case c.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case isQuoted(c.node):
		w.column += off + 1
	default:
		w.column += off
	}
	return w
}

func (c *conditionParser) refuse(off int, text, hint, format string, args ...any) *node {
	if !c.fail {
		c.d.p.refuse(c.place(off), text, hint, format, args...)
	}
	c.fail = true
	return nil
}

func (c *conditionParser) parse() *node {
	s := c.node.Value
	if len(s) > maxConditionLength {
		return c.refuse(0, "", "split it into selections", "the condition is longer than %d bytes", maxConditionLength)
	}
	for i := 0; i < len(s); {
		switch ch := s[i]; {
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
			i++
		case ch == '(' || ch == ')':
			c.toks = append(c.toks, token{s[i : i+1], i})
			i++
		case ch == '|':
			hint := "write a correlation document (event_count or value_count)"
			if strings.HasPrefix(strings.TrimLeft(s[i+1:], " "), "near") {
				hint = "write a correlation document (temporal or temporal_ordered)"
			}
			return c.refuse(i, s[i:], hint, "aggregations behind | are no longer part of Sigma")
		case wordByte(ch) || ch == '*' || ch == '-' || ch == '.' || ch == '?':
			j := i
			for j < len(s) && (wordByte(s[j]) || strings.IndexByte("*-.?", s[j]) >= 0) {
				j++
			}
			c.toks = append(c.toks, token{s[i:j], i})
			i = j
		default:
			return c.refuse(i, s[i:min(len(s), i+10)], "use names, and, or, not, parentheses and N of", "unexpected %q in the condition", s[i:i+1])
		}
	}
	if len(c.toks) == 0 {
		return c.refuse(0, s, "write an expression such as: selection and not filter", "the condition is empty")
	}
	out := c.or()
	if out != nil && c.pos < len(c.toks) {
		t := c.toks[c.pos]
		return c.refuse(t.off, t.text, "join the parts with and or or", "unexpected %q in the condition", t.text)
	}
	if c.fail {
		return nil
	}
	return out
}

func (c *conditionParser) peek() string {
	if c.pos < len(c.toks) {
		return c.toks[c.pos].text
	}
	return ""
}

// word reports whether the next token is the given keyword. A selection of
// the same name in other letters, such as AND, is not shadowed by it.
func (c *conditionParser) word(w string) bool {
	t := c.peek()
	if !strings.EqualFold(t, w) {
		return false
	}
	if _, isName := c.d.sel[t]; isName && t != w {
		return false
	}
	c.pos++
	return true
}

func (c *conditionParser) or() *node {
	if c.depth++; c.depth > maxConditionDepth {
		return c.refuse(0, "", "split it into selections", "the condition is nested deeper than %d", maxConditionDepth)
	}
	defer func() { c.depth-- }()
	return c.list("or", nodeOr, func() *node { return c.list("and", nodeAnd, c.not) })
}

func (c *conditionParser) list(word string, op nodeOp, next func() *node) *node {
	start := c.pos
	kids := []*node{next()}
	for !c.fail && c.word(word) {
		kids = append(kids, next())
	}
	if c.fail {
		return nil
	}
	return join(op, kids, c.place(c.toks[start].off))
}

func (c *conditionParser) not() *node {
	start := c.pos
	nots := 0
	for c.word("not") {
		nots++
	}
	k := c.term()
	if k != nil && nots%2 == 1 {
		return &node{op: nodeNot, kids: []*node{k}, where: c.place(c.toks[start].off)}
	}
	return k
}

func (c *conditionParser) term() *node {
	if c.fail {
		return nil
	}
	if c.pos == len(c.toks) {
		return c.refuse(len(strings.TrimRight(c.node.Value, " \t\r\n")), "", "name a selection", "the condition ends where a selection is expected")
	}
	t := c.toks[c.pos]
	c.pos++
	switch {
	case t.text == "(":
		k := c.or()
		if c.fail {
			return nil
		}
		if c.peek() != ")" {
			return c.refuse(t.off, "(", "add the closing parenthesis", "this parenthesis is not closed")
		}
		c.pos++
		return k
	case t.text == ")":
		return c.refuse(t.off, ")", "remove it or add an opening one", "this parenthesis closes nothing")
	case c.pos < len(c.toks) && strings.EqualFold(c.peek(), "of"):
		return c.quantified(t)
	}
	k, known := c.d.sel[t.text]
	switch {
	case !known && strings.ContainsAny(t.text, "*?"):
		return c.refuse(t.off, t.text, "write 1 of "+t.text+" or all of "+t.text, "a pattern of names needs a quantifier")
	case !known:
		return c.refuse(t.off, t.text, didYouMean(t.text, c.d.order, "name one of: "+strings.Join(c.d.order, ", ")),
			"the condition names %q, but there is no such selection", t.text)
	case k == nil: // refused where it stands
		c.fail = true
		c.used[t.text] = true
		return nil
	}
	c.used[t.text] = true
	return k
}

// quantified reads "N of pattern", "all of pattern" and "any of pattern".
func (c *conditionParser) quantified(q token) *node {
	c.pos++ // of
	if c.pos == len(c.toks) {
		return c.refuse(q.off, q.text, "write them or a pattern such as selection_*", "the condition ends where a pattern is expected")
	}
	t := c.toks[c.pos]
	c.pos++
	if t.text == "(" {
		return c.refuse(t.off, t.text, "write them, or a pattern such as selection_*", "of takes no list of names")
	}
	var kids []*node
	var names []string
	for _, name := range c.d.order {
		if !c.selects(t.text, name) {
			continue
		}
		names = append(names, name)
		c.used[name] = true
		k := c.d.sel[name]
		if k == nil {
			c.fail = true
			return nil
		}
		kids = append(kids, k)
	}
	if len(kids) == 0 {
		return c.refuse(t.off, t.text, didYouMean(strings.TrimRight(t.text, "*"), c.d.order, "name one of: "+strings.Join(c.d.order, ", ")),
			"no selection is named like %q", t.text)
	}
	where := c.place(q.off)
	switch strings.ToLower(q.text) {
	case "all":
		return join(nodeAnd, kids, where)
	case "any":
		return join(nodeOr, kids, where)
	}
	n, err := strconv.Atoi(q.text)
	switch {
	case strings.EqualFold(q.text, "none"):
		return c.refuse(q.off, q.text, "write not 1 of "+t.text, "none of is not part of Sigma")
	case err != nil || n < 1:
		return c.refuse(q.off, q.text, "write 1 of, 2 of, all of", "%q is no number of selections", q.text)
	case n > len(kids):
		return c.refuse(q.off, q.text, "lower the number", "%d selections are asked for, but only %d are named like %q: %s",
			n, len(kids), t.text, strings.Join(names, ", "))
	case n == 1:
		return join(nodeOr, kids, where)
	case n == len(kids):
		return join(nodeAnd, kids, where)
	}
	return &node{op: nodeAtLeast, n: n, kids: kids, where: where}
}

// selects reports whether a pattern of names means name. Names that begin
// with an underscore are left out unless the pattern begins with one.
func (c *conditionParser) selects(pattern, name string) bool {
	if strings.EqualFold(pattern, "them") && c.d.sel[pattern] == nil {
		pattern = "*"
	}
	if strings.HasPrefix(name, "_") && !strings.HasPrefix(pattern, "_") {
		return false
	}
	return globMatch(compileGlob(parsePattern(pattern)), name, true)
}

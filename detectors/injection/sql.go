package injection

import (
	"bytes"
	"slices"
	"strings"

	"github.com/corazawaf/libinjection-go"
)

// SQL injection. A payload continues a statement that is already under way:
// after a number, or after the quote that ends a string. So the text is read as
// SQL three times, starting outside a string, inside '...', and inside "...",
// and what follows is judged by what a statement would do with it: a condition
// that no data can change, another SELECT, another statement, the rest commented
// out. libinjection, which knows thousands of such beginnings by their shape,
// is asked where our reading found words of SQL but no reason.

func (a *Analyzer) sql(s *subject) {
	t := s.low
	if len(t) > 4096 {
		t = t[:4096]
	}
	if len(t) < 2 {
		return
	}
	if s.where != InPath && document(t) {
		return // its strings are judged one by one
	}
	if hasPrefixAny(t, "http://", "https://") {
		a.sqlInAddress(s, t)
		return
	}
	if s.mask&high != 0 && eatenEscape(s.once) {
		a.hit(SQLi, s.full)
		return
	}
	if a.sqlText(s, t) {
		a.hit(SQLi, s.full)
	}
}

// eatenEscape finds the first half of a character of GBK before a quote: with the
// backslash that an application puts between them it is a whole one, and the quote
// stands free. 0xBF is no letter before an apostrophe anywhere.
func eatenEscape(t []byte) bool {
	for i := 0; i+1 < len(t); i++ {
		if t[i] == 0xbf && (t[i+1] == '\'' || t[i+1] == '"') && (i == 0 || t[i-1] < 0x80) {
			return true
		}
	}
	return false
}

// sqlInAddress judges the parameters of an address in a value: the signs
// between them are none of SQL.
func (a *Analyzer) sqlInAddress(s *subject, t []byte) {
	if k := bytes.IndexByte(t, '#'); k >= 0 && bytes.IndexByte(t[k:], '\'') < 0 {
		t = t[:k]
	}
	_, q, ok := bytes.Cut(t, []byte("?"))
	if !ok {
		q = t
	}
	for n := 0; len(q) > 0 && n < maxParams; n++ {
		var p []byte
		p, q, _ = bytes.Cut(q, []byte("&"))
		if _, v, ok := bytes.Cut(p, []byte("=")); ok {
			p = v
		}
		if len(p) > 1 && a.sqlText(s, p) {
			a.hit(SQLi, s.full)
			return
		}
	}
}

// sqlText reads t as SQL in each context.
func (a *Analyzer) sqlText(s *subject, t []byte) bool {
	if i := bytes.Index(t, []byte("/*!")); i >= 0 && i+3 < len(t) && (decimal(t[i+3]) || letter(t[i+3])) {
		return true // a comment that MySQL runs
	}
	var toks [maxTokens]token
	words, keywords, plain := 0, 0, 0
	phrase := false // in quotes, which libinjection would take for a closed string
	for _, c := range [...]sqlContext{plainSQL, insideOne, insideTwo} {
		if c != plainSQL && bytes.IndexByte(t, byte(c)) < 0 {
			continue
		}
		list := lexSQL(toks[:0], t, c)
		r := statement{list, c}
		if c == plainSQL {
			if r.isFilter() || r.isReport() {
				return false
			}
			plain = r.names()
		}
		if r.attack() {
			return true
		}
		phrase = phrase || r.is(1, "select") && r.quotedPhrase(2)
		w, k := r.words()
		words, keywords = max(words, w), max(keywords, k)
	}
	if s.where == InAgent || s.where == InReferer && words < 2 || phrase {
		return false
	}
	if (keywords > 0 || words > 0 && s.mask&quote != 0) && s.mask&(quote|round|hash|dash|equals|semicolon|pipe|star|at) != 0 && len(t) >= 4 {
		a.stats.Deep++
		if ok, print := libinjection.IsSQLi(string(t)); ok && telltale(string(print)) && plain <= 2*words && hasAny(t, "select", "union", "exec", "waitfor", "insert", "update", "drop", "declare", "order", "group") &&
			(print[0] != 'E' || tells(t)) {
			return true
		}
	}
	return false
}

// telltale reports whether a fingerprint of libinjection has what prose and
// filters have not: UNION, an expression such as SELECT, T-SQL, GROUP BY behind
// a number. The others are left to our own reading.
func telltale(print string) bool {
	return strings.ContainsAny(print, "UET") || strings.HasPrefix(print, "1") && strings.ContainsAny(print, "B;")
}

// document reports whether t is a JSON object or array.
func document(t []byte) bool {
	t = bytes.TrimSpace(t)
	if len(t) < 2 {
		return false
	}
	switch t[0] {
	case '{':
		rest := bytes.TrimLeft(t[1:], " \t\r\n")
		return t[len(t)-1] == '}' && (rest[0] == '"' || rest[0] == '}')
	case '[':
		rest := bytes.TrimLeft(t[1:], " \t\r\n")
		return t[len(t)-1] == ']' && (rest[0] == '"' || rest[0] == '{' || rest[0] == '[' || rest[0] == ']' || decimal(rest[0]))
	}
	return false
}

// statement is a text read as SQL from one context.
type statement struct {
	t []token
	c sqlContext
}

func (s *statement) kind(i int) kind {
	if i < 0 || i >= len(s.t) {
		return 0
	}
	return s.t[i].kind
}

func (s *statement) is(i int, words ...string) bool {
	if i < 0 || i >= len(s.t) || s.t[i].kind != tokWord {
		return false
	}
	return slices.Contains(words, string(s.t[i].text))
}

func (s *statement) op(i int, ops ...string) bool {
	if s.kind(i) != tokOp {
		return false
	}
	return slices.Contains(ops, string(s.t[i].text))
}

// words counts keywords and functions together, and keywords alone.
func (s *statement) words() (n, keywords int) {
	for i := range s.t {
		switch s.t[i].kind {
		case tokWord:
			if sqlKeyword(s.t[i].text) {
				n++
				keywords++
			}
		case tokCall:
			if inList(sqlInfo, s.t[i].text) || inList(sqlCalls, s.t[i].text) {
				n++
			}
		case tokVar:
			if len(s.t[i].text) > 2 && s.t[i].text[1] == '@' {
				n++
			}
		}
	}
	return n, keywords
}

// broken reports whether the text begins inside a string and leaves it: what
// follows the quote goes on as a statement does, not as a word.
func (s *statement) broken() bool {
	if s.c == plainSQL || len(s.t) < 2 {
		return false
	}
	switch s.t[1].kind {
	case tokOp, tokRight, tokComment, tokEnd, tokComma, tokLeft:
		return true
	case tokWord:
		return sqlKeyword(s.t[1].text) || s.is(1, "intersect", "except", "minus", "mod", "sounds", "collate", "waitfor", "glob", "for")
	}
	return false
}

// names counts words that are no part of SQL.
func (s *statement) names() (n int) {
	for i := range s.t {
		if s.t[i].kind == tokWord && !sqlKeyword(s.t[i].text) {
			n++
		}
	}
	return n
}

func (s *statement) attack() bool {
	if s.broken() && s.afterQuote() {
		return true
	}
	for i := range s.t {
		switch s.t[i].kind {
		case tokWord:
			if s.keyword(i) {
				return true
			}
		case tokCall:
			if s.call(i) {
				return true
			}
		case tokOp:
			if s.op(i, "||", "&&", "|", "&") && s.condition(i+1, s.broken()) {
				return true
			}
			if s.op(i, "||") && i > 0 && s.kind(i+1) == tokCall && inList(sqlInfo, s.t[i+1].text) {
				return true
			}
			if s.op(i, "::") && (s.kind(i-1) == tokString || s.kind(i-1) == tokRight && s.broken()) && s.is(i+1, "int", "int4", "integer", "numeric", "text", "bool", "boolean", "json", "jsonb", "varchar", "regclass", "bytea") {
				return true // a cast of PostgreSQL behind something that was closed
			}
		case tokEnd:
			if s.stacked(i + 1) {
				return true
			}
		case tokVar:
			if len(s.t) == 1 && !inList(serverVariables, s.t[i].text) {
				continue // a variable of a class in Ruby
			}
			if t := s.t[i].text; len(t) > 5 && t[1] == '@' && letter(t[2]) && letter(t[4]) {
				return true
			}
		}
	}
	return false
}

// serverVariables are what is asked for by itself.
var serverVariables = []string{
	"@@version", "@@hostname", "@@servername", "@@datadir", "@@basedir", "@@tmpdir", "@@plugin_dir", "@@secure_file_priv", "@@global", "@@session", "@@version_compile_os", "@@version_comment", "@@spid", "@@dbts", "@@langid", "@@language",
	"@@microsoftversion", "@@servicename", "@@identity", "@@rowcount", "@@trancount", "@@max_connections", "@@port", "@@socket", "@@sql_mode",
}

// afterQuote judges what follows the quote that ended the string.
func (s *statement) afterQuote() bool {
	i := 1
	for s.kind(i) == tokRight && i < 5 {
		i++
	}
	switch s.kind(i) {
	case tokComment:
		// admin'-- : nothing but the quote, and what it hides. A # needs to end the text.
		return s.t[i].text[0] != '#' || len(s.t[i].text) < 3 || i > 1
	case tokEnd:
		return s.kind(i+1) == tokComment || s.stacked(i+1) || s.kind(i+1) == 0
	case tokOp:
		next := s.kind(i + 1)
		if s.quotedSign() || s.op(i, "<") && next == tokNumber && string(s.t[i+1].text) == "3" && s.kind(i+2) == 0 {
			return false // a heart behind a measure, too: 12" <3
		}
		if s.op(i, "=", "<", ">", "<>", "!=", "<=", ">=", "||", "+", "-", "*", "/", "^", "%", "&", "|", "&&", "<=>") && (next == tokString || next == tokOpen) {
			// '=' , '-' , '||'x : both sides are strings, the first closed by force.
			return s.kind(i+2) == 0 || s.kind(i+2) == tokComment || s.op(i, "=", "||", "<=>") || s.kind(i+2) == tokOp
		}
		if next != 0 && s.tail(i+1) && i == 1 && s.t[len(s.t)-1].text[0] != '/' {
			return true // x'-email-- ; the end of a pattern of paths, "/etc/*", is no comment
		}
		if s.op(i, "||", "+", "|") && (next == tokCall || next == tokLeft) {
			return true
		}
		if s.op(i, "=", "<", ">", "!=", "<>", "^", "<=>") && next == tokNumber && (s.kind(i+2) == 0 || s.kind(i+2) == tokComment) {
			return true
		}
		return s.op(i, "||", "&&", "&", "|") && s.condition(i+1, true)
	case tokWord:
		switch {
		case s.is(i, "order", "group") && s.is(i+1, "by"):
			return s.kind(i+2) != tokOpen || len(s.t[i+2].text) == 0 || !blank(s.t[i+2].text[0]) // near 'ORDER BY' at line 1
		case s.is(i, "union", "intersect", "minus", "except", "procedure", "waitfor") && s.kind(i+1) != 0:
			return s.is(i+1, "all", "select", "distinct", "delay", "time") || s.kind(i+1) != tokWord
		case s.is(i, "having", "where", "limit", "like", "rlike", "regexp", "between", "div", "mod", "is"):
			k := s.kind(i + 1)
			return k == tokNumber || k == tokString || k == tokOpen || k == tokLeft || s.is(i+1, "null", "not")
		case s.is(i, "in") && s.kind(i+1) == tokLeft:
			return true
		case s.is(i, "not") && s.is(i+1, "in", "like", "regexp", "rlike", "between", "glob"):
			return s.kind(i+2) != tokWord
		case s.is(i, "into") && s.is(i+1, "outfile", "dumpfile"):
			return true
		}
	case tokCall:
		return false
	}
	return false
}

// quotedSign reports whether the text names a sign in quotes behind a blank, as
// errors of parsers do: unexpected token '<'. As SQL the string would be compared
// with another or divided by it, and no row meets that: only < and % come to
// nothing so, and only where what follows is no string that somebody chose.
func (s *statement) quotedSign() bool {
	before := s.t[0].text
	if len(before) == 0 || !blank(before[len(before)-1]) || !s.op(1, "<", "%") || s.kind(2) != tokString && s.kind(2) != tokOpen {
		return false
	}
	after := s.t[2].text
	return len(after) == 0 && len(s.t) == 3 || len(after) > 0 && (after[0] == ',' || after[0] == '.' || after[0] == ';' || after[0] == '\n')
}

// operand returns the token behind an operand at i: a literal, a name, a call
// or something in brackets. literal says that no data can change it.
func (s *statement) operand(i int) (next int, literal, ok bool) {
	for n := 0; n < 6 && (s.op(i, "!", "~", "-", "+", "--", "!!", "~!") || s.is(i, "not", "binary")); n++ {
		i++
	}
	switch s.kind(i) {
	case tokNumber, tokString, tokOpen, tokVar:
		return i + 1, true, true
	case tokWord:
		if s.is(i, "select", "case", "exists", "from", "where") {
			return i + 1, true, true
		}
		return i + 1, s.is(i, "true", "false", "null"), true
	case tokCall, tokLeft:
		depth := 1
		if s.is(i+1, "select") {
			literal = true
		}
		if s.kind(i) == tokCall && (inList(sqlInfo, s.t[i].text) || inList(sqlCalls, s.t[i].text)) {
			literal = true
		}
		lit := s.kind(i+1) == tokNumber || s.kind(i+1) == tokString
		for j := i + 1; j < len(s.t); j++ {
			switch s.t[j].kind {
			case tokLeft, tokCall:
				depth++
			case tokRight:
				if depth--; depth == 0 {
					return j + 1, literal || lit, true
				}
			case tokWord:
				literal = literal || s.is(j, "select")
			}
		}
		return len(s.t), literal || lit, true
	}
	return i, false, false
}

func (s *statement) comparison(i int) (next int, ok bool) {
	switch {
	case s.op(i, "=", "==", "<", ">", "<>", "!=", "<=", ">=", "<=>", "=<", "!<", "!>", ":="):
		return i + 1, true
	case s.is(i, "like", "ilike", "rlike", "regexp", "in", "between", "glob", "similar", "sounds"):
		return i + 1, true
	case s.is(i, "not") && s.is(i+1, "like", "in", "between", "regexp", "rlike"):
		return i + 2, true
	case s.is(i, "is"):
		if s.is(i+1, "not") {
			return i + 2, true
		}
		return i + 1, true
	}
	return i, false
}

// condition judges what follows AND, OR and their like at i. quoted says that
// a string was closed before, which honest text does not do.
func (s *statement) condition(i int, quoted bool) bool {
	for s.kind(i) == tokLeft && !s.is(i+1, "select") {
		i++
	}
	if quoted && s.kind(i) == tokCall {
		if j, _, ok := s.operand(i); ok && (s.kind(j) == tokComment || s.is(j, "and", "or") || s.op(j, "::")) {
			return true // ' and f(x)#
		}
	}
	if s.kind(i) == tokLeft || s.is(i, "exists") && s.kind(i+1) == tokLeft || s.is(i, "not") && s.is(i+1, "exists") {
		return true // or (select ...
	}
	if s.is(i, "select") && s.picks(i) {
		return false
	}
	if s.is(i, "select", "case") && s.kind(i+1) != 0 {
		return s.kind(i+1) != tokWord || s.is(i+1, "when") || quoted
	}
	j, left, ok := s.operand(i)
	if !ok {
		return false
	}
	if s.kind(i) == tokCall && string(s.t[i].text) == "count" && (s.kind(i+1) == tokRight || s.is(i-1, "having")) {
		left = false // a step of a pipeline, a group's size
	}
	for s.op(j, "->", "->>", "::", "@>", "#>", "#>>") {
		j++
		if next, _, ok := s.operand(j); ok {
			j = next
		}
	}
	for left && s.kind(i) == tokNumber && s.op(j, "+", "-", "*", "/", "%") { // 2+394-394-1=0+0+0+1
		next, constant, ok := s.operand(j + 1)
		if !ok || !constant {
			break
		}
		j = next
	}
	k, compared := s.comparison(j)
	if !compared {
		if !left {
			return false
		}
		if s.kind(i) == tokCall && (inList(sqlCalls, s.t[i].text) || string(s.t[i].text) == "sleep") {
			return true
		}
		end := s.kind(j)
		if quoted && end == tokOp && (s.kind(j+1) == tokString || s.kind(j+1) == tokOpen) {
			return true // ' or ''-'
		}
		if quoted && (end == 0 || end == tokComment || end == tokRight || end == tokEnd) {
			return true
		}
		return !quoted && (end == tokComment || end == tokRight && s.kind(j+1) == tokComment) && s.kind(i) != tokString
	}
	_, right, ok := s.operand(k)
	if !ok {
		return quoted && left
	}
	if left && right {
		return true
	}
	if quoted {
		return true // ' and password = ...
	}
	if i == 1 && s.kind(k) == tokOpen {
		return true // and name = '
	}
	// and name = 'x' -- , or id = id
	if same(s, i, k) {
		return true
	}
	return (left || right) && s.tail(k)
}

// same reports whether two operands are the same word.
func same(s *statement, i, k int) bool {
	return s.kind(i) == tokWord && s.kind(k) == tokWord && s.kind(k+1) != tokString && bytes.Equal(s.t[i].text, s.t[k].text)
}

// tail reports whether the rest from i on ends in a comment.
func (s *statement) tail(i int) bool {
	n := len(s.t)
	return n > i && s.t[n-1].kind == tokComment
}

func (s *statement) keyword(i int) bool {
	switch {
	case s.is(i, "and", "or", "xor", "having", "where", "not", "when") && (i > 0 || s.c == plainSQL):
		return s.condition(i+1, s.broken() && i <= 4)
	case s.is(i, "union", "intersect", "except", "minus"):
		j := i + 1
		for s.is(j, "all", "distinct", "distinctrow") || s.kind(j) == tokLeft {
			j++
		}
		if !s.is(j, "select", "values") {
			return false
		}
		k := s.kind(j + 1)
		return k != 0 && (k != tokWord || s.kind(j+2) == tokComma || s.is(j+1, "null", "all", "distinct", "top") || s.is(j+2, "from")) || s.broken()
	case s.is(i, "select"):
		return s.selects(i)
	case s.is(i, "order", "group") && s.is(i+1, "by"):
		p := s.kind(i - 1)
		if p == tokNumber || p == tokRight || p == tokString || s.is(i-1, "null") || i == 0 && s.kind(i+3) != tokWord {
			j := i + 2
			k := s.kind(j)
			e := s.kind(j + 1)
			return k == tokNumber && (e == 0 || e == tokComment || e == tokComma) || s.is(j+1, "having")
		}
	case s.is(i, "into") && (s.is(i+1, "outfile", "dumpfile") || s.kind(i+1) == tokVar && s.kind(i-1) == tokNumber):
		return true
	case s.is(i, "waitfor") && s.is(i+1, "delay", "time") && s.kind(i+2) == tokString:
		return true
	case s.is(i, "case") && s.is(i+1, "when"):
		return s.comparedLater(i+2) || s.kind(i+2) == tokLeft
	case s.is(i, "procedure") && s.kind(i+1) == tokCall && string(s.t[i+1].text) == "analyse":
		return true
	case i == 0 || s.kind(i-1) == tokEnd || s.kind(i-1) == tokRight || s.broken():
		return s.stacked(i)
	}
	return false
}

func (s *statement) comparedLater(i int) bool {
	for ; i < len(s.t); i++ {
		if _, ok := s.comparison(i); ok {
			return true
		}
	}
	return false
}

// selects judges SELECT ... FROM, which prose has too.
func (s *statement) selects(i int) bool {
	j := i + 1
	for s.is(j, "distinct", "all", "top") || s.kind(j) == tokNumber && s.is(j-1, "top") {
		j++
	}
	if s.kind(j) == tokRight || s.op(j, "|", "||") || s.picks(i) {
		return false // (select|insert), select(.a > 1)
	}
	if i == 1 && s.broken() && s.quotedPhrase(j) || i > 1 && s.kind(i-1) == tokString && len(s.t[i-1].text) > 0 {
		return false
	}
	strong := s.kind(j) == tokVar || s.op(j, "*") || s.kind(j) == tokCall && inList(sqlInfo, s.t[j].text) || s.kind(j) == tokCall && inList(sqlCalls, s.t[j].text)
	before := s.kind(i-1) == tokLeft || s.kind(i-1) == tokCall || s.op(i-1, "=", "<", ">", "<>", "!=", "<=", ">=", "+", "-", "*", "/", "|", "||", "&", "&&", "^", "%", "~", "!") || s.kind(i-1) == tokEnd || s.broken()
	commas := 0
	for k := j; k < len(s.t); k++ {
		switch {
		case s.t[k].kind == tokComma:
			commas++
		case s.is(k, "from"):
			table := s.kind(k+1) == tokWord || s.kind(k+1) == tokLeft || s.kind(k+1) == tokCall
			if !table {
				return false
			}
			if catalogue(s.t[k+1].text) || before || strong && (i > 0 || s.tells() || s.tail(k)) {
				return true
			}
			if i == 0 {
				return s.tells() || s.tail(k) // a whole statement continues nothing
			}
			after := s.is(k+2, "where", "limit", "order", "group", "union", "having", "join") || s.kind(k+2) == tokComment || s.kind(k+2) == tokEnd
			return after && (s.comparedLater(k+2) || s.is(k+3, "by") || s.kind(k+3) == tokNumber || s.kind(k+2) == tokComment)
		}
	}
	if !strong && !before {
		return commas > 0 && s.numbers(j)
	}
	if s.op(j, "*") {
		return before && s.kind(j+1) != 0
	}
	return before || s.kind(j) == tokVar || s.kind(j) == tokCall && len(s.t) > j+1 && (inList(sqlCalls, s.t[j].text) || s.kind(j+1) == tokNumber || s.kind(j+1) == tokRight)
}

// picks reports whether the SELECT at i is that of jq: select(.a > 1).
func (s *statement) picks(i int) bool {
	return s.kind(i+1) == tokLeft && s.op(i+2, ".")
}

// quotedPhrase reports whether what was taken for a statement behind a closed string
// is a text in quotes itself: the value of a field, text:"select a from b", or
// nothing but the word. No database takes SELECT right behind a string.
func (s *statement) quotedPhrase(j int) bool {
	last := s.t[len(s.t)-1]
	if last.kind != tokOpen && last.kind != tokString || len(s.t) == maxTokens {
		return false
	}
	if j == len(s.t)-1 {
		return true
	}
	before := bytes.TrimRight(s.t[0].text, " ")
	return len(before) > 1 && len(last.text) == 0 && (before[len(before)-1] == ':' || before[len(before)-1] == '~' || before[len(before)-1] == '=' && wordByte(before[len(before)-2]))
}

// tells reports whether a function that says where one is, or one that only
// attacks call, is called.
func (s *statement) tells() bool {
	for i := range s.t {
		switch s.t[i].kind {
		case tokCall:
			if inList(telling, s.t[i].text) || inList(sqlCalls, s.t[i].text) {
				return true
			}
		case tokVar:
			if len(s.t[i].text) > 2 && s.t[i].text[1] == '@' {
				return true
			}
		}
	}
	return false
}

// tells is the same for a text.
func tells(t []byte) bool {
	var toks [maxTokens]token
	s := statement{lexSQL(toks[:0], t, plainSQL), plainSQL}
	return s.tells()
}

// numbers reports whether the list at i is of literals, as in SELECT 1,2,3.
func (s *statement) numbers(i int) bool {
	n := 0
	for ; i < len(s.t); i++ {
		switch s.t[i].kind {
		case tokNumber, tokString:
			n++
		case tokComma:
		case tokWord:
			if !s.is(i, "null") {
				return n > 2
			}
			n++
		default:
			return n > 1
		}
	}
	return n > 1
}

func catalogue(w []byte) bool {
	for _, t := range sqlTables {
		if bytes.HasPrefix(w, []byte(t)) && t != "dual" || string(w) == t {
			return true
		}
	}
	return false
}

func (s *statement) call(i int) bool {
	w := s.t[i].text
	switch string(w) {
	case "polygon", "multipoint", "geometrycollection", "multipolygon", "linestring", "multilinestring":
		// an error of theirs shows what a subquery gave
		return slices.ContainsFunc(s.t, func(t token) bool { return t.kind == tokWord && string(t.text) == "select" || t.kind == tokVar })
	}
	if inList(sqlCalls, w) || bytes.HasPrefix(w, []byte("xp_")) || bytes.HasPrefix(w, []byte("dbms_")) || bytes.HasPrefix(w, []byte("utl_")) {
		return s.kind(i+1) != 0 && s.kind(i+1) != tokRight || bytes.IndexByte(w, '.') > 0 || inList([]string{"updatexml", "extractvalue", "load_file", "xmltype"}, w)
	}
	switch string(w) {
	case "sleep":
		if s.kind(i+3) == tokWord && !sqlKeyword(s.t[i+3].text) {
			return false // hours
		}
		return s.kind(i+1) == tokNumber && (i > 0 || s.kind(i+3) == tokComment || s.kind(i+3) == tokOp) || s.kind(i+1) == tokLeft
	case "char", "chr":
		// char(65,66) or chr(65)||chr(66): text spelled in numbers
		return s.kind(i+1) == tokNumber && (s.kind(i+2) == tokComma || s.op(i+3, "||", "+", "|")) && s.kind(i+3) != 0
	case "if", "iif":
		j, _, ok := s.operand(i + 1)
		if !ok {
			return false
		}
		if k, cmp := s.comparison(j); cmp {
			_, _, ok := s.operand(k)
			return ok && s.hasInfo()
		}
	case "exec", "execute":
		return s.kind(i+1) == tokVar || s.kind(i+1) == tokString
	}
	return false
}

// hasInfo reports whether a telling function is called.
func (s *statement) hasInfo() bool {
	for i := range s.t {
		if s.t[i].kind == tokCall && (inList(sqlCalls, s.t[i].text) || inList([]string{"sleep", "ascii", "substring", "substr", "mid", "user", "database", "version", "char"}, s.t[i].text)) {
			return true
		}
		if s.is(i, "select") {
			return true
		}
	}
	return false
}

// stacked judges a statement that begins at i.
func (s *statement) stacked(i int) bool {
	k := s.kind(i + 1)
	behind := i > 0 // something was ended before
	switch {
	case s.is(i, "select"):
		return behind && k != 0 && (k != tokWord || s.is(i+2, "from") || s.kind(i+2) == tokComma)
	case s.is(i, "insert") && s.is(i+1, "into"):
		return s.is(i+3, "values", "select", "set") || s.kind(i+2) == tokCall || s.kind(i+3) == tokLeft || s.kind(i+3) == tokCall
	case s.is(i, "update"):
		if s.is(i+2, "set") {
			return s.op(i+4, "=") || s.kind(i+4) == tokOp
		}
	case s.is(i, "delete") && s.is(i+1, "from"):
		return behind || s.is(i+3, "where") || s.kind(i+3) == tokComment || s.kind(i+3) == tokEnd
	case s.is(i, "drop", "truncate") && s.is(i+1, "table", "database", "view", "user", "schema", "index", "procedure", "function", "column"):
		return s.kind(i+2) != 0 && (behind || s.t[len(s.t)-1].kind == tokComment || s.t[len(s.t)-1].kind == tokEnd)
	case s.is(i, "create") && s.is(i+1, "table", "database", "user", "function", "procedure", "view", "trigger", "or", "login", "alias"):
		return behind && s.kind(i+2) != 0 || s.kind(i+2) == tokCall
	case s.is(i, "alter") && s.is(i+1, "table", "database", "user", "login", "system", "session"):
		return s.kind(i+2) != 0 && (behind || s.kind(i+3) != 0)
	case s.is(i, "exec", "execute"):
		return s.kind(i+1) == tokVar || s.kind(i+1) == tokWord && (catalogue(s.t[i+1].text) || bytes.HasPrefix(s.t[i+1].text, []byte("xp_")) ||
			bytes.HasPrefix(s.t[i+1].text, []byte("sp_")) || s.is(i+1, "immediate")) || behind && (k == tokLeft || k == tokCall || k == tokString)
	case s.is(i, "declare"):
		return k == tokVar && len(s.t[i+1].text) > 1 && (behind || s.kind(i+2) != tokWord || s.is(i+2, "as", "int", "table", "varchar", "nvarchar", "char", "nchar", "sysname", "bit", "bigint", "cursor")) || behind && k == tokWord
	case s.is(i, "waitfor"):
		return s.is(i+1, "delay", "time") && (behind || s.kind(i+2) == tokString || s.kind(i+2) == tokOpen)
	case s.is(i, "shutdown"):
		return behind && (k == 0 || k == tokComment || s.is(i+1, "with") || k == tokEnd)
	case s.is(i, "grant", "revoke"):
		return behind && k == tokWord
	case s.is(i, "copy") && behind:
		return s.is(i+2, "from", "to") || k == tokLeft
	case s.is(i, "load") && s.is(i+1, "data"):
		return s.is(i+2, "infile", "local")
	case s.is(i, "bulk") && s.is(i+1, "insert"), s.is(i, "backup") && s.is(i+1, "database"), s.is(i, "attach") && s.is(i+1, "database"):
		return true
	case s.is(i, "begin", "set", "use", "call", "handler", "rename", "replace", "do", "prepare") && behind && s.kind(i-1) == tokEnd:
		return k == tokVar || k == tokCall || s.is(i+1, "table", "declare", "into", "master") && k == tokWord || s.is(i+2, "open", "from")
	}
	return false
}

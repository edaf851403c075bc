package injection

import "bytes"

// Honest APIs take conditions as they would stand behind WHERE: SQL itself for
// reports, OData, JQL, the filters of Google's APIs, queries of log stores. A
// text that reads as such a condition from its first to its last token, with a
// name in each comparison, continues nothing and breaks out of nothing. What
// an injection needs besides, a comparison of constants, a subquery, a call
// that tells where one is, a comment, is no part of this grammar.

// filter reads a list of tokens as one condition.
type filter struct {
	s      *statement
	i      int
	depth  int
	terms  int // comparisons with a name in them
	quoted int // strings that stand alone
}

// isFilter reports whether the whole text is one condition.
func (s *statement) isFilter() bool {
	if s.c != plainSQL || len(s.t) < 3 || len(s.t) == maxTokens {
		return false
	}
	f := filter{s: s}
	if !f.expression() {
		return false
	}
	if s.is(f.i, "order", "sort") && s.is(f.i+1, "by") {
		f.i += 2
		f.order()
	}
	return f.i == len(s.t) && (f.terms > 0 || f.quoted > 0)
}

func (f *filter) expression() bool {
	if f.depth++; f.depth > 16 {
		return false
	}
	defer func() { f.depth-- }()
	for {
		for f.s.is(f.i, "not") || f.s.op(f.i, "!", "-", "+") {
			f.i++
		}
		if !f.term() {
			return false
		}
		switch {
		case f.s.is(f.i, "and", "or", "xor"), f.s.op(f.i, "&&", "||"), f.s.kind(f.i) == tokComma, f.s.kind(f.i) == tokEnd && f.i+1 < len(f.s.t):
			f.i++
		default:
			return true
		}
	}
}

func (f *filter) term() bool {
	if f.s.kind(f.i) == tokLeft {
		f.i++
		if !f.expression() || f.s.kind(f.i) != tokRight {
			return false
		}
		f.i++
		return true
	}
	left, ok := f.operand()
	if !ok {
		return false
	}
	var right int
	switch s := f.s; {
	case s.op(f.i, "=", "==", "<", ">", "<>", "!=", "<=", ">=", "~", "!~", "=~", ":", "::"),
		s.is(f.i, "like", "ilike", "regexp", "rlike", "eq", "ne", "gt", "ge", "lt", "le", "co", "sw", "ew", "pr", "contains", "has", "was", "matches", "startswith", "endswith"):
		f.i++
		if right, ok = f.operand(); !ok {
			return false
		}
	case s.is(f.i, "not") && s.is(f.i+1, "in"), s.is(f.i, "not") && s.is(f.i+1, "like", "ilike", "contains"):
		f.i++
		fallthrough
	case s.is(f.i, "in") && s.kind(f.i+1) == tokLeft:
		list := s.is(f.i, "in")
		f.i++
		if !list {
			if right, ok = f.operand(); !ok {
				return false
			}
			break
		}
		if f.i++; !f.list() {
			return false
		}
		right = constant
	case s.is(f.i, "in"):
		f.i++
		if right, ok = f.operand(); !ok {
			return false
		}
	case s.is(f.i, "between"):
		f.i++
		if _, ok := f.operand(); !ok || !s.is(f.i, "and") {
			return false
		}
		f.i++
		if _, ok := f.operand(); !ok {
			return false
		}
		right = constant
	case s.is(f.i, "is"):
		f.i++
		if s.is(f.i, "not") {
			f.i++
		}
		if !s.is(f.i, "null", "empty", "true", "false") {
			return false
		}
		f.i++
		right = constant
	default:
		// A term alone: a phrase, or a flag by its name.
		if left == constant {
			f.quoted++
			return f.s.kind(f.i-1) == tokString
		}
		return true
	}
	if left == constant && right == constant || left == name && right == name && f.same() {
		return false // no data can change it
	}
	f.terms++
	return true
}

// same reports whether the two names just read are one.
func (f *filter) same() bool {
	return f.i >= 3 && f.s.kind(f.i-1) == tokWord && f.s.kind(f.i-3) == tokWord && string(f.s.t[f.i-1].text) == string(f.s.t[f.i-3].text)
}

func (f *filter) list() bool {
	for f.i < len(f.s.t) {
		if _, ok := f.operand(); !ok {
			return false
		}
		switch f.s.kind(f.i) {
		case tokComma:
			f.i++
		case tokRight:
			f.i++
			return true
		default:
			return false
		}
	}
	return false
}

func (f *filter) order() {
	for f.i < len(f.s.t) && (f.s.kind(f.i) == tokComma || f.s.kind(f.i) == tokWord && !sqlKeyword(f.s.t[f.i].text) || f.s.is(f.i, "asc", "desc")) {
		f.i++
	}
}

// operands.
const (
	constant = iota + 1
	name
	other // of which nothing is known
)

// telling are functions that say where one is or take text apart, which a
// filter of data has no use for.
var telling = []string{
	"ascii", "ord", "char", "chr", "user", "database", "version", "current_user", "session_user", "system_user", "user_name", "db_name", "host_name", "sleep",
	"if", "iif", "exec", "execute", "convert", "unhex", "hex", "row_count", "last_insert_id", "schema", "sqlite_version", "conv", "substr", "mid", "suser_name", "is_srvrolemember", "current_setting", "current_database",
	"inet_server_addr", "pg_backend_pid", "has_table_privilege",
}

func (f *filter) operand() (kind int, ok bool) {
	s := f.s
	for s.op(f.i, "-", "+") {
		f.i++
	}
	switch s.kind(f.i) {
	case tokNumber, tokString:
		f.i++
		kind = constant
	case tokWord:
		if sqlKeyword(s.t[f.i].text) && !s.is(f.i, "null", "desc", "top", "set", "end", "values", "using", "offset", "limit", "group", "order", "top", "all") || catalogue(s.t[f.i].text) {
			return 0, false
		}
		kind = name
		if s.is(f.i, "null", "true", "false") {
			kind = constant
		}
		f.i++
	case tokCall:
		w := s.t[f.i].text
		if inList(telling, w) || inList(sqlCalls, w) {
			return 0, false
		}
		depth := 1
		for f.i++; f.i < len(s.t) && depth > 0; f.i++ {
			switch s.kind(f.i) {
			case tokLeft:
				depth++
			case tokCall:
				if inList(telling, s.t[f.i].text) || inList(sqlCalls, s.t[f.i].text) {
					return 0, false
				}
				depth++
			case tokRight:
				depth--
			case tokWord:
				if s.is(f.i, "select", "union") || catalogue(s.t[f.i].text) {
					return 0, false
				}
			case tokComment, tokOpen, tokVar:
				return 0, false
			}
		}
		if depth > 0 {
			return 0, false
		}
		kind = other
	default:
		return 0, false
	}
	// arithmetic, and paths of JSON
	if s.op(f.i, "*", "/", "+", "-", "->", "->>", "::", "%") && (s.kind(f.i+1) == tokNumber || s.kind(f.i+1) == tokWord && !sqlKeyword(s.t[f.i+1].text) || s.kind(f.i+1) == tokString) {
		f.i += 2
		if kind == constant && s.kind(f.i-1) == tokWord {
			kind = name
		}
	}
	return kind, true
}

// isReport reports whether the whole text is one SELECT that reads data: from its
// first word to its last, with brackets and strings that end, nothing behind it, and
// nothing in it that tells where one is, waits, or is true of any row. Stores of
// open data, of measurements and of sales take such statements; a text that is one
// continues none and breaks out of none.
func (s *statement) isReport() bool {
	if s.c != plainSQL || !s.is(0, "select") || len(s.t) < 4 || len(s.t) == maxTokens {
		return false
	}
	depth, from := 0, false
	for i := range s.t {
		switch t := &s.t[i]; t.kind {
		case tokComment, tokOpen, tokVar:
			return false
		case tokEnd:
			if i != len(s.t)-1 {
				return false
			}
		case tokLeft:
			depth++
		case tokCall:
			depth++
			if inList(telling, t.text) || inList(sqlCalls, t.text) || hasPrefixAny(t.text, "xp_", "dbms_", "utl_", "pg_", "sys_") {
				return false
			}
		case tokRight:
			if depth--; depth < 0 {
				return false
			}
		case tokWord:
			if s.is(i, "union", "intersect", "except", "minus", "into", "procedure", "waitfor", "current_user", "session_user") || catalogue(t.text) {
				return false
			}
			from = from || s.is(i, "from") && (s.kind(i+1) == tokWord || s.kind(i+1) == tokString || s.kind(i+1) == tokLeft)
			if s.is(i, "and", "or", "where", "having", "xor") && s.alwaysTrue(i+1) {
				return false
			}
		}
	}
	return from && depth == 0 && s.namesColumn()
}

// namesColumn reports whether the SELECT that the text begins with asks for a column and
// not for constants alone. A name in quotes is told from a string by the table's, which
// is in quotes as well.
func (s *statement) namesColumn() bool {
	for i := 1; i < len(s.t); i++ {
		switch {
		case s.is(i, "from"):
			return s.kind(1) == tokString && s.kind(i+1) == tokString
		case s.op(i, "*"), s.kind(i) == tokCall, s.kind(i) == tokWord && !s.is(i, "null", "true", "false", "as", "distinct", "all"):
			return true
		}
	}
	return false
}

// alwaysTrue reports whether a condition begins at i that no data can change: two
// numbers compared, a word or a string with itself, or a constant alone.
func (s *statement) alwaysTrue(i int) bool {
	for s.kind(i) == tokLeft || s.is(i, "not") {
		i++
	}
	k := s.kind(i)
	j, ok := s.comparison(i + 1)
	if !ok {
		return k == tokNumber || k == tokString || s.is(i, "true")
	}
	return k == tokNumber && s.kind(j) == tokNumber || (k == tokString || k == tokWord) && s.kind(j) == k && bytes.Equal(s.t[i].text, s.t[j].text)
}

package injection

import "bytes"

// Document databases. A query of theirs is JSON, so an API that takes filters
// has operators in its values honestly: {"price":{"$gte":10}}. What gives an
// attack away is the place or the value: an operator on a secret or a key of
// the account, one that nothing can fail to meet, an operator where the value
// is no document, or code for the database.

func (a *Analyzer) nosql(s *subject) {
	if s.where == InAgent || s.where == InReferer {
		return
	}
	t := s.low
	if operators(t) || databaseCode(t) {
		a.hit(NoSQL, s.full)
	}
	if typed(t) {
		a.hit(Code, s.full)
	}
}

// pair judges a parameter whose name has an operator: user[$ne]=x. Many APIs
// have price[$lt]=100 and filters[name][$eq]=x.
func (a *Analyzer) pair(name, value string) {
	i := indexString(name, "[$")
	if i <= 0 {
		i = indexString(name, ".$") // qs reads a dot, too
	}
	if i <= 0 {
		return
	}
	var buf [64]byte
	low := appendLower(buf[:0], bytesOf(name[:min(len(name), 64)]))
	root := low[:i]
	if k := bytes.LastIndexByte(root, '['); k > 0 {
		root = bytes.Trim(root[k:], "[]") // where[password][$ne]
	} else if inList([]string{"filter", "filters", "where", "query", "$or", "$and"}, root) {
		return // filters[$or][0]...
	}
	op := low[i+2:]
	if k := bytes.IndexByte(op, ']'); k >= 0 {
		op = op[:k]
	}
	if isOperator(op) && (wanton(root, op, bytesOf(value)) || inList(accountKeys, root) && !inList([]string{"eq", "in", "exists", "size", "type", "all"}, op)) {
		a.hit(NoSQL, bytesOf(name+"="+value))
	}
}

func isOperator(w []byte) bool {
	return inList([]string{
		"ne", "gt", "gte", "lt", "lte", "in", "nin", "regex", "where", "or", "and", "not", "nor", "exists", "eq", "func", "size", "type", "elemmatch", "mod", "all", "expr", "jsonschema",
		"slice", "comment", "accumulator", "function", "lookup", "unionwith", "out", "merge",
	}, w)
}

// accountKeys are what a login looks an account up by.
var accountKeys = []string{"user", "username", "user_name", "login", "email", "mail", "account"}

// secret reports whether a key is that of something only its owner knows: by its last
// word, as a balance of tokens and the time of a login are none.
func secret(key []byte) bool {
	for _, w := range [...]string{"pass", "passwd", "password", "passphrase", "pwd", "pin", "secret", "token", "otp", "apikey", "api_key", "session", "sessionid", "session_id"} {
		if rest, ok := bytes.CutSuffix(key, []byte(w)); ok && (len(rest) == 0 || len(w) > 4 || !wordByte(rest[len(rest)-1]) || rest[len(rest)-1] == '_') {
			return true
		}
	}
	return bytes.HasPrefix(key, []byte("password"))
}

// wanton reports whether an operator on a key says that any document will do,
// or is none that a client has a use for. Filters ask honestly for what differs from
// something, from nothing too; not where the key is a secret.
func wanton(key, op, value []byte) bool {
	switch string(op) {
	case "where", "function", "accumulator", "func", "out", "merge", "unionwith", "lookup":
		return true
	case "ne", "nin", "gt", "gte", "lt", "lte", "regex", "exists", "not", "nor":
	default:
		return false
	}
	if secret(key) {
		return true
	}
	v := bytes.Trim(value, " \"'[]{}")
	switch string(op) {
	case "exists":
		return false
	case "regex":
		return inList([]string{"", ".*", "^", ".", ".+", "^.*", ".*$", "^.*$", "(.*)"}, v)
	case "ne", "nin", "not", "nor":
		if string(op) == "nin" && len(v) > 0 {
			return false
		}
		return len(v) == 0 || inList([]string{"x", "a", "foo", "toto", "xyz", "nan"}, v) || (len(key) == 0 || inList(accountKeys, key)) && inList([]string{"1", "-1", "0", "test", "undefined"}, v)
	}
	return len(v) == 0 || string(v) == "null" || string(v) == "undefined"
}

// operators looks at each operator of a query in a text.
func operators(t []byte) bool {
	for i := 0; i+2 < len(t); i++ {
		if t[i] != '$' || i > 0 && (wordByte(t[i-1]) || t[i-1] == '/') {
			continue
		}
		j := i + 1
		for j < len(t) && letter(t[j]) {
			j++
		}
		op := t[i+1 : j]
		if !isOperator(op) {
			continue
		}
		var before byte
		if i > 0 {
			before = t[i-1]
		}
		rest := bytes.TrimLeft(t[j:], " \t\r\n")
		if len(rest) == 0 {
			continue
		}
		switch {
		case (before == '"' || before == '\'') && rest[0] == before:
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
			if string(op) == "or" && hasAny(rest[:min(len(rest), 64)], "[{}", ",{}") {
				return true // one branch asks for nothing
			}
			if len(rest) > 0 && rest[0] == ':' && wanton(keyBefore(t[:i-1]), op, firstValue(rest[1:])) {
				return true
			}
		case before == '[' && rest[0] == ']':
			if i == 1 { // [$ne]=1 as a value
				return true
			}
		case rest[0] == ':' && (before == 0 || blank(before) || before == '{' || before == ',' || before == '\'' || before == '"'):
			return true // no quotes around it: written for a shell or a broken string, not for a parser
		}
	}
	return false
}

// keyBefore returns the key that an object which has just begun belongs to.
func keyBefore(t []byte) []byte {
	t = bytes.TrimRight(t, " \t\r\n{[")
	t = bytes.TrimRight(t, " \t\r\n:")
	if len(t) == 0 || t[len(t)-1] != '"' && t[len(t)-1] != '\'' {
		return nil
	}
	t = t[:len(t)-1]
	return t[bytes.LastIndexAny(t, "\"'")+1:]
}

// firstValue returns the value at the start of t, up to what ends it.
func firstValue(t []byte) []byte {
	t = bytes.TrimLeft(t, " \t\r\n")
	if len(t) > 0 && (t[0] == '"' || t[0] == '\'') {
		if k := bytes.IndexByte(t[1:], t[0]); k >= 0 {
			return t[:k+2]
		}
		return t
	}
	if k := bytes.IndexAny(t, ",}]"); k >= 0 {
		return t[:k]
	}
	return t
}

var databaseWords = newAnyOf(
	"db.getcollection", "db.injection", ".mapreduce(", "db.stores", "db.users", "sleep(5000)", "this.password", "mapreduce:", "this.constructor.constructor", "tojson(", "tojsononeline", "db.collection", "db.version(", "db.getname",
)

// databaseCode finds scripts for the database: calls of its shell, a statement
// behind a string that was closed, a comparison of JavaScript joined to one.
func databaseCode(t []byte) bool {
	if databaseWords.in(t) {
		return true
	}
	if cypher(t) {
		return true
	}
	quoted := bytes.ContainsAny(t, "'\"}") || hasAny(t, ";return", "return db.", "; return true", "; return this")
	for _, w := range [...]string{"return", "var ", "while(", "if(", "do{", "it=new date"} {
		for from := 0; quoted; {
			i := bytes.Index(t[from:], []byte(w))
			if i < 0 {
				break
			}
			i += from
			from = i + len(w)
			if wordByte(w[len(w)-1]) && from < len(t) && wordByte(t[from]) {
				continue // returnto
			}
			b := bytes.TrimRight(t[:i], " \t\n(){}")
			if n := len(b); n > 1 && b[n-1] == ';' && (b[n-2] == '\'' || b[n-2] == '"' || b[n-2] == ')' || decimal(b[n-2])) || n == 1 && (b[0] == '\'' || b[0] == '"' || b[0] == ';') {
				return true
			}
		}
	}
	if !bytes.ContainsAny(t, "'\"") && !has(t, "1==1") && !has(t, "1 == 1") {
		return false
	}
	if hasAny(t, "||1==1", "|| 1==1", "|| 1 == 1", "&& this.", "&&this.", "|| this.", "||this.", "'a'=='a", "1==1//", "==''", "''=='") {
		return true
	}
	return hasAny(t, "'||'", "' || '", "\"||\"", "' && '", "'||1") && hasAny(t, "==", "this.")
}

// cypher finds a statement of Neo4j behind a string that was closed.
func cypher(t []byte) bool {
	return bytes.ContainsAny(t, "'\"") && cypherWords.in(t)
}

var cypherWords = newAnyOf("detach delete", "load csv from", "load csv with", "call db.", "call dbms.", "call apoc.", "}) return ", "} ) return ", "'}) match", "' return 1", "' with 1 as")

// typed finds the name of a class of .NET where a document may say which it is to become.
func typed(t []byte) bool {
	i := bytes.Index(t, []byte("\"$type\""))
	return i >= 0 && hasAny(t[i:], "\"system.", "\"microsoft.", "\"presentationframework") && bytes.IndexByte(t[i:], ',') > 0
}

package injection

import "bytes"

// GraphQL in an address. A query is what an API takes, so what counts is what an
// honest client has no use for: the schema, which its makers know; one field asked for
// again and again under other names, which makes one request of many; and documents
// that are written to cost the server more than its answer is worth.

const (
	graphqlStack  = 24 // fields inside one another that are told apart
	graphqlFields = 16 // fields that are counted
	// A field that many names stand for: a page asks for a few things of one kind, and for one login.
	graphqlAliases = 6
	graphqlGuesses = 3
	graphqlRepeats = 6 // of a field, or of a directive, beside itself
	graphqlCircles = 3 // of a field inside itself
)

// graphql reports whether t, in lower case, is such a document.
func graphql(t []byte) bool {
	if hasAny(t, "__schema", "__type(", "__typename{", "introspectionquery", "__inputfields") {
		return true
	}
	t = bytes.TrimLeft(t, " \t\r\n")
	if !hasPrefixAny(t, "{", "query", "mutation", "fragment", "subscription") || bytes.IndexByte(t, '{') < 0 {
		return false
	}
	return graphqlOverload(t)
}

// graphqlBatch reports whether t, which is JSON, is several documents in one request.
func graphqlBatch(t []byte) bool {
	return len(t) > 0 && t[0] == '[' && bytes.Count(t, []byte(`"query":`)) >= graphqlGuesses
}

// graphqlOverload goes through the fields of a document once.
func graphqlOverload(t []byte) bool {
	var stack [graphqlStack][]byte
	var fields [graphqlFields][]byte
	var counts [graphqlFields]int
	depth, known, same, directives := 0, 0, 0, 0
	var last, alias []byte
	for i := 0; i < len(t); {
		switch c := t[i]; {
		case wordByte(c):
			j := i
			for j < len(t) && wordByte(t[j]) {
				j++
			}
			word := t[i:j]
			if i = j; i < len(t) && t[i] == ':' && depth > 0 {
				alias = word
				i++
				for i < len(t) && blank(t[i]) {
					i++
				}
				if i == len(t) || !wordByte(t[i]) {
					return false // an object of another language, in which a value follows
				}
				continue
			}
			if same++; !bytes.Equal(word, last) {
				same = 1
			}
			if same >= graphqlRepeats {
				return true
			}
			last, directives = word, 0
			if alias == nil {
				continue
			}
			alias = nil
			k := 0
			for k < known && !bytes.Equal(fields[k], word) {
				k++
			}
			if k == known {
				if known == graphqlFields {
					continue
				}
				fields[k] = word
				known++
			}
			if counts[k]++; counts[k] >= graphqlAliases || counts[k] >= graphqlGuesses && guessed(word) {
				return true
			}
		case c == '{':
			circles := 0
			for k := range min(depth, graphqlStack) {
				if len(last) > 0 && bytes.Equal(stack[k], last) {
					circles++
				}
			}
			if circles >= graphqlCircles {
				return true
			}
			if depth < graphqlStack {
				stack[depth] = last
			}
			depth++
			i++
		case c == '}':
			depth = max(0, depth-1)
			i++
		case c == '(': // arguments
			for i < len(t) && t[i] != ')' {
				if t[i] == '"' {
					for i++; i < len(t) && t[i] != '"'; i++ {
						if t[i] == '\\' {
							i++
						}
					}
				}
				i++
			}
			i++
		case c == '@':
			if directives++; directives >= graphqlRepeats {
				return true
			}
			for i++; i < len(t) && wordByte(t[i]); i++ {
			}
		case blank(c), c == ',', c == '.', c == '!', c == '#':
			i++
		default:
			return false // no document has it outside brackets
		}
	}
	return false
}

// guessed reports whether a field is one that somebody guesses at: a request that
// does so many times passes by limits for requests.
func guessed(field []byte) bool {
	return hasAny(field, "login", "signin", "auth", "token", "otp", "verify", "code", "coupon", "voucher", "reset", "password")
}

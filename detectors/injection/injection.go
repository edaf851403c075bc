// Package injection finds attacks in the text of one request: SQL injection,
// cross-site scripting, command injection and their relatives.
//
// It is pure: the answer depends on the request alone. An [Analyzer] first
// looks for bytes and words that an attack of some class cannot do without;
// ordinary requests stop there. What is left is decoded, round by round, the
// way that servers, proxies, template engines and browsers undo encodings, and
// every class judges the result by the grammar of what it would break into, not
// by a list of words. The package is a leaf.
package injection

import "math/bits"

// Class is one kind of attack.
type Class uint8

// The classes. Their names, see String, are the values of the event field
// attack.class.
const (
	SQLi         Class = iota
	XSS                // cross-site scripting
	Command            // operating system commands
	Traversal          // climbing out of a folder
	Inclusion          // local and remote files handed to an include or open
	SSRF               // URLs that make the server ask inside
	Template           // server-side templates and expression languages
	SSI                // server-side and edge-side includes
	NoSQL              // operators and scripts of document databases
	LDAP               // search filters
	XPath              // path expressions
	XXE                // XML with a document type or external entities
	Mail               // commands and headers for mail servers
	CRLF               // header injection and response splitting
	Log4Shell          // lookups of log4j
	Shellshock         // functions in bash's environment
	PHP                // PHP code, wrappers, settings, serialised objects
	Java               // Java code, class paths, serialised objects
	Code               // code of other languages: JavaScript on the server, Ruby, Python
	GraphQL            // introspection
	OpenRedirect       // addresses spelled so that a check takes them for local ones
	Fixation           // a session given from elsewhere
	Encoding           // bytes and escapes that no client has a use for
	Probe              // signs that end a string or a list, and nothing else
	Classes            // how many there are
)

var names = [Classes]string{
	"sqli", "xss", "cmdi", "traversal", "lfi", "ssrf", "ssti", "ssi", "nosql", "ldap", "xpath", "xxe", "mail", "crlf",
	"log4shell", "shellshock", "php", "java", "code", "graphql", "open_redirect", "session_fixation", "encoding", "probe",
}

// String returns the class as the field attack.class has it.
func (c Class) String() string {
	if c >= Classes {
		return "unknown"
	}
	return names[c]
}

// Lookup returns the class with a name.
func Lookup(name string) (Class, bool) {
	for i, n := range names {
		if n == name {
			return Class(i), true
		}
	}
	return 0, false
}

// Set is a set of classes.
type Set uint32

// With returns s with c in it.
func (s Set) With(c Class) Set { return s | 1<<c }

// Has reports whether c is in s.
func (s Set) Has(c Class) bool { return s&(1<<c) != 0 }

// Len is how many classes are in s.
func (s Set) Len() int { return bits.OnesCount32(uint32(s)) }

// Append appends the names of the classes in s to dst, in the order of the classes.
func (s Set) Append(dst []string) []string {
	for c := range Classes {
		if s.Has(c) {
			dst = append(dst, names[c])
		}
	}
	return dst
}

// Request is the text of a request as logged: nothing decoded, nothing cut.
type Request struct {
	Path    string // up to the question mark
	Query   string // behind it
	Agent   string
	Referer string
	Host    string // the API's own, "" where the log has none
}

// Where says in which part of a request something was found.
type Where uint8

// The parts.
const (
	InPath Where = iota + 1
	InQuery
	InAgent
	InReferer
)

// String returns the event field of the part.
func (w Where) String() string {
	return [...]string{"", "url.path", "url.query", "user_agent.original", "http.request.header.referer"}[w]
}

// Finding is one reason for an answer, for people.
type Finding struct {
	Class Class
	Where Where
	Name  string // of the parameter, as logged; "" where there is none
	Text  string // the decoded text that it was found in, at most maxShown bytes
}

const (
	maxShown    = 200
	maxFindings = 8
	maxText     = 16 << 10 // bytes of one part that are looked at; more is cut
	maxParams   = 256      // parameters of a query; further ones are looked at as one
)

// Analyzer answers for one request at a time. It keeps its buffers, so it
// belongs to one goroutine.
type Analyzer struct {
	set      Set
	findings []Finding
	explain  bool
	whole    bool // the text is a whole query
	where    Where
	name     string
	request  *Request

	once, full, low, flat []byte
	spare                 []byte
	layers                [maxDepth + 1]layer
	agents, referers      *memory
	values                *memory // of parameters, name=value
	stats                 Stats
}

// layer is the memory for what is unpacked out of a text at one depth.
type layer struct {
	inner       []byte // text out of JSON or base64
	document    []byte // the JSON
	quoted      []byte // a string of it
	packed, raw []byte // base64 and what it holds
}

// maxDepth is how many times a text is unpacked: JSON in a string of JSON,
// base64 in a string of JSON.
const maxDepth = 2

// Stats counts the work of an analyzer.
type Stats struct {
	Requests uint64 // asked for
	Suspects uint64 // with text that got past the first look
	Deep     uint64 // that ran libinjection
}

// New returns an analyzer.
func New() *Analyzer {
	return &Analyzer{agents: newMemory(512, 256), referers: newMemory(512, 256), values: newMemory(1024, 128)}
}

// Stats returns the counters.
func (a *Analyzer) Stats() Stats { return a.stats }

// Analyze returns the classes of attack in the request. It allocates nothing
// for a request that has none of the bytes and words that attacks need, once
// its agent and referer were seen.
func (a *Analyzer) Analyze(r *Request) Set {
	a.explain = false
	return a.analyze(r)
}

// Explain is Analyze that also says why. The findings share nothing with the
// analyzer; there are at most eight.
func (a *Analyzer) Explain(r *Request) (Set, []Finding) {
	a.explain = true
	a.findings = nil
	s := a.analyze(r)
	return s, a.findings
}

func (a *Analyzer) hit(c Class, text []byte) {
	fresh := !a.set.Has(c)
	a.set = a.set.With(c)
	if a.explain && fresh && len(a.findings) < maxFindings {
		a.findings = append(a.findings, Finding{c, a.where, a.name, string(text[:min(len(text), maxShown)])})
	}
}

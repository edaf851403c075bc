package sigma

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp/syntax"
	"strconv"
	"strings"
	"testing"

	"gatewatch/event"
)

var rulesDir = flag.String("rules", "../../../shared/corpora/sigma-web", "folder of published rules to load and fire")

func loadPublished(t testing.TB) []Document {
	t.Helper()
	if _, err := os.Stat(*rulesDir); err != nil {
		t.Skipf("no published rules here: %s is absent", *rulesDir)
	}
	docs, err := ReadFS(publishedFS())
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func publishedFS() (root fs.FS, folder string) {
	return os.DirFS(filepath.Dir(*rulesDir)), filepath.Base(*rulesDir)
}

// TestPublishedRules: each rule loads or is refused for one of the reasons
// that docs/rules.md names; each that loads fires on an event made from its
// own condition, is silent on an ordinary one, and agrees with the naive
// evaluator on both.
func TestPublishedRules(t *testing.T) {
	docs := loadPublished(t)
	set, problems := Parse(docs)
	reasons := []string{"does not apply to access logs", "is not available", "is not yet supported", "not valid: error parsing regexp"}
	refused := map[string]bool{}
	for _, p := range problems {
		if p.Severity != Refused {
			t.Logf("warning: %v", p)
			continue
		}
		refused[p.File] = true
		known := false
		for _, r := range reasons {
			known = known || strings.Contains(p.Message, r)
		}
		if !known {
			t.Errorf("refused for no documented reason: %v", p)
		}
	}
	x, more := set.Compile(CompileOptions{})
	for _, p := range more {
		t.Errorf("compile: %v", p)
	}
	files := map[string]bool{}
	for _, r := range x.Rules() {
		files[r.File] = true
	}
	for f := range refused {
		files[f] = true
	}
	if len(files) != len(docs) {
		t.Errorf("%d files were read, but only %d loaded or were refused", len(docs), len(files))
	}
	m := x.NewMatcher()
	fired := 0
	for i := range x.dets {
		d := &x.dets[i]
		if !fires(m, d) {
			t.Errorf("%s: no event made from the rule fires it", d.rule.File)
			continue
		}
		fired++
		plain := request("GET", "/index.html", 200, "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
		plain.Host = "shop.example.com"
		if matches(m, d, plain) {
			t.Errorf("%s: fires on an ordinary request", d.rule.File)
		}
	}
	t.Logf("%d files: %d refused, %d rules fire", len(docs), len(refused), fired)
}

func matches(m *Matcher, d *det, ev *event.Event) bool {
	for _, r := range m.Match(ev) {
		if r.Rule == d.rule {
			return true
		}
	}
	return false
}

// fires tries the ways to satisfy the rule until one event matches.
func fires(m *Matcher, d *det) bool {
	for choice := range 200 {
		b := eventBuilder{choice: choice, parts: map[source][]*matcher{}}
		b.satisfy(d.cond, true)
		ev := b.event()
		if got := matches(m, d, ev); got != naive(d.cond, ev) {
			return false
		} else if got {
			return true
		}
	}
	return false
}

// eventBuilder makes an event that a condition matches. choice says which of
// several alternatives to take.
type eventBuilder struct {
	choice int
	parts  map[source][]*matcher
}

func (b *eventBuilder) satisfy(n *node, want bool) {
	switch {
	case n.op == nodeNot:
		b.satisfy(n.kids[0], !want)
	case n.op == nodeLeaf && want:
		m := n.leaf.any[b.choice%len(n.leaf.any)]
		b.parts[n.leaf.src] = append(b.parts[n.leaf.src], m)
	case !want: // an ordinary event lacks it
	case n.op == nodeOr:
		b.satisfy(n.kids[b.choice%len(n.kids)], true)
	default:
		for _, k := range n.kids {
			b.satisfy(k, true)
		}
	}
}

// text joins what the matchers of one source ask for.
func text(ms []*matcher) string {
	var head, mid, tail string
	for _, m := range ms {
		s := sample(m)
		switch {
		case m.op == opExact:
			return s
		case m.op == opPrefix, m.op == opGlob && m.glob[0] != "*":
			head = s
		case m.op == opSuffix, m.op == opGlob && m.glob[len(m.glob)-1] != "*":
			tail = s
		default:
			mid += s
		}
	}
	return head + mid + tail
}

func sample(m *matcher) string {
	switch m.op {
	case opExists:
		return "x"
	case opNumEq, opNumGte, opNumLte:
		return strconv.FormatInt(m.num, 10)
	case opGlob:
		var b strings.Builder
		for _, g := range m.glob {
			switch g {
			case "*":
			case "?":
				b.WriteByte('x')
			default:
				b.WriteString(g[1:])
			}
		}
		return b.String()
	case opRegex:
		re, err := syntax.Parse(m.re.String(), syntax.Perl)
		if err != nil {
			return ""
		}
		return sampleRegexp(re)
	case opCIDR:
		return m.cidr.Addr().String()
	default:
		return m.text
	}
}

func sampleRegexp(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		return string(re.Rune[:1])
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "x"
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		return sampleRegexp(re.Sub[0])
	case syntax.OpRepeat:
		return strings.Repeat(sampleRegexp(re.Sub[0]), re.Min)
	case syntax.OpConcat:
		var b strings.Builder
		for _, s := range re.Sub {
			b.WriteString(sampleRegexp(s))
		}
		return b.String()
	default:
		return ""
	}
}

func (b *eventBuilder) event() *event.Event {
	e := request("GET", "/", 200, "")
	e.Raw = "GET / 200"
	var targets []*matcher
	for src, ms := range b.parts {
		s := text(ms)
		switch src {
		case srcURL, fieldSource(event.FieldTarget), fieldSource(event.FieldPath), fieldSource(event.FieldQuery):
			targets = append(targets, ms...)
		case srcMethod, fieldSource(event.FieldMethod):
			e.Method = s
		case srcVersion:
			e.Protocol = strings.TrimPrefix(s, "HTTP/")
		case fieldSource(event.FieldStatus):
			n, _ := strconv.Atoi(s)
			e.Status = int32(n)
		case fieldSource(event.FieldUserAgent):
			e.UserAgent = s
		case fieldSource(event.FieldReferer):
			e.Referer = s
		case fieldSource(event.FieldHost):
			e.Host = s
		case fieldSource(event.FieldUser):
			e.User = s
		case fieldSource(event.FieldRaw):
			e.Raw = s
		}
	}
	e.Target = text(targets)
	if ms, ok := b.parts[srcExtension]; ok {
		e.Target += "/file." + text(ms)
	}
	if e.Target == "" {
		e.Target = "/"
	}
	e.Path, e.Query, _ = strings.Cut(e.Target, "?")
	return e
}

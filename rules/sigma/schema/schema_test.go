package schema

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v4"

	builtin "gatewatch/rules"
	"gatewatch/rules/sigma"
)

var update = flag.Bool("update", false, "write the schemas that are shipped")

func resolved(t *testing.T, generate func() ([]byte, error)) *jsonschema.Resolved {
	t.Helper()
	data, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestShipped: the schemas of the repository are those that the tables make.
func TestShipped(t *testing.T) {
	for name, generate := range map[string]func() ([]byte, error){"sigma.schema.json": Rules, "tests.schema.json": Tests} {
		got, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", name)
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s is not current; run go test ./rules/sigma/schema -update (-shipped +made):\n%s", name, d)
		}
	}
}

// instance turns YAML into what JSON would be.
func instance(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = instance(n.Content[i+1])
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, k := range n.Content {
			out = append(out, instance(k))
		}
		return out
	}
	var v any
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool", "!!null":
		if err := n.Decode(&v); err != nil {
			return n.Value
		}
		raw, err := json.Marshal(v)
		if err != nil || json.Unmarshal(raw, &v) != nil {
			return n.Value
		}
		return v
	default:
		return n.Value
	}
}

// verdicts says of each document of a file what is wrong by the schema, nil
// for nothing, and by the parser.
func verdicts(r *jsonschema.Resolved, doc sigma.Document) (schema []error, parser []string) {
	roots, _ := sigma.Trees(doc)
	set, problems := sigma.Parse([]sigma.Document{doc})
	_, more := set.Compile(sigma.CompileOptions{})
	for i, root := range roots {
		if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
			continue
		}
		end := 1 << 30
		if i+1 < len(roots) {
			end = roots[i+1].Line
		}
		said := ""
		for _, p := range append(problems, more...) {
			if p.Line >= root.Line && p.Line < end && (p.Severity == sigma.Refused || strings.Contains(p.Message, "unknown status")) {
				said += p.Error() + "\n"
			}
		}
		schema, parser = append(schema, r.Validate(instance(root))), append(parser, said)
	}
	return schema, parser
}

// TestLoads: whatever loads is valid, so that editors complain of nothing
// that works. Of the published rules those that are refused are invalid too.
func TestLoads(t *testing.T) {
	r := resolved(t, Rules)
	var docs []sigma.Document
	add := func(fsys fs.FS, prefix string) int {
		list, err := sigma.ReadFS(fsys, ".")
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			list[i].File = prefix + list[i].File
		}
		docs = append(docs, list...)
		return len(list)
	}
	if n := add(builtin.FS(), "builtin/"); n < 15 {
		t.Errorf("read %d built-in files", n)
	}
	add(os.DirFS(filepath.Join("..", "lint", "testdata")), "lint/")
	add(os.DirFS(filepath.Join("..", "testdata")), "testdata/")
	docs = append(docs, examples(t)...)
	valid, invalid := 0, 0
	for _, d := range docs {
		schema, parser := verdicts(r, d)
		for i := range schema {
			switch {
			case schema[i] != nil && parser[i] == "":
				t.Errorf("%s, document %d, loads but is not valid: %v", d.File, i, schema[i])
			case schema[i] != nil:
				invalid++
			default:
				valid++
			}
		}
	}
	t.Logf("%d valid, %d invalid", valid, invalid)
	if valid < 100 || invalid < 10 {
		t.Errorf("%d valid, %d invalid documents", valid, invalid)
	}
}

// examples are the rules in the documentation.
func examples(t *testing.T) []sigma.Document {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "rules.md"))
	if err != nil {
		t.Fatal(err)
	}
	var out []sigma.Document
	for _, m := range regexp.MustCompile("(?s)\n```yaml\n(title:.*?)\n```").FindAllStringSubmatch(string(data), -1) {
		out = append(out, sigma.Document{File: fmt.Sprintf("docs/rules.md %d", len(out)), Data: []byte(m[1])})
	}
	if len(out) < 3 {
		t.Errorf("found %d examples", len(out))
	}
	return out
}

func TestPublished(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "corpora", "sigma-web")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the published rules are not here: %v", err)
	}
	docs, err := sigma.ReadFS(os.DirFS(dir), ".")
	if err != nil {
		t.Fatal(err)
	}
	r := resolved(t, Rules)
	n := 0
	for _, d := range docs {
		schema, parser := verdicts(r, d)
		for i := range schema {
			n++
			if (schema[i] == nil) != (parser[i] == "") {
				t.Errorf("%s: the schema says %v, the parser %q", d.File, schema[i], parser[i])
			}
		}
	}
	if n < 45 {
		t.Errorf("looked at %d rules", n)
	}
}

// TestBroken: what the parser refuses for its form is invalid.
func TestBroken(t *testing.T) {
	r := resolved(t, Rules)
	const head = "title: x\nlogsource: {category: webserver}\n"
	const detection = head + "detection: {s: {url.path: /x}, condition: s}\n"
	const counted = "title: x\ncorrelation: {type: event_count, rules: [a], group-by: [c-ip], timespan: 5m, condition: {gte: 3}}\n"
	for _, good := range []string{
		detection, counted,
		head + "detection: {s: [word, 7, {cs(User-Agent)|contains|all: [a, b]}], t: {'|all': [a, b]}, condition: [s, t]}\n",
		head + "detection: {s: {SC_STATUS|gte: 400, sc-status: '4*', url.path|exists: yes, c-ip|cidr: 10.0.0.0/8, url.query: null}, condition: 1 of them}\n",
		head + "detection: {s: {timestamp|hour|gte: 22, url.path|fieldref: url.query, c-ip|cidr|expand: '%nets%', sc-bytes|gt|expand: '%n%'}, condition: s}\n",
		"title: x\nlogsource: {category: Proxy, product: any}\ndetection: {s: {c-uri: x}, condition: s}\n",
		"title: x\nfilter: {rules: any, s: {c-ip: 10.0.0.1}, condition: not s}\n",
		"title: x\ncorrelation: {type: temporal, rules: [a, b], timespan: 5m}\ngenerate: true\n",
		"title: x\ncorrelation: {type: value_percentile, rules: a, timespan: 5m, condition: {field: sc-bytes, percentile: 95, gt: 1.5}}\n",
		"title: x\ncorrelation: {type: rate_anomaly, rules: [a], timespan: 5m, condition: {factor: 3, direction: both}}\n",
		"title: x\ncorrelation: {type: id_walk, rules: [a], group-by: [principal, http.route], timespan: 5m, condition: {gte: 30, order: ascending}}\n",
		detection + "gatewatch: {family: f, resolve_after: 30m, tests: [{name: a, log: x, expect: none}]}\n",
		detection + "own_key: 1\n",
	} {
		if err := validate(r, good); err != nil {
			t.Errorf("%q is not valid: %v", good, err)
		}
	}
	for _, bad := range []string{
		"logsource: {}\ndetection: {s: {url.path: /x}, condition: s}\n",
		"title: ''\ndetection: {s: {url.path: /x}, condition: s}\n",
		"title: x\n",
		detection + "filter: {rules: [a], s: {url.path: x}, condition: s}\n",
		detection + "level: severe\n",
		detection + "status: new\n",
		detection + "tags: {a: b}\n",
		detection + "gatewatch: {famly: x}\n",
		detection + "gatewatch: {family: ''}\n",
		detection + "gatewatch: {resolve_after: 30 minutes}\n",
		detection + "gatewatch: {tests: {a: b}}\n",
		detection + "gatewatch: {tests: [{name: a, log: x}]}\n",
		detection + "gatewatch: {tests: [{name: a, log: x, expect: all}]}\n",
		strings.Replace(detection, "webserver", "process_creation", 1),
		"title: x\nlogsource: {product: windows}\ndetection: {s: {url.path: /x}, condition: s}\n",
		head + "detection: {s: {url.path: /x}}\n",
		head + "detection: {condition: s}\n",
		head + "detection: [a]\n",
		head + "detection: {s: {cs-uri-qurey: /x}, condition: s}\n",
		head + "detection: {s: {cs-cookie: x}, condition: s}\n",
		head + "detection: {s: {url.Path: /x}, condition: s}\n",
		head + "detection: {s: {url.path|contians: /x}, condition: s}\n",
		head + "detection: {s: {url.path|: /x}, condition: s}\n",
		head + "detection: {s: {url.path: {a: b}}, condition: s}\n",
		head + "detection: {s: {url.path: []}, condition: s}\n",
		head + "detection: {s: {url.path: [[a]]}, condition: s}\n",
		head + "detection: {s: {}, condition: s}\n",
		head + "detection: {s: [], condition: s}\n",
		head + "detection: {s: [[a]], condition: s}\n",
		head + "detection: {s: null, condition: s}\n",
		head + "detection: {s: {sc-status: ok}, condition: s}\n",
		head + "detection: {s: {sc-status|gte: many}, condition: s}\n",
		head + "detection: {s: {url.path|exists: maybe}, condition: s}\n",
		head + "detection: {s: {url.path: /x}, timeframe: 5m, condition: s}\n",
		head + "detection: {s: {url.path: /x}, condition: {a: b}}\n",
		"title: x\nfilter: {s: {c-ip: 10.0.0.1}, condition: not s}\n",
		strings.Replace(counted, "event_count", "event_cuont", 1),
		strings.Replace(counted, "rules: [a]", "rules: []", 1),
		strings.Replace(counted, "rules: [a], ", "", 1),
		strings.Replace(counted, "group-by", "groupby", 1),
		strings.Replace(counted, "5m", "5 m", 1),
		strings.Replace(counted, ", timespan: 5m", "", 1),
		strings.Replace(counted, ", condition: {gte: 3}", "", 1),
		strings.Replace(counted, "gte: 3", "gte: many", 1),
		strings.Replace(counted, "gte: 3", "", 1),
		strings.Replace(counted, "gte: 3", "ge: 3", 1),
		strings.Replace(counted, "gte: 3", "field: a, gte: 3", 1),
		strings.Replace(counted, "event_count", "value_count", 1),
		strings.Replace(counted, "event_count", "rate_anomaly", 1),
		strings.Replace(counted, "gte: 3", "gte: 3}, aliases: {a: b", 1),
		strings.Replace(counted, "gte: 3", "gte: 3}, generate: {", 1),
		"title: x\ncorrelation: {type: id_walk, rules: [a], timespan: 5m, condition: {gte: 3, order: up}}\n",
		"title: x\ncorrelation: {type: temporal, rules: [a, b], timespan: 5m, condition: {field: c-ip}}\n",
	} {
		set, problems := sigma.Parse([]sigma.Document{{File: "x.yml", Data: []byte(bad)}})
		if len(problems) == 0 && len(set.Rules()) > 0 && !strings.Contains(bad, "tests: [") {
			t.Errorf("the parser has nothing against %q", bad)
		}
		if validate(r, bad) == nil {
			t.Errorf("%q is valid", bad)
		}
	}
}

func validate(r *jsonschema.Resolved, text string) error {
	roots, problems := sigma.Trees(sigma.Document{File: "x.yml", Data: []byte(text)})
	if len(problems) > 0 {
		return problems[0]
	}
	return r.Validate(instance(roots[0]))
}

// TestFieldNames: the schema takes the names that the parser takes, however
// they are spelled.
func TestFieldNames(t *testing.T) {
	w := sigma.Words()
	re := regexp.MustCompile("^" + rules{w}.fieldPattern() + "$")
	r := rand.New(rand.NewPCG(1, 2))
	check := func(name string) {
		t.Helper()
		_, _, known := sigma.LookupField(name, r.IntN(2) == 0)
		if re.MatchString(name) != known {
			t.Errorf("%q: the parser knows it: %v", name, known)
		}
	}
	known := 0
	for range 20_000 {
		var b strings.Builder
		name := w.Spelled[r.IntN(len(w.Spelled))]
		for i, c := range name {
			switch r.IntN(12) {
			case 0:
				b.WriteString(strings.ToUpper(string(c)))
			case 1:
				b.WriteByte("-_() "[r.IntN(5)])
				b.WriteRune(c)
			case 2:
				if r.IntN(10) == 0 && i > 0 {
					continue
				}
				b.WriteRune(c)
			default:
				b.WriteRune(c)
			}
		}
		name = strings.Trim(b.String(), " ")
		if re.MatchString(name) {
			known++
		}
		check(name)
	}
	for _, f := range append(w.Fields, w.Usual...) {
		check(f.Name)
		check(strings.ToUpper(f.Name))
		check(f.Name + "x")
	}
	for _, name := range []string{"cs-cookie", "dst_ip", "", "url", "url-path", "EventID"} {
		check(name)
	}
	if known < 5000 {
		t.Errorf("only %d names are known", known)
	}
}

// TestTests: the built-in tests are valid, and mistakes are not.
func TestTests(t *testing.T) {
	r := resolved(t, Tests)
	files, err := fs.Glob(builtin.FS(), "*/*.test.yml")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d test files: %v", len(files), err)
	}
	for _, name := range files {
		data, err := fs.ReadFile(builtin.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(r, string(data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	const good = "tests: [{name: a, log: x, repeat: {times: 3, every: 1s}, start: 2026-11-23T10:00:00Z, expect: [{rule: R, count: 3, group: {client.address: 203.0.113.7}}]}]"
	if err := validate(r, good); err != nil {
		t.Errorf("%s: %v", good, err)
	}
	for _, c := range [][2]string{
		{"tests:", "test:"},
		{"name: a, ", ""},
		{"log: x, ", ""},
		{"log: x", "log: x, parts: [{log: y}]"},
		{"times: 3, ", ""},
		{"times:", "time:"},
		{"2026-11-23T10:00:00Z", "yesterday"},
		{"rule: R", "title: R"},
		{"count: 3", "count: many"},
		{"client.address", "client.adress"},
		{"[{rule: R, count: 3, group: {client.address: 203.0.113.7}}]", "[]"},
		{"[{rule: R, count: 3, group: {client.address: 203.0.113.7}}]", "[{}]"},
	} {
		if bad := strings.Replace(good, c[0], c[1], 1); validate(r, bad) == nil {
			t.Errorf("%s is valid", bad)
		}
	}
}

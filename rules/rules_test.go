package rules_test

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"gatewatch/rules"
)

// Each rule file has its tests beside it, and each document of a rule file
// carries what people need to judge an incident: this keeps it so.
func TestDocuments(t *testing.T) {
	files, err := fs.Glob(rules.FS(), "*/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range files {
		names[f] = true
	}
	ids, checked := map[string]string{}, 0
	for _, f := range files {
		if stem, ok := strings.CutSuffix(f, ".test.yml"); ok {
			if rule := stem + ".yml"; !names[rule] {
				t.Errorf("%s: there is no %s beside it", f, path.Base(rule))
			}
			continue
		}
		checked++
		if test := strings.TrimSuffix(f, ".yml") + ".test.yml"; !names[test] {
			t.Errorf("%s: there is no %s beside it", f, path.Base(test))
		}
		for _, d := range decode(t, f) {
			where := f + ": " + d.Title
			if d.ID == "" || d.Title == "" || d.Description == "" || d.Author == "" || d.Date == "" || d.Level == "" {
				t.Errorf("%s: id, title, description, author, date or level is missing", where)
			}
			if other, twice := ids[d.ID]; twice {
				t.Errorf("%s: has the id of %s", where, other)
			}
			ids[d.ID] = where
			if len(d.Tags) == 0 {
				t.Errorf("%s: has no tags", where)
			}
			if d.Level != "informational" && (len(d.FalsePositives) == 0 || len(d.References) == 0) {
				t.Errorf("%s: has no falsepositives or no references", where)
			}
			switch d.Gatewatch.Family {
			case "credential", "web-attack", "object-access", "traffic":
			default:
				t.Errorf("%s: unknown family %q", where, d.Gatewatch.Family)
			}
		}
	}
	if checked < 15 {
		t.Errorf("checked %d rule files, want at least 15", checked)
	}
}

type document struct {
	ID             string
	Title          string
	Description    string
	Author         string
	Date           string
	Level          string
	Tags           []string
	References     []string
	FalsePositives []string `yaml:"falsepositives"`
	Gatewatch      struct{ Family string }
}

func decode(t *testing.T, name string) []document {
	t.Helper()
	f, err := rules.FS().Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var docs []document
	dec := yaml.NewDecoder(f)
	for {
		var d document
		if err := dec.Decode(&d); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			t.Fatalf("%s: %v", name, err)
		}
		docs = append(docs, d)
	}
	if len(docs) == 0 {
		t.Errorf("%s: holds no document", name)
	}
	return docs
}

// TestProbesHaveSources: each probe of a product names the product and where it
// is written down.
func TestProbesHaveSources(t *testing.T) {
	source := regexp.MustCompile(`^# ([^:]{3,}): .*(?:CVE-(?:1999|20[0-3][0-9])-[0-9]{4,}|VMSA-[0-9]{4}-[0-9]{4}|https://)`)
	for file, want := range map[string]int{"scanner/exploit-paths.yml": 100, "scanner/product-fingerprints.yml": 80} {
		text, err := fs.ReadFile(rules.FS(), file)
		if err != nil {
			t.Fatal(err)
		}
		comment, list, probes := "", "", 0
		for n, line := range strings.Split(string(text), "\n") {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "# "):
				comment = line
			case strings.HasSuffix(line, ":") && !strings.HasPrefix(line, "-"):
				list = strings.TrimSuffix(line, ":")
			case list == "url.original|contains" || list == "url.path|contains":
				if !strings.HasPrefix(line, "- '") {
					continue
				}
				probes++
				if !source.MatchString(comment) {
					t.Errorf("%s:%d: %s has no source above it but %q", file, n+1, line, comment)
				}
			}
		}
		if probes < want {
			t.Errorf("%s: %d probes, want at least %d", file, probes, want)
		}
	}
}

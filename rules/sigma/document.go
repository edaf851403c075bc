package sigma

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"gatewatch/detectors/observation"
)

// Document is one YAML file. It may hold several documents.
type Document struct {
	File string
	Data []byte
	// Node is read in the place of Data where it is set: a document, or a list
	// of them, that stands in a file of another kind, such as filters in the
	// configuration. Problems have the node's places in that file.
	Node *yaml.Node
	// Only refuses documents of any other kind, where it is set.
	Only DocumentKind
}

// roots returns the trees of the documents.
func (d *Document) roots(p *problems) []*yaml.Node {
	if d.Node == nil {
		return yamlDocs(d.File, d.Data, p)
	}
	budget := maxNodes
	root, ok := unalias(d.File, d.Node, 0, &budget, p)
	switch {
	case !ok || root == nil || isNull(root):
		return nil
	case root.Kind == yaml.SequenceNode:
		return root.Content
	default:
		return []*yaml.Node{root}
	}
}

// ReadFS reads all rule files (*.yml, *.yaml) under root in the order of
// their names. Tests of rules (*.test.yml, *.test.yaml) are left out. A root
// that is a file is read whatever its name.
func ReadFS(fsys fs.FS, root string) ([]Document, error) {
	var docs []Document
	err := fs.WalkDir(fsys, root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return nil
		}
		ext := path.Ext(name)
		if name != root && (ext != ".yml" && ext != ".yaml" || strings.HasSuffix(strings.TrimSuffix(name, ext), ".test")) {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		docs = append(docs, Document{File: name, Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rules under %s: %w", root, err)
	}
	slices.SortStableFunc(docs, func(a, b Document) int { return cmp.Compare(a.File, b.File) })
	return docs, nil
}

// DocumentKind is what a document describes.
type DocumentKind uint8

// The kinds of documents.
const (
	Detection DocumentKind = iota + 1
	Correlation
	Filter
)

// String returns the word used in output.
func (k DocumentKind) String() string {
	return [...]string{"", "detection", "correlation", "filter"}[k]
}

// Rule is one parsed document. It is not changed after Parse.
type Rule struct {
	Kind           DocumentKind
	ID             string // the document's id, else its name, else its title
	Name           string
	Title          string
	Description    string
	Author         string
	Status         string
	Level          observation.Level
	Tags           []string
	References     []string
	FalsePositives []string
	Family         string        // gatewatch.family, else the ID
	ResolveAfter   time.Duration // gatewatch.resolve_after, else 0
	Shadow         bool          // evaluated and counted, told to nobody: status experimental, or tuned so
	File           string
	Line           int

	uuid  string // as written, "" without
	where place
	logs  logsource
	cond  *node            // detections and filters
	corr  *correlationSpec // correlations
	only  *filterSpec      // filters
	guard guardSpec        // correlations; corr has it too once it is checked
	order int              // place in the set
}

// Set is a parsed rule set. It is not changed after Parse.
type Set struct {
	rules  []*Rule
	byName map[string]*Rule // ids and names
	lost   map[string]place // ids and names of refused documents
}

// Rules returns all documents that load, in the order of files and places.
func (s *Set) Rules() []*Rule { return s.rules }

// Parse reads documents and checks everything that can be checked without
// the configuration. What is refused is left out of the set; the rest loads.
// Problems come in the order of files and places.
func Parse(docs []Document) (*Set, []Problem) {
	s := &Set{byName: map[string]*Rule{}, lost: map[string]place{}}
	var all []Problem
	for _, doc := range docs {
		file := &problems{}
		for _, root := range doc.roots(file) {
			p := &problems{}
			r := parseDocument(doc.File, root, p)
			if r != nil && doc.Only != 0 && r.Kind != doc.Only {
				p.refuse(r.where, r.ID, fmt.Sprintf("write a %s, or put it into a file of rules", doc.Only), "only a %s can stand here, %q is a %s", doc.Only, r.ID, r.Kind)
				r = nil
			}
			if r != nil {
				s.enter(r, p)
			} else if root.Kind == yaml.MappingNode {
				for _, key := range []string{"id", "name"} {
					if n := get(root, key); n != nil && n.Kind == yaml.ScalarNode {
						s.lost[n.Value] = at(doc.File, root)
					}
				}
			}
			all = append(all, p.list...)
		}
		all = append(all, file.list...)
	}
	all = append(all, s.link()...)
	sortProblems(all)
	return s, all
}

// enter adds a document under its id and name, which nothing else may have.
func (s *Set) enter(r *Rule, p *problems) {
	for _, key := range []string{r.ID, r.Name} {
		if key == "" {
			continue
		}
		if o := s.byName[key]; o != nil && o != r {
			p.refuse(r.where, key, "give one of them another id", "%q is already the id or name of the document at %s:%d", key, o.File, o.Line)
			for _, k := range []string{r.ID, r.Name} {
				if s.byName[k] == r {
					delete(s.byName, k)
				}
			}
			return
		}
		s.byName[key] = r
	}
	r.order = len(s.rules)
	s.rules = append(s.rules, r)
}

// knownKeys are the top-level keys of Sigma's three document kinds and ours.
func knownKeys() []string {
	return []string{
		"title", "id", "name", "related", "taxonomy", "status", "description", "license", "author", "references", "date",
		"modified", "logsource", "detection", "correlation", "filter", "fields", "falsepositives", "level", "tags",
		"scope", "generate", "gatewatch", "simulation", "regression_tests_path",
	}
}

// parseDocument reads one document, or returns nil after reporting why not.
func parseDocument(file string, root *yaml.Node, p *problems) *Rule {
	if isNull(root) {
		return nil // an empty document between two separators
	}
	if root.Kind != yaml.MappingNode {
		p.refuse(at(file, root), root.Value, "begin with title:", "a rule document must be a map, this is %s", kindName(root))
		return nil
	}
	r := &Rule{File: file, Line: max(root.Line, 1), where: at(file, root), Level: observation.Medium}
	if n := get(root, "action"); n != nil {
		p.refuse(at(file, n), n.Value, "write each rule out in full, separated by ---", "action: documents are no longer part of Sigma")
		return nil
	}
	r.header(file, root, p)
	var body []string
	for _, kv := range pairs(root) {
		switch key := kv.key.Value; key {
		case "detection":
			r.Kind = Detection
			body = append(body, key)
		case "correlation":
			r.Kind = Correlation
			body = append(body, key)
		case "filter":
			r.Kind = Filter
			body = append(body, key)
		default:
			if !slices.Contains(knownKeys(), key) {
				p.warn(at(file, kv.key), key, didYouMean(key, knownKeys(), "gatewatch ignores it; its own settings stand under gatewatch:"), "unknown key %q", key)
			}
		}
	}
	if len(body) != 1 {
		hint := "write exactly one of them"
		if len(body) == 0 {
			hint = "add a detection"
		}
		p.refuse(r.where, strings.Join(body, ", "), hint, "a document has one of detection, correlation and filter, this one has %d", len(body))
		return nil
	}
	switch r.Kind {
	case Detection:
		if tax := r.source(file, root, p); tax != 0 {
			r.cond = parseDetection(file, get(root, "detection"), tax, "", p)
		}
	case Correlation:
		r.corr = parseCorrelation(file, root, get(root, "correlation"), p)
	case Filter:
		if tax := r.source(file, root, p); tax != 0 {
			r.filter(file, get(root, "filter"), tax, p)
		}
	}
	r.checkGuard(p)
	if p.refused {
		return nil
	}
	return r
}

// Package schema describes rule files and their tests as JSON Schemas, so that
// editors complete and check them while they are written. The schemas are made
// of the tables that the parser reads with; `gatewatch rules schema` prints
// them, and rules/sigma.schema.json and rules/tests.schema.json are what it
// prints. docs/rule-lint.md says how editors use them.
//
// A schema sees one document. It knows no other rules, reads no conditions and
// compiles no expressions: what it lets pass may still be refused. What loads
// it lets pass, but for a status that Sigma does not know.
package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"gatewatch/rules/sigma"
)

// Version is the draft that the schemas are written in: the newest one that
// all YAML editors know.
const Version = "http://json-schema.org/draft-07/schema#"

// object is a schema of a map that has only the given keys.
type object struct {
	required []string
	keys     []key
	extra    *jsonschema.Schema // of other keys; nil forbids them
	patterns map[string]*jsonschema.Schema
	about    string
}

// key is a key of a map with what editors show of it.
type key struct {
	name  string
	about string
	value *jsonschema.Schema
}

func (o object) schema() *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type: "object", Description: o.about, Required: o.required, Properties: map[string]*jsonschema.Schema{},
		PatternProperties: o.patterns, AdditionalProperties: o.extra,
	}
	if o.extra == nil {
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	}
	for _, k := range o.keys {
		s.Properties[k.name] = described(k.value, k.about)
		s.PropertyOrder = append(s.PropertyOrder, k.name)
	}
	return s
}

// described returns the schema with a description. A reference has to be
// wrapped: beside it nothing else counts.
func described(s *jsonschema.Schema, about string) *jsonschema.Schema {
	if about == "" {
		return s
	}
	if s.Ref != "" {
		return &jsonschema.Schema{Description: about, AllOf: []*jsonschema.Schema{s}}
	}
	s.Description = about
	return s
}

func ref(name string) *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/definitions/" + name} }

func types(names ...string) *jsonschema.Schema {
	if len(names) == 1 {
		return &jsonschema.Schema{Type: names[0]}
	}
	return &jsonschema.Schema{Types: names}
}

// text is one value that is not empty.
func text() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", MinLength: new(1)}
}

func pattern(p string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: p} }

func enum(words []string) *jsonschema.Schema {
	s := &jsonschema.Schema{}
	for _, w := range words {
		s.Enum = append(s.Enum, w)
	}
	return s
}

func listOf(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: s, MinItems: new(1)}
}

// oneOrMore is a value or a list of such.
func oneOrMore(s *jsonschema.Schema) *jsonschema.Schema {
	return when(types("array"), listOf(s), s)
}

// when says what holds of a value by its type: editors then tell what is wrong
// with it, and not that it is none of several things.
func when(is, then, otherwise *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{If: is, Then: then, Else: otherwise}
}

// number is a number, also one in quotes.
func number() *jsonschema.Schema {
	return when(types("string"), pattern(`^-?[0-9]+(\.[0-9]+)?$`), types("number"))
}

func yesOrNo() *jsonschema.Schema {
	return when(types("string"), pattern("^(?:[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$"), types("boolean"))
}

const spanPattern = "^[0-9]{1,9}[smhd]$"

// Rules returns the schema of a rule document: a detection, a correlation or a
// filter.
func Rules() ([]byte, error) {
	w := sigma.Words()
	r := rules{w}
	s := r.document()
	s.Schema, s.Title = Version, "Sigma rule for gatewatch"
	s.Definitions = map[string]*jsonschema.Schema{
		"scalar":      types("string", "number", "boolean"),
		"value":       r.value(),
		"numbers":     oneOrMore(when(types("string"), pattern(`^(?:-?[0-9]+|.*[*?%].*)$`), types("number", "null"))),
		"selection":   r.selection(),
		"fields":      r.fields(),
		"detection":   r.detection(),
		"condition":   oneOrMore(text()),
		"correlation": r.correlation(),
		"filter":      r.filter(),
		"case":        testCase(),
		"part":        testPart(),
		"incident":    testIncident(w),
		"repeat":      testRepeat(),
	}
	return encode(s)
}

// Tests returns the schema of a test file.
func Tests() ([]byte, error) {
	s := object{required: []string{"tests"}, keys: []key{{"tests", "The cases; each rule wants one that fires, a near miss and a benign one.", listOf(ref("case"))}}}.schema()
	s.Schema, s.Title = Version, "Tests of rules of gatewatch"
	s.Definitions = map[string]*jsonschema.Schema{
		"case": testCase(), "part": testPart(), "incident": testIncident(sigma.Words()), "repeat": testRepeat(),
	}
	return encode(s)
}

func encode(s *jsonschema.Schema) ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	var plain, out bytes.Buffer
	if err := json.Indent(&plain, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	// Nothing of it goes into a web page: < > & may stand as they are.
	for line := range strings.Lines(plain.String()) {
		out.WriteString(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(line))
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

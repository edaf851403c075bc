// Package openapitest holds answers against an OpenAPI document, for the tests
// of the server and of the program. It knows as much of OpenAPI and of JSON
// Schema as api/openapi.yaml uses, and fails where it meets more.
package openapitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
)

// Document is an OpenAPI document to hold answers against. Unlike clients it is
// strict: what an answer has and the document does not is a fault of the
// document. It may be used by many goroutines.
type Document struct {
	root map[string]any
	mu   sync.Mutex
	seen map[string]bool // "GET /path 200"
}

// New reads a document.
func New(text []byte) (*Document, error) {
	d := &Document{seen: map[string]bool{}}
	if err := yaml.Unmarshal(text, &d.root); err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if _, ok := d.root["paths"].(map[string]any); !ok {
		return nil, fmt.Errorf("the document has no paths")
	}
	return d, nil
}

// Operations returns what the document describes, by "GET /path".
func (d *Document) Operations() map[string]map[string]any {
	out := map[string]map[string]any{}
	for path, methods := range d.root["paths"].(map[string]any) {
		for method, op := range methods.(map[string]any) {
			out[strings.ToUpper(method)+" "+path] = op.(map[string]any)
		}
	}
	return out
}

// Schema returns one of components.schemas.
func (d *Document) Schema(name string) map[string]any {
	return d.Object(map[string]any{"$ref": "#/components/schemas/" + name})
}

// Unseen returns the described answers that Check never saw, as "GET /path 200".
func (d *Document) Unseen() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for name, op := range d.Operations() {
		for status := range op["responses"].(map[string]any) {
			if answer := name + " " + status; !d.seen[answer] {
				out = append(out, answer)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Object follows references.
func (d *Document) Object(v any) map[string]any {
	m, _ := v.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var at any = d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[part]
	}
	if at == nil {
		panic("the document refers to " + ref + ", which there is not")
	}
	return d.Object(at)
}

// operation finds what the document says of a request.
func (d *Document) operation(method, path string) (name string, op map[string]any) {
	want := strings.Split(path, "/")
	for template, methods := range d.root["paths"].(map[string]any) {
		parts := strings.Split(template, "/")
		fits := len(parts) == len(want)
		for i := 0; fits && i < len(parts); i++ {
			fits = parts[i] == want[i] || strings.HasPrefix(parts[i], "{") && want[i] != ""
		}
		if !fits {
			continue
		}
		if op, ok := methods.(map[string]any)[strings.ToLower(method)].(map[string]any); ok {
			return method + " " + template, op
		}
	}
	return "", nil
}

// Check holds one answer against the document. Paths and methods that it does
// not know have to be refused with its schema Error.
func (d *Document) Check(method, path string, status int, contentType string, body []byte) error {
	name, op := d.operation(method, path)
	schema := map[string]any{"$ref": "#/components/schemas/Error"}
	if op != nil {
		responses := op["responses"].(map[string]any)
		response := d.Object(responses[fmt.Sprint(status)])
		if response == nil {
			return fmt.Errorf("%s answers %d, which the document does not know", name, status)
		}
		d.mu.Lock()
		d.seen[fmt.Sprintf("%s %d", name, status)] = true
		d.mu.Unlock()
		kind, _, _ := strings.Cut(contentType, ";")
		media, ok := response["content"].(map[string]any)[kind].(map[string]any)
		if !ok {
			return fmt.Errorf("%s answers %d with %q, which the document does not know", name, status, kind)
		}
		schema = media["schema"].(map[string]any)
		if kind != "application/json" {
			return nil
		}
	} else if status != http.StatusNotFound && status != http.StatusMethodNotAllowed && status != http.StatusMisdirectedRequest {
		return fmt.Errorf("%s %s answers %d, and the document does not know it", method, path, status)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return fmt.Errorf("%s answers %d with what is no JSON: %w", name, status, err)
	}
	return d.Valid(fmt.Sprintf("%s %d", name, status), schema, v)
}

// Valid checks a value, decoded with numbers as json.Number, against a schema.
// at names it in errors.
func (d *Document) Valid(at string, schema, value any) error {
	s := d.Object(schema)
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...))
	}
	for key := range s {
		if !slices.Contains([]string{
			"type", "enum", "properties", "required", "items", "additionalProperties", "format", "minimum", "maximum", "minLength", "maxLength", "description",
		}, key) {
			return fault("the checker does not know the keyword %s", key)
		}
	}
	switch kind := s["type"]; kind {
	case "string":
		text, ok := value.(string)
		if !ok {
			return fault("want a string, got %v", value)
		}
		if list, ok := s["enum"].([]any); ok && !slices.Contains(list, any(text)) {
			return fault("%q is none of %v", text, list)
		}
		if n, ok := s["minLength"].(int); ok && len(text) < n {
			return fault("%q is too short", text)
		}
		if n, ok := s["maxLength"].(int); ok && len(text) > n {
			return fault("%d bytes are too long", len(text))
		}
		if s["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, text); err != nil {
				return fault("%q is no time", text)
			}
		}
	case "boolean":
		if _, ok := value.(bool); !ok {
			return fault("want true or false, got %v", value)
		}
	case "integer":
		number, ok := value.(json.Number)
		if !ok {
			return fault("want a number, got %v", value)
		}
		n, err := number.Int64()
		if err != nil {
			return fault("%s is no whole number", number)
		}
		if least, ok := s["minimum"].(int); ok && n < int64(least) {
			return fault("%d is less than %d", n, least)
		}
	case "number":
		number, ok := value.(json.Number)
		if !ok {
			return fault("want a number, got %v", value)
		}
		n, err := number.Float64()
		if err != nil {
			return fault("%s is no number", number)
		}
		if least, ok := s["minimum"].(int); ok && n < float64(least) {
			return fault("%v is less than %d", n, least)
		}
	case "array":
		list, ok := value.([]any)
		if !ok {
			return fault("want a list, got %v", value)
		}
		for i, x := range list {
			if err := d.Valid(fmt.Sprintf("%s[%d]", at, i), s["items"], x); err != nil {
				return err
			}
		}
	case "object":
		return d.validObject(at, s, value)
	default:
		return fault("the checker does not know the type %v", kind)
	}
	return nil
}

func (d *Document) validObject(at string, s map[string]any, value any) error {
	m, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: want an object, got %v", at, value)
	}
	if list, ok := s["required"].([]any); ok {
		for _, name := range list {
			if _, ok := m[name.(string)]; !ok {
				return fmt.Errorf("%s: it has no %s", at, name)
			}
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		schema, known := properties[name]
		if !known {
			if schema, known = s["additionalProperties"].(map[string]any); !known {
				return fmt.Errorf("%s: the document knows no %s", at, name)
			}
		}
		if err := d.Valid(at+"."+name, schema, m[name]); err != nil {
			return err
		}
	}
	return nil
}

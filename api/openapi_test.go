package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewatch/alerting"

	"go.yaml.in/yaml/v4"
)

// document is openapi.yaml as the tests check answers against it. Unlike
// clients it is strict: what an answer has and the document does not is a
// fault of the document.
type document struct {
	root map[string]any
	mu   sync.Mutex
	seen map[string]bool // "GET /path 200"
}

func newDocument() *document {
	d := &document{seen: map[string]bool{}}
	if err := yaml.Unmarshal(openAPI, &d.root); err != nil {
		panic(err) // every test of the package would fail
	}
	return d
}

// object follows references.
func (d *document) object(v any) map[string]any {
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
	return d.object(at)
}

// operation finds what the document says of a request.
func (d *document) operation(method, path string) (name string, op map[string]any) {
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

// check holds one answer against the document.
func (d *document) check(method, path string, status int, contentType string, body []byte) error {
	name, op := d.operation(method, path)
	schema := map[string]any{"$ref": "#/components/schemas/Error"}
	if op != nil {
		responses := op["responses"].(map[string]any)
		response := d.object(responses[fmt.Sprint(status)])
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
	return d.valid(fmt.Sprintf("%s %d", name, status), schema, v)
}

// valid checks a value against a schema, of which it knows what we use.
func (d *document) valid(at string, schema, value any) error {
	s := d.object(schema)
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
	case "array":
		list, ok := value.([]any)
		if !ok {
			return fault("want a list, got %v", value)
		}
		for i, x := range list {
			if err := d.valid(fmt.Sprintf("%s[%d]", at, i), s["items"], x); err != nil {
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

func (d *document) validObject(at string, s map[string]any, value any) error {
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
		if err := d.valid(at+"."+name, schema, m[name]); err != nil {
			return err
		}
	}
	return nil
}

// TestDocumentAndRoutesAgree: what is described is served, and the other way
// around.
func TestDocumentAndRoutesAgree(t *testing.T) {
	d := newDocument()
	var served, described []string
	for _, r := range new(handler).routes(http.NotFoundHandler()) {
		served = append(served, r.method+" "+r.path)
		_, op := d.operation(r.method, r.path)
		if op == nil {
			continue
		}
		if open := fmt.Sprint(op["security"]) == "[]"; open != (r.access == accessOpen) {
			t.Errorf("%s %s: the document and the server do not agree on who may ask", r.method, r.path)
		}
		responses := op["responses"].(map[string]any)
		if _, ok := responses["401"]; ok != (r.access != accessOpen) {
			t.Errorf("%s %s: 401 is described %t", r.method, r.path, ok)
		}
		if _, ok := responses["403"]; r.access == accessChange && !ok {
			t.Errorf("%s %s: 403 is not described", r.method, r.path)
		}
	}
	for path, methods := range d.root["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if strings.Join(served, "\n") != strings.Join(described, "\n") {
		t.Errorf("served:\n%s\ndescribed:\n%s", strings.Join(served, "\n"), strings.Join(described, "\n"))
	}
}

// TestDocumentAndTypesAgree: each field of a type is in its schema, each
// property in the type, and what is never left out is required.
func TestDocumentAndTypesAgree(t *testing.T) {
	d := newDocument()
	schemas := d.root["components"].(map[string]any)["schemas"].(map[string]any)
	f := func(name string, v any) {
		t.Helper()
		d.agree(t, name, d.object(schemas[name]), reflect.TypeOf(v))
	}
	f("Incident", alerting.Incident{})
	f("Silence", alerting.Silence{})
	f("Status", Status{})
	f("SilenceRequest", SilenceRequest{})
	f("ActionRequest", ActionRequest{})
	f("SilenceList", SilenceList{})
	f("IncidentList", IncidentList{})
	f("Error", Error{})
}

func (d *document) agree(t *testing.T, at string, schema map[string]any, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice {
			schema = d.object(schema["items"])
		}
		typ = typ.Elem()
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok || typ.Kind() != reflect.Struct {
		return
	}
	var fields, known []string
	required, _ := schema["required"].([]any)
	for field := range typ.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, name)
		if slices.Contains(required, any(name)) && options == "omitempty" {
			t.Errorf("%s.%s is required and may be left out", at, name)
		}
		if p, ok := properties[name]; ok {
			d.agree(t, at+"."+name, d.object(p), field.Type)
		}
	}
	for name := range properties {
		known = append(known, name)
	}
	slices.Sort(fields)
	slices.Sort(known)
	if !slices.Equal(fields, known) {
		t.Errorf("%s: openapi.yaml has %v, the type has %v", at, known, fields)
	}
}

// TestTheCheckerSeesFaults: a checker that takes everything would prove
// nothing.
func TestTheCheckerSeesFaults(t *testing.T) {
	d := newDocument()
	f := func(body, want string) {
		t.Helper()
		err := d.check("GET", "/readyz", 200, "application/json", []byte(body))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", body, want, err)
		}
	}
	f(`{"ready":true}`, "it has no reasons")
	f(`{"ready":1,"reasons":[]}`, "want true or false")
	f(`{"ready":true,"reasons":[1]}`, "reasons[0]: want a string")
	f(`{"ready":true,"reasons":[],"more":1}`, "knows no more")
	f(`nonsense`, "no JSON")
	if err := d.check("GET", "/readyz", 418, "application/json", nil); err == nil {
		t.Error("want an unknown status seen")
	}
	if err := d.check("GET", "/readyz", 200, "text/html", nil); err == nil {
		t.Error("want an unknown type of content seen")
	}
	if err := d.check("GET", "/healthz", 200, "application/json", []byte(`{"status":"fine"}`)); err == nil {
		t.Error("want an unknown word seen")
	}
	if err := d.valid("x", map[string]any{"type": "string", "format": "date-time"}, "now"); err == nil {
		t.Error("want a bad time seen")
	}
}

package api

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gatewatch/alerting"
	"gatewatch/api/openapitest"
)

// newDocument reads our own document.
func newDocument() *openapitest.Document {
	d, err := openapitest.New(openAPI)
	if err != nil {
		panic(err) // every test of the package would fail
	}
	return d
}

// TestDocumentAndRoutesAgree: what is described is served, and the other way
// around.
func TestDocumentAndRoutesAgree(t *testing.T) {
	d := newDocument()
	var served, described []string
	for _, r := range new(handler).routes(http.NotFoundHandler()) {
		served = append(served, r.method+" "+r.path)
		op := d.Operations()[r.method+" "+r.path]
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
	for name := range d.Operations() {
		described = append(described, name)
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
	f := func(name string, v any) {
		t.Helper()
		agree(t, d, name, d.Schema(name), reflect.TypeOf(v))
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

func agree(t *testing.T, d *openapitest.Document, at string, schema map[string]any, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		if typ.Kind() == reflect.Slice {
			schema = d.Object(schema["items"])
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
			agree(t, d, at+"."+name, d.Object(p), field.Type)
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
		err := d.Check("GET", "/readyz", 200, "application/json", []byte(body))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", body, want, err)
		}
	}
	f(`{"ready":true}`, "it has no reasons")
	f(`{"ready":1,"reasons":[]}`, "want true or false")
	f(`{"ready":true,"reasons":[1]}`, "reasons[0]: want a string")
	f(`{"ready":true,"reasons":[],"more":1}`, "knows no more")
	f(`nonsense`, "no JSON")
	if err := d.Check("GET", "/readyz", 418, "application/json", nil); err == nil {
		t.Error("want an unknown status seen")
	}
	if err := d.Check("GET", "/readyz", 200, "text/html", nil); err == nil {
		t.Error("want an unknown type of content seen")
	}
	if err := d.Check("GET", "/healthz", 200, "application/json", []byte(`{"status":"fine"}`)); err == nil {
		t.Error("want an unknown word seen")
	}
	if err := d.Valid("x", map[string]any{"type": "string", "format": "date-time"}, "now"); err == nil {
		t.Error("want a bad time seen")
	}
}

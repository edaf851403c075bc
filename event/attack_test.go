package event

import (
	"slices"
	"strings"
	"testing"
)

func TestAttackClass(t *testing.T) {
	d, err := NewDeriver(DeriveOptions{Classify: func() func(*Event, []string) []string {
		return func(ev *Event, classes []string) []string {
			if strings.Contains(ev.Query, "'") {
				classes = append(classes, "sqli", "xss")
			}
			return classes
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	need := FieldSet(0).Add(FieldAttackClass)
	var ev Event
	for _, x := range []struct {
		query   string
		need    FieldSet
		status  int32
		classes string
		outcome string
	}{
		{"a=1", need, 200, "", ""},
		{"a='", need, 200, "sqli,xss", "served"},
		{"a='", need, 403, "sqli,xss", "blocked"},
		{"a='", need, 404, "sqli,xss", "missed"},
		{"a='", need, 502, "sqli,xss", "failed"},
		{"a='", need, 0, "sqli,xss", ""},
		{"a='", 0, 200, "", ""}, // nobody asks
		{"a='", FieldSet(0).Add(FieldAttackOutcome), 200, "sqli,xss", "served"},
	} {
		ev.Reset()
		ev.Query, ev.Status = x.query, x.status
		d.Derive(&ev, x.need)
		classes, _ := ev.Text(FieldAttackClass)
		outcome, has := ev.Text(FieldAttackOutcome)
		if classes != x.classes || outcome != x.outcome || has != (x.outcome != "") || !slices.Equal(ev.Texts(FieldAttackClass), strings.FieldsFunc(x.classes, func(r rune) bool { return r == ',' })) {
			t.Errorf("%+v: %q %q %v", x, classes, outcome, has)
		}
	}
	if !FieldAttackClass.List() || FieldPath.List() {
		t.Error("attack.class is the list")
	}
}

package ocsf

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/detectors/observation"
)

var update = flag.Bool("update", false, "write the golden files anew")

func contextOf(inc *alerting.Incident, cause alerting.Cause) Context {
	return Context{
		Key: fmt.Sprintf("%s/%d", inc.ID, inc.Revision), Cause: cause,
		Made: inc.LastSeen.Add(1500 * time.Millisecond), Version: "1.2.3",
	}
}

// samples are incidents of every kind.
func samples() map[string]Finding {
	out := map[string]Finding{}
	add := func(name string, cause alerting.Cause, change func(*alerting.Incident)) {
		inc := receivertest.Incident("203.0.113.7")
		inc.Evidence = inc.Evidence[:2]
		if change != nil {
			change(&inc)
		}
		out[name] = Of(&inc, contextOf(&inc, cause))
	}
	add("opened", alerting.CauseOpened, nil)
	add("resolved", alerting.CauseResolved, func(inc *alerting.Incident) {
		at := inc.LastSeen.Add(time.Hour)
		inc.State, inc.ResolvedAt, inc.Revision = alerting.StateResolved, &at, 7
		inc.FalsePositive = true
	})
	add("population", alerting.CauseGrew, func(inc *alerting.Incident) {
		inc.Subject, inc.Level, inc.Revision = "population", observation.Critical, 3
		inc.Group = map[string]string{"http.route": "POST /login"}
		inc.Sources = []string{"203.0.113.7", "2001:db8::1", "not an address"}
		inc.Children, inc.ChildrenTotal, inc.Parent = []string{"aaaaaaaaaaaaaaaa"}, 1, "bbbbbbbbbbbbbbbb"
		inc.State = alerting.StateAcknowledged
		inc.Acknowledged = &alerting.Action{By: "ann"}
		inc.Rule.Tags = []string{"attack.credential-access", "attack.initial_access", "attack.t1110.003", "attack.t12", "owasp.api2-2023"}
	})
	add("network", alerting.CauseSilenced, func(inc *alerting.Incident) {
		inc.Group = map[string]string{"client.address": "2001:db8:1:2::/64"}
		inc.State, inc.Level, inc.Revision = alerting.StateSilenced, observation.Low, 2
	})
	add("test", alerting.CauseTest, func(inc *alerting.Incident) { inc.Test, inc.Level = true, observation.Informational })
	return out
}

func TestGolden(t *testing.T) {
	for name, f := range samples() {
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(f, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("finding (-want +got), see -update:\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(samples()) {
		t.Errorf("%d golden files for %d samples, %v", len(files), len(samples()), err)
	}
}

// schema is what version 1.3.0 of the schema says of the objects that we write:
// for each attribute its type, with an exclamation mark where it is required.
// "object" is one of these, "[]" a list; json is anything.
func schema() map[string]map[string]string {
	return map[string]map[string]string{
		"detection_finding": {
			"activity_id": "int!", "activity_name": "string", "category_uid": "int!", "category_name": "string",
			"class_uid": "int!", "class_name": "string", "type_uid": "int!", "type_name": "string",
			"severity_id": "int!", "severity": "string", "status_id": "int", "status": "string", "status_detail": "string",
			"time": "int!", "start_time": "int", "end_time": "int", "count": "int", "message": "string",
			"metadata": "metadata!", "finding_info": "finding_info!", "evidences": "[]evidences", "observables": "[]observable",
			"unmapped": "json",
		},
		"metadata": {
			"version": "string!", "uid": "string", "correlation_uid": "string", "event_code": "string", "sequence": "int",
			"product": "product!",
		},
		"product": {"name": "string", "vendor_name": "string!", "version": "string"},
		"finding_info": {
			"uid": "string!", "title": "string!", "desc": "string", "types": "[]string", "created_time": "int", "modified_time": "int",
			"first_seen_time": "int", "last_seen_time": "int", "data_sources": "[]string", "analytic": "analytic",
			"related_analytics": "[]analytic", "attacks": "[]attack", "related_events": "[]related_event",
		},
		"analytic":      {"type_id": "int!", "type": "string", "uid": "string", "name": "string", "category": "string"},
		"attack":        {"tactic": "attack_ref", "technique": "attack_ref", "sub_technique": "attack_ref"},
		"attack_ref":    {"uid": "string", "name": "string"},
		"related_event": {"uid": "string!", "type_uid": "int", "type": "string"},
		"evidences":     {"data": "json", "src_endpoint": "endpoint", "actor": "actor"},
		"endpoint":      {"ip": "string"},
		"actor":         {"user": "user"},
		"user":          {"name": "string"},
		"observable":    {"name": "string!", "type_id": "int!", "type": "string", "value": "string"},
	}
}

// check reports where v is not of the type.
func check(at, kind string, v any) []string {
	kind = strings.TrimSuffix(kind, "!")
	wrong := func() []string { return []string{fmt.Sprintf("%s: want %s, got %v", at, kind, v)} }
	switch item, isList := strings.CutPrefix(kind, "[]"); {
	case isList:
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return wrong()
		}
		var out []string
		for i, e := range list {
			out = append(out, check(fmt.Sprintf("%s[%d]", at, i), item, e)...)
		}
		return out
	case kind == "json":
		return nil
	case kind == "int":
		if n, ok := v.(json.Number); !ok || strings.ContainsAny(n.String(), ".eE") {
			return wrong()
		}
		return nil
	case kind == "string":
		if _, ok := v.(string); !ok {
			return wrong()
		}
		return nil
	}
	object, ok := v.(map[string]any)
	if !ok || len(object) == 0 {
		return wrong()
	}
	var out []string
	attributes := schema()[kind]
	for name, value := range object {
		if attributes[name] == "" {
			out = append(out, fmt.Sprintf("%s.%s is no attribute of %s", at, name, kind))
			continue
		}
		out = append(out, check(at+"."+name, attributes[name], value)...)
	}
	for name, kind := range attributes {
		if _, there := object[name]; !there && strings.HasSuffix(kind, "!") {
			out = append(out, fmt.Sprintf("%s.%s is required", at, name))
		}
	}
	return out
}

func problems(t *testing.T, f Finding) []string {
	t.Helper()
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out := check("finding", "detection_finding", v)
	if f.TypeUID != f.ClassUID*100+f.ActivityID || f.CategoryUID != f.ClassUID/1000 {
		out = append(out, "ids do not fit together")
	}
	for name, at := range map[string]int64{"time": f.Time, "start_time": f.StartTime, "created_time": f.FindingInfo.CreatedTime} {
		if at < 1e12 || at > 1e13 {
			out = append(out, fmt.Sprintf("%s is %d, which are no milliseconds", name, at))
		}
	}
	slices.Sort(out)
	return out
}

func TestShape(t *testing.T) {
	for name, f := range samples() {
		if diff := cmp.Diff([]string(nil), problems(t, f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// The check itself finds what is wrong.
	bad := samples()["opened"]
	bad.FindingInfo.Attacks = []Attack{{}}
	bad.ActivityID = 9
	if got := problems(t, bad); len(got) != 2 {
		t.Errorf("want two problems, got %v", got)
	}
}

// TestHostile says that values change no structure, whatever they are.
func TestHostile(t *testing.T) {
	for _, p := range hostile.Payloads(t) {
		inc := receivertest.Hostile(p.Text)
		f := Of(&inc, contextOf(&inc, alerting.CauseOpened))
		if got := problems(t, f); len(got) != 0 {
			t.Errorf("%q: %v", p.Text, got)
		}
	}
}

func TestTags(t *testing.T) {
	for _, c := range []struct{ tag, want string }{
		{"attack.t1110", `[{"technique":{"uid":"T1110"}}]`},
		{"attack.T1110.003", `[{"technique":{"uid":"T1110"},"sub_technique":{"uid":"T1110.003"}}]`},
		{"attack.command-and-control", `[{"tactic":{"uid":"TA0011","name":"Command and Control"}}]`},
		{"attack.defense_evasion", `[{"tactic":{"uid":"TA0005","name":"Defense Evasion"}}]`},
		{"attack.t11", `null`},
		{"attack.t1110.3", `null`},
		{"attack.t1110.", `null`},
		{"attack.g0016", `null`},
		{"attack", `null`},
		{"owasp.api2-2023", `null`},
	} {
		got, err := json.Marshal(attacksOf([]string{c.tag}))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: want %s, got %s, %v", c.tag, c.want, got, err)
		}
	}
}

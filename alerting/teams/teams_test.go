package teams

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"gatewatch/alerting"
	"gatewatch/alerting/endpoint"
	"gatewatch/alerting/internal/hostile"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// check reads a message as Teams does: the schema of what we use of Adaptive
// Cards 1.5, and the size. It returns all texts.
func check(t *testing.T, body []byte) []string {
	t.Helper()
	if len(body) > 28<<10 {
		t.Errorf("%d bytes are more than Teams takes", len(body))
	}
	var m struct {
		Type        string
		Attachments []struct {
			ContentType string
			Content     map[string]any
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	if m.Type != "message" || len(m.Attachments) != 1 || m.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" {
		t.Fatalf("no card: %.300s", body)
	}
	c := m.Attachments[0].Content
	if c["type"] != "AdaptiveCard" || c["version"] != "1.5" {
		t.Errorf("card %v %v", c["type"], c["version"])
	}
	allowed := map[string][]string{
		"Container":     {"style", "bleed", "items"},
		"RichTextBlock": {"inlines"},
		"TextRun":       {"text", "weight", "size", "isSubtle", "fontType"},
		"Table":         {"showGridLines", "firstRowAsHeader", "rows", "columns"},
		"TableRow":      {"cells"},
		"TableCell":     {"items"},
	}
	var texts []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			kind, _ := v["type"].(string)
			for k, e := range v {
				if kind != "" && k != "type" && !slices.Contains(allowed[kind], k) {
					t.Errorf("%s has %s", kind, k)
				}
				walk(e)
			}
			if kind == "TextRun" {
				texts = append(texts, v["text"].(string))
			}
		}
	}
	walk(c["body"])
	return texts
}

func TestCard(t *testing.T) {
	inc := receivertest.Incident("203.0.113.7")
	body, err := message(&inc, alerting.CauseOpened)
	if err != nil {
		t.Fatal(err)
	}
	check(t, body)
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	pretty, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/card.json"
	if *update {
		if err := os.WriteFile(golden, append(pretty, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(pretty)+"\n"); diff != "" {
		t.Errorf("card (-want +got):\n%s", diff)
	}
}

func TestStyles(t *testing.T) {
	inc := receivertest.Incident("x")
	var got []string
	for _, l := range []observation.Level{observation.Low, observation.Medium, observation.High, observation.Critical} {
		inc.Level = l
		got = append(got, style(&inc))
	}
	inc.State = alerting.StateResolved
	got = append(got, style(&inc))
	if diff := cmp.Diff([]string{"accent", "warning", "attention", "attention", "good"}, got); diff != "" {
		t.Errorf("styles (-want +got):\n%s", diff)
	}
}

func TestDigest(t *testing.T) {
	inc := alerting.Incident{ID: "d", Rule: alerting.RuleRef{Title: "120 incidents"}, Level: observation.High, State: alerting.StateOpen}
	for i := range 120 {
		inc.Digest = append(inc.Digest, alerting.DigestEntry{
			ID: fmt.Sprint(i), Title: "Flood of failed logins", Level: observation.High, State: alerting.StateOpen,
			Group: map[string]string{"client.address": fmt.Sprintf("192.0.2.%d", i)}, Count: int64(i),
		})
	}
	body, err := message(&inc, alerting.CauseDigest)
	if err != nil {
		t.Fatal(err)
	}
	texts := check(t, body)
	if !slices.Contains(texts, "HIGH: Flood of failed logins: 192.0.2.7 ") || !slices.Contains(texts, "and 81 more") {
		t.Errorf("got %q", texts)
	}
}

func TestHostile(t *testing.T) {
	for _, p := range hostile.Payloads(t) {
		inc := receivertest.Hostile(p.Text)
		payload := receivertest.Note(t, inc, alerting.CauseGrew).Payload
		if err := json.Unmarshal(payload, &inc); err != nil {
			t.Fatal(err)
		}
		body, err := message(&inc, alerting.CauseGrew)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range check(t, body) {
			for _, r := range text {
				if !unicode.IsPrint(r) || unicode.In(r, unicode.Mn, unicode.Me) {
					t.Errorf("%.100q came as %.200q", p.Text, text)
					break
				}
			}
			if len(text) > maxEvidence || !utf8.ValidString(text) {
				t.Errorf("%.100q came as %d bytes", p.Text, len(text))
			}
		}
	}
}

func TestTrouble(t *testing.T) {
	receivertest.HTTP(t, func(t testing.TB, address, caFile string) alerting.Receiver {
		r, err := New(Config{
			Name: "team", URL: alerting.Secret(address + "/workflows/0123456789abcdef/triggers/manual/paths/invoke?sig=s1gnature-of-the-workflow"),
			Timeout: receivertest.Timeout, TLS: endpoint.TLS{CAFile: caFile},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		check(t, b)
		w.WriteHeader(http.StatusAccepted)
	}, "0123456789abcdef", "s1gnature-of-the-workflow")
}

func TestRefusalIsExplained(t *testing.T) {
	s := receivertest.Server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":{"code":"DirectApiAuthorizationRequired","message":"The request must be authenticated only by Shared Access scheme."}}`)
	})
	r, err := New(Config{Name: "team", URL: alerting.Secret(s.URL)})
	if err != nil {
		t.Fatal(err)
	}
	res := r.Notify(t.Context(), receivertest.Note(t, receivertest.Incident("x"), alerting.CauseOpened))
	if res.Retry || res.Err == nil || !strings.Contains(res.Err.Error(), "DirectApiAuthorizationRequired: The request must be") {
		t.Errorf("got %+v", res)
	}
}

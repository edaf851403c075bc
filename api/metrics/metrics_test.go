package metrics

import (
	"context"
	"errors"
	"flag"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/api"
	"gatewatch/detectors/observation"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
)

var update = flag.Bool("update", false, "write the golden file")

type backend struct {
	status    api.Status
	incidents []*alerting.Incident
	counts    alerting.Counts
	err       error
}

func (b *backend) Status() api.Status                                      { return b.status }
func (b *backend) Incidents(context.Context) ([]*alerting.Incident, error) { return b.incidents, b.err }
func (b *backend) Counts() alerting.Counts                                 { return b.counts }

func full() *backend {
	at := time.Unix(1_700_000_000, 0)
	return &backend{
		status: api.Status{
			Version: "v1.2.3", StartedAt: at, Ready: true, MergedTime: &at,
			Sources: []api.Source{{
				Name: "/var/log/nginx/access.log", State: "idle", Offset: 4096, Clock: &at, Lines: 40,
				Formats: map[string]int64{"combined": 39}, Unreadable: map[string]int64{"unknown_shape": 2},
				Skipped: map[string]int64{"too_long": 1}, Late: 3, Behind: 4,
			}, {Name: "/logs/\xff.log", State: "reading"}, {Name: "kafka:access-logs/3", State: "idle", Offset: 70, Queue: true, Lag: &api.Lag{Messages: 71, Seconds: 7.5}}},
			Collectors:  []api.Collector{{Name: "kafka:gatewatch", Events: map[string]int64{"rebalance": 72, "commit": 73}}},
			DeadLetters: api.DeadLetters{Stored: 74, Lost: 75},
			Windows: api.Windows{
				Entities: 6, Probation: 7, BudgetBytes: 8, Evicted: 9, Dropped: 10, Entries: 11, EvictedAlive: 12, Readmitted: 13, Late: 14,
			},
			Checkpoint: api.Checkpoint{Last: &at, Total: 11, Duration: 13 * time.Millisecond, StateBytes: 12},
			Rules: api.Rules{
				Loaded: 14, Disabled: 15, Refused: 16,
				Windows: []api.RuleWindow{{ID: "6f1c0f9e-0000-4000-8000-000000000001", Title: "Some rule", Firings: 61, Growth: 62, Missing: 63, Shadow: true, Incidents: 64, Untold: 65}},
			},
			Reload: api.Reload{At: &at, OK: false, Total: 20, Failed: 21}, StateSetAside: "x.damaged",
		},
		counts: alerting.Counts{
			Opened:          map[alerting.FamilyLevel]int64{{Family: "credential", Level: observation.High}: 30},
			Resolved:        map[alerting.FamilyLevel]int64{{Family: "credential", Level: observation.Low}: 31},
			Overflow:        map[string]int64{"credential": 32},
			DroppedResolved: 33, Unheld: 34,
			Attempts:    map[alerting.ReceiverReason]int64{{Receiver: "ops", Reason: alerting.ReasonTimeout}: 35},
			Retries:     map[string]int64{"ops": 36},
			Parked:      map[string]int64{"ops": 37},
			Dropped:     map[string]int64{"ops": 38},
			Pending:     map[string]int64{"ops": 39},
			LastSuccess: map[string]time.Time{"ops": at}, StoreErrors: 40,
			Suppressed: map[alerting.ReceiverSuppression]int64{{Receiver: "ops", Reason: alerting.SuppressedBySilence}: 41},
			Digests:    map[string]int64{"ops": 42}, Folded: map[string]int64{"ops": 43}, SilencesActive: 44, SilencesPending: 45,
		},
		incidents: []*alerting.Incident{
			{State: alerting.StateOpen, Level: observation.High, Family: "credential"},
			{State: alerting.StateOpen, Level: observation.High, Family: "credential"},
			{State: alerting.StateResolved, Level: observation.Low, Family: "traffic"},
		},
	}
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	if err := r.Register(NewCollector(full())); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/metrics.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
}

func TestHandlerAnswersWhileIncidentsFail(t *testing.T) {
	b := full()
	b.err = errors.New("stopping")
	w := httptest.NewRecorder()
	NewHandler(b).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 500 {
		t.Errorf("want 500, got %d", w.Code)
	}
	b.err = nil
	w = httptest.NewRecorder()
	NewHandler(b).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"gatewatch_source_lines_total{", "go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(w.Body.String(), "\n"+want) {
			t.Errorf("no %s in the answer", want)
		}
	}
}

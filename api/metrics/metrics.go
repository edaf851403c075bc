// Package metrics writes gatewatch's state as Prometheus metrics. All numbers
// are read at scrape time; nothing is counted here.
//
// Label values come from closed sets only: source names and receivers from
// the configuration, rule ids from the rule set, and words of our own. Never
// from the content of a log.
package metrics

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"gatewatch/alerting"
	"gatewatch/api"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Backend is what is measured.
type Backend interface {
	Status() api.Status
	Incidents(ctx context.Context) ([]*alerting.Incident, error)
	Counts() alerting.Counts
}

// scrapeTimeout bounds how long a scrape waits for the incidents.
const scrapeTimeout = 5 * time.Second

// NewHandler returns the handler of /metrics, with a registry of its own.
func NewHandler(b Backend) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		NewCollector(b),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true})
}

// Collector reads a Backend at each scrape.
type Collector struct{ backend Backend }

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns the collector of b, for a registry of the caller's own.
func NewCollector(b Backend) *Collector { return &Collector{backend: b} }

// metric is one name of ours.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("gatewatch_"+name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("gatewatch_"+name, help, labels, nil), prometheus.GaugeValue}
}

// The metrics. Descriptions are immutable.
var (
	buildInfo = gauge("build_info", "The running version, always 1.", "version")
	startTime = gauge("start_time_seconds", "When the process began, in Unix seconds.")
	ready     = gauge("ready", "Whether /readyz answers 200.")

	sourceLines      = counter("source_lines_total", "Lines read.", "source")
	sourceUnreadable = counter("source_unreadable_lines_total", "Lines that no format could read.", "source", "reason")
	sourceSkipped    = counter("source_skipped_lines_total", "Lines passed over before they were decoded.", "source", "reason")
	sourceLate       = counter("source_late_records_total", "Records further behind their source's clock than lateness.", "source")
	sourceBehind     = counter("source_behind_records_total", "Records that came behind the merge.", "source")
	sourceState      = gauge("source_state", "1 for the state that the source is in.", "source", "state")
	sourceOffset     = gauge("source_position_bytes", "Bytes of the source that were judged, through all rotations.", "source")
	sourceMessage    = gauge("source_position_messages", "Offset of the partition's next message to be judged.", "source")
	sourceLag        = gauge("source_lag_messages", "Messages of the partition that are not judged yet.", "source")
	sourceLagTime    = gauge("source_lag_seconds", "How far event time is behind the wall clock while there is something unread.", "source")
	sourceUnread     = gauge("source_lag_bytes", "Bytes of the file that are not judged yet.", "source")
	sourceGeneration = counter("source_generations_total", "Files that the source was, one more with each rotation.", "source")
	sourceEvents     = counter("source_events_total", "Lines that were requests.", "source", "format")
	sourceClock      = gauge("source_clock_seconds", "The newest event time of the source, in Unix seconds.", "source")
	collectorEvents  = counter("collector_events_total", "What happened to a consumer group: rebalances, commits, trouble by its reason, and why partitions went on elsewhere.", "collector", "event")
	deadLetters      = counter("dead_letters_total", "Messages of which no event could be made and that were put aside.")
	deadLettersLost  = counter("dead_letters_lost_total", "Messages that should have been put aside and could not.")
	catchUpLeft      = gauge("catch_up_left", "What is left to read while much is, in bytes of files or messages of partitions.", "unit")
	catchUpSeconds   = gauge("catch_up_remaining_seconds", "How long it will take until nothing is left; +Inf where as much is written as is read, or not known yet.", "unit")
	mergedTime       = gauge("merged_time_seconds", "The event time that all sources have reached, in Unix seconds.")

	entities     = gauge("window_entities", "Entities in the windows' memory.")
	probation    = gauge("window_probation_entities", "Entities seen once so far.")
	entries      = gauge("window_entries", "Entries in the windows.")
	windowBudget = gauge("window_budget_bytes", "Bytes that the windows may use.")
	evicted      = counter("window_evicted_entities_total", "Entities pushed out because memory was full.")
	evictedAlive = counter("window_evicted_alive_entities_total", "Entities pushed out while they held unexpired entries.")
	probDropped  = counter("window_dropped_entities_total", "Entities that were dropped on probation.")
	readmitted   = counter("window_readmitted_entities_total", "Dropped entities that came again and were known.")
	windowLate   = counter("window_late_hits_total", "Hits of late records that entered no window.")

	checkpoints    = counter("checkpoints_total", "Checkpoints committed.")
	checkpointLast = gauge("checkpoint_last_success_time_seconds", "When the last checkpoint was committed, in Unix seconds.")
	checkpointTook = gauge("checkpoint_last_duration_seconds", "How long the last commit took.")
	stateBytes     = gauge("state_bytes", "Size of the state file.")
	stateSetAside  = gauge("state_set_aside", "1 where a damaged state file was set aside at the start.")

	rulesLoaded = gauge("rules", "Rule documents by what became of them.", "status")

	ruleFirings = counter("rule_firings_total", "Times that a rule's condition became true.", "rule")
	ruleJoined  = counter("rule_incidents_total",
		"Incidents that a rule opened or became part of. Those of a rule that is only watched (shadow) are told to nobody.", "rule", "shadow")
	ruleUntold  = counter("rule_shadow_notifications_total", "Notifications that there would have been, were the rule not only watched.", "rule")
	ruleGrowth  = counter("rule_growth_total", "Observations that came while a rule's condition was true.", "rule")
	ruleMissing = counter("rule_missing_field_total", "Events that lacked a field that the rule groups by or counts.", "rule")

	incidents = gauge("incidents", "Incidents known.", "state", "level", "family")

	opened          = counter("incidents_opened_total", "Incidents opened.", "family", "level")
	resolved        = counter("incidents_resolved_total", "Incidents resolved.", "family", "level")
	overflow        = counter("incidents_overflow_total", "Firings that went to the overflow incident of a family.", "family")
	droppedResolved = counter("incidents_dropped_resolved_total", "Resolved incidents that were forgotten because of the limit.")
	unheld          = counter("incidents_unheld_windows_total", "Windows that were not followed because of the limit.")

	attempts    = counter("notification_attempts_total", "Attempts to deliver, by how they ended.", "receiver", "reason")
	retries     = counter("notification_retries_total", "Attempts that followed a failed one.", "receiver")
	parked      = counter("notification_refused_total", "Revisions that a receiver refused for good.", "receiver")
	dropped     = counter("notification_dropped_total", "Revisions dropped unsent because of a limit.", "receiver")
	pending     = gauge("notifications_pending", "Revisions that a receiver has not yet accepted.", "receiver")
	lastSuccess = gauge("notification_last_success_time_seconds", "When a receiver last accepted a revision, in Unix seconds.", "receiver")
	suppressed  = counter("notifications_suppressed_total", "Incidents that a receiver was due to be told of and was not, by why.", "receiver", "reason")
	digests     = counter("notification_digests_total", "Notifications that stood for several incidents.", "receiver")
	folded      = counter("notification_folded_total", "Revisions that were told in such notifications.", "receiver")
	silences    = gauge("silences", "Silences that have not expired.", "state")
	outboxError = counter("notification_store_failures_total", "Commits of the outbox that failed.")

	reloads       = counter("reloads_total", "Reloads of the configuration that were asked for.")
	reloadsFailed = counter("reload_failures_total", "Reloads that were refused.")
	reloadLast    = gauge("reload_last_successful", "Whether the last reload was accepted; 1 before the first.")
)

// states are the states of a source, as in collectors.State.
var states = [...]string{"reading", "idle", "failing", "gone"}

// Describe sends no descriptions: which metrics exist depends on the
// configuration, so the collector is an unchecked one.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the backend and sends its numbers.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	send := func(m metric, v float64, labels ...string) {
		for i, l := range labels {
			if !utf8.ValidString(l) { // a path may be any bytes, a label may not
				labels[i] = strconv.Quote(l)
			}
		}
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
	}
	s := c.backend.Status()
	send(buildInfo, 1, s.Version)
	send(startTime, seconds(s.StartedAt))
	send(ready, truth(s.Ready))
	send(stateSetAside, truth(s.StateSetAside != ""))
	if s.MergedTime != nil {
		send(mergedTime, seconds(*s.MergedTime))
	}
	for i := range s.Sources {
		collectSource(send, &s.Sources[i])
	}
	for i := range s.CatchUp {
		c := &s.CatchUp[i]
		send(catchUpLeft, float64(c.Left), c.Unit)
		remaining := math.Inf(1)
		if c.Seconds != nil {
			remaining = *c.Seconds
		}
		send(catchUpSeconds, remaining, c.Unit)
	}
	for i := range s.Collectors {
		for event, n := range s.Collectors[i].Events {
			send(collectorEvents, float64(n), s.Collectors[i].Name, event)
		}
	}
	send(deadLetters, float64(s.DeadLetters.Stored))
	send(deadLettersLost, float64(s.DeadLetters.Lost))
	w := &s.Windows
	send(entities, float64(w.Entities))
	send(probation, float64(w.Probation))
	send(entries, float64(w.Entries))
	send(windowBudget, float64(w.BudgetBytes))
	send(evicted, float64(w.Evicted))
	send(evictedAlive, float64(w.EvictedAlive))
	send(probDropped, float64(w.Dropped))
	send(readmitted, float64(w.Readmitted))
	send(windowLate, float64(w.Late))

	send(checkpoints, float64(s.Checkpoint.Total))
	send(stateBytes, float64(s.Checkpoint.StateBytes))
	if s.Checkpoint.Last != nil {
		send(checkpointLast, seconds(*s.Checkpoint.Last))
		send(checkpointTook, s.Checkpoint.Duration.Seconds())
	}
	send(rulesLoaded, float64(s.Rules.Loaded), "loaded")
	send(rulesLoaded, float64(s.Rules.Disabled), "disabled")
	send(rulesLoaded, float64(s.Rules.Refused), "refused")
	for _, r := range s.Rules.Windows {
		send(ruleFirings, float64(r.Firings), r.ID)
		send(ruleGrowth, float64(r.Growth), r.ID)
		send(ruleJoined, float64(r.Incidents), r.ID, strconv.FormatBool(r.Shadow))
		if r.Shadow {
			send(ruleUntold, float64(r.Untold), r.ID)
		}
		send(ruleMissing, float64(r.Missing), r.ID)
	}
	collectAlerting(send, c.backend.Counts())
	send(reloads, float64(s.Reload.Total))
	send(reloadsFailed, float64(s.Reload.Failed))
	send(reloadLast, truth(s.Reload.OK || s.Reload.At == nil))
	c.collectIncidents(ch, send)
}

func collectSource(send func(metric, float64, ...string), s *api.Source) {
	send(sourceLines, float64(s.Lines), s.Name)
	for reason, n := range s.Unreadable {
		send(sourceUnreadable, float64(n), s.Name, reason)
	}
	for reason, n := range s.Skipped {
		send(sourceSkipped, float64(n), s.Name, reason)
	}
	send(sourceLate, float64(s.Late), s.Name)
	send(sourceBehind, float64(s.Behind), s.Name)
	for _, state := range states {
		send(sourceState, truth(s.State == state), s.Name, state)
	}
	if s.Queue {
		send(sourceMessage, float64(s.Offset), s.Name)
	} else {
		send(sourceOffset, float64(s.Offset), s.Name)
	}
	if s.Lag != nil {
		send(sourceLag, float64(s.Lag.Messages), s.Name)
		send(sourceLagTime, s.Lag.Seconds, s.Name)
	}
	if s.Unread != nil {
		send(sourceUnread, float64(s.Unread.Bytes), s.Name)
		send(sourceLagTime, s.Unread.Seconds, s.Name)
	}
	if s.Generation > 0 {
		send(sourceGeneration, float64(s.Generation), s.Name)
	}
	for format, n := range s.Formats {
		send(sourceEvents, float64(n), s.Name, format)
	}
	if s.Clock != nil {
		send(sourceClock, seconds(*s.Clock), s.Name)
	}
}

func collectAlerting(send func(metric, float64, ...string), c alerting.Counts) {
	for k, n := range c.Opened {
		send(opened, float64(n), k.Family, k.Level.String())
	}
	for k, n := range c.Resolved {
		send(resolved, float64(n), k.Family, k.Level.String())
	}
	for family, n := range c.Overflow {
		send(overflow, float64(n), family)
	}
	send(droppedResolved, float64(c.DroppedResolved))
	send(unheld, float64(c.Unheld))
	for k, n := range c.Attempts {
		send(attempts, float64(n), k.Receiver, string(k.Reason))
	}
	for k, n := range c.Suppressed {
		send(suppressed, float64(n), k.Receiver, string(k.Reason))
	}
	send(silences, float64(c.SilencesActive), "active")
	send(silences, float64(c.SilencesPending), "pending")
	for m, numbers := range map[*metric]map[string]int64{
		&retries: c.Retries, &parked: c.Parked, &dropped: c.Dropped, &pending: c.Pending, &digests: c.Digests, &folded: c.Folded,
	} {
		for receiver, n := range numbers {
			send(*m, float64(n), receiver)
		}
	}
	for receiver, at := range c.LastSuccess {
		send(lastSuccess, seconds(at), receiver)
	}
	send(outboxError, float64(c.StoreErrors))
}

func (c *Collector) collectIncidents(ch chan<- prometheus.Metric, send func(metric, float64, ...string)) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	list, err := c.backend.Incidents(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(incidents.desc, err)
		return
	}
	type labels struct{ state, level, family string }
	counts := map[labels]int{}
	for _, i := range list {
		counts[labels{i.State, i.Level.String(), i.Family}]++
	}
	for l, n := range counts {
		send(incidents, float64(n), l.state, l.level, l.family)
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

package api

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
)

type handler struct {
	backend    Backend
	logger     *slog.Logger
	now        func() time.Time
	checkLabel func(name string) error
}

// route is one thing that can be asked for.
type route struct {
	method, path string
	access       access
	serve        http.HandlerFunc
}

// routes are all there are; openapi.yaml describes each.
func (h *handler) routes(metrics http.Handler) []route {
	list := []route{
		{http.MethodGet, "/healthz", accessOpen, h.healthz},
		{http.MethodGet, "/readyz", accessOpen, h.readyz},
		{http.MethodGet, "/api/v1/openapi.yaml", accessOpen, h.openapi},
		{http.MethodGet, "/api/v1/status", accessRead, h.status},
		{http.MethodGet, "/api/v1/incidents", accessRead, h.incidents},
		{http.MethodGet, "/api/v1/incidents/{id}", accessRead, h.incident},
		{http.MethodPost, "/api/v1/incidents/{id}/acknowledge", accessChange, h.act(alerting.ActionAcknowledge)},
		{http.MethodPost, "/api/v1/incidents/{id}/resolve", accessChange, h.act(alerting.ActionResolve)},
		{http.MethodPost, "/api/v1/incidents/{id}/false-positive", accessChange, h.act(alerting.ActionFalsePositive)},
		{http.MethodGet, "/api/v1/silences", accessRead, h.silences},
		{http.MethodPost, "/api/v1/silences", accessChange, h.addSilence},
		{http.MethodGet, "/api/v1/silences/{id}", accessRead, h.silence},
		{http.MethodPost, "/api/v1/silences/{id}/expire", accessChange, h.expire},
		{http.MethodPost, "/-/reload", accessRead, h.reload},
	}
	if metrics != nil {
		list = append(list, route{http.MethodGet, "/metrics", accessOpen, metrics.ServeHTTP})
	}
	return list
}

// handler serves the routes on a listener with the guard.
func (h *handler) handler(routes []route, g *guard) http.Handler {
	mux := http.NewServeMux()
	allowed := map[string][]string{}
	for _, r := range routes {
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) {
			if g.allow(w, req, r.access) {
				r.serve(w, req)
			}
		})
		allowed[r.path] = append(allowed[r.path], r.method)
	}
	for path, methods := range allowed {
		allow := strings.Join(methods, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			writeError(w, http.StatusMethodNotAllowed, "use "+strings.ReplaceAll(allow, ", ", " or "))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "there is nothing here; /api/v1/openapi.yaml says what there is")
	})
	return mux
}

// openAPI describes this server.
//
//go:embed openapi.yaml
var openAPI []byte

func (h *handler) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	_, _ = w.Write(openAPI) // the reader has gone; nobody to tell
}

func (h *handler) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
}

func (h *handler) readyz(w http.ResponseWriter, _ *http.Request) {
	s := h.backend.Status()
	code := http.StatusOK
	if !s.Ready {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, Readiness{Ready: s.Ready, Reasons: orEmpty(s.Reasons)})
}

func (h *handler) status(w http.ResponseWriter, _ *http.Request) {
	s := h.backend.Status()
	s.Reasons, s.Sources, s.Collectors, s.CatchUp = orEmpty(s.Reasons), orEmpty(s.Sources), orEmpty(s.Collectors), orEmpty(s.CatchUp)
	s.Receivers, s.Rules.Windows = orEmpty(s.Receivers), orEmpty(s.Rules.Windows)
	s.Sources = slices.Clone(s.Sources)
	for i := range s.Sources {
		x := &s.Sources[i]
		for _, m := range [...]*map[string]int64{&x.Formats, &x.Unreadable, &x.Skipped} {
			if *m == nil {
				*m = map[string]int64{}
			}
		}
	}
	s.Receivers = slices.Clone(s.Receivers)
	for i := range s.Receivers {
		if s.Receivers[i].Attempts == nil {
			s.Receivers[i].Attempts = map[string]int64{}
		}
	}
	writeJSON(w, http.StatusOK, s)
}

// IncidentList is the answer of /api/v1/incidents: the incidents that were
// asked for, by first_seen and id, and how many there were before the limit.
type IncidentList struct {
	Incidents []*alerting.Incident `json:"incidents"`
	Total     int                  `json:"total"`
}

func (h *handler) incidents(w http.ResponseWriter, r *http.Request) {
	f, err := parseFilter(r.URL.RawQuery)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	all, err := h.all(r.Context(), f.shadow)
	if err != nil {
		h.unavailable(w, "incidents could not be read", err)
		return
	}
	kept := slices.DeleteFunc(slices.Clone(all), func(i *alerting.Incident) bool { return !f.keeps(i) })
	SortIncidents(kept)
	list := IncidentList{Incidents: orEmpty(kept), Total: len(kept)}
	if f.limit > 0 && len(kept) > f.limit {
		list.Incidents = kept[len(kept)-f.limit:] // the newest
	}
	writeJSON(w, http.StatusOK, list)
}

func (h *handler) incident(w http.ResponseWriter, r *http.Request) {
	shadow := false
	err := parseQuery(r.URL.RawQuery, []string{"shadow"}, func(_, value string) (err error) {
		shadow, err = parseBool("shadow", value)
		return err
	})
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	i, err := h.find(r.Context(), r.PathValue("id"), shadow)
	switch {
	case errors.Is(err, alerting.ErrNotFound):
		writeError(w, http.StatusNotFound, "there is no incident with this id")
	case err != nil:
		h.unavailable(w, "incidents could not be read", err)
	default:
		writeJSON(w, http.StatusOK, i)
	}
}

// all returns the incidents, or those of rules that are only watched.
func (h *handler) all(ctx context.Context, shadow bool) ([]*alerting.Incident, error) {
	if shadow {
		return h.backend.ShadowIncidents(ctx)
	}
	return h.backend.Incidents(ctx)
}

func (h *handler) find(ctx context.Context, id string, shadow bool) (*alerting.Incident, error) {
	all, err := h.all(ctx, shadow)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(i *alerting.Incident) bool { return i.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("incident %.64q: %w", id, alerting.ErrNotFound)
	}
	return all[i], nil
}

func (h *handler) reload(w http.ResponseWriter, r *http.Request) {
	// A caller that hangs up does not leave a reload half done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), reloadTimeout)
	defer cancel()
	if err := h.backend.Reload(ctx); err != nil {
		writeError(w, http.StatusUnprocessableEntity, "the configuration was refused, the old one stays: "+err.Error())
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "reloaded"})
}

func (h *handler) unavailable(w http.ResponseWriter, message string, err error) {
	h.logger.Warn("request to the api was not answered", "error", err)
	writeError(w, http.StatusServiceUnavailable, message+": "+err.Error())
}

// SortIncidents orders incidents as they are printed everywhere: by
// first_seen, then id.
func SortIncidents(list []*alerting.Incident) {
	slices.SortFunc(list, func(a, b *alerting.Incident) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen), cmp.Compare(a.ID, b.ID))
	})
}

// filter is the query of /api/v1/incidents.
type filter struct {
	state  string
	family string
	level  observation.Level // the least
	limit  int               // 0 for all
	shadow bool              // those of rules that are only watched
}

// StateUnresolved in a query is every state but resolved.
const StateUnresolved = "unresolved"

// maxLimit bounds the limit that can be asked for.
const maxLimit = 1_000_000

// parseQuery calls each for the parameters of a query: each known, and there
// once.
func parseQuery(raw string, known []string, each func(key, value string) error) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return fmt.Errorf("the query is not readable: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		values := query[key]
		if !slices.Contains(known, key) {
			return fmt.Errorf("there is no parameter %q; there is %s", key, strings.Join(known, ", "))
		}
		if len(values) != 1 {
			return fmt.Errorf("%q is there %d times; write it once", key, len(values))
		}
		if err := each(key, values[0]); err != nil {
			return err
		}
	}
	return nil
}

func parseBool(key, value string) (bool, error) {
	if value != "true" && value != "false" {
		return false, fmt.Errorf("%s is %q; write true or false", key, value)
	}
	return value == "true", nil
}

func parseFilter(raw string) (filter, error) {
	var f filter
	err := parseQuery(raw, []string{"state", "family", "level", "limit", "shadow"}, func(key, value string) (err error) {
		switch key {
		case "state":
			switch value {
			case alerting.StateOpen, alerting.StateAcknowledged, alerting.StateSilenced, alerting.StateResolved, StateUnresolved:
				f.state = value
			default:
				return fmt.Errorf("state is %q; write open, acknowledged, silenced, unresolved or resolved", value)
			}
		case "family":
			f.family = value
		case "level":
			return f.level.UnmarshalText([]byte(value))
		case "limit":
			f.limit, err = strconv.Atoi(value)
			if err != nil || f.limit < 1 || f.limit > maxLimit {
				return fmt.Errorf("limit is %q; write a number from 1 to %d", value, maxLimit)
			}
		case "shadow":
			f.shadow, err = parseBool(key, value)
		}
		return err
	})
	return f, err
}

func (f filter) keeps(i *alerting.Incident) bool {
	state := f.state == "" || i.State == f.state || f.state == StateUnresolved && i.State != alerting.StateResolved
	return state && (f.family == "" || i.Family == f.family) && i.Level >= f.level
}

// Error is the body of every answer that is not 2xx.
type Error struct {
	Error string `json:"error"`
}

func writeError(w http.ResponseWriter, code int, message string) {
	writeJSON(w, code, Error{Error: message})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		code, body = http.StatusInternalServerError, []byte(`{"error":"the answer could not be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the reader has gone; nobody to tell
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

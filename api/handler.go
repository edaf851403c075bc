package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
)

type handler struct {
	backend Backend
	logger  *slog.Logger
}

func (h *handler) routes(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /api/v1/status", h.status)
	mux.HandleFunc("GET /api/v1/incidents", h.incidents)
	mux.HandleFunc("GET /api/v1/incidents/{id}", h.incident)
	mux.HandleFunc("POST /-/reload", h.reload)
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// The mux would answer 405 by itself only if nothing matched the path.
		if allow := allowed(r.URL.Path, metrics != nil); allow != "" {
			w.Header().Set("Allow", allow)
			writeError(w, http.StatusMethodNotAllowed, "use "+allow)
			return
		}
		writeError(w, http.StatusNotFound, "there is nothing here; see /healthz, /readyz, /metrics, /api/v1/status and /api/v1/incidents")
	})
	return mux
}

func allowed(path string, metrics bool) string {
	switch {
	case path == "/-/reload":
		return http.MethodPost
	case path == "/healthz", path == "/readyz", path == "/api/v1/status", path == "/api/v1/incidents",
		strings.HasPrefix(path, "/api/v1/incidents/"), metrics && path == "/metrics":
		return http.MethodGet
	}
	return ""
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
	s.Reasons, s.Sources = orEmpty(s.Reasons), orEmpty(s.Sources)
	s.Receivers = orEmpty(s.Receivers)
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
	all, err := h.backend.Incidents(r.Context())
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
	all, err := h.backend.Incidents(r.Context())
	if err != nil {
		h.unavailable(w, "incidents could not be read", err)
		return
	}
	id := r.PathValue("id")
	i := slices.IndexFunc(all, func(i *alerting.Incident) bool { return i.ID == id })
	if i < 0 {
		writeError(w, http.StatusNotFound, "there is no incident with this id")
		return
	}
	writeJSON(w, http.StatusOK, all[i])
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
}

// maxLimit bounds the limit that can be asked for.
const maxLimit = 1_000_000

func parseFilter(raw string) (filter, error) {
	var f filter
	query, err := url.ParseQuery(raw)
	if err != nil {
		return f, fmt.Errorf("the query is not readable: %w", err)
	}
	for key, values := range query {
		if len(values) != 1 {
			return f, fmt.Errorf("%q is there %d times; write it once", key, len(values))
		}
		value := values[0]
		switch key {
		case "state":
			if value != alerting.StateOpen && value != alerting.StateResolved {
				return f, fmt.Errorf("state is %q; write open or resolved", value)
			}
			f.state = value
		case "family":
			f.family = value
		case "level":
			if err := f.level.UnmarshalText([]byte(value)); err != nil {
				return f, err
			}
		case "limit":
			f.limit, err = strconv.Atoi(value)
			if err != nil || f.limit < 1 || f.limit > maxLimit {
				return f, fmt.Errorf("limit is %q; write a number from 1 to %d", value, maxLimit)
			}
		default:
			return f, fmt.Errorf("there is no parameter %q; there are state, level, family and limit", key)
		}
	}
	return f, nil
}

func (f filter) keeps(i *alerting.Incident) bool {
	return (f.state == "" || i.State == f.state) && (f.family == "" || i.Family == f.family) && i.Level >= f.level
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

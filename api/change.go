package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"gatewatch/alerting"
)

// ActionRequest is the body of a request that acts on an incident, or that
// expires a silence.
type ActionRequest struct {
	By      string `json:"by"`
	Comment string `json:"comment"`
}

// SilenceRequest is the body of a request for a silence. It has either
// matchers or the id of an incident, whose subject is silenced then as long as
// its level does not rise; and either an end or a duration.
type SilenceRequest struct {
	Matchers []string   `json:"matchers"`
	Incident string     `json:"incident"`
	Author   string     `json:"author"`
	Comment  string     `json:"comment"`
	Start    *time.Time `json:"start"` // default now
	End      *time.Time `json:"end"`
	Duration string     `json:"duration"` // such as 90m or 8h
}

// SilenceList is the answer of /api/v1/silences.
type SilenceList struct {
	Silences []alerting.Silence `json:"silences"`
}

// maxBody bounds the body of a request.
const maxBody = 256 << 10

// decode reads the body of a request, and answers it when it cannot be read.
func decode(w http.ResponseWriter, r *http.Request, dst any) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		writeError(w, http.StatusUnsupportedMediaType, "send JSON with Content-Type: application/json")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(dst)
	if err == nil {
		if _, err = d.Token(); err == nil {
			err = errors.New("something follows the object")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	switch tooLarge, ok := errors.AsType[*http.MaxBytesError](err); {
	case err == nil:
		return true
	case ok:
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit))
	case errors.Is(err, io.EOF):
		writeError(w, http.StatusBadRequest, "the body is empty; send an object")
	default:
		writeError(w, http.StatusBadRequest, "the body cannot be read: "+err.Error())
	}
	return false
}

// refuse answers a request that the backend did not grant.
func (h *handler) refuse(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, alerting.ErrNotFound):
		writeError(w, http.StatusNotFound, err.Error())
	case errors.Is(err, alerting.ErrConflict):
		writeError(w, http.StatusConflict, err.Error())
	case errors.Is(err, alerting.ErrInvalid):
		writeError(w, http.StatusBadRequest, err.Error())
	default:
		h.unavailable(w, "this could not be saved", err)
	}
}

// act returns the handler of one action on an incident.
func (h *handler) act(kind alerting.ActionKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body ActionRequest
		if !decode(w, r, &body) {
			return
		}
		i, err := h.backend.Act(r.Context(), alerting.Act{Incident: r.PathValue("id"), Action: kind, By: body.By, Comment: body.Comment})
		if err != nil {
			h.refuse(w, err)
			return
		}
		writeJSON(w, http.StatusOK, i)
	}
}

func (h *handler) silences(w http.ResponseWriter, r *http.Request) {
	want, err := parseSilenceState(r.URL.RawQuery)
	if err != nil {
		writeError(w, http.StatusBadRequest, err.Error())
		return
	}
	all, err := h.backend.Silences(r.Context())
	if err != nil {
		h.unavailable(w, "silences could not be read", err)
		return
	}
	list := SilenceList{Silences: []alerting.Silence{}}
	for _, s := range all {
		if want == "" || s.State == want {
			list.Silences = append(list.Silences, s)
		}
	}
	writeJSON(w, http.StatusOK, list)
}

func parseSilenceState(raw string) (string, error) {
	state := ""
	err := parseQuery(raw, []string{"state"}, func(_, value string) error {
		switch value {
		case alerting.SilenceActive, alerting.SilencePending, alerting.SilenceExpired:
			state = value
			return nil
		}
		return fmt.Errorf("state is %q; write active, pending or expired", value)
	})
	return state, err
}

func (h *handler) silence(w http.ResponseWriter, r *http.Request) {
	all, err := h.backend.Silences(r.Context())
	if err != nil {
		h.unavailable(w, "silences could not be read", err)
		return
	}
	for _, s := range all {
		if s.ID == r.PathValue("id") {
			writeJSON(w, http.StatusOK, s)
			return
		}
	}
	writeError(w, http.StatusNotFound, "there is no silence with this id")
}

func (h *handler) addSilence(w http.ResponseWriter, r *http.Request) {
	var body SilenceRequest
	if !decode(w, r, &body) {
		return
	}
	s, err := h.silenceOf(r, &body)
	if err != nil {
		h.refuse(w, err)
		return
	}
	if s, err = h.backend.Silence(r.Context(), s); err != nil {
		h.refuse(w, err)
		return
	}
	w.Header().Set("Location", "/api/v1/silences/"+s.ID)
	writeJSON(w, http.StatusCreated, s)
}

// silenceOf makes of a request what it asks for.
func (h *handler) silenceOf(r *http.Request, body *SilenceRequest) (alerting.Silence, error) {
	invalid := func(format string, args ...any) (alerting.Silence, error) {
		return alerting.Silence{}, fmt.Errorf("%w: %s", alerting.ErrInvalid, fmt.Sprintf(format, args...))
	}
	start := h.now()
	if body.Start != nil {
		start = *body.Start
	}
	end := start
	switch {
	case (body.End == nil) == (body.Duration == ""):
		return invalid("write either end or duration")
	case body.End != nil:
		end = *body.End
	default:
		d, err := ParseDuration(body.Duration)
		if err != nil {
			return invalid("duration: %s", err)
		}
		end = start.Add(d)
	}
	if (len(body.Matchers) == 0) == (body.Incident == "") {
		return invalid("write either matchers or incident")
	}
	if body.Incident != "" {
		i, err := h.find(r.Context(), body.Incident, false)
		if err != nil {
			return alerting.Silence{}, err
		}
		return alerting.SilenceFor(i, body.Author, body.Comment, start, end.Sub(start))
	}
	s := alerting.Silence{Author: body.Author, Comment: body.Comment, Start: start, End: end}
	for n, text := range body.Matchers {
		list, err := alerting.ParseMatchers(text)
		if err != nil {
			return invalid("matchers[%d]: %s", n, err)
		}
		for _, m := range list {
			if err := h.checkLabel(m.Name); err != nil {
				return invalid("matchers[%d]: %s", n, err)
			}
		}
		s.Matchers = append(s.Matchers, list...)
	}
	return s, nil
}

func (h *handler) expire(w http.ResponseWriter, r *http.Request) {
	var body ActionRequest
	if !decode(w, r, &body) {
		return
	}
	s, err := h.backend.Expire(r.Context(), r.PathValue("id"), body.By)
	if err != nil {
		h.refuse(w, err)
		return
	}
	writeJSON(w, http.StatusOK, s)
}

// Package ocsf writes incidents as Detection Findings of the Open Cybersecurity
// Schema Framework, version 1.3, for lakes and SIEMs that read it. Receivers call
// it; all functions are pure.
//
// Every attribute that is written is one of that version of the schema. What the
// schema has no place for is in unmapped.
package ocsf

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/summary"
	"gatewatch/detectors/observation"
)

// SchemaVersion is the version of the schema that findings follow.
const SchemaVersion = "1.3.0"

// Context is what a finding says beside its incident.
type Context struct {
	Key     string // "incident id/revision"
	Cause   alerting.Cause
	Made    time.Time // when the revision was made
	Version string    // gatewatch's own
}

// Finding is one event of the class Detection Finding (2004).
type Finding struct {
	ActivityID   int    `json:"activity_id"`
	ActivityName string `json:"activity_name"`
	CategoryUID  int    `json:"category_uid"`
	CategoryName string `json:"category_name"`
	ClassUID     int    `json:"class_uid"`
	ClassName    string `json:"class_name"`
	TypeUID      int    `json:"type_uid"`
	TypeName     string `json:"type_name"`
	SeverityID   int    `json:"severity_id"`
	Severity     string `json:"severity"`
	StatusID     int    `json:"status_id"`
	Status       string `json:"status"`
	StatusDetail string `json:"status_detail,omitempty"`

	Time      int64 `json:"time"` // as all times: milliseconds since 1970
	StartTime int64 `json:"start_time"`
	EndTime   int64 `json:"end_time"`
	Count     int32 `json:"count"`

	Message     string       `json:"message"`
	Metadata    Metadata     `json:"metadata"`
	FindingInfo FindingInfo  `json:"finding_info"`
	Evidences   []Evidence   `json:"evidences,omitempty"`
	Observables []Observable `json:"observables,omitempty"`
	Unmapped    Unmapped     `json:"unmapped"`
}

// Metadata says where a finding comes from.
type Metadata struct {
	Version        string  `json:"version"`
	UID            string  `json:"uid"`             // the delivery key: two events with one uid are one
	CorrelationUID string  `json:"correlation_uid"` // the incident's id, as in finding_info.uid
	EventCode      string  `json:"event_code,omitempty"`
	Sequence       int64   `json:"sequence"` // the revision: the greatest is the latest
	Product        Product `json:"product"`
}

// Product is gatewatch.
type Product struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version,omitempty"`
}

// FindingInfo describes the incident.
type FindingInfo struct {
	UID              string         `json:"uid"`
	Title            string         `json:"title"`
	Desc             string         `json:"desc,omitempty"`
	Types            []string       `json:"types,omitempty"`
	CreatedTime      int64          `json:"created_time"`
	ModifiedTime     int64          `json:"modified_time"`
	FirstSeenTime    int64          `json:"first_seen_time"`
	LastSeenTime     int64          `json:"last_seen_time"`
	DataSources      []string       `json:"data_sources,omitempty"`
	Analytic         Analytic       `json:"analytic"`
	RelatedAnalytics []Analytic     `json:"related_analytics,omitempty"`
	Attacks          []Attack       `json:"attacks,omitempty"`
	RelatedEvents    []RelatedEvent `json:"related_events,omitempty"`
}

// Analytic is a rule.
type Analytic struct {
	TypeID   int    `json:"type_id"`
	Type     string `json:"type"`
	UID      string `json:"uid"`
	Name     string `json:"name"`
	Category string `json:"category,omitempty"`
}

// Attack is an entry of MITRE ATT&CK: a technique, or a tactic that is known
// without one.
type Attack struct {
	Tactic       *AttackRef `json:"tactic,omitempty"`
	Technique    *AttackRef `json:"technique,omitempty"`
	SubTechnique *AttackRef `json:"sub_technique,omitempty"`
}

// AttackRef names a part of ATT&CK.
type AttackRef struct {
	UID  string `json:"uid"`
	Name string `json:"name,omitempty"`
}

// RelatedEvent is another incident.
type RelatedEvent struct {
	UID     string `json:"uid"`
	TypeUID int    `json:"type_uid"`
	Type    string `json:"type"`
}

// Evidence is one log line, one source, or one account.
type Evidence struct {
	Data        *alerting.Evidence `json:"data,omitempty"`
	SrcEndpoint *Endpoint          `json:"src_endpoint,omitempty"`
	Actor       *Actor             `json:"actor,omitempty"`
}

// Endpoint is where requests came from.
type Endpoint struct {
	IP string `json:"ip"`
}

// Actor is who they were made for.
type Actor struct {
	User User `json:"user"`
}

// User is an account.
type User struct {
	Name string `json:"name"`
}

// Observable is a value to look for elsewhere.
type Observable struct {
	Name   string `json:"name"` // the attribute that holds it
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

// Unmapped is what an incident has and the schema has not.
type Unmapped struct {
	Family          string                 `json:"family"`
	Subject         string                 `json:"subject"`
	Cause           alerting.Cause         `json:"cause,omitempty"`
	Parent          string                 `json:"parent,omitempty"`
	Tags            []string               `json:"tags,omitempty"`
	Group           map[string]string      `json:"group,omitempty"`
	Routes          []string               `json:"routes,omitempty"`
	Methods         []string               `json:"methods,omitempty"`
	Statuses        []alerting.StatusCount `json:"statuses,omitempty"`
	SourcesTotal    int64                  `json:"sources_total"`
	AccountsTotal   int64                  `json:"accounts_total"`
	RoutesTotal     int64                  `json:"routes_total"`
	PrincipalsTotal int64                  `json:"principals_total"`
	SubjectsTotal   int64                  `json:"subjects_total,omitempty"`
	ChildrenTotal   int64                  `json:"children_total,omitempty"`
	Estimated       []string               `json:"estimated,omitempty"`
	Order           string                 `json:"order,omitempty"`
	LateOnly        bool                   `json:"late_only,omitempty"`
	Limits          []string               `json:"limits,omitempty"`
	Digest          []alerting.DigestEntry `json:"digest,omitempty"`
	Test            bool                   `json:"test,omitempty"`
}

// The class and what names it.
const (
	categoryUID = 2
	classUID    = 2004
)

// caption is a value of an enumeration.
type caption struct {
	id   int
	text string
}

// Of returns the finding that tells of one revision of an incident. The same
// arguments give the same finding.
func Of(inc *alerting.Incident, c Context) Finding {
	activity, status, severity := activityOf(inc, c), statusOf(inc), severityOf(inc.Level)
	words := summary.Of(inc, c.Cause)
	f := Finding{
		ActivityID: activity.id, ActivityName: activity.text,
		CategoryUID: categoryUID, CategoryName: "Findings", ClassUID: classUID, ClassName: "Detection Finding",
		TypeUID: classUID*100 + activity.id, TypeName: "Detection Finding: " + activity.text,
		SeverityID: severity.id, Severity: severity.text, StatusID: status.id, Status: status.text,
		Time: millis(c.Made), StartTime: millis(inc.FirstSeen), EndTime: millis(inc.LastSeen),
		Count:   int32(min(max(inc.Count, 0), math.MaxInt32)),
		Message: sentences(words.Headline, words.News),
		Metadata: Metadata{
			Version: SchemaVersion, UID: c.Key, CorrelationUID: inc.ID, EventCode: inc.Rule.ID, Sequence: inc.Revision,
			Product: Product{Name: "gatewatch", VendorName: "gatewatch", Version: c.Version},
		},
		FindingInfo: infoOf(inc, c, words),
		Evidences:   evidencesOf(inc),
		Observables: observablesOf(inc),
		Unmapped: Unmapped{
			Family: inc.Family, Subject: inc.Subject, Cause: c.Cause, Parent: inc.Parent, Tags: inc.Rule.Tags,
			Group: inc.Group, Routes: inc.Routes, Methods: inc.Methods, Statuses: inc.Statuses,
			SourcesTotal: inc.SourcesTotal, AccountsTotal: inc.AccountsTotal, RoutesTotal: inc.RoutesTotal,
			PrincipalsTotal: inc.PrincipalsTotal, SubjectsTotal: inc.SubjectsTotal, ChildrenTotal: inc.ChildrenTotal,
			Estimated: inc.Estimated, Order: inc.Order, LateOnly: inc.LateOnly, Limits: inc.Limits,
			Digest: inc.Digest, Test: inc.Test,
		},
	}
	switch {
	case inc.FalsePositive:
		f.StatusDetail = "marked as a false positive"
	case inc.Acknowledged != nil:
		f.StatusDetail = "acknowledged by " + inc.Acknowledged.By
	}
	return f
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func sentences(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	return strings.Join(parts, ". ")
}

// activityOf says what a finding does to what is known of its uid. A receiver
// that was away may see the first of an incident as an update: the newest
// revision replaces those that were not sent.
func activityOf(inc *alerting.Incident, c Context) caption {
	switch {
	case inc.Test:
		return caption{99, "Test"}
	case c.Cause == alerting.CauseOpened:
		return caption{1, "Create"}
	case inc.State == alerting.StateResolved:
		return caption{3, "Close"}
	default:
		return caption{2, "Update"}
	}
}

func statusOf(inc *alerting.Incident) caption {
	switch inc.State {
	case alerting.StateOpen:
		return caption{1, "New"}
	case alerting.StateAcknowledged:
		return caption{2, "In Progress"}
	case alerting.StateSilenced:
		return caption{3, "Suppressed"}
	case alerting.StateResolved:
		return caption{4, "Resolved"}
	default:
		return caption{0, "Unknown"}
	}
}

func severityOf(l observation.Level) caption {
	switch l {
	case observation.Low:
		return caption{2, "Low"}
	case observation.Medium:
		return caption{3, "Medium"}
	case observation.High:
		return caption{4, "High"}
	case observation.Critical:
		return caption{5, "Critical"}
	default:
		return caption{1, "Informational"}
	}
}

func infoOf(inc *alerting.Incident, c Context, words summary.Summary) FindingInfo {
	info := FindingInfo{
		UID: inc.ID, Title: inc.Rule.Title, Desc: sentences(append([]string{words.Line}, words.Notes...)...),
		CreatedTime: millis(inc.DetectedAt), ModifiedTime: millis(c.Made),
		FirstSeenTime: millis(inc.FirstSeen), LastSeenTime: millis(inc.LastSeen),
		Analytic: ruleOf(inc.Rule.ID, inc.Rule.Title), Attacks: attacksOf(inc.Rule.Tags),
	}
	info.Analytic.Category = inc.Family
	if inc.Family != "" {
		info.Types = []string{inc.Family}
	}
	for _, e := range inc.Evidence {
		if e.File != "" && !slices.Contains(info.DataSources, e.File) {
			info.DataSources = append(info.DataSources, e.File)
		}
	}
	for _, r := range inc.Rules {
		if r.ID != inc.Rule.ID {
			info.RelatedAnalytics = append(info.RelatedAnalytics, ruleOf(r.ID, r.Title))
		}
	}
	related := func(id string) {
		info.RelatedEvents = append(info.RelatedEvents, RelatedEvent{UID: id, TypeUID: classUID * 100, Type: "Detection Finding: Unknown"})
	}
	if inc.Parent != "" {
		related(inc.Parent)
	}
	for _, id := range inc.Children {
		related(id)
	}
	return info
}

func ruleOf(id, title string) Analytic {
	return Analytic{TypeID: 1, Type: "Rule", UID: id, Name: title}
}

func evidencesOf(inc *alerting.Incident) []Evidence {
	var out []Evidence
	for i := range inc.Evidence {
		out = append(out, Evidence{Data: &inc.Evidence[i]})
	}
	for _, s := range inc.Sources {
		if _, err := netip.ParseAddr(s); err == nil {
			out = append(out, Evidence{SrcEndpoint: &Endpoint{IP: s}})
		}
	}
	for _, a := range inc.Accounts {
		out = append(out, Evidence{Actor: &Actor{User{Name: a}}})
	}
	return out
}

// observablesOf lists what to search other logs for, each value once.
func observablesOf(inc *alerting.Incident) []Observable {
	var out []Observable
	add := func(o Observable) {
		if o.Value != "" && o.Value != "*" && !slices.ContainsFunc(out, func(p Observable) bool { return p.TypeID == o.TypeID && p.Value == o.Value }) {
			out = append(out, o)
		}
	}
	for _, s := range inc.Sources {
		if _, err := netip.ParseAddr(s); err == nil {
			add(Observable{"evidences[].src_endpoint.ip", 2, "IP Address", s})
		}
	}
	if client := inc.Group["client.address"]; client != "" {
		if _, err := netip.ParseAddr(client); err == nil {
			add(Observable{"unmapped.group.client.address", 2, "IP Address", client})
		} else if _, err := netip.ParsePrefix(client); err == nil {
			add(Observable{"unmapped.group.client.address", 12, "Subnet", client})
		}
	}
	for _, a := range inc.Accounts {
		add(Observable{"evidences[].actor.user.name", 4, "User Name", a})
	}
	return out
}

// attacksOf reads the tags that name a technique or a tactic of ATT&CK. Which
// technique serves which tactic the tags do not say, so each stands alone.
func attacksOf(tags []string) []Attack {
	var out []Attack
	for _, tag := range tags {
		name, ok := strings.CutPrefix(strings.ToLower(tag), "attack.")
		if !ok {
			continue
		}
		if id, ok := technique(name); ok {
			whole, _, sub := strings.Cut(id, ".")
			a := Attack{Technique: &AttackRef{UID: whole}}
			if sub {
				a.SubTechnique = &AttackRef{UID: id}
			}
			out = append(out, a)
			continue
		}
		if t := tactic(strings.ReplaceAll(name, "_", "-")); t != nil {
			out = append(out, Attack{Tactic: t})
		}
	}
	return out
}

// technique reads "t1110.003".
func technique(name string) (string, bool) {
	digits := func(s string, n int) bool {
		return len(s) == n && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	}
	number, ok := strings.CutPrefix(name, "t")
	if !ok {
		return "", false
	}
	number, sub, dotted := strings.Cut(number, ".")
	if !digits(number, 4) || dotted && !digits(sub, 3) {
		return "", false
	}
	return strings.ToUpper(name), true
}

// tactic returns the tactic of a name as Sigma's tags write it.
func tactic(name string) *AttackRef {
	for _, t := range [...]struct {
		number int
		name   string
	}{
		{43, "Reconnaissance"},
		{42, "Resource Development"},
		{1, "Initial Access"},
		{2, "Execution"},
		{3, "Persistence"},
		{4, "Privilege Escalation"},
		{5, "Defense Evasion"}, //nolint:misspell // as ATT&CK writes it
		{6, "Credential Access"},
		{7, "Discovery"},
		{8, "Lateral Movement"},
		{9, "Collection"},
		{10, "Exfiltration"},
		{11, "Command and Control"},
		{40, "Impact"},
	} {
		if strings.ReplaceAll(strings.ToLower(t.name), " ", "-") == name {
			return &AttackRef{UID: fmt.Sprintf("TA%04d", t.number), Name: t.name}
		}
	}
	return nil
}

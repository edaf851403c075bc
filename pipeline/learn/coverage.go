package learn

import "fmt"

// Field is how much of the requests tell something.
type Field struct {
	Name  string
	Share float64
}

// Sight says how well a risk can be seen in a log.
type Sight string

// The ways of seeing.
const (
	Covered Sight = "covered"
	Partial Sight = "partial"
	Blind   Sight = "blind"
)

// Risk is one of the OWASP API Security Top 10 of 2023, and what this log can
// show of it.
type Risk struct {
	ID, Name string
	Sight    Sight
	Why      string
}

// Coverage says which fields the log has.
func (s *Survey) Coverage() []Field {
	names := [...]struct {
		name string
		bit  presence
	}{
		{"client.address", hasClient},
		{"http.response.status_code", hasStatus},
		{"user_agent.original", hasAgent},
		{"http.request.header.referer", hasReferer},
		{"url.query", hasQuery},
		{"http.response.body.size", hasSize},
		{"duration", hasDuration},
		{"server.address", hasHost},
		{"http.request.header.x-forwarded-for", hasForwarded},
		{"principal (key, consumer or user)", hasWho},
		{"http.route of the gateway", hasRoute},
	}
	out := make([]Field, 0, len(names)+3)
	for _, n := range names {
		out = append(out, Field{n.name, s.share(n.bit)})
	}
	return append(out,
		Field{"api.object_id", ratio(s.objects, s.Requests)},
		Field{"auth.login", ratio(s.logins, s.Requests)},
		Field{"auth.account, of the logins", ratio(s.named, s.logins)})
}

// Risks says which risks the fields of the log let be seen.
func (s *Survey) Risks() []Risk {
	const some = 0.02 // of the requests
	status, client := s.share(hasStatus) > 0.5, s.share(hasClient) > 0.5
	who, query := s.share(hasWho) > some, s.share(hasQuery) > 0
	size, took := s.share(hasSize) > 0.5, s.share(hasDuration) > 0.5
	objects, names := s.objects > 0, ratio(s.named, s.logins) > 0.5
	pick := func(covered, partial bool) Sight {
		switch {
		case covered:
			return Covered
		case partial:
			return Partial
		default:
			return Blind
		}
	}
	say := func(ok bool, yes, no string) string {
		if ok {
			return yes
		}
		return no
	}
	base := status && client
	return []Risk{
		{
			"API1", "Broken object level authorization", pick(base && objects && who, base && objects),
			say(objects, say(who, "ids are walked by a principal; whose they are no log tells", "ids are walked by an address; without principals a walk over many addresses is not one"), "no route has ids"),
		},
		{
			"API2", "Broken authentication", pick(base && s.logins > 0 && names, base && s.logins > 0),
			say(s.logins > 0, say(names, "failed logins with the account that was tried", "failed logins without account names: one account tried from many addresses is not seen"), "no login was recognised; name them in logins"),
		},
		{
			"API3", "Broken object property level authorization", pick(false, size && query),
			say(size, "unusual sizes and fields in queries only; bodies are not in access logs", "neither bodies nor their sizes are in the log"),
		},
		{
			"API4", "Unrestricted resource consumption", pick(base && size, base),
			say(took, "rate, bytes and durations", say(size, "rate and bytes; no durations", "rate only; no sizes, no durations")),
		},
		{
			"API5", "Broken function level authorization", pick(base && who, base),
			say(who, "refusals by principal", "refusals by address; whose role it was is not in the log"),
		},
		{
			"API6", "Unrestricted access to sensitive business flows", pick(false, base && who),
			say(who, "pace and order of one principal; which flows matter only you know", "no principals: flows of one person cannot be followed"),
		},
		{
			"API7", "Server side request forgery", pick(false, query),
			say(query, "addresses in queries; not those in bodies", "no queries in the log"),
		},
		{
			"API8", "Security misconfiguration", pick(status, false),
			say(status, "what should not be served and was", "no statuses"),
		},
		{
			"API9", "Improper inventory management", pick(false, status),
			say(s.share(hasHost) > 0.5, "old versions, other hosts, routes that nobody described", "old versions and routes that nobody described; no host names"),
		},
		{
			"API10", "Unsafe consumption of APIs", Blind,
			"only logs of what the API itself calls would show it",
		},
	}
}

// percent writes a share.
func percent(x float64) string {
	switch {
	case x > 0 && x < 0.001:
		return "under 0.1 %"
	case x > 0.999 && x < 1:
		return "over 99.9 %"
	default:
		return fmt.Sprintf("%.3g %%", 100*x)
	}
}

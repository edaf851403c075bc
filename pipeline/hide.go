package pipeline

import (
	"net/netip"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// hider hides secrets in what windows keep: the values that entities are
// grouped by and those that rules count. Rules were matched before, with the
// text itself. Addresses and users are hidden as well where the masker says so.
type hider struct {
	mask  *event.Masker
	plan  *observation.Plan
	kinds [][]treatment // by kind and field
	rules []treatment   // by rule, of the field that it counts
	some  []bool        // by kind: its entities, or what its rules count, have something to hide
	named []bool        // by kind: nothing but who the log names, if it names anybody
	cards bool
	buf   []byte
	shown []byte              // one value, hidden
	clean map[string]struct{} // values in which there was nothing to hide, at most maxClean
}

// maxClean bounds the values that a hider remembers: agents, accounts and keys come again.
const maxClean = 4096

// treatment is what becomes of a field.
type treatment uint8

const (
	leave   treatment = iota
	secrets           // a client writes it freely
	user              // names somebody
	address
)

// treat says what a field needs. Routes are templates, and the others are
// words from closed sets or numbers.
func treat(field string, identities bool) treatment {
	switch field {
	case "client.address", "network.peer.address", "c-ip":
		if identities {
			return address
		}
		return leave
	case "client.prefix": // a text, and of no use without the address
		if identities {
			return user
		}
		return leave
	case "auth.account", "user.name", "principal", "enduser.id", "api.consumer.id", "api.key.id", "auth.token.hash", "session.id", "cs-username":
		if identities {
			return user
		}
		return secrets
	case "http.route", "http.request.method", "http.response.status_code", "server.address", "auth.outcome", "auth.login", "api.object_id",
		"attack.class", "attack.outcome", "client.class", "api.object_sampled", "http.response.refused", "url.scheme", "network.protocol.version", "cs-method", "sc-status", "sc-bytes", "cs-host":
		return leave
	}
	return secrets
}

// newHider returns nil where no rule of the plan needs one.
func newHider(mask *event.Masker, plan *observation.Plan) *hider {
	h := &hider{mask: mask, plan: plan, cards: mask.HidesIdentities(), clean: map[string]struct{}{}}
	needed := h.cards
	for i := range plan.Kinds {
		var fields []treatment
		for k, f := range plan.Kinds[i].Fields {
			t := treat(f, h.cards)
			if plan.Kinds[i].Address[k] {
				if t = leave; h.cards {
					t = address
				}
			}
			fields = append(fields, t)
			needed = needed || t != leave
		}
		h.kinds = append(h.kinds, fields)
		h.some = append(h.some, slices.ContainsFunc(fields, func(t treatment) bool { return t != leave }))
		named := !h.cards
		for k, t := range fields {
			named = named && (t == leave || plan.Kinds[i].Fields[k] == "principal")
		}
		h.named = append(h.named, named)
	}
	for i := range plan.Rules {
		t := leave
		for f := range strings.SplitSeq(plan.Rules[i].ValueField, ",") {
			if f = strings.TrimSpace(f); f != "" {
				t = max(t, treat(f, h.cards))
			}
		}
		h.rules = append(h.rules, t)
		if t != leave {
			h.some[plan.Rules[i].Kind], h.named[plan.Rules[i].Kind] = true, false
		}
		needed = needed || t != leave
	}
	if !needed {
		return nil
	}
	return h
}

// record hides what r brings to windows. The hash of a counted value stays
// that of the text itself, so that two secrets count as two.
func (h *hider) record(b *observation.Batch, r *observation.Record) {
	for i := range b.Of(r) {
		o := &b.Obs[int(r.First)+i]
		if !h.some[o.Kind] || r.Card.Principal == "" && h.named[o.Kind] {
			continue // the principal is the client's address
		}
		h.entity(b, o)
		for k := range b.HitsOf(o) {
			hit := &b.Hits[int(o.First)+k]
			if t := h.rules[hit.Rule]; t != leave && hit.Value != "" {
				if v := h.text(t, hit.Value); v != hit.Value {
					hit.Value = b.Keep(observation.Cut(v, observation.MaxValue))
				}
			}
		}
	}
	if h.cards {
		r.Card.Client = h.mask.Address(r.Card.Client)
		r.Card.Account = b.Keep(h.mask.Name(r.Card.Account))
		r.Card.Principal = b.Keep(h.mask.Name(r.Card.Principal))
	}
}

// ipv4 reports whether a text is an IPv4 address, as the principal of whoever names none
// is. It holds no secret.
func ipv4(s string) bool {
	if len(s) < 7 || len(s) > 15 {
		return false
	}
	dots, digits := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && digits > 0:
			dots, digits = dots+1, 0
		case '0' <= c && c <= '9' && digits < 3:
			digits++
		default:
			return false
		}
	}
	return dots == 3 && digits > 0
}

// entity hides the values of o, which becomes another entity by that.
func (h *hider) entity(b *observation.Batch, o *observation.Observation) {
	fields := h.kinds[o.Kind]
	kind := &h.plan.Kinds[o.Kind]
	needed := false
	for i, t := range fields {
		if t == secrets {
			v, ok := kind.Field(o.Values, i)
			needed = needed || ok && !ipv4(v)
			continue
		}
		needed = needed || t != leave
	}
	if !needed {
		return
	}
	h.buf = h.buf[:0]
	for i, t := range fields {
		v, ok := kind.Field(o.Values, i)
		if !ok {
			return
		}
		switch t {
		case address:
			h.buf = h.address(h.buf, v)
		case leave:
			h.buf = observation.AppendText(h.buf, v) // addresses are encoded the same way
		default:
			h.buf = observation.AppendText(h.buf, h.text(t, v))
		}
	}
	if string(h.buf) == o.Values {
		return
	}
	o.Values = b.KeepBytes(h.buf)
	o.Hash = kind.Hash(h.buf)
}

// address replaces an encoded address: 4 bytes, 8 of a /64, or 16.
func (h *hider) address(dst []byte, v string) []byte {
	switch len(v) {
	case 4:
		return observation.AppendAddr(dst, h.mask.Address(netip.AddrFrom4([4]byte([]byte(v)))), true)
	case 8, 16:
		var a [16]byte
		copy(a[:], v)
		return observation.AppendAddr(dst, h.mask.Address(netip.AddrFrom16(a)), len(v) == 16)
	}
	return observation.AppendText(dst, v)
}

func (h *hider) text(t treatment, v string) string {
	if t == user {
		return h.mask.Name(v)
	}
	if t == address {
		if a, err := netip.ParseAddr(v); err == nil {
			return h.mask.Address(a).String()
		}
	}
	if ipv4(v) {
		return v
	}
	if _, ok := h.clean[v]; ok {
		return v
	}
	h.shown = h.mask.Append(h.shown[:0], v)
	if string(h.shown) != v {
		return string(h.shown)
	}
	if len(v) <= observation.MaxValue {
		if len(h.clean) >= maxClean {
			clear(h.clean)
		}
		h.clean[strings.Clone(v)] = struct{}{}
	}
	return v
}

package alerting

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"gatewatch/detectors/observation"
)

// The fields that name a subject.
const (
	fieldClient    = "client.address"
	fieldPrincipal = "principal"
	fieldAccount   = "auth.account"
)

// SubjectKind says whom an incident is about.
type SubjectKind uint8

// The kinds of subjects.
const (
	// SubjectClient is one address, or one /64.
	SubjectClient SubjectKind = iota + 1
	// SubjectPrincipal is one key, token, consumer or user.
	SubjectPrincipal
	// SubjectAccount is one account that logins were tried for.
	SubjectAccount
	// SubjectPopulation is a family and a group without any of the above.
	SubjectPopulation
	// SubjectOverflow stands for all subjects beyond the limit of a family.
	SubjectOverflow
	// SubjectGatewatch is gatewatch itself.
	SubjectGatewatch
)

var subjectNames = [...]string{"", "client", "principal", "account", "population", "overflow", "gatewatch"}

// String returns the kind's name as printed in incidents.
func (k SubjectKind) String() string {
	if int(k) >= len(subjectNames) {
		return ""
	}
	return subjectNames[k]
}

// pair is a group field and its value for people.
type pair struct{ Name, Value string }

// subject is whom a finding accuses. Its key is unique among all subjects and
// part of the incident's id, so its form never changes.
type subject struct {
	kind  SubjectKind
	key   string
	group []pair
}

func newSubject(kind SubjectKind, identity string, group ...pair) subject {
	if len(identity) > maxText {
		sum := sha256.Sum256([]byte(identity))
		identity = string(sum[:])
	}
	return subject{kind: kind, key: string(rune('0'+kind)) + "\x00" + identity, group: group}
}

// clientSubject is the subject of an address in the form that
// observation.AppendAddr gives it, without the length in front.
func clientSubject(encoded string, text string) subject {
	return newSubject(SubjectClient, encoded, pair{fieldClient, text})
}

// grouped returns the subject that the entity itself names, if any.
func grouped(kind *observation.Kind, values string) (client, principal, account *subject) {
	var texts []string
	for i, name := range kind.Fields {
		if name != fieldClient && name != fieldPrincipal && name != fieldAccount {
			continue
		}
		value, ok := kind.Field(values, i)
		if !ok {
			return nil, nil, nil
		}
		if texts == nil {
			if texts = kind.Values(values); texts == nil {
				return nil, nil, nil
			}
		}
		text := groupText(texts[i])
		switch name {
		case fieldClient:
			s := clientSubject(value, text)
			client = &s
		case fieldPrincipal:
			s := newSubject(SubjectPrincipal, value, pair{fieldPrincipal, text})
			principal = &s
		case fieldAccount:
			s := newSubject(SubjectAccount, value, pair{fieldAccount, text})
			account = &s
		}
	}
	return client, principal, account
}

// subjectOf returns whom f accuses: the client when it is grouped by, or when
// nine tenths of the window came from one; else the principal likewise; else
// the account that it groups by; else its population.
func (b *Book) subjectOf(f *observation.Finding, family string) subject {
	kind := &b.plan.Kinds[f.Kind]
	client, principal, account := grouped(kind, f.Values)
	if client != nil {
		return *client
	}
	if f.Everybody {
		return population(kind, f.Values, family)
	}
	// One observation is no share of a window: only a firing brings the window. And what
	// is looked for while another rule is true of a group is part of what that one found.
	inside := len(b.plan.Rules[f.Rule].Guard.While) > 0
	if f.Fired && !inside {
		if a, ok := b.mostlyClient(f.Items); ok {
			return a
		}
	}
	if principal != nil {
		return *principal
	}
	if f.Fired && !inside {
		if p, ok := mostly(f.Items, func(c *observation.Card) string { return c.Principal }); ok {
			return newSubject(SubjectPrincipal, p, pair{fieldPrincipal, groupText(p)})
		}
	}
	if account != nil {
		return *account
	}
	if f.Span > 0 && f.Fired && !slices.ContainsFunc(kind.Fields, func(name string) bool { return strings.HasPrefix(name, "client.") }) {
		// These few are what it is about, whichever route it was noticed by, and not
		// what all others do meanwhile.
		return newSubject(SubjectPopulation, string(append(lengthPrefixed(nil, family), "few"...)))
	}
	return population(kind, f.Values, family)
}

func (b *Book) mostlyClient(items []observation.Item) (subject, bool) {
	p, ok := mostly(items, func(c *observation.Card) netip.Addr { return b.clientOf(c.Client) })
	if !ok {
		return subject{}, false
	}
	return b.subjectOfClient(p), true
}

// clientOf is the address that stands for a in groups: itself, or the first
// of its /64.
func (b *Book) clientOf(a netip.Addr) netip.Addr {
	if !a.IsValid() || a.Is4() || b.o.WholeIPv6 {
		return a
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.Addr()
}

func (b *Book) subjectOfClient(a netip.Addr) subject {
	encoded := observation.AppendAddr(nil, a, b.o.WholeIPv6)
	text := a.String()
	if len(encoded) == 9 { // one byte of length and a /64
		text = netip.PrefixFrom(a, 64).String()
	}
	return clientSubject(string(encoded[1:]), text)
}

// mostly returns the value, other than the zero value, that at least nine
// tenths of the observations share.
func mostly[T comparable](items []observation.Item, of func(*observation.Card) T) (T, bool) {
	var zero, best T
	var lead, total, n int64
	// A value with more than half of the weight survives this vote.
	for i := range items {
		if items[i].Aside {
			continue
		}
		w := int64(items[i].N)
		v := of(&items[i].Card)
		total += w
		switch {
		case v == best:
			lead += w
		case w > lead:
			best, lead = v, w-lead
		default:
			lead -= w
		}
	}
	if best == zero || total == 0 {
		return zero, false
	}
	for i := range items {
		if !items[i].Aside && of(&items[i].Card) == best {
			n += int64(items[i].N)
		}
	}
	return best, n*10 >= total*9
}

// population is the family and the group, without client, principal and
// account (which the caller has ruled out).
func population(kind *observation.Kind, values, family string) subject {
	texts := kind.Values(values)
	identity := lengthPrefixed(nil, family)
	var group []pair
	for i, name := range kind.Fields {
		value := ""
		if texts != nil {
			value = groupText(texts[i])
		}
		group = append(group, pair{name, value})
		raw, _ := kind.Field(values, i)
		identity = lengthPrefixed(lengthPrefixed(identity, name), raw)
	}
	return newSubject(SubjectPopulation, string(identity), group...)
}

// groupText is a group's value for people: bounded, a copy, valid UTF-8.
func groupText(s string) string { return strings.Clone(printable(clip(s))) }

func lengthPrefixed(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

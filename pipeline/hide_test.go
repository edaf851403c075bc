package pipeline

import (
	"net/netip"
	"strings"
	"testing"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// TestHidesNetworks: with identities hidden no network is left readable, however long its text is.
func TestHidesNetworks(t *testing.T) {
	mask, err := event.NewMasker(event.MaskOptions{Identities: true, HashKey: []byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	plan := &observation.Plan{Kinds: []observation.Kind{observation.NewKind([]string{"client.prefix"}, []bool{false})}, Rules: []observation.Rule{{ID: "r", ValueField: "client.prefix"}}}
	h := newHider(mask, plan)
	for _, network := range []string{"203.0.114.0/24", "203.113.114.0/24", "9.9.9.0/24", "2001:db8:1:2::/64"} {
		var b observation.Batch
		values := observation.AppendText(nil, network)
		b.Obs = append(b.Obs, observation.Observation{Hash: plan.Kinds[0].Hash(values), Values: b.KeepBytes(values), Count: 1})
		b.Hits = append(b.Hits, observation.Hit{N: 1, Value: network})
		b.Records = append(b.Records, observation.Record{Count: 1, Card: observation.Card{Client: netip.MustParseAddr("203.0.114.7")}})
		h.record(&b, &b.Records[0])
		v, ok := plan.Kinds[0].Field(b.Obs[0].Values, 0)
		if !ok || !strings.HasPrefix(v, "***") || !strings.HasPrefix(b.Hits[0].Value, "***") || b.Obs[0].Hash != plan.Kinds[0].Hash([]byte(b.Obs[0].Values)) {
			t.Errorf("%s: group %q, value %q", network, v, b.Hits[0].Value)
		}
	}
}

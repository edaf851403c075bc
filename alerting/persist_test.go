package alerting

import (
	"fmt"
	"testing"
)

// BenchmarkChanges encodes 100 incidents that all changed, with 1,000
// accounts each.
func BenchmarkChanges(bench *testing.B) {
	p := testPlan()
	b := testBook(p, nil)
	for c := range 100 {
		client := fmt.Sprintf("192.0.2.%d", c)
		for i := range 1000 {
			b.Apply(finding(p, ruleStuff, client, i == 0, seen{at: int64(i), client: client, account: fmt.Sprintf("user-%d-%d", c, i)}))
		}
	}
	bench.ReportAllocs()
	var size int
	for bench.Loop() {
		for _, inc := range b.byID {
			b.touch(inc)
		}
		size = 0
		for _, op := range b.Changes() {
			size += len(op.Value)
		}
	}
	bench.ReportMetric(float64(size), "bytes/cut")
}

// BenchmarkIncidents makes snapshots of a full book: 10,000 resolved
// incidents.
func BenchmarkIncidents(bench *testing.B) {
	p := testPlan()
	b := testBook(p, nil)
	for i := range 10_000 {
		client := fmt.Sprintf("10.1.%d.%d", i>>8, i&255)
		b.Apply(finding(p, ruleStuff, client, true, seen{at: int64(i) * 10, client: client, account: client}, seen{at: int64(i) * 10, client: client, account: "b"}))
	}
	b.Finish()
	bench.ReportAllocs()
	for bench.Loop() {
		b.Incidents()
	}
}

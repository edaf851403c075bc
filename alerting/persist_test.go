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

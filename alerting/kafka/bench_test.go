package kafka

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/collectors/kafka/kafkatest"
)

// BenchmarkNotify writes incidents one by one to a cluster in the process, and
// to Apache Kafka where there is one, as the outbox does: by one goroutine, and
// by the four that a receiver gets.
func BenchmarkNotify(b *testing.B) {
	b.Run("fake", func(b *testing.B) {
		bench(b, kafkatest.Start(b, kafkatest.Options{}))
	})
	b.Run("real", func(b *testing.B) { bench(b, kafkatest.Real(b)) })
}

func bench(b *testing.B, c *kafkatest.Cluster) {
	for _, goroutines := range []int{1, 4} {
		for _, compression := range []string{"none", "zstd"} {
			b.Run(fmt.Sprintf("%d %s", goroutines, compression), func(b *testing.B) {
				c := c.For(b)
				topic := c.Topic(3)
				conf := config(c.Access(kafkatest.Way{}), topic)
				conf.Compression = compression
				benchTo(b, receiver(b, conf), goroutines)
			})
		}
	}
}

func benchTo(b *testing.B, r *Receiver, goroutines int) {
	notes := make([]alerting.Notification, 64)
	for i := range notes {
		inc := receivertest.Incident("203.0.113.7")
		inc.ID = fmt.Sprintf("%016x", i)
		notes[i] = receivertest.Note(b, inc, alerting.CauseOpened)
	}
	if res := r.Notify(b.Context(), notes[0]); res.Err != nil {
		b.Fatal(res.Err)
	}
	took := make([]time.Duration, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				begin := time.Now()
				if res := r.Notify(b.Context(), notes[i%64]); res.Err != nil {
					b.Error(res.Err)
					return
				}
				took[i] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "incidents/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

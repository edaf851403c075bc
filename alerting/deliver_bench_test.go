package alerting

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkRevise measures what a cut costs the findings goroutine with
// thousands of open incidents: when nothing is due, when a tenth of them grew,
// and when a silence begins.
func BenchmarkRevise(b *testing.B) {
	root := plain("a", "b", "c")
	grouped := plain("d")
	grouped.GroupBy, grouped.GroupWait, grouped.Continue = []string{LabelFamily}, 30*time.Second, true
	ms, err := ParseMatchers(`level>=medium,rule=~"pro.*|sql"`)
	if err != nil {
		b.Fatal(err)
	}
	grouped.Matchers = ms
	rest := plain("a", "b", "c")
	root.Routes = []Route{grouped, rest}
	w := &world{plan: testPlan(), wall: time.Unix(5_000_000, 0)}
	w.book = testBook(w.plan, func(o *BookOptions) { o.MaxOpen = 5000 })
	w.book.SetRouting(routingOf(root, "a", "b", "c", "d"))
	const open = 4000
	client := func(i int) string { return fmt.Sprintf("10.0.%d.%d", i>>8, i&255) }
	for i := range open {
		w.hit(ruleProbe, client(i), 0, true)
	}
	for i := range 50 {
		ms, _ := ParseMatchers(fmt.Sprintf(`client.address=10.0.0.%d,level<=high`, i))
		_, _ = w.book.AddSilence(Silence{Matchers: ms, Author: "x", Start: w.wall, End: w.wall.Add(2000 * time.Hour)}, w.wall)
	}
	w.book.Revise(w.wall)
	w.book.Changes()
	step := func(b *testing.B, f func(i int)) {
		for i := 0; b.Loop(); i++ {
			f(i)
			w.wall = w.wall.Add(time.Second)
			w.book.Revise(w.wall)
			w.book.Changes()
		}
	}
	b.Run("quiet", func(b *testing.B) { step(b, func(int) {}) })
	b.Run("growing", func(b *testing.B) {
		step(b, func(i int) {
			for k := range open / 10 {
				w.hit(ruleProbe, client((i*open/10+k)%open), 1, false)
			}
		})
	})
	b.Run("silence", func(b *testing.B) {
		ms, _ := ParseMatchers(`family=nothing`)
		step(b, func(int) {
			s, err := w.book.AddSilence(Silence{Matchers: ms, Author: "x", Start: w.wall, End: w.wall.Add(time.Hour)}, w.wall)
			if err == nil {
				_, _ = w.book.ExpireSilence(s.ID, "x", w.wall)
			}
		})
	})
}

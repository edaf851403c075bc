package sigma

import (
	"fmt"
	"testing"
)

func BenchmarkWebRules(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 3000} {
		x := mustCompile(b, webRuleSet(n))
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) { observeAll(b, x, ordinary(b, x.Needs())) })
	}
}

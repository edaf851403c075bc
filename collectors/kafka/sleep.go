package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// backoff is how long to wait after so many failures in a row: longer each
// time, and not the same for all.
func backoff(fails int) time.Duration {
	d := backoffMost
	if fails < 8 {
		d = min(backoffFirst<<(fails-1), backoffMost)
	}
	return d/2 + rand.N(d/2+1)
}

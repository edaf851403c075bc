package endpoint

import (
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := func(value string, want time.Duration) {
		t.Helper()
		if got := RetryAfter(value, now, time.Hour); got != want {
			t.Errorf("%q: want %s, got %s", value, want, got)
		}
	}
	f("", 0)
	f("0", 0)
	f("-5", 0)
	f("120", 2*time.Minute)
	f("3600", time.Hour)
	f("3601", time.Hour)
	f("9223372036854775807", time.Hour)
	f("99999999999999999999", 0)
	f("soon", 0)
	f("Fri, 02 Jan 2026 03:05:05 GMT", time.Minute)
	f("Fri, 02 Jan 2026 03:00:00 GMT", 0)
	f("Sat, 02 Jan 2027 03:00:00 GMT", time.Hour)
}

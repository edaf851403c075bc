package alerting

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// TimeInterval is a set of moments by the clock and the calendar of a place,
// as in Alertmanager: a moment is in it when every part that is there holds.
// The zero value is all of time.
type TimeInterval struct {
	Times       []ClockSpan
	Weekdays    []IntSpan // 0 is Sunday
	DaysOfMonth []IntSpan // 1 to 31; negative ones count from the month's end
	Months      []IntSpan // 1 to 12
	Years       []IntSpan
	Location    *time.Location // nil is UTC
}

// ClockSpan is a span of a day in minutes after midnight, without its end.
type ClockSpan struct{ From, To int }

// IntSpan is a run of numbers, both ends included.
type IntSpan struct{ From, To int }

// Contains reports whether the moment is in the interval.
func (t *TimeInterval) Contains(at time.Time) bool {
	if t.Location != nil {
		at = at.In(t.Location)
	} else {
		at = at.UTC()
	}
	minute := at.Hour()*60 + at.Minute()
	holds := len(t.Times) == 0
	for _, s := range t.Times {
		holds = holds || s.From <= minute && minute < s.To
	}
	return holds && inSpans(t.Weekdays, int(at.Weekday())) && t.containsDay(at) &&
		inSpans(t.Months, int(at.Month())) && inSpans(t.Years, at.Year())
}

func inSpans(spans []IntSpan, n int) bool {
	for _, s := range spans {
		if s.From <= n && n <= s.To {
			return true
		}
	}
	return len(spans) == 0
}

func (t *TimeInterval) containsDay(at time.Time) bool {
	last := time.Date(at.Year(), at.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	for _, s := range t.DaysOfMonth {
		from, to := s.From, s.To
		if from < 0 {
			from += last + 1
		}
		if to < 0 {
			to += last + 1
		}
		if from <= at.Day() && at.Day() <= to {
			return true
		}
	}
	return len(t.DaysOfMonth) == 0
}

// ParseClockSpan reads two times of day, such as 09:00 and 17:30. The end may
// be 24:00 and is not part of the span.
func ParseClockSpan(from, to string) (ClockSpan, error) {
	a, err := parseClock(from)
	if err != nil {
		return ClockSpan{}, err
	}
	b, err := parseClock(to)
	if err != nil {
		return ClockSpan{}, err
	}
	if a >= b {
		return ClockSpan{}, fmt.Errorf("it begins at %s and ends at %s; for a span over midnight write two, %s to 24:00 and 00:00 to %s", from, to, from, to)
	}
	return ClockSpan{a, b}, nil
}

func parseClock(s string) (int, error) {
	h, m, ok := strings.Cut(s, ":")
	hour, err1 := strconv.Atoi(h)
	minute, err2 := strconv.Atoi(m)
	if !ok || err1 != nil || err2 != nil || len(h) != 2 || len(m) != 2 || hour < 0 || minute < 0 || minute > 59 || hour*60+minute > 24*60 {
		return 0, fmt.Errorf("%s is no time of day; write one from \"00:00\" to \"24:00\"", strconv.Quote(shorten(s)))
	}
	return hour*60 + minute, nil
}

// ParseWeekdays reads a day of the week or a range, such as monday:friday.
func ParseWeekdays(s string) (IntSpan, error) {
	return parseSpan(s, "day of the week", "saturday or monday:friday", func(w string) (int, bool) {
		for d := time.Sunday; d <= time.Saturday; d++ {
			if strings.EqualFold(w, d.String()) {
				return int(d), true
			}
		}
		return 0, false
	})
}

// ParseMonths reads a month by name or number, or a range, such as 1:3 or
// may:august.
func ParseMonths(s string) (IntSpan, error) {
	return parseSpan(s, "month", "december, 12 or may:august", func(w string) (int, bool) {
		for m := time.January; m <= time.December; m++ {
			if strings.EqualFold(w, m.String()) {
				return int(m), true
			}
		}
		n, err := strconv.Atoi(w)
		return n, err == nil && 1 <= n && n <= 12
	})
}

// ParseYears reads a year or a range, such as 2026:2030.
func ParseYears(s string) (IntSpan, error) {
	return parseSpan(s, "year", "2026 or 2026:2030", func(w string) (int, bool) {
		n, err := strconv.Atoi(w)
		return n, err == nil && 1 <= n && n <= 9999
	})
}

// ParseDaysOfMonth reads a day of the month or a range. Negative days count
// from the end: -3:-1 are the last three.
func ParseDaysOfMonth(s string) (IntSpan, error) {
	from, to, isRange := strings.Cut(s, ":")
	if !isRange {
		to = from
	}
	day := func(w string) (int, bool) {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		return n, err == nil && n != 0 && -31 <= n && n <= 31
	}
	a, ok1 := day(from)
	b, ok2 := day(to)
	if !ok1 || !ok2 {
		return IntSpan{}, spanError(s, "day of the month", "1, 1:5 or -3:-1")
	}
	// Whether 28:-1 is empty depends on the month; what is never there is a mistake.
	if (a > 0) == (b > 0) && a > b || a < 0 && b > 0 && b < a+29 {
		return IntSpan{}, fmt.Errorf("%s ends before it begins; write the earlier day first", strconv.Quote(shorten(s)))
	}
	return IntSpan{a, b}, nil
}

func parseSpan(s, what, example string, one func(string) (int, bool)) (IntSpan, error) {
	from, to, isRange := strings.Cut(s, ":")
	if !isRange {
		to = from
	}
	a, ok1 := one(strings.TrimSpace(from))
	b, ok2 := one(strings.TrimSpace(to))
	if !ok1 || !ok2 {
		return IntSpan{}, spanError(s, what, example)
	}
	if a > b {
		return IntSpan{}, fmt.Errorf("%s ends before it begins; write two entries", strconv.Quote(shorten(s)))
	}
	return IntSpan{a, b}, nil
}

func spanError(s, what, example string) error {
	return fmt.Errorf("%s is no %s; write %s", strconv.Quote(shorten(s)), what, example)
}

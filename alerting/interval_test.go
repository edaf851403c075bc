package alerting

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func TestTimeInterval(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	days := func(s string) IntSpan {
		x, err := ParseDaysOfMonth(s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	night := TimeInterval{Times: []ClockSpan{{22 * 60, 24 * 60}, {0, 6 * 60}}}
	office := TimeInterval{Times: []ClockSpan{{9 * 60, 17 * 60}}, Weekdays: []IntSpan{{1, 5}}, Location: berlin}
	ends := TimeInterval{DaysOfMonth: []IntSpan{days("-3:-1")}}
	middle := TimeInterval{DaysOfMonth: []IntSpan{days("28:-1")}}
	spring := TimeInterval{Months: []IntSpan{{3, 5}}, Years: []IntSpan{{2026, 2027}}}
	f := func(i *TimeInterval, at string, want bool) {
		t.Helper()
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := i.Contains(when); got != want {
			t.Errorf("%s: want %t, got %t", at, want, got)
		}
	}
	f(&TimeInterval{}, "2026-01-01T00:00:00Z", true)
	f(&night, "2026-01-01T21:59:59Z", false)
	f(&night, "2026-01-01T22:00:00Z", true)
	f(&night, "2026-01-01T23:59:59Z", true)
	f(&night, "2026-01-02T05:59:59Z", true)
	f(&night, "2026-01-02T06:00:00Z", false)
	f(&night, "2026-01-02T06:30:00+02:00", true)  // 04:30 UTC
	f(&office, "2026-07-06T07:00:00Z", true)      // Monday, 9:00 in summer
	f(&office, "2026-07-06T06:59:00Z", false)     //
	f(&office, "2026-01-05T08:00:00Z", true)      // Monday, 9:00 in winter
	f(&office, "2026-01-05T07:00:00Z", false)     //
	f(&office, "2026-07-05T10:00:00Z", false)     // Sunday
	f(&ends, "2026-02-25T10:00:00Z", false)       //
	f(&ends, "2026-02-26T10:00:00Z", true)        // of 28 days
	f(&ends, "2024-02-26T10:00:00Z", false)       // of 29
	f(&ends, "2026-03-31T10:00:00Z", true)        //
	f(&middle, "2026-02-28T10:00:00Z", true)      //
	f(&middle, "2026-03-28T10:00:00Z", true)      //
	f(&middle, "2026-03-27T10:00:00Z", false)     //
	f(&spring, "2026-03-01T10:00:00Z", true)      //
	f(&spring, "2027-05-31T23:59:59Z", true)      //
	f(&spring, "2028-05-31T23:59:59Z", false)     //
	f(&spring, "2026-06-01T00:00:00+02:00", true) // still May in UTC
}

func TestParseSpans(t *testing.T) {
	f := func(parse func(string) (IntSpan, error), text string, want IntSpan, fault string) {
		t.Helper()
		got, err := parse(text)
		switch {
		case fault == "" && (err != nil || got != want):
			t.Errorf("%s: want %v, got %v, %v", text, want, got, err)
		case fault != "" && (err == nil || err.Error() != fault):
			t.Errorf("%s: want the error %s, got %v", text, fault, err)
		}
	}
	f(ParseWeekdays, "Monday:friday", IntSpan{1, 5}, "")
	f(ParseWeekdays, "sunday", IntSpan{0, 0}, "")
	f(ParseWeekdays, "saturday:monday", IntSpan{}, `"saturday:monday" ends before it begins; write two entries`)
	f(ParseWeekdays, "mon", IntSpan{}, `"mon" is no day of the week; write saturday or monday:friday`)
	f(ParseMonths, "may:8", IntSpan{5, 8}, "")
	f(ParseMonths, "13", IntSpan{}, `"13" is no month; write december, 12 or may:august`)
	f(ParseYears, "2026:2030", IntSpan{2026, 2030}, "")
	f(ParseYears, "soon", IntSpan{}, `"soon" is no year; write 2026 or 2026:2030`)
	f(ParseDaysOfMonth, "1:5", IntSpan{1, 5}, "")
	f(ParseDaysOfMonth, "-3:-1", IntSpan{-3, -1}, "")
	f(ParseDaysOfMonth, "0", IntSpan{}, `"0" is no day of the month; write 1, 1:5 or -3:-1`)
	f(ParseDaysOfMonth, "-1:-3", IntSpan{}, `"-1:-3" ends before it begins; write the earlier day first`)
	f(ParseDaysOfMonth, "5:1", IntSpan{}, `"5:1" ends before it begins; write the earlier day first`)

	g := func(from, to string, want ClockSpan, fault string) {
		t.Helper()
		got, err := ParseClockSpan(from, to)
		switch {
		case fault == "" && (err != nil || got != want):
			t.Errorf("%s to %s: want %v, got %v, %v", from, to, want, got, err)
		case fault != "" && (err == nil || err.Error() != fault):
			t.Errorf("%s to %s: want the error %s, got %v", from, to, fault, err)
		}
	}
	g("09:00", "17:30", ClockSpan{540, 1050}, "")
	g("22:00", "24:00", ClockSpan{1320, 1440}, "")
	g("22:00", "06:00", ClockSpan{}, "it begins at 22:00 and ends at 06:00; for a span over midnight write two, 22:00 to 24:00 and 00:00 to 06:00")
	g("9:00", "17:00", ClockSpan{}, `"9:00" is no time of day; write one from "00:00" to "24:00"`)
	g("09:00", "24:01", ClockSpan{}, `"24:01" is no time of day; write one from "00:00" to "24:00"`)
}

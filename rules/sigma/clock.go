package sigma

import (
	"time"

	"gatewatch/event"
)

// isTime reports whether the source is the event's time, or its date or its
// time of day.
func (s source) isTime() bool { return s == srcTimestamp || s == srcDate || s == srcClock }

// part returns the source that is a part of this time; ok is false where the
// time does not have it.
func (s source) part(word string) (p source, ok bool) {
	p, ok = map[string]source{
		"minute": srcMinute, "hour": srcHour, "day": srcDay, "week": srcWeek, "month": srcMonth, "year": srcYear,
	}[word]
	switch s {
	case srcTimestamp:
		return p, ok
	case srcDate:
		return p, ok && p != srcMinute && p != srcHour
	case srcClock:
		return p, ok && (p == srcMinute || p == srcHour)
	default:
		return 0, false
	}
}

// limits returns the least and the greatest value of a part of a time.
func (s source) limits() (low, high float64, ok bool) {
	switch s {
	case srcMinute:
		return 0, 59, true
	case srcHour:
		return 0, 23, true
	case srcDay:
		return 1, 31, true
	case srcWeek:
		return 1, 53, true
	case srcMonth:
		return 1, 12, true
	case srcYear:
		return 1970, 2262, true // what nanoseconds since 1970 can say
	default:
		return 0, 0, false
	}
}

// number returns the value of a source that holds numbers.
func (m *Matcher) number(ev *event.Event, src source) (int64, bool) {
	if src < srcMinute {
		return ev.Number(event.Field(src))
	}
	if ev.Time == 0 {
		return 0, false
	}
	t := time.Unix(0, ev.Time).UTC()
	switch src {
	case srcMinute:
		return int64(t.Minute()), true
	case srcHour:
		return int64(t.Hour()), true
	case srcDay:
		return int64(t.Day()), true
	case srcWeek:
		_, week := t.ISOWeek()
		return int64(week), true
	case srcMonth:
		return int64(t.Month()), true
	default:
		return int64(t.Year()), true
	}
}

// clock returns a time as text.
func (m *Matcher) clock(ev *event.Event, src source) string {
	if ev.Time == 0 {
		return ""
	}
	layout := "2006-01-02T15:04:05Z"
	switch src {
	case srcDate:
		layout = "2006-01-02"
	case srcClock:
		layout = "15:04:05"
	}
	from := len(m.buf)
	m.buf = time.Unix(0, ev.Time).UTC().AppendFormat(m.buf, layout)
	return view(m.buf[from:])
}

package detectors

import "math"

// day is the mean of a bucket in each hour of one day of the week.
type day struct {
	rate  [24]float32
	weeks [24]uint8 // how many of each were learned, at most seasonWeeks; 0 is not known
}

const (
	seasonWeeks = 3    // a new week counts as one of so many
	trendWeight = 0.2  // of a week's growth in the one that is expected
	trendLimit  = 0.26 // no week is expected to grow or shrink by more than 30 %
	weekEvents  = 50   // an hour of so many events counts half for the trend
)

// hourly is what is known of an hour of the week, a bucket.
type hourly struct {
	mid, high, low float64
	known          bool
	own            bool // by that hour of the week, not by the same hour of other days
}

// hourAt looks an hour up, counted from 1970. Where it is not known, the same
// hour of the other days stands for it.
func (m *model) hourAt(hour uint32) (h hourly) {
	of, at := hour/24%7, hour%24
	if id := m.baseline.days[of]; id != 0 {
		if d := m.days.at(id); d.weeks[at] > 0 {
			v := float64(d.rate[at]) * math.Exp(m.trend)
			return hourly{v, v, v, true, true}
		}
	}
	n := 0.0
	for _, id := range m.baseline.days {
		if id == 0 {
			continue
		}
		if d := m.days.at(id); d.weeks[at] > 0 {
			v := float64(d.rate[at])
			if n == 0 {
				h.high, h.low = v, v
			}
			h.mid, h.high, h.low = h.mid+v, max(h.high, v), min(h.low, v)
			n++
		}
	}
	if h.known = n > 0; h.known {
		h.mid /= n
	}
	return h
}

// seasonAt is what the season has for the bucket that begins at a time. Hours
// go over into each other, and where between two of them traffic rises is not
// known: so the nearer of the neighbours counts for what is possible.
func (m *model) seasonAt(begin int64) hourly {
	hour := uint32(begin / 3600)
	h := m.hourAt(hour)
	if !h.known || m.length >= 3600 {
		return h
	}
	part := (float64(begin%3600) + float64(m.length)/2) / 3600
	near := hour + 1
	if part < 0.5 {
		near = hour - 1
	}
	if n := m.hourAt(near); n.known {
		w := math.Abs(part - 0.5)
		h.mid = h.mid*(1-w) + n.mid*w
		h.high, h.low = max(h.high, n.high), min(h.low, n.low)
	}
	return h
}

// endHour takes the hour that was being learned into the season.
func (m *model) endHour() {
	n, sum := m.hourN, m.hourSum
	m.hourN, m.hourSum = 0, 0
	if !m.seasonal || int64(n)*m.length < 1800 {
		return // less than half of it was seen, or learned from
	}
	mean := sum / float64(n)
	of, at := m.hour/24%7, m.hour%24
	id := &m.baseline.days[of]
	if *id == 0 {
		*id = m.newDay()
	}
	d := m.days.at(*id)
	if d.weeks[at] == 0 {
		d.rate[at], d.weeks[at] = float32(mean), 1
		return
	}
	before := float64(d.rate[at]) * math.Exp(m.trend)
	mean = m.believed(mean, before, d.weeks[at])
	d.rate[at] = float32(before + (mean-before)/float64(min(int(d.weeks[at])+1, seasonWeeks)))
	d.weeks[at] = min(d.weeks[at]+1, seasonWeeks)
	if before > 0 && mean > 0 {
		events := mean / m.unit * 3600 / float64(m.length)
		step := min(max(math.Log(mean/before), -0.5), 0.5)
		m.trend += trendWeight / 168 * step * events / (events + weekEvents)
		m.trend = min(max(m.trend, -trendLimit), trendLimit)
	}
}

// believed is what is learned of an hour of which another mean is known from
// before. An hour that is far off is believed as far as the whole day was: what
// lasts is a new level, what does not is none.
func (m *model) believed(mean, before float64, weeks uint8) float64 {
	if m.shift == 0 {
		m.shift = 1
	}
	room := 1.25
	if weeks == 1 {
		room = 2 // that one hour may have been the odd one
	}
	base := max(before, m.unit/4)
	ratio := min(max(mean/base, m.shift/room), m.shift*room)
	m.shift += (ratio - m.shift) / 24
	return ratio * base
}

// drop forgets the season.
func (m *model) drop() {
	for i, id := range m.baseline.days {
		if id != 0 {
			m.days.release(id)
			m.baseline.days[i] = 0
		}
	}
}

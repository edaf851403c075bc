package detectors

import "math"

// baseline is what was learned of the numbers of one window of a RateAnomaly,
// bucket by bucket, and what is known of the bucket that runs. A bucket is an
// aligned stretch of time as long as the rule's timespan.
//
// What is expected of a bucket is the mean of its hour of the week (season.go),
// times how far the last hours were above or below their means. Where the hour
// is not known yet it is the rate of the last hour: a cold start.
//
// The scatter of a bucket of mean m is that of a negative binomial, u*m + phi*m*m:
// u is the size of one event, 1 for counts, so that small numbers are judged by
// what chance does to them; phi is learned from how far buckets were off. With
// phi at 0 it is Poisson's. See Lambert, Liu: Adaptive thresholds (JASA 101,
// 2006) for a like use of both.
//
// Learning is robust: a bucket far from what was expected is not learned from,
// for an hour; if it lasts, it is taken for the new level, but never for more
// than reason allows at once.
type baseline struct {
	at    uint32  // number of the running bucket: its begin divided by its length
	first uint32  // number of the first bucket
	seen  uint32  // closed buckets, at most 1<<31
	off   uint32  // closed buckets that were far off, in a row
	sum   float64 // of the running bucket
	last  [scanned - 1]float64
	unit  float64 // size of an event: 1, or of sums the mean over what they are made of
	sizes float64 // sum of the squares of the sizes in the running bucket

	recent   float64 // rate of the last hour, a bucket
	num, den float64 // what was seen and what was expected in the last hours
	// Of one bucket, and of as many as are scanned: (seen-expected)^2 beyond
	// chance, and expected^2.
	over, sqr [2]float64
	hour      uint32 // hour that is being learned
	hourSum   float64
	hourN     uint32 // buckets in hourSum
	trend     float64
	shift     float64   // how far the last day was above or below its season; 0 is not known
	days      [7]uint32 // in Engine.days

	// Derived when a bucket begins: what is expected of it and of those before it.
	up, down [scanned]float64
	mids     [scanned]float64 // the most likely
	cold     bool

	next  float64 // of sum, below which no rule has to be looked at
	all   uint32  // bits of the rules that fired for everybody
	since uint32  // buckets since a rule fired
	crowd crowd
}

const (
	// scanned is over how many buckets a slight anomaly is looked for: it need not keep to their borders.
	scanned = 3
	// Before anything is judged so many buckets have to be closed, and so many seconds be over.
	leastHistory, leastSeconds = 3, 600

	recentSpan  = 3600
	localSpan   = 3 * 3600
	scatterSpan = 3 * 24 * 3600
	daySpan     = 24 * 3600
	// withheld is how long, in seconds, numbers that are far off are not learned from.
	withheld = 3600
	// forgotten is the silence, in seconds, after which a baseline begins anew.
	forgotten = 28 * 24 * 3600

	firstPhi = 0.05  // before anything is known of it, worth phiPrior buckets
	leastPhi = 0.004 // no traffic is more even than 6 %
	coldPhi  = 0.02
	phiPrior = 20

	farScore, farFactor = 4, 1.3 // from what on a bucket is far off
	localPrior          = 3      // events that the last hours have to outweigh
)

// model is a baseline with what its rules say of it.
type model struct {
	*baseline
	days     *arena[day]
	length   int64 // of a bucket, seconds
	seasonal bool
	sized    bool // sums of a field
}

func (m *model) newDay() uint32 { return m.days.alloc() }

// share is the weight of one bucket in a mean over so many seconds, with all
// buckets so far alike while there are fewer.
func (m *model) share(seconds float64) float64 {
	n := max(seconds/float64(m.length), 6)
	return 1 / max(1, min(n, float64(m.seen)))
}

// phi is what scatter there is beyond chance: of single buckets, or of sums over
// all that are scanned, where what goes up and down by itself is less.
func (m *model) phi(several bool) float64 {
	i := 0
	if several {
		i = 1
	}
	n := float64(m.seen)
	least := leastPhi
	if m.cold {
		least = coldPhi
	}
	if m.sqr[i] <= 0 {
		return firstPhi
	}
	n = min(n, scatterSpan/float64(m.length))
	return max(least, (m.over[i]/m.sqr[i]*n+firstPhi*phiPrior)/(n+phiPrior))
}

func (m *model) deviation(mean float64) float64 {
	return math.Sqrt(m.unit*mean + m.phi(false)*mean*mean)
}

// score is how many standard deviations a number is from a mean, below 0 for
// less: the signed root of the deviance of a negative binomial, which is nearly
// normal down to small means.
func (m *model) score(x, mean float64, several bool) float64 {
	unit := m.unit
	if unit <= 0 {
		unit = 1
	}
	x, mean = x/unit, max(mean/unit, 1e-3)
	k := 1 / m.phi(several)
	d := -(x + k) * math.Log((k+x)/(k+mean))
	if x > 0 {
		d += x * math.Log(x/mean)
	}
	return math.Copysign(math.Sqrt(2*max(d, 0)), x-mean)
}

// start begins a baseline in the bucket of a time.
func (m *model) start(now int64) {
	m.at = uint32(now / m.length)
	m.first, m.hour, m.unit = m.at, uint32(now/3600), 1
	m.expect()
}

// expect works out what is expected of the running bucket, and moves on what
// was of those before it.
func (m *model) expect() {
	copy(m.up[1:], m.up[:])
	copy(m.down[1:], m.down[:])
	copy(m.mids[1:], m.mids[:])
	m.mids[0], m.up[0], m.down[0], m.cold = m.predict(int64(m.at) * m.length)
	m.next = 0
}

// predict returns what is expected of the bucket that begins at a time: most
// likely, at most and at least.
func (m *model) predict(begin int64) (mid, up, down float64, cold bool) {
	if !m.seasonal {
		// One rate, of the last day; the last hour explains a change as well.
		rate := m.recent
		if m.den > 0 {
			rate = m.num / m.den
		}
		return m.recent, max(rate, m.recent), min(rate, m.recent), int64(m.seen)*m.length < daySpan
	}
	s := m.seasonAt(begin)
	if !s.known {
		return m.recent, m.recent, m.recent, true
	}
	local := m.local()
	mid, up, down = s.mid*local, s.high*max(1, local), s.low*min(1, local)
	if !s.own {
		up, down = max(up, m.recent), min(down, m.recent)
	}
	return mid, up, down, !s.own
}

// local is how far the last hours were above or below their season.
func (m *model) local() float64 {
	n := max(localSpan/float64(m.length), 6)
	prior := localPrior * m.unit
	return (m.num*n + prior) / (m.den*n + prior)
}

// far reports whether a closed bucket was far off what was expected.
func (m *model) far(x float64) bool {
	switch {
	case x > m.up[0]*farFactor:
		return m.score(x, m.up[0], false) >= farScore
	case x*farFactor < m.down[0]:
		return m.score(x, m.down[0], false) <= -farScore
	}
	return false
}

// close ends the running bucket, learns from it and begins the next one.
func (m *model) close() {
	m.learn(m.sum, 1)
	if m.sized && m.sum > 0 {
		m.unit += m.share(scatterSpan) * (m.sizes/m.sum - m.unit)
	}
	copy(m.last[1:], m.last[:])
	m.last[0], m.sum, m.sizes = m.sum, 0, 0
	m.at++
	m.expect()
}

// skip goes over buckets in which there was nothing, up to the one with a number.
func (m *model) skip(to uint32) {
	if int64(to-m.at)*m.length > forgotten {
		m.drop()
		*m.baseline = baseline{}
		m.start(int64(to) * m.length)
		return
	}
	perHour := uint32(3600 / m.length)
	for m.at < to {
		n := min(to-m.at, perHour-m.at%perHour)
		if n <= scanned {
			m.close()
			continue
		}
		m.learn(0, n)
		m.last = [scanned - 1]float64{}
		m.at += n
		m.expect()
		m.up, m.down = [scanned]float64{m.up[0], m.up[0], m.up[0]}, [scanned]float64{m.down[0], m.down[0], m.down[0]}
		m.mids = [scanned]float64{m.mids[0], m.mids[0], m.mids[0]}
	}
}

// learn takes in n closed buckets of one number, from the running one on.
func (m *model) learn(x float64, n uint32) {
	if m.at == m.first {
		n-- // it may have begun before anybody looked
	}
	if n == 0 {
		return
	}
	begin := int64(m.at) * m.length
	if hour := uint32(begin / 3600); hour != m.hour {
		m.endHour()
		m.hour = hour
	}
	far := !m.early(0) && m.far(x)
	if far {
		m.off += n
	} else {
		m.off = 0
	}
	m.seen = min(m.seen+n, 1<<31)
	if m.holds(far) {
		return
	}
	if mid := m.mids[0]; m.seen > n && mid > 0 {
		m.learnScatter(x, n)
		room := 3*m.deviation(mid) + m.unit
		if !m.early(0) {
			x = min(max(x, mid-room), mid+room)
		}
	}
	m.recent += m.weight(recentSpan, n) * (x - m.recent)
	m.learnLocal(x, begin, n)
	m.hourSum += x * float64(n)
	m.hourN += n
}

// early reports whether there is too little to judge by, and by so many
// buckets more.
func (m *model) early(more uint32) bool {
	return m.seen < max(leastHistory, uint32(leastSeconds/m.length))+more
}

// holds reports whether a bucket is not to be learned from.
func (m *model) holds(far bool) bool {
	return far && !m.cold && int64(m.off)*m.length <= withheld
}

// learnScatter takes in how far a bucket, and the last ones together, were off.
// More than a normal scatter has once in seventy is not believed.
func (m *model) learnScatter(x float64, n uint32) {
	const most = 6
	a := m.weight(scatterSpan, n)
	mid := m.mids[0]
	chance := m.unit * mid
	d := min((x-mid)*(x-mid), most*(chance+m.phi(false)*mid*mid))
	m.over[0] += a * (d - chance - m.over[0])
	m.sqr[0] += a * (mid*mid - m.sqr[0])
	if m.early(scanned) || n > 1 {
		return
	}
	for i := range m.last {
		x, mid = x+m.last[i], mid+m.mids[i+1]
	}
	chance = m.unit * mid
	d = min((x-mid)*(x-mid), most*(chance+m.phi(true)*mid*mid))
	m.over[1] += a * (d - chance - m.over[1])
	m.sqr[1] += a * (mid*mid - m.sqr[1])
}

// weight is that of n buckets in a mean over so many seconds.
func (m *model) weight(seconds float64, n uint32) float64 {
	a := m.share(seconds)
	if n == 1 {
		return a
	}
	return 1 - math.Pow(1-a, float64(n))
}

func (m *model) learnLocal(x float64, begin int64, n uint32) {
	if !m.seasonal {
		a := m.weight(daySpan, n)
		m.num += a * (x - m.num)
		m.den += a * (1 - m.den)
		return
	}
	s := m.seasonAt(begin)
	if !s.known {
		return
	}
	steps := max(localSpan/float64(m.length), 6)
	a := 1 - math.Pow(1-1/steps, float64(n))
	m.num += a * (x - m.num)
	m.den += a * (s.mid - m.den)
}

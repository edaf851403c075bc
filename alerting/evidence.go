package alerting

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"gatewatch/detectors/observation"
)

const (
	firstLines  = 3
	latestLines = 5
	// maxLine bounds the text of an evidence line in bytes.
	maxLine = 1024
)

// line is one piece of evidence.
type line struct {
	Ref  observation.Ref
	Time int64 // window time
	File string
	Text string
	Line int64 // inside File; Ref.Line until the text is known
	Done bool  // fetched, or given up
}

func compareLines(a, b *line) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Ref.Source, b.Ref.Source), cmp.Compare(a.Ref.Offset, b.Ref.Offset))
}

// evidence keeps the first three and the latest five lines by time, whatever
// the order in which findings bring them. Each line is kept once.
type evidence struct {
	first, latest []line // ascending
}

// add reports whether a line was taken in.
func (e *evidence) add(item *observation.Item) bool {
	// Growing incidents mostly append at the end: look there first.
	n := line{Ref: item.Ref, Time: item.Time, Line: item.Ref.Line}
	if len(e.first) < firstLines || compareLines(&n, &e.first[len(e.first)-1]) < 0 {
		if !insertLine(&e.first, n) {
			return false
		}
		if len(e.first) <= firstLines {
			return true
		}
		n = e.first[firstLines]
		e.first = e.first[:firstLines]
	}
	// Behind the first three, or equal to the last of them.
	if compareLines(&n, &e.first[len(e.first)-1]) == 0 {
		return false
	}
	if len(e.latest) == latestLines && compareLines(&n, &e.latest[0]) <= 0 {
		return true // the three may have changed
	}
	if !insertLine(&e.latest, n) {
		return false
	}
	if len(e.latest) > latestLines {
		copy(e.latest, e.latest[1:])
		e.latest = e.latest[:latestLines]
	}
	return true
}

// insertLine inserts n in order; false when it is there already.
func insertLine(list *[]line, n line) bool {
	i, found := slices.BinarySearchFunc(*list, n, func(a, b line) int { return compareLines(&a, &b) })
	if found {
		return false
	}
	*list = slices.Insert(*list, i, n)
	return true
}

func (e *evidence) each(f func(*line)) {
	for i := range e.first {
		f(&e.first[i])
	}
	for i := range e.latest {
		f(&e.latest[i])
	}
}

func (e *evidence) incomplete() bool {
	var open bool
	e.each(func(l *line) { open = open || !l.Done })
	return open
}

// Want is an evidence line whose text the book does not have yet.
type Want struct {
	Incident string
	Ref      observation.Ref
}

// Wanted returns evidence lines whose text is to be fetched, at most limit of
// them: first of incidents that nobody was told of yet, by level, then of those
// that have waited longest. They stay wanted until SetText.
func (b *Book) Wanted(limit int) []Want {
	b.wanting = slices.DeleteFunc(b.wanting, func(inc *incident) bool {
		inc.wanting = !inc.forgotten && inc.evidence.incomplete()
		return !inc.wanting
	})
	slices.SortStableFunc(b.wanting, func(x, y *incident) int { return cmp.Compare(y.urgency(), x.urgency()) })
	var out []Want
	served := 0
	for _, inc := range b.wanting {
		if len(out) >= limit {
			break
		}
		served++
		inc.evidence.each(func(l *line) {
			if !l.Done && len(out) < limit {
				out = append(out, Want{inc.id, l.Ref})
			}
		})
	}
	// Whoever was served queues behind the others, or those that grow all the
	// time would keep the rest from ever being read.
	b.wanting = slices.Concat(b.wanting[served:], b.wanting[:served])
	return out
}

// urgency says whose evidence is to be read before others'.
func (inc *incident) urgency() int {
	if inc.told.revision > 0 || inc.parent != "" {
		return -1 // whoever was told, or hears of it through its parent, can wait
	}
	return int(inc.level())
}

// want notes that the incident has lines without text.
func (b *Book) want(inc *incident) {
	if !inc.wanting {
		inc.wanting = true
		b.wanting = append(b.wanting, inc)
	}
}

// SetText gives a wanted line its text: already masked, in file at the given
// 1-based line. An empty text means that it can no longer be had; it is not
// wanted again. Lines that the incident no longer shows are passed over.
func (b *Book) SetText(w Want, file string, number int64, text string) {
	inc := b.byID[w.Incident]
	if inc == nil {
		return
	}
	inc.evidence.each(func(l *line) {
		if l.Ref.Source != w.Ref.Source || l.Ref.Offset != w.Ref.Offset {
			return
		}
		l.Done = true
		l.Text = strings.Clone(cutText(text, maxLine))
		if file != "" {
			l.File = strings.Clone(printable(file))
		}
		if number > 0 {
			l.Line = number
		}
		b.touch(inc)
	})
}

// cutText makes s valid UTF-8 and cuts it at about n bytes, saying so.
func cutText(s string, n int) string {
	const mark = " [cut]"
	if len(s) > n {
		end := n - len(mark)
		for end > 0 && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + mark
	}
	return printable(s)
}

// printable replaces what is not UTF-8, so that text is the same before and
// after it went through JSON.
func printable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

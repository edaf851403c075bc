package injection

// anyOf is a list of texts of which one is looked for in a single pass, where
// looking for each by itself would take as many.
type anyOf struct {
	long  *words
	short []string // of less than four bytes
}

func newAnyOf(list ...string) *anyOf {
	x := &anyOf{}
	var long []string
	for _, s := range list {
		if len(s) < 4 {
			x.short = append(x.short, s)
		} else {
			long = append(long, s)
		}
	}
	x.long = newWords(map[topic][]string{aboutAny: long})
	return x
}

// in reports whether one of the texts is in t, which is in lower case.
func (x *anyOf) in(t []byte) bool {
	return x.long.find(t)&aboutAny != 0 || len(x.short) > 0 && hasAny(t, x.short...)
}

// within is in for a text in any case.
func (x *anyOf) within(t []byte) bool {
	return x.long.find(t)&aboutAny != 0
}

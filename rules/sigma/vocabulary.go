package sigma

import (
	"maps"
	"slices"

	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// The keys and words of documents, for the parser, its messages and schemas.

func correlationKeys() []string {
	return []string{"type", "rules", "group-by", "timespan", "condition", "aliases", "generate"}
}

func conditionKeys() []string {
	return []string{"gt", "gte", "lt", "lte", "eq", "neq", "field", "percentile"}
}

// baselineKeys are those of the condition of a rate_anomaly.
func baselineKeys() []string {
	return []string{"direction", "factor", "score", "min_count", "season", "spread", "field"}
}

// walkKeys are those of the condition of an id_walk.
func walkKeys() []string {
	return []string{"gte", "gt", "field", "step", "order", "share", "factor", "served", "denied", "missing", "refused"}
}

func directions() []string { return []string{"up", "down", "both"} }
func seasons() []string    { return []string{"hour_of_week", "none"} }
func orders() []string     { return observation.Orders() }
func spreads() []string    { return []string{"any", "few", "even"} }

// FieldName is a name that rules use for a part of a request.
type FieldName struct {
	Name   string
	Source string     // what it stands for, the same for all names of it
	Kind   event.Kind // of its values
}

// Vocabulary is what documents are written with.
type Vocabulary struct {
	Keys     []string // at the top of a document
	OwnKeys  []string // under gatewatch
	Statuses []string
	Levels   []string // least first
	// Fields are names as they have to be written; of Spelled, of which Usual has
	// the usual forms, neither case nor any of "-_() " matter.
	Fields, Usual []FieldName
	Spelled       []string // in lower case and without punctuation
	Modifiers     []string

	Types           []string // of correlations
	CorrelationKeys []string
	ConditionKeys   []string // of the types that compare a number
	BaselineKeys    []string // of the condition of a rate_anomaly
	WalkKeys        []string // of the condition of an id_walk
	Directions      []string
	Seasons         []string
	Spreads         []string
	Orders          []string
}

// Words returns the vocabulary. It is made of the tables that the parser reads
// with.
func Words() Vocabulary {
	v := Vocabulary{
		Keys: knownKeys(), OwnKeys: ownKeys(), Statuses: statuses(), Modifiers: knownModifiers(), Types: correlationTypes(),
		CorrelationKeys: correlationKeys(), ConditionKeys: conditionKeys(), BaselineKeys: baselineKeys(), WalkKeys: walkKeys(),
		Directions: directions(), Seasons: seasons(), Spreads: spreads(), Orders: orders(),
		Spelled: slices.Sorted(maps.Keys(taxonomyNames)),
	}
	for l := observation.Informational; l <= observation.Critical; l++ {
		v.Levels = append(v.Levels, l.String())
	}
	named := func(name string) FieldName {
		src, _ := lookupSource(name, taxWebserver)
		return FieldName{name, src.String(), src.kind()}
	}
	for _, name := range append(event.FieldNames(), slices.Sorted(maps.Keys(viewNames))...) {
		v.Fields = append(v.Fields, named(name))
	}
	for _, name := range sigmaNames() {
		if _, exact := viewNames[name]; !exact {
			v.Usual = append(v.Usual, named(name))
		}
	}
	return v
}

package schema

import (
	"github.com/google/jsonschema-go/jsonschema"

	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// timePattern is a moment as RFC 3339 writes it.
const timePattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$`

// single is one value of any type.
func single() *jsonschema.Schema { return types("string", "number", "boolean") }

func logKeys() []key {
	return []key{
		{"log", "Lines of one log format. {time}, {iso}, {n} and {word} stand for what is different in each round.", single()},
		{"repeat", "The lines again and again, each time later.", ref("repeat")},
		{"start", "The time of the first round: 2026-11-23T10:00:00Z where it is not given.", pattern(timePattern)},
	}
}

func testCase() *jsonschema.Schema {
	o := object{required: []string{"name", "expect"}, keys: []key{{"name", "What the case shows. A near miss begins with these words.", text()}}}
	o.keys = append(o.keys, logKeys()...)
	o.keys = append(o.keys,
		key{"parts", "Instead of log: pieces of the log, one after the other.", listOf(ref("part"))},
		key{"late", "How many of its lines are meant to be too far behind to count in windows.", number()},
		key{"expect", "none, or the incidents that the log opens, all of them.", when(types("string"), enum([]string{"none"}), listOf(ref("incident")))})
	s := o.schema()
	s.OneOf = []*jsonschema.Schema{{Required: []string{"log"}}, {Required: []string{"parts"}}}
	return s
}

func testPart() *jsonschema.Schema {
	return object{required: []string{"log"}, keys: logKeys()}.schema()
}

func testRepeat() *jsonschema.Schema {
	return object{required: []string{"times", "every"}, keys: []key{
		{"times", "How often the lines come.", number()},
		{"every", "How much later each time, such as 500ms, 5s or 2m.", types("string", "number")},
	}}.schema()
}

func testIncident(w sigma.Vocabulary) *jsonschema.Schema {
	moment := func() *jsonschema.Schema { return pattern(timePattern) }
	group := object{}
	for _, name := range event.FieldNames() {
		group.keys = append(group.keys, key{name, "", single()})
	}
	groups := group.schema()
	groups.MinProperties = new(1)
	s := object{keys: []key{
		{"rule", "Title or id of the incident's rule, the highest that fired.", single()},
		{"level", "", enum(w.Levels)},
		{"family", "", single()},
		{"group", "Fields of its group.", groups},
		{"rules", "Titles or ids of all rules that fired.", listOf(single())},
		{"count", "", number()},
		{"first_seen", "RFC 3339.", moment()},
		{"detected_at", "RFC 3339: the first firing at medium or above, else the first.", moment()},
		{"last_seen", "RFC 3339.", moment()},
		{"sources", "All source addresses; [] where none is listed.", &jsonschema.Schema{Type: "array", Items: single()}},
		{"accounts", "All accounts.", listOf(single())},
		{"shadow", "The rule is only watched.", types("boolean")},
	}}.schema()
	s.MinProperties = new(1)
	return s
}

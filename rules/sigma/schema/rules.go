package schema

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"gatewatch/event"
	"gatewatch/rules/sigma"
)

// rules makes the parts of the schema of rule documents.
type rules struct{ sigma.Vocabulary }

func (r rules) document() *jsonschema.Schema {
	texts := func() *jsonschema.Schema { return oneOrMore(types("string")) }
	about := map[string]key{
		"title":          {"title", "What is found, in a few words: the headline of its incidents.", text()},
		"id":             {"id", "A random UUID. Windows and incidents keep to it.", text()},
		"name":           {"name", "A short name by which correlations and filters refer to the document.", text()},
		"related":        {"related", "Rules that this one comes from or replaces.", types("array", "null")},
		"taxonomy":       {"taxonomy", "The names of fields; Sigma's own where it is not given.", types("string")},
		"status":         {"status", "An experimental rule is evaluated and counted, but nobody is told.", enum(r.Statuses)},
		"description":    {"description", "What it finds, and why that matters.", types("string", "null")},
		"license":        {"license", "", types("string")},
		"author":         {"author", "", types("string", "null")},
		"references":     {"references", "Addresses where more is written about it.", when(types("null"), &jsonschema.Schema{}, texts())},
		"date":           {"date", "When it was written: YYYY-MM-DD.", types("string")},
		"modified":       {"modified", "When it was last changed: YYYY-MM-DD.", types("string")},
		"logsource":      {"logsource", "", r.logsource()},
		"detection":      {"detection", "What one request looks like.", ref("detection")},
		"correlation":    {"correlation", "How many requests of other rules, by whom, in which time.", ref("correlation")},
		"filter":         {"filter", "An exception for other rules.", ref("filter")},
		"fields":         {"fields", "Fields that help to judge an incident.", when(types("null"), &jsonschema.Schema{}, texts())},
		"falsepositives": {"falsepositives", "Harmless requests that look the same.", when(types("null"), &jsonschema.Schema{}, texts())},
		"level":          {"level", "How much it matters; medium where it is not given.", enum(r.Levels)},
		"tags":           {"tags", "Such as attack.t1110.004 or owasp.api2-2023.", when(types("null"), &jsonschema.Schema{}, texts())},
		"generate":       {"generate", "The rules of the correlation open incidents by themselves too.", yesOrNo()},
		"gatewatch":      {"gatewatch", "Settings of gatewatch's own.", r.own()},
	}
	o := object{required: []string{"title"}, extra: &jsonschema.Schema{}}
	for _, name := range r.Keys {
		k, ok := about[name]
		if !ok {
			k = key{name, "", &jsonschema.Schema{}}
		}
		o.keys = append(o.keys, k)
	}
	s := o.schema()
	for _, body := range []string{"detection", "correlation", "filter"} {
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: []string{body}})
	}
	return s
}

func (r rules) own() *jsonschema.Schema {
	about := map[string]key{
		"family":        {"family", "What the incidents of the rule join: credential, web-attack, object-access, traffic, or a word of your own.", text()},
		"resolve_after": {"resolve_after", "Its incidents resolve after this much quiet, such as 30m.", pattern(spanPattern)},
		"tests":         {"tests", "Cases that show what the rules of this file find, see docs/rule-tests.md.", &jsonschema.Schema{Type: "array", Items: ref("case")}},
	}
	rule := func() *jsonschema.Schema { return types("string") }
	number := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "integer", Minimum: new(1.0), Maximum: new(10_000.0)}
	}
	maps.Copy(about, map[string]key{
		"unless":   {"unless", "Of a correlation: an event counts only where its group did not match this detection within the timespan before.", rule()},
		"after":    {"after", "Of a correlation: an event counts only where its group matched this detection within the timespan before.", rule()},
		"while":    {"while", "Of a correlation: an event counts only while this correlation, or each of these, with the same group-by, is true of its group.", oneOrMore(types("string"))},
		"at_least": {"at_least", "Of value_sum, value_avg and value_percentile: how many values there have to be before the condition is looked at.", number()},
		"newest":   {"newest", "Of value_sum, value_avg and value_percentile: only the newest so many values of the timespan count.", number()},
	})
	o := object{}
	for _, name := range r.OwnKeys {
		o.keys = append(o.keys, about[name])
	}
	return when(types("null"), &jsonschema.Schema{}, o.schema())
}

// anyCase matches a word whatever its case.
func anyCase(word string) string {
	var b strings.Builder
	for _, c := range word {
		if up := strings.ToUpper(string(c)); up != string(c) {
			b.WriteString("[" + string(c) + up + "]")
		} else {
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return b.String()
}

func (r rules) logsource() *jsonschema.Schema {
	word := func(words ...string) *jsonschema.Schema {
		var p []string
		for _, w := range words {
			p = append(p, anyCase(w))
		}
		return pattern("^(?:" + strings.Join(p, "|") + ")$")
	}
	own := func() *jsonschema.Schema { return word("gateway", "api", "gatewatch") }
	categories := []string{"webserver", "proxy", "gateway", "api"}
	// An editor offers what is in a list, not what a pattern allows.
	category := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{enum(categories), word(categories...)}}
	requests := object{extra: &jsonschema.Schema{}, keys: []key{
		{"category", "Which logs the rule is for.", category},
		{"product", "", types("string")},
		{"service", "", types("string")},
	}}.schema()
	// Without one of Sigma's categories only our own products are meant.
	requests.If = &jsonschema.Schema{Required: []string{"category"}, Properties: map[string]*jsonschema.Schema{"category": word("webserver", "proxy")}}
	requests.Then = &jsonschema.Schema{}
	requests.Else = &jsonschema.Schema{Properties: map[string]*jsonschema.Schema{"product": own(), "service": own()}}
	return when(types("null"), &jsonschema.Schema{}, requests)
}

// fieldPattern matches the names of fields. Of Sigma's neither case nor
// punctuation matters.
func (r rules) fieldPattern() string {
	var names []string
	for _, f := range r.Fields {
		names = append(names, regexp.QuoteMeta(f.Name))
	}
	const between = "[-_() ]*"
	for _, name := range r.Spelled {
		var p strings.Builder
		p.WriteString(between)
		for _, c := range name {
			p.WriteString(anyCase(string(c)) + between)
		}
		names = append(names, p.String())
	}
	return "(?:" + strings.Join(names, "|") + ")"
}

func (r rules) modifierPattern() string { return `\|(?:` + strings.Join(r.Modifiers, "|") + ")" }

// fields is what group-by and field name: fields, or aliases.
func (r rules) fields() *jsonschema.Schema {
	return when(types("null"), &jsonschema.Schema{}, oneOrMore(text()))
}

// value is the value of an item of a detection.
func (r rules) value() *jsonschema.Schema {
	return oneOrMore(types("string", "number", "boolean", "null"))
}

// selection is a map of fields and values.
func (r rules) selection() *jsonschema.Schema {
	field, modifier := r.fieldPattern(), r.modifierPattern()
	o := object{patterns: map[string]*jsonschema.Schema{
		"^(?:" + field + "(?:" + modifier + ")*|(?:" + modifier + ")+)$": ref("value"),
		`\|exists(?:\||$)`: when(types("array"), listOf(existence()), existence()),
		// A list of the configuration can stand for the number.
		`\|(?:lt|lte|gt|gte)(?:\||$)`: oneOrMore(when(types("string"), pattern(`^(?:-?[0-9]+(?:\.[0-9]+)?|.*%.*%.*)$`), types("number"))),
	}}
	for _, list := range [][]sigma.FieldName{r.Usual, r.Fields} {
		for _, f := range list {
			k := key{name: f.Name, value: &jsonschema.Schema{}}
			if f.Source != f.Name {
				k.about = "The field " + f.Source + "."
			}
			if f.Kind == event.KindNumber {
				k.value = ref("numbers")
			}
			o.keys = append(o.keys, k)
		}
	}
	s := o.schema()
	s.MinProperties = new(1)
	return s
}

func existence() *jsonschema.Schema {
	return when(types("string"), pattern("^(?:"+strings.Join([]string{anyCase("true"), anyCase("false"), anyCase("yes"), anyCase("no")}, "|")+")$"), types("boolean"))
}

// search is what stands behind the name of a selection.
func search() *jsonschema.Schema {
	entry := when(types("object"), ref("selection"), ref("scalar"))
	return when(types("object"), ref("selection"), when(types("array"), listOf(entry), ref("scalar")))
}

func (r rules) detection() *jsonschema.Schema {
	s := object{required: []string{"condition"}, extra: search(), keys: []key{
		{"condition", "Which selections have to hold: selection and not 1 of filter_*", ref("condition")},
		{"timeframe", "No longer part of Sigma: write a correlation.", &jsonschema.Schema{Not: &jsonschema.Schema{}}},
	}}.schema()
	s.MinProperties = new(2)
	return s
}

func (r rules) filter() *jsonschema.Schema {
	s := object{required: []string{"rules", "condition"}, extra: search(), keys: []key{
		{"rules", "Ids or names of detections, or any.", oneOrMore(text())},
		{"condition", "What has to hold beside the rule's own condition: not selection", ref("condition")},
	}}.schema()
	s.MinProperties = new(3)
	return s
}

func (r rules) correlation() *jsonschema.Schema {
	about := map[string]key{
		"type":      {"type", "What is counted or measured.", enum(r.Types)},
		"rules":     {"rules", "Ids or names of detections, or of correlations.", oneOrMore(text())},
		"group-by":  {"group-by", "Fields of which each combination has a window of its own.", ref("fields")},
		"timespan":  {"timespan", "The length of the window, such as 90m.", pattern(spanPattern)},
		"condition": {"condition", "When it fires.", &jsonschema.Schema{}},
		"aliases":   {"aliases", "One name for what is called differently in different rules: {who: {rule_a: auth.account, rule_b: user.name}}", aliases()},
		"generate":  {"generate", "The rules open incidents by themselves too.", yesOrNo()},
	}
	o := object{required: []string{"type", "rules"}}
	for _, name := range r.CorrelationKeys {
		o.keys = append(o.keys, about[name])
	}
	o.keys = append(o.keys, key{"timeframe", "Sigma's older name of timespan.", pattern(spanPattern)})
	s := o.schema()
	s.AnyOf = []*jsonschema.Schema{{Required: []string{"timespan"}}, {Required: []string{"timeframe"}}}
	for _, t := range r.Types {
		condition, required := r.conditionOf(t)
		then := &jsonschema.Schema{Properties: map[string]*jsonschema.Schema{"condition": condition}}
		if required {
			then.Required = []string{"condition"}
		}
		is := any(t)
		s.AllOf = append(s.AllOf, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: map[string]*jsonschema.Schema{"type": {Const: &is}}},
			Then: then,
		})
	}
	return s
}

func aliases() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", AdditionalProperties: &jsonschema.Schema{
			Type: "object", MinProperties: new(1), AdditionalProperties: text(),
		},
	}
}

// conditionOf returns what the condition of a correlation of this type is, and
// whether there has to be one.
func (r rules) conditionOf(typ string) (s *jsonschema.Schema, required bool) {
	field := key{"field", "The field whose values are counted or measured; of a list, each combination.", ref("fields")}
	values := map[string]key{
		"field":      field,
		"percentile": {"percentile", "Which percentile of the numbers, above 0 and up to 100; 50 is the median.", number()},
		"direction":  {"direction", "Whether more than usual is looked for, or less.", enum(r.Directions)},
		"factor":     {"factor", "How many times what is usual.", number()},
		"score":      {"score", "How many standard deviations from what is usual.", number()},
		"min_count":  {"min_count", "What has to be seen at least.", number()},
		"season":     {"season", "Whether the hour of the week has its own habit.", enum(r.Seasons)},
		"spread":     {"spread", "Whether few clients that stand out bring what is too much, or all alike.", enum(r.Spreads)},
		"step":       {"step", "The greatest distance from one id to the next.", number()},
		"order":      {"order", "In which order the ids have to come.", enum(r.Orders)},
		"share":      {"share", "Which share of the ids has to keep to step and order.", number()},
		"served":     {"served", "Which share of the ids has to be answered by 2xx or 304.", number()},
		"denied":     {"denied", "Which share of the ids has to be answered by 403.", number()},
		"missing":    {"missing", "Which share of the ids has to be answered by 404 or 410.", number()},
		"refused":    {"refused", "Which share of the ids has to be answered by 403, 404 or 410.", number()},
	}
	pick := func(names []string, leave ...string) []key {
		var out []key
		for _, n := range names {
			k, ok := values[n]
			if !ok {
				k = key{n, "A bound of the number.", number()}
			}
			if !slices.Contains(leave, n) {
				out = append(out, k)
			}
		}
		return out
	}
	var o object
	switch typ {
	case "temporal", "temporal_ordered":
		o.keys = pick(r.ConditionKeys, "field", "percentile", "lt", "lte", "neq")
		return when(types("null"), &jsonschema.Schema{}, o.schema()), false
	case "rate_anomaly":
		o.keys = pick(r.BaselineKeys)
		s := o.schema()
		s.AnyOf = []*jsonschema.Schema{{Required: []string{"factor"}}, {Required: []string{"score"}}}
		return s, true
	case "id_walk":
		o.keys = pick(r.WalkKeys)
		s := o.schema()
		s.AnyOf = []*jsonschema.Schema{{Required: []string{"gte"}}, {Required: []string{"gt"}}}
		return s, true
	case "event_count":
		o.keys = pick(r.ConditionKeys, "field", "percentile")
	case "value_percentile":
		o.keys, o.required = pick(r.ConditionKeys), []string{"field"}
	default:
		o.keys, o.required = pick(r.ConditionKeys, "percentile"), []string{"field"}
	}
	s = o.schema()
	for _, k := range o.keys {
		if k.name != "field" && k.name != "percentile" {
			s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Required: []string{k.name}})
		}
	}
	return s, true
}

package sigma

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// header reads what all kinds of documents have.
func (r *Rule) header(file string, root *yaml.Node, p *problems) {
	text := func(key string) string {
		n := get(root, key)
		if n == nil || isNull(n) {
			return ""
		}
		if n.Kind != yaml.ScalarNode {
			p.refuse(at(file, n), key, "write one value", "%s must be a single value, this is %s", key, kindName(n))
			return ""
		}
		return n.Value
	}
	list := func(key string) []string {
		n := get(root, key)
		if n == nil || isNull(n) {
			return nil
		}
		words, ok := texts(n)
		if !ok {
			p.refuse(at(file, n), key, "write a list of texts", "%s must be a list of texts", key)
			return nil
		}
		var out []string
		for _, w := range words {
			out = append(out, w.Value)
		}
		return out
	}
	r.Title, r.uuid, r.Name = text("title"), text("id"), text("name")
	r.ID = r.uuid
	if r.ID == "" {
		r.ID = r.Name
	}
	if r.ID == "" {
		r.ID = r.Title
	}
	p.rule = r.ID
	if r.Title == "" {
		p.refuse(r.where, "", "add title:", "the document has no title")
	}
	if r.Name == r.ID {
		r.Name = ""
	}
	r.Description, r.Author, r.Status = text("description"), text("author"), text("status")
	r.Tags, r.References, r.FalsePositives = list("tags"), list("references"), list("falsepositives")
	if tax := text("taxonomy"); tax != "" && !strings.EqualFold(tax, "sigma") {
		p.warn(at(file, get(root, "taxonomy")), tax, "write its field names as Sigma's, and taxonomy: sigma", "the taxonomy %q is not known, its field names are read as Sigma's", tax)
	}
	if n := get(root, "status"); n != nil {
		known := statuses()
		r.Status = strings.ToLower(r.Status)
		if !slices.Contains(known, r.Status) {
			p.warn(at(file, n), r.Status, didYouMean(r.Status, known, "write one of: "+strings.Join(known, ", ")), "unknown status %q", r.Status)
		}
	}
	r.Shadow = r.Status == "experimental"
	if n := get(root, "level"); n != nil && !isNull(n) {
		name := strings.ToLower(n.Value)
		if err := r.Level.UnmarshalText([]byte(name)); err == nil && name != n.Value {
			p.warn(at(file, n), n.Value, "write "+name, "the level %q is not in lower case", n.Value)
		} else if err != nil {
			p.refuse(at(file, n), n.Value, "write informational, low, medium, high or critical", "unknown level %q", n.Value)
		}
	}
	r.Family = r.ID
	r.own(file, get(root, "gatewatch"), p)
}

// statuses are Sigma's, for messages and schemas.
func statuses() []string {
	return []string{"stable", "test", "experimental", "deprecated", "unsupported"}
}

// ownKeys are the settings under the key gatewatch.
func ownKeys() []string {
	return append([]string{"family", "resolve_after", "tests"}, guardKeys()...)
}

// own reads the settings under the key gatewatch.
func (r *Rule) own(file string, n *yaml.Node, p *problems) {
	if n == nil || isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		p.refuse(at(file, n), n.Value, "write family: or resolve_after: under it", "gatewatch must be a map")
		return
	}
	known := ownKeys()
	for _, kv := range pairs(n) {
		switch kv.key.Value {
		case "family":
			if kv.value.Kind != yaml.ScalarNode || kv.value.Value == "" || isNull(kv.value) {
				p.refuse(at(file, kv.value), kv.value.Value, "write a word such as credential", "family must be a word")
				continue
			}
			r.Family = kv.value.Value
		case "resolve_after":
			d, ok := parseSpan(kv.value)
			if !ok {
				p.refuse(at(file, kv.value), kv.value.Value, "write a number and s, m, h or d, such as 90m", "resolve_after is no length of time")
				continue
			}
			r.ResolveAfter = d
		case "tests": // what they say is for pipeline/ruletest to read
			if kv.value.Kind != yaml.SequenceNode {
				p.refuse(at(file, kv.value), kv.value.Value, "write a list of cases, see docs/rule-tests.md", "tests must be a list")
			}
		case "unless", "after", "while", "at_least", "newest":
			r.setGuard(file, kv, p)
		default:
			p.refuse(at(file, kv.key), kv.key.Value, didYouMean(kv.key.Value, known, "write one of: "+strings.Join(known, ", ")),
				"unknown key %q under gatewatch", kv.key.Value)
		}
	}
}

const longestSpan = 366 * 24 * time.Hour

// parseSpan reads Sigma's lengths of time: digits and one of s, m, h, d.
func parseSpan(n *yaml.Node) (time.Duration, bool) {
	s := n.Value
	if n.Kind != yaml.ScalarNode || len(s) < 2 || len(s) > 10 {
		return 0, false
	}
	unit, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]]
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if err != nil || v == 0 || time.Duration(v) > longestSpan/unit {
		return 0, false
	}
	return time.Duration(v) * unit, true
}

// source reads the log source and returns the names that the document may
// use, or 0 after reporting that it is for other logs.
func (r *Rule) source(file string, root *yaml.Node, p *problems) taxonomy {
	n := get(root, "logsource")
	r.logs.where = r.where
	if n != nil && !isNull(n) {
		if n.Kind != yaml.MappingNode {
			p.refuse(at(file, n), n.Value, "write category: webserver under it", "logsource must be a map")
			return 0
		}
		r.logs.where = at(file, n)
		for _, kv := range pairs(n) {
			var to *string
			switch kv.key.Value {
			case "category":
				to = &r.logs.category
			case "product":
				to = &r.logs.product
			case "service":
				to = &r.logs.service
			default:
				continue // definition and custom attributes say nothing that we could check
			}
			if kv.value.Kind != yaml.ScalarNode {
				p.refuse(at(file, kv.value), kv.key.Value, "write one word", "%s must be a word", kv.key.Value)
				return 0
			}
			*to = kv.value.Value
		}
	}
	tax, why := r.logs.apply()
	if why != "" {
		p.refuse(r.logs.where, r.logs.String(), "use category: webserver or proxy if it is meant for requests; otherwise leave the rule out",
			"the log source (%s) %s", r.logs.String(), why)
	}
	return tax
}

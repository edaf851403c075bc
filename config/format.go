package config

import (
	"strings"

	"gatewatch/collectors/format"
	"gatewatch/event"

	"go.yaml.in/yaml/v4"
)

// format reads the name of a log format; the package that knows them judges it.
func (d *decoder) format(m *mapping, dst *string) {
	var s string
	at := m.text("format", &s)
	if at == nil {
		return
	}
	if s == "" {
		d.fail(at, "%s is empty; write auto or the name of a format", m.path("format"))
		return
	}
	if _, err := format.New(format.Options{Name: s}); err != nil {
		hint := ""
		if near := Nearest(s, format.Names()); near != "" {
			hint = "; did you mean " + near + "?"
		}
		d.fail(at, "%s: %s%s", m.path("format"), err, hint)
		return
	}
	*dst = s
}

// aliases reads names of a JSON log's own keys and what they hold.
func (d *decoder) aliases(m *mapping, s *Source) {
	m.pairs("aliases", func(_, v *yaml.Node, key, to string) {
		if _, err := format.New(format.Options{Aliases: map[string]string{key: to}}); err != nil {
			hint := ""
			if near := Nearest(strings.ToLower(to), event.FieldNames()); near != "" && near != to {
				hint = "; did you mean " + near + "?"
			}
			d.fail(v, "%s: %s%s", m.path("aliases"), err, hint)
			return
		}
		if s.Aliases == nil {
			s.Aliases = map[string]string{}
		}
		s.Aliases[key] = to
	})
}

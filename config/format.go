package config

import (
	"gatewatch/event"

	"go.yaml.in/yaml/v4"
)

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
	*dst = s
}

// aliases reads names of a JSON log's own keys and the fields that they hold.
func (d *decoder) aliases(m *mapping, s *Source) {
	m.pairs("aliases", func(_, v *yaml.Node, key, field string) {
		if _, ok := event.Lookup(field); !ok {
			if near := Nearest(field, event.FieldNames()); near != "" {
				d.fail(v, "%s.%s: there is no field %s; did you mean %s?", m.path("aliases"), key, quote(field), near)
			} else {
				d.fail(v, "%s.%s: there is no field %s; write one such as url.path or client.address", m.path("aliases"), key, quote(field))
			}
			return
		}
		if s.Aliases == nil {
			s.Aliases = map[string]string{}
		}
		s.Aliases[key] = field
	})
}

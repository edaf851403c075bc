package config

import (
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// receiverName keeps names fit for metric labels.
var receiverName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

func (d *decoder) receivers(c *Config, top *mapping) {
	seen := map[string]int{}
	top.list("receivers", func(item *yaml.Node, name string) {
		before := len(d.problems)
		var r Receiver
		m := d.mapping(item, name)
		if at := m.text("name", &r.Name); at != nil {
			if !receiverName.MatchString(r.Name) {
				d.fail(at, "%s.name is %s; write letters, digits, and . _ - between them, 63 at most", name, quote(r.Name))
			} else if line, twice := seen[r.Name]; twice {
				d.fail(at, "%s.name is %s, as on line %d; every receiver has its own name", name, quote(r.Name), line)
			}
			seen[r.Name] = at.Line
		} else if len(d.problems) == before {
			d.fail(item, "%s has no name; add name: ops", name)
		}
		var level string
		if at := m.text("level", &level); at != nil {
			if err := r.Level.UnmarshalText([]byte(level)); err != nil {
				d.fail(at, "%s.level: %s", name, err)
			}
		}
		if n := m.take("webhook"); n != nil {
			r.Webhook = d.webhook(n, name+".webhook")
		} else if _, open := m.keys["webhook"]; !open && len(d.problems) == before {
			d.fail(item, "%s sends nowhere; add webhook: {url: https://host/path}", name)
		}
		m.done()
		if len(d.problems) == before {
			c.Receivers = append(c.Receivers, r)
		}
	})
}

func (d *decoder) webhook(n *yaml.Node, name string) *Webhook {
	before := len(d.problems)
	w := &Webhook{Timeout: 10 * time.Second}
	m := d.mapping(n, name)
	url := m.secret("url", &w.URL)
	if url != nil && w.URL.value != "" {
		if err := parseURL(w.URL.value); err != nil {
			// The value is not repeated: an address often carries a token.
			d.fail(url, "%s.url: %s", name, err)
		}
	}
	m.secret("secret", &w.Secret)
	m.duration("timeout", &w.Timeout, 100*time.Millisecond, 5*time.Minute)
	d.headers(m, w)
	m.done()
	if !w.URL.IsSet() && len(d.problems) == before {
		d.fail(n, "%s has no url; write url: https://host/path, or url_file with the path of a file that holds it", name)
	}
	return w
}

// headers reads headers, whose values are secrets, and headers_file, whose
// values are the paths of files that hold them.
func (d *decoder) headers(m *mapping, w *Webhook) {
	lines := map[string]int{}
	read := func(section string, make func(value string) Secret) {
		m.pairs(section, func(k, v *yaml.Node, key, value string) {
			if err := checkHeader(key); err != nil {
				d.fail(k, "%s: %s", m.path(section), err)
				return
			}
			if value == "" || strings.ContainsAny(value, "\r\n\x00") {
				d.fail(v, "%s: the value of %s is empty or has a line break", m.path(section), quote(key))
				return
			}
			folded := strings.ToLower(key)
			if line, twice := lines[folded]; twice {
				d.fail(k, "%s has %s a second time, first on line %d", m.path(section), quote(key), line)
				return
			}
			lines[folded] = k.Line
			if w.Headers == nil {
				w.Headers = map[string]Secret{}
			}
			w.Headers[key] = make(value)
		})
	}
	read("headers", NewSecret)
	read("headers_file", func(path string) Secret { return Secret{file: d.path(path)} })
}

// secret reads key and its twin key_file, of which at most one may be there,
// and returns the node of the one that was.
func (m *mapping) secret(key string, dst *Secret) *yaml.Node {
	var value, file string
	direct := m.text(key, &value)
	twin := m.text(key+"_file", &file)
	switch {
	case direct != nil && twin != nil:
		m.d.fail(twin, "%s has both %s and %s_file; keep one", m.title(), key, key)
		return nil
	case direct != nil && value == "":
		m.d.fail(direct, "%s is empty; write a value or remove it", m.path(key))
		return nil
	case direct != nil:
		*dst = Secret{value: value}
		return direct
	case twin != nil && file == "":
		m.d.fail(twin, "%s_file is empty; write a path or remove it", m.path(key))
		return nil
	case twin != nil:
		*dst = Secret{file: m.d.path(file)}
		return twin
	}
	return nil
}

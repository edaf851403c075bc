package config

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"gatewatch/detectors/observation"

	"go.yaml.in/yaml/v4"
)

// Receiver is one place that notifications go to.
type Receiver struct {
	Name  string
	Level observation.Level // the least level of incidents that it gets
	// Type is the key of the file that says where to send, such as "webhook",
	// and Settings what stands behind it: a *Webhook for "webhook".
	Type     string
	Settings ReceiverSettings
}

// ReceiverSettings are the settings of one type of receiver. They are read by
// the command line, which knows each type.
type ReceiverSettings interface {
	// AttemptTimeout is how long one attempt may take by these settings.
	AttemptTimeout() time.Duration
}

// receiverType is a type of receiver in the file.
type receiverType struct {
	key     string // also the label of the type everywhere else
	example string // for who wrote none, as in "add webhook: {url: https://host/path}"
	// read reads the value of the key. It returns nil where the value cannot
	// be used, which it has reported then.
	read func(d *decoder, n *yaml.Node, name string) ReceiverSettings
}

// receiverTypes lists every type. A new one is a file receiver_<type>.go, a
// row here, and a case in the command line that makes it.
func receiverTypes() []receiverType {
	return []receiverType{
		{"webhook", "{url: https://host/path}", readWebhook},
		{"alertmanager", "{url: http://alertmanager:9093}", readAlertmanager},
		{"email", "{server: mail.example.com:587, from: gatewatch@example.com, to: [ops@example.com]}", readEmail},
		{"exec", "{command: [/usr/local/bin/notify]}", readExec},
		{"file", "{path: /var/log/gatewatch/incidents.jsonl}", readFileReceiver},
		{"kafka", "{brokers: [kafka1.example.com:9092], topic: gatewatch.incidents}", readKafkaReceiver},
		{"pagerduty", "{routing_key: \"${PAGERDUTY_KEY}\"}", readPagerDuty},
		{"slack", "{webhook_url: \"${SLACK_WEBHOOK_URL}\"}", readSlack},
		{"syslog", "{address: siem.example.com:6514, network: tls}", readSyslog},
		{"teams", "{url: \"${TEAMS_URL}\"}", readTeams},
	}
}

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
		d.receiverType(m, item, &r, before)
		if len(d.problems) == before {
			c.Receivers = append(c.Receivers, r)
		}
	})
}

// receiverType reads the one key of an entry that says where to send. before
// is the number of problems before the entry.
func (d *decoder) receiverType(m *mapping, item *yaml.Node, r *Receiver, before int) {
	types := receiverTypes()
	var found []string
	for _, t := range types {
		kv, there := m.keys[t.key]
		n := m.take(t.key)
		if !there {
			continue
		}
		found = append(found, t.key)
		if len(found) == 2 {
			d.fail(kv[0], "%s has both %s and %s; a receiver sends to one place, make two entries of it", m.name, found[0], t.key)
		}
		if n == nil {
			d.fail(kv[0], "%s is empty; write %s: %s", m.path(t.key), t.key, t.example)
			continue
		}
		r.Type, r.Settings = t.key, t.read(d, n, m.path(t.key))
	}
	m.done()
	if len(found) > 0 || len(d.problems) > before {
		return
	}
	if len(types) == 1 {
		d.fail(item, "%s sends nowhere; add %s: %s", m.name, types[0].key, types[0].example)
		return
	}
	keys := make([]string, 0, len(types))
	for _, t := range types {
		keys = append(keys, t.key)
	}
	slices.Sort(keys)
	d.fail(item, "%s sends nowhere; add %s, as in %s: %s", m.name, orList(keys), types[0].key, types[0].example)
}

// headers reads headers, whose values are secrets, and headers_file, whose
// values are the paths of files that hold them.
func (d *decoder) headers(m *mapping, dst *map[string]Secret) {
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
			if *dst == nil {
				*dst = map[string]Secret{}
			}
			(*dst)[key] = make(value)
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

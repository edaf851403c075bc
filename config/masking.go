package config

import (
	"fmt"
	"strings"

	"gatewatch/event"

	"go.yaml.in/yaml/v4"
)

func (d *decoder) masking(c *Config, n *yaml.Node) {
	m := d.mapping(n, "masking")
	check := func(o event.MaskOptions) error {
		_, err := event.NewMasker(o)
		return err
	}
	m.texts("names", &c.Masking.Names, func(s string) error { return check(event.MaskOptions{Names: []string{s}}) })
	m.texts("patterns", &c.Masking.Patterns, func(s string) error { return check(event.MaskOptions{Patterns: []string{s}}) })
	before := len(d.problems)
	at := m.secret("hash_key", &c.Masking.HashKey)
	if d.reading {
		d.problems = d.problems[:before] // what cannot be had is told where it is needed
	}
	if value := c.Masking.HashKey.value; at != nil && value != "" && !d.reading {
		if err := check(event.MaskOptions{HashKey: []byte(value)}); err != nil {
			d.fail(at, "masking.hash_key: %s", err)
		}
	}
	m.boolean("identities", &c.Masking.Identities)
	m.done()
	if c.Masking.Identities && at == nil && !d.reading {
		d.fail(n, "masking.identities needs masking.hash_key or hash_key_file: addresses and users are replaced by keyed hashes; make a key with: openssl rand -hex 32")
	}
}

// Masker returns what hides secrets in what is stored and told. Its error is
// that of a key that cannot be read, or is too short.
func (c *Config) Masker() (*event.Masker, error) {
	o := event.MaskOptions{Names: c.Masking.Names, Patterns: c.Masking.Patterns, Identities: c.Masking.Identities}
	if c.Masking.HashKey.IsSet() {
		key, err := c.Masking.HashKey.Read()
		if err != nil {
			return nil, fmt.Errorf("masking.hash_key: %w", err)
		}
		o.HashKey = []byte(strings.TrimSpace(key))
	}
	m, err := event.NewMasker(o)
	if err != nil {
		return nil, fmt.Errorf("masking: %w", err)
	}
	return m, nil
}

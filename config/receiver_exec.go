package config

import (
	"strings"
	"time"

	"gatewatch/alerting/command"
	"gatewatch/alerting/endpoint"

	"go.yaml.in/yaml/v4"
)

// Exec is a receiver that is a program.
type Exec struct {
	Command []string
	Dir     string
	Env     map[string]Secret
	Timeout time.Duration
}

// AttemptTimeout returns how long the program may run.
func (e *Exec) AttemptTimeout() time.Duration { return e.Timeout + 2*time.Second }

// Options returns the options of command.New for a receiver of that name.
func (e *Exec) Options(name string) command.Config {
	c := command.Config{Name: name, Command: e.Command, Dir: e.Dir, Timeout: e.Timeout}
	for name, s := range e.Env {
		if c.Env == nil {
			c.Env = map[string]endpoint.Secret{}
		}
		c.Env[name] = s
	}
	return c
}

func readExec(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	e := &Exec{Timeout: 30 * time.Second}
	m := d.mapping(n, name)
	m.texts("command", &e.Command, nil)
	m.file("dir", &e.Dir)
	m.duration("timeout", &e.Timeout, 100*time.Millisecond, 10*time.Minute)
	d.environment(m, &e.Env)
	m.done()
	if len(d.problems) > before {
		return e
	}
	if len(e.Command) == 0 {
		d.fail(n, "%s has no command; write command: [/usr/local/bin/notify, argument]", name)
	}
	if !d.allowExec {
		d.fail(n, "%s runs a program, which is off; write allow_exec: true at the top of the file, and see that nobody but you can change it", name)
	}
	return e
}

// environment reads env, whose values are secrets, and env_file, whose values
// are the paths of files that hold them.
func (d *decoder) environment(m *mapping, dst *map[string]Secret) {
	lines := map[string]int{}
	read := func(section string, make func(value string) Secret) {
		m.pairs(section, func(k, v *yaml.Node, key, value string) {
			switch {
			case !isEnvName(key):
				d.fail(k, "%s: %s is no name of a variable; write letters, digits and _", m.path(section), quote(key))
			case strings.ContainsRune(value, 0):
				d.fail(v, "%s: the value of %s has a zero byte", m.path(section), quote(key))
			case lines[key] > 0:
				d.fail(k, "%s has %s a second time, first on line %d", m.path(section), quote(key), lines[key])
			default:
				lines[key] = k.Line
				if *dst == nil {
					*dst = map[string]Secret{}
				}
				(*dst)[key] = make(value)
			}
		})
	}
	read("env", NewSecret)
	read("env_file", func(path string) Secret { return Secret{file: d.path(path)} })
}

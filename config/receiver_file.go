package config

import (
	"time"

	"gatewatch/alerting/file"

	"go.yaml.in/yaml/v4"
)

// File is a receiver that is a file of JSON lines.
type File struct {
	Path    string // absolute
	MaxSize int64  // bytes
	MaxAge  time.Duration
	Keep    int
	Sync    bool
}

// AttemptTimeout returns how long a line may take.
func (*File) AttemptTimeout() time.Duration { return 10 * time.Second }

// Options returns the options of file.New for a receiver of that name.
func (f *File) Options(name string) file.Config {
	return file.Config{Name: name, Path: f.Path, MaxSize: f.MaxSize, MaxAge: f.MaxAge, Keep: f.Keep, NoSync: !f.Sync}
}

func readFileReceiver(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	before := len(d.problems)
	f := &File{MaxSize: 64 << 20, Keep: 5, Sync: true}
	m := d.mapping(n, name)
	m.file("path", &f.Path)
	m.size("max_size", &f.MaxSize, 64<<10, 1<<40)
	m.duration("max_age", &f.MaxAge, time.Minute, forever)
	m.integer("keep", &f.Keep, 1, 1000)
	m.boolean("fsync", &f.Sync)
	m.done()
	if f.Path == "" && len(d.problems) == before {
		d.fail(n, "%s has no path; write path: /var/log/gatewatch/incidents.jsonl", name)
	}
	return f
}

package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 4 << 20

// Load reads the configuration. With an empty path it reads DefaultPath in
// the working folder, and a missing file gives the defaults; a path that was
// given has to exist. Mistakes in the file come back as [Problems].
func Load(path string, env Env) (*Config, error) {
	return load(path, &decoder{env: env})
}

// LoadForReading is Load for commands that send nothing. The receivers are
// left out unread: who looks at logs or incidents from a shell does not have
// their secrets in the environment.
func LoadForReading(path string, env Env) (*Config, error) {
	return load(path, &decoder{env: env, reading: true})
}

func load(path string, d *decoder) (*Config, error) {
	explicit := path != ""
	if !explicit {
		path = DefaultPath
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the folder of %s: %w", path, err)
	}
	data, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) && !explicit {
		return Default(filepath.Dir(abs)), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	d.file, d.dir = path, filepath.Dir(abs)
	c, err := d.parse(data)
	if err != nil {
		return nil, err
	}
	c.Path = abs
	return c, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %s", path, formatSize(maxFile))
	}
	return data, nil
}

// Parse reads a configuration from memory. name is used in messages; dir,
// which has to be absolute, is what relative paths start from. The error is a
// [Problems].
func Parse(name, dir string, data []byte, env Env) (*Config, error) {
	d := &decoder{file: name, dir: dir, env: env}
	return d.parse(data)
}

func (d *decoder) parse(data []byte) (*Config, error) {
	c := Default(d.dir)
	d.data = data
	root, ok := d.document(data)
	if ok {
		d.root = root
		d.config(c, root)
	}
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	return c, nil
}

// document returns the top node of the one document in data, nil for an empty
// file.
func (d *decoder) document(data []byte) (*yaml.Node, bool) {
	if !utf8.Valid(data) {
		d.fail(nil, "the file is not UTF-8 text")
		return nil, false
	}
	// Keys that are there twice are found by our own decoder, which can go on.
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		d.syntax(err)
		return nil, false
	}
	var first yaml.Node
	switch err := loader.Load(&first); {
	case errors.Is(err, io.EOF):
		return nil, true
	case err != nil:
		d.syntax(err)
		return nil, false
	}
	var second yaml.Node
	switch err := loader.Load(&second); {
	case err == nil:
		d.fail(&second, "the file has a second document; a configuration is one document, remove the line with ---")
	case !errors.Is(err, io.EOF):
		d.syntax(err)
		return nil, false
	}
	if first.Kind == yaml.DocumentNode {
		if len(first.Content) == 0 {
			return nil, true
		}
		return first.Content[0], true
	}
	return &first, true
}

// syntax reports text that is no YAML.
func (d *decoder) syntax(err error) {
	p := Problem{File: d.file, Line: 1, Column: 1, Message: "not readable as YAML: " + err.Error()}
	if load, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Message = "not readable as YAML: " + load.Message
		if load.Mark.Line > 0 {
			p.Line, p.Column = load.Mark.Line, max(1, load.Mark.Column)
		}
		if strings.Contains(load.Message, "cannot start any token") {
			p.Message += "; YAML is indented with blanks, not tabs, and words that begin with @, ` or % stand in quotes"
		}
	}
	d.problems = append(d.problems, p)
}

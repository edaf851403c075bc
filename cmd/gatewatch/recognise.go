package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gatewatch/collectors/format"
	"gatewatch/config"
)

const (
	// sampledFiles bounds how many files check looks into, and sampledBytes how
	// far into each.
	sampledFiles = 20
	sampledBytes = 64 << 10
)

// recognise says of each log that there is now in which format it is written,
// judged by its last lines: "file: combined 98 %, json 2 % of 412 lines".
func recognise(c *config.Config) []string {
	var out []string
	for i := range c.Sources {
		for _, pattern := range c.Sources[i].Files {
			paths, err := filepath.Glob(pattern)
			if err != nil {
				continue // a bad pattern is a mistake of the configuration and told as one
			}
			slices.Sort(paths)
			for _, path := range paths {
				if len(out) == sampledFiles {
					return append(out, "further files were not looked at")
				}
				if text := recogniseFile(path); text != "" {
					out = append(out, path+": "+text)
				}
			}
		}
	}
	return out
}

// recogniseFile returns "" for what is no plain log of its own: folders,
// compressed files, what cannot be read. Others speak of those.
func recogniseFile(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || strings.HasSuffix(path, ".gz") {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	from := max(0, info.Size()-sampledBytes)
	b, err := io.ReadAll(io.NewSectionReader(f, from, sampledBytes))
	if err != nil {
		return ""
	}
	lines := bytes.Split(b, []byte("\n"))
	if from > 0 {
		lines = lines[1:] // cut in the middle, most likely
	}
	n := 0
	for _, l := range lines {
		if len(bytes.TrimSpace(l)) > 0 {
			n++
		}
	}
	if n == 0 {
		return "empty so far"
	}
	guesses := format.Detect(lines)
	if len(guesses) == 0 {
		return "no known format in its last " + countLines(int64(n)) + "; 'gatewatch explain' shows why, and sources[].aliases names the keys of JSON lines"
	}
	parts := make([]string, len(guesses))
	for i, g := range guesses {
		parts[i] = fmt.Sprintf("%s %.0f %%", g.Name, 100*g.Confidence)
	}
	return strings.Join(parts, ", ") + " of its last " + countLines(int64(n))
}

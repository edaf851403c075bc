// Package rules holds the rule documents that gatewatch ships, by topic, as
// data: Sigma 2.1 documents in *.yml, each with its tests beside it in
// *.test.yml. The language is read by rules/sigma; whoever wants the built-in
// rules gives [FS] to it. docs/rule-tests.md describes the test files.
package rules

import (
	"embed"
	"io/fs"
)

//go:embed */*.yml
var documents embed.FS

// FS returns the built-in rule documents and their tests. Paths are
// "topic/name.yml" and "topic/name.test.yml". The file system is read-only and
// safe for concurrent use.
func FS() fs.FS { return documents }

package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestMessages: each pattern fits something that the parser says, and leads to
// a check.
func TestMessages(t *testing.T) {
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if format, ok := messageOf(call); ok {
					said = append(said, strings.NewReplacer("%q", `"x"`, "%s", "x", "%d", "7", "%v", "x").Replace(format))
				}
			}
			return true
		})
	}
	if len(said) < 80 {
		t.Fatalf("found %d messages", len(said))
	}
	for _, m := range messages {
		if !slices.Contains(checkNames(), m.check) {
			t.Errorf("%s is no check", m.check)
		}
		for alternative := range strings.SplitSeq(m.pattern.String(), "|") {
			if strings.ContainsAny(alternative, "()") {
				alternative = m.pattern.String() // one that cannot be taken apart so
			}
			if re := regexp.MustCompile(alternative); !slices.ContainsFunc(said, re.MatchString) {
				t.Errorf("the parser says nothing like %q", alternative)
			}
		}
	}
}

// messageOf returns the format of a call that reports a problem.
func messageOf(call *ast.CallExpr) (string, bool) {
	at := -1
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		switch {
		case f.Sel.Name == "refuse" || f.Sel.Name == "warn":
			at = 3
		case f.Sel.Name == "refuseValue":
			at = 2
		case f.Sel.Name == "add" && len(call.Args) >= 5:
			at = 4
		}
	case *ast.Ident:
		if f.Name == "bad" || f.Name == "refuse" {
			at = 1
		}
	}
	if at < 0 || at >= len(call.Args) {
		return "", false
	}
	lit, ok := call.Args[at].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

package sigma

import (
	"os"
	"path/filepath"
	"testing"
)

// published are the rules of other people that the tests load.
const published = "../../../shared/corpora/sigma-web"

func loadPublished(t testing.TB) []Document {
	t.Helper()
	if _, err := os.Stat(published); err != nil {
		t.Skip("no published rules here: ../shared/corpora/sigma-web is absent")
	}
	docs, err := ReadFS(os.DirFS(filepath.Dir(published)), filepath.Base(published))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func TestPublishedRulesLoad(t *testing.T) {
	docs := loadPublished(t)
	set, problems := Parse(docs)
	for _, p := range problems {
		t.Log(p.Error())
	}
	x, problems := set.Compile(CompileOptions{})
	for _, p := range problems {
		t.Log(p.Error())
	}
	t.Log(len(docs), len(x.rules), len(x.atoms), len(x.patterns), len(x.always))
	for _, d := range x.always {
		t.Log("always", x.dets[d].rule.File)
	}
}

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/config"

	"github.com/google/go-cmp/cmp"
)

func TestKeepFixed(t *testing.T) {
	old, now := config.Default("/d"), config.Default("/d")
	if got := keepFixed(old, now); len(got) != 0 {
		t.Errorf("equal configurations: got %v", got)
	}
	now.Sources = append(now.Sources, config.Source{Stdin: true})
	now.Merge.Wait = time.Minute
	now.Incidents.Keep = 3
	now.IPv6Group = 128
	now.Routes = []string{"/a/{b}"}
	if diff := cmp.Diff([]string{"sources", "ipv6_group", "merge", "incidents"}, keepFixed(old, now)); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	if len(now.Sources) != 1 || now.Merge != old.Merge || now.Incidents != old.Incidents || now.IPv6Group != 64 {
		t.Errorf("not put back: %+v", now)
	}
	if len(now.Routes) != 1 {
		t.Error("routes change at a reload, but were put back")
	}
}

func TestTargetsReadSecretFiles(t *testing.T) {
	dir := t.TempDir()
	c, err := config.Parse("c.yaml", dir, []byte("receivers: [{name: ops, level: high, webhook: {url_file: url}}]\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := targets(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "url")) {
		t.Errorf("a secret file that is not there: got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "url"), []byte("https://hook.example/token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := targets(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Receiver.Name() != "ops" || got[0].MinLevel.String() != "high" {
		t.Errorf("got %+v", got)
	}
}

func TestProgressLine(t *testing.T) {
	var b strings.Builder
	drawProgress(&b, "", 3<<20, 4<<20)
	if want := "\r" + strings.Repeat("█", 30) + strings.Repeat("░", 10) + "  75 %  3 of 4 MiB"; b.String() != want {
		t.Errorf("want %q, got %q", want, b.String())
	}
}

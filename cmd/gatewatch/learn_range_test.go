package main

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatewatch/alerting"
	"gatewatch/detectors/observation"
)

// TestLearnRange learns from labelled logs that are full of attacks: no source of
// a campaign becomes known, and with what was learned, proposals taken or not,
// the same is found.
func TestLearnRange(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 225,000 lines some twenty times")
	}
	t.Parallel() // beside tests that wait
	dir := filepath.Join(cmp.Or(os.Getenv("GATEWATCH_SHARED"), "../../../shared"), "corpora", "range")
	attackers, err := campaigns(filepath.Join(dir, "labels.json"))
	if err != nil {
		t.Skipf("no labelled logs: %v", err)
	}
	for _, name := range []string{"stretched_public_access_combined.log.gz", "stretched_public_access.json.log.gz"} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(dir, name)
			learned := filepath.Join(t.TempDir(), "learned.yaml")
			if _, code := gatewatch(t, "learn", "-q", "-o", learned, log); code != exitOK {
				t.Fatalf("learn ended with %d", code)
			}
			data, err := os.ReadFile(learned)
			if err != nil {
				t.Fatal(err)
			}
			// What is proposed is a value in quotes; what is only told is not.
			proposed := regexp.MustCompile(`"([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)/32"`).FindAllSubmatch(data, -1)
			if len(proposed) < 5 {
				t.Errorf("want the crawlers, monitors and partners of the log proposed, got %d addresses", len(proposed))
			}
			for _, p := range proposed {
				if id := attackers[string(p[1])]; id != "" {
					t.Errorf("%s is an attacker (%s) and proposed as known", p[1], id)
				}
			}
			before := accusedIn(t, log)
			for _, path := range []string{learned, uncommented(t, learned)} {
				if code := checkOnly(t, path); code != exitOK {
					t.Errorf("check of %s ended with %d", filepath.Base(path), code)
				}
				after := accusedIn(t, "-c", path, log)
				for _, who := range before {
					if attackers[who] != "" && !slices.Contains(after, who) {
						t.Errorf("with %s, %s (%s) is not accused any more", filepath.Base(path), who, attackers[who])
					}
				}
				for _, who := range after {
					if attackers[who] == "" && !slices.Contains(before, who) {
						t.Errorf("with %s, %s is accused and was not before", filepath.Base(path), who)
					}
				}
			}
		})
	}
}

func checkOnly(t *testing.T, path string) int {
	t.Helper()
	_, code := gatewatch(t, "check", "-c", path)
	return code
}

// campaigns returns the sources of the attacks with the id of the campaign.
func campaigns(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var labels struct {
		Campaigns []struct {
			ID      string   `json:"id"`
			Sources []string `json:"source_ips_public"`
		} `json:"campaigns"`
	}
	if err := json.Unmarshal(data, &labels); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, c := range labels.Campaigns {
		for _, s := range c.Sources {
			out[s] = c.ID
		}
	}
	return out, nil
}

// accusedIn returns the sources of all incidents at medium or above.
func accusedIn(t *testing.T, args ...string) (out []string) {
	t.Helper()
	text, code := gatewatch(t, append([]string{"replay", "-q", "-o", "jsonl"}, args...)...)
	if code != exitOK {
		t.Fatalf("replay ended with %d", code)
	}
	for line := range strings.Lines(text) {
		var i alerting.Incident
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			t.Fatal(err)
		}
		if i.Level >= observation.Medium {
			out = append(out, i.Sources...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestLearnGzip has the rotations of a log, one of them compressed: the same is
// learned as from one file.
func TestLearnGzip(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile("../../testdata/attack-hour.log.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	text := string(plain)
	half := strings.IndexByte(text[len(text)/2:], '\n') + len(text)/2 + 1
	write := func(name, text string, compress bool) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if compress {
			z := gzip.NewWriter(f)
			_, err = z.Write([]byte(text))
			if closeErr := z.Close(); err == nil {
				err = closeErr
			}
		} else {
			_, err = f.WriteString(text)
		}
		if closeErr := f.Close(); err != nil || closeErr != nil {
			t.Fatal(err, closeErr)
		}
	}
	write("access.log.2.gz", text[:half], true)
	write("access.log.1", text[half:], false)
	write("whole.log", text, false)
	body := func(args ...string) string {
		t.Helper()
		out, code := gatewatch(t, append([]string{"learn", "-q"}, args...)...)
		if code != exitOK {
			t.Fatalf("learn ended with %d", code)
		}
		return regexp.MustCompile(`(?m)^# Logs:.*\n`).ReplaceAllString(out, "")
	}
	want := body(filepath.Join(dir, "whole.log"))
	if got := body(filepath.Join(dir, "access.log.1"), filepath.Join(dir, "access.log.2.gz")); got != want {
		t.Errorf("two rotations teach something else than one file:\n%s", got)
	}
}

package config

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// TestDocumentedReceivers: each example of the receivers' pages is a configuration
// that is taken, and there is one for each type.
func TestDocumentedReceivers(t *testing.T) {
	types := map[string]bool{}
	ran := 0
	for _, page := range []string{"receivers.md", "slack.md", "kafka-sink.md"} {
		text, err := os.ReadFile("../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(m[1], "receivers:") {
				continue
			}
			ran++
			c, err := Parse(page, "/etc/gw", []byte(m[1]), testEnv)
			if err != nil {
				t.Errorf("%s:\n%s%v", page, m[1], err)
				continue
			}
			for _, r := range c.Receivers {
				types[r.Type] = true
			}
		}
	}
	for _, rt := range receiverTypes() {
		if !types[rt.key] {
			t.Errorf("no example of %s", rt.key)
		}
	}
	if ran < 12 {
		t.Errorf("ran %d examples", ran)
	}
}

// TestDocumentedSources: so are the examples of sources.
func TestDocumentedSources(t *testing.T) {
	ran := 0
	check := func(name, text string) {
		ran++
		c, err := Parse(name, "/etc/gw", []byte(text), testEnv)
		if err != nil {
			t.Errorf("%s:\n%s%v", name, text, err)
			return
		}
		if c.Sources[0].Kafka == nil {
			t.Errorf("%s:\n%sreads no topic", name, text)
		}
	}
	text, err := os.ReadFile("../docs/kafka-source.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		check("kafka-source.md", m[1])
	}
	if text, err = os.ReadFile("../docs/examples/kafka.yaml"); err != nil {
		t.Fatal(err)
	}
	check("kafka.yaml", string(text))
	if ran < 4 {
		t.Errorf("ran %d examples", ran)
	}
}

// TestSlackManifest: the manifest of docs/slack.md asks for what the receiver
// needs, and for no more.
func TestSlackManifest(t *testing.T) {
	text, err := os.ReadFile("../docs/slack.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		if !strings.HasPrefix(m[1], "display_information:") {
			continue
		}
		var manifest struct {
			Display struct {
				Name, Description string
			} `yaml:"display_information"`
			OAuth struct {
				Scopes struct{ Bot []string }
			} `yaml:"oauth_config"`
			Settings struct {
				Interactivity struct {
					Enabled bool `yaml:"is_enabled"`
				}
				SocketMode bool `yaml:"socket_mode_enabled"`
			}
		}
		if err := yaml.Unmarshal([]byte(m[1]), &manifest); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(manifest.OAuth.Scopes.Bot, " "); got != "chat:write channels:history groups:history" {
			t.Errorf("scopes %q", got)
		}
		if !manifest.Settings.Interactivity.Enabled || !manifest.Settings.SocketMode || len(manifest.Display.Name) > 35 || len(manifest.Display.Description) > 140 {
			t.Errorf("manifest %+v", manifest)
		}
		return
	}
	t.Error("no manifest was found")
}

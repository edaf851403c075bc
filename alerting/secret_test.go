package alerting

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	type config struct {
		Key  Secret
		Keys []Secret
		Map  map[string]Secret
	}
	s := Secret("hunter2")
	c := config{s, []Secret{s}, map[string]Secret{"k": s}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", s, "config", c)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", s, "config", c)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprintf("%s %v %+v %#v %q %s", s, c, c, c, s, text) + log.String()
	if strings.Contains(all, "hunter2") {
		t.Errorf("the secret is in %s", all)
	}
	if n := strings.Count(all, redacted); n < 8 {
		t.Errorf("want it shown as redacted, got %s", all)
	}
	var back config
	if err := json.Unmarshal([]byte(`{"Key":"hunter2"}`), &back); err != nil || string(back.Key) != "hunter2" {
		t.Errorf("want it read as it is, got %v", err)
	}
	if Secret("").String() != "" {
		t.Error("want an empty secret to show as empty")
	}
}

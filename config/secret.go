package config

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// redacted is what every way of printing a secret gives.
const redacted = "<redacted>"

// Secret is a value that is never printed: given in the file, or the path of
// a file that is read each time the secret is used, so that it can be changed
// without a reload.
type Secret struct {
	value string
	file  string
}

// NewSecret returns a secret with a known value, for callers that do not read
// a file.
func NewSecret(value string) Secret { return Secret{value: value} }

// IsSet reports whether there is a secret at all.
func (s Secret) IsSet() bool { return s.value != "" || s.file != "" }

// File returns the path that the secret is read from, "" for one given in
// the configuration.
func (s Secret) File() string { return s.file }

// Read returns the secret itself, without the line end of its file.
func (s Secret) Read() (string, error) {
	if s.file == "" {
		return s.value, nil
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" {
		return "", fmt.Errorf("read secret: %s is empty", s.file)
	}
	return v, nil
}

// String returns "<redacted>", or "" where there is no secret.
func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return redacted
}

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String; JSON and YAML encoders use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

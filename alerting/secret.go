package alerting

import "log/slog"

// redacted is what a secret prints as, everywhere.
const redacted = "<redacted>"

// Secret is text that is never printed: not by fmt, not in logs, not as JSON
// or YAML. It can be read from text.
type Secret string

// Read returns the text itself, for the one place that needs it. It never
// fails; the error is there for secrets that are read from elsewhere.
func (s Secret) Read() (string, error) { return string(s), nil }

// String returns "<redacted>", or "" when there is nothing to hide.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the secret as it is.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}

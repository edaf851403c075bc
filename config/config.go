// Package config reads gatewatch's one YAML file. It knows the file's shape
// and turns it into the options of the other packages; only the command line
// imports it.
//
// The file is strict: an unknown key is a mistake, and every mistake is
// reported in one go with its line and column. ${NAME} stands for an
// environment variable inside a value, and only there: variables are put in
// after the YAML was read, so they cannot change its shape.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"gatewatch/alerting"
	"gatewatch/event"
)

// Config is a whole configuration. It is complete: what the file does not say
// has its default. It is not changed after Load and safe to share.
type Config struct {
	// Path is the file that was read, "" where there was none.
	Path string
	// Dir is the absolute folder that relative paths were resolved against.
	Dir string

	Sources        []Source
	TrustedProxies []netip.Prefix // masked
	IPv6Group      int            // 64 or 128
	Principal      []event.Field  // see event.DeriveOptions.Principals; nil for the default
	Logins         []Login
	Routes         []string
	Rules          Rules
	Merge          Merge
	State          State
	Incidents      Incidents
	Receivers      []Receiver
	Route          *alerting.Route // nil tells every receiver of everything at its level
	InhibitRules   []alerting.InhibitRule
	API            API
	Log            Log
	Masking        Masking
}

// Source is one entry of "sources": files by path or glob, topics of Kafka, or
// standard input.
type Source struct {
	Stdin    bool
	Kafka    *KafkaSource
	Files    []string // absolute paths or globs; empty exactly where Stdin or Kafka is set
	Exclude  []string // absolute paths or globs
	FromEnd  bool     // begin at the end of a file seen for the first time
	Format   string   // "auto" or the name of a format
	Aliases  map[string]string
	Lateness time.Duration
	MaxLine  int64         // bytes
	Poll     time.Duration // between two looks at a file
	Rescan   time.Duration // between two looks for new files
	Linger   time.Duration // how long a rotated file must be quiet before it is left
	Late     time.Duration // how long after its last line a rotated file is still looked at
	Notify   bool          // whether the system is asked to tell of changes
	// SilentAfter is after how long without a line a log is an incident: 0 judges
	// by its own pauses, SilentNever not at all.
	SilentAfter time.Duration
}

// SilentNever is Source.SilentAfter where silence is no matter.
const SilentNever time.Duration = -1

// Login says which requests are attempts to log in and how they ended.
type Login struct {
	Method  string // upper case; "" means POST, "*" any
	Path    string // regular expression over the path
	Success []StatusRange
	Failure []StatusRange
	Action  string // login, reset or register
	// Sizes of the answer's body that the status alone does not tell; empty for any.
	SuccessSize []event.SizeRange
	FailureSize []event.SizeRange
}

// StatusRange is a run of HTTP status codes, both ends included.
type StatusRange struct{ From, To int }

// Merge holds the settings of the merge of several sources.
type Merge struct {
	Wait time.Duration // how long a source with nothing to read is waited for
	Hold time.Duration // how long a failing source holds the others
}

// State says where durable state is and how much memory the windows have.
type State struct {
	Path       string        // absolute
	Budget     int64         // bytes of window state
	Checkpoint time.Duration // the longest time between two commits
}

// Incidents holds the life cycle settings of incidents.
type Incidents struct {
	ResolveAfter   time.Duration
	GroupInterval  time.Duration
	RepeatInterval time.Duration
	Keep           int // resolved incidents kept
}

// API holds the settings of the HTTP server.
type API struct {
	Listen string // "host:port" or "unix:/path"
	// Socket is the absolute path of a Unix socket that is served as well; ""
	// for none.
	Socket string
	// Token has to be shown by who does not come by a socket. Unset, nobody
	// has to show one to read, and nobody can change anything but by a socket.
	Token Secret
	// Hosts are the names by which the API may be called besides addresses.
	Hosts []string
}

// Log holds the settings of gatewatch's own log.
type Log struct {
	Level  slog.Level
	Format string // "text" or "json"
}

// Masking says what is hidden in what is stored and told, besides what always is.
type Masking struct {
	Names      []string // of keys
	Patterns   []string // regular expressions
	HashKey    Secret
	Identities bool // addresses and users are hidden as well
}

// DefaultPath is the file that is read when none is named.
const DefaultPath = "gatewatch.yaml"

// Default returns the configuration of a missing file, with relative paths
// resolved against dir, which has to be absolute.
func Default(dir string) *Config {
	return &Config{
		Dir:       dir,
		Sources:   []Source{defaultSource()},
		IPv6Group: 64,
		Rules:     Rules{Builtin: true},
		Merge:     Merge{Wait: 500 * time.Millisecond, Hold: 5 * time.Minute},
		State:     State{Path: join(dir, "gatewatch.db"), Budget: 256 << 20, Checkpoint: time.Second},
		Incidents: Incidents{
			ResolveAfter: time.Hour, GroupInterval: 5 * time.Minute,
			RepeatInterval: 12 * time.Hour, Keep: 10_000,
		},
		API: API{Listen: "127.0.0.1:9377"},
		Log: Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// defaultSource watches where nginx and Apache put their access logs on the
// usual distributions.
func defaultSource() Source {
	s := newSource()
	s.Files = []string{
		"/var/log/nginx/*access.log",
		"/var/log/apache2/*access.log",
		"/var/log/httpd/*access_log",
	}
	return s
}

func newSource() Source {
	return Source{
		FromEnd: true, Format: "auto", Lateness: 10 * time.Second, MaxLine: 1 << 20,
		Poll: 250 * time.Millisecond, Rescan: 10 * time.Second, Linger: 5 * time.Second, Late: 15 * time.Minute,
	}
}

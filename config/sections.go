package config

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/event"

	"go.yaml.in/yaml/v4"
)

const (
	day     = 24 * time.Hour
	forever = 10 * 365 * day
)

// config reads the whole file into c, which holds the defaults.
func (d *decoder) config(c *Config, root *yaml.Node) {
	m := d.mapping(root, "")
	if n := m.take("sources"); n != nil {
		c.Sources = d.sources(n, c.Dir)
	}
	m.list("trusted_proxies", func(item *yaml.Node, name string) {
		s, ok := d.text(item, name)
		if !ok {
			return
		}
		p, err := parsePrefix(s)
		if err != nil {
			d.fail(item, "%s: %s", name, err)
			return
		}
		c.TrustedProxies = append(c.TrustedProxies, p)
	})
	var group string
	if n := m.text("ipv6_group", &group); n != nil {
		switch group {
		case "64":
			c.IPv6Group = 64
		case "128":
			c.IPv6Group = 128
		default:
			d.fail(n, "ipv6_group is %s; write 64 to count a /64 as one client, or 128 for each address", quote(group))
		}
	}
	principal := m.list("principal", func(item *yaml.Node, name string) {
		s, ok := d.text(item, name)
		if !ok {
			return
		}
		f, known := event.Lookup(s)
		if at := slices.Index(c.Principal, f); known && at >= 0 {
			d.fail(item, "%s: %s is there already; remove one", name, s)
			return
		}
		if !known || !slices.Contains(event.PrincipalFields(), f) {
			d.fail(item, "%s: %s cannot say who acts; write %s", name, quote(s), orList(names(event.PrincipalFields())))
			return
		}
		c.Principal = append(c.Principal, f)
	})
	if principal && c.Principal == nil {
		c.Principal = []event.Field{} // nobody but the client
	}
	m.list("logins", func(item *yaml.Node, name string) { d.login(c, item, name) })
	m.texts("routes", &c.Routes, checkRoute)
	d.rules(c, m.take("rules"))
	d.merge(c, m.take("merge"))
	d.state(c, m.take("state"))
	d.incidents(c, m.take("incidents"))
	m.boolean("allow_exec", &d.allowExec)
	if d.reading {
		for _, key := range [...]string{"receivers", "route", "time_intervals", "inhibit_rules"} {
			m.take(key)
		}
	} else {
		receivers := m.keys["receivers"][1]
		d.receivers(c, m)
		d.routing(c, m, receivers)
	}
	d.api(c, m.take("api"))
	d.log(c, m.take("log"))
	d.masking(c, m.take("masking"))
	m.done()
}

func (d *decoder) sources(n *yaml.Node, dir string) []Source {
	var out []Source
	var nodes []*yaml.Node
	stdin := false
	// A mapping of one key gives list its node and its words.
	m := &mapping{d: d, node: n, keys: map[string][2]*yaml.Node{"sources": {n, n}}}
	m.list("sources", func(item *yaml.Node, name string) {
		s, ok := d.source(item, name, dir)
		if !ok {
			return
		}
		if s.Stdin && stdin {
			d.fail(item, "%s reads standard input a second time; there is only one", name)
			return
		}
		stdin = stdin || s.Stdin
		out, nodes = append(out, s), append(nodes, item)
	})
	d.kafkaSources(nodes, out)
	if r := resolve(n); r.Kind == yaml.SequenceNode && len(r.Content) == 0 {
		d.fail(n, "sources is empty; name the log files, or remove the key for the usual places")
	}
	return out
}

func (d *decoder) source(n *yaml.Node, name, dir string) (Source, bool) {
	before := len(d.problems)
	s := newSource()
	m := d.mapping(n, name)
	m.texts("files", &s.Files, checkGlob)
	m.boolean("stdin", &s.Stdin)
	kv, hasKafka := m.keys["kafka"]
	if at := m.take("kafka"); at != nil {
		s.Kafka = d.kafkaSource(at, m.path("kafka"))
	} else if hasKafka {
		d.fail(kv[0], "%s is empty; write kafka: {brokers: [kafka1.example.com:9092], topics: [access-logs]}", m.path("kafka"))
	}
	if s.Kafka != nil {
		for _, key := range [...]string{"exclude", "begin", "poll", "watch", "rescan", "linger", "late_writers"} {
			if kv, there := m.keys[key]; there {
				d.fail(kv[0], "%s is for files; settings of a topic stand in %s", m.path(key), m.path("kafka"))
			}
			m.take(key)
		}
	}
	m.texts("exclude", &s.Exclude, checkGlob)
	begin := "end"
	m.oneOf("begin", &begin, "start", "end")
	s.FromEnd = begin == "end"
	d.format(m, &s.Format)
	d.aliases(m, &s)
	m.duration("lateness", &s.Lateness, time.Second, time.Hour)
	s.Lateness = s.Lateness.Truncate(time.Second) // window time is in whole seconds
	m.size("max_line", &s.MaxLine, 1<<10, 64<<20)
	m.silence("silent_after", &s.SilentAfter)
	m.duration("poll", &s.Poll, time.Millisecond, time.Minute)
	m.duration("rescan", &s.Rescan, time.Millisecond, time.Hour)
	m.duration("linger", &s.Linger, time.Millisecond, time.Hour)
	m.duration("late_writers", &s.Late, time.Millisecond, day)
	watch := "poll"
	m.oneOf("watch", &watch, "poll", "inotify")
	s.Notify = watch == "inotify"
	m.done()
	if len(d.problems) == before {
		switch {
		case s.Stdin && len(s.Files) > 0:
			d.fail(n, "%s has both files and stdin; make two entries of it", name)
		case s.Kafka != nil && (s.Stdin || len(s.Files) > 0):
			d.fail(n, "%s has kafka beside files or stdin; make two entries of it", name)
		case !s.Stdin && s.Kafka == nil && len(s.Files) == 0:
			d.fail(n, "%s reads nothing; give it files: [\"/path/*.log\"], kafka: {brokers: [...], topics: [...]} or stdin: true", name)
		}
	}
	s.Files, s.Exclude = joinAll(dir, s.Files), joinAll(dir, s.Exclude)
	return s, len(d.problems) == before
}

func (d *decoder) login(c *Config, n *yaml.Node, name string) {
	before := len(d.problems)
	var l Login
	m := d.mapping(n, name)
	if at := m.text("method", &l.Method); at != nil {
		upper := strings.ToUpper(l.Method)
		if !isToken(upper) {
			d.fail(at, "%s.method is %s; write a method such as POST", name, quote(l.Method))
		}
		l.Method = upper
	}
	if at := m.text("path", &l.Path); at != nil {
		if _, err := regexp.Compile(l.Path); err != nil {
			d.fail(at, "%s.path is no regular expression: %s", name, regexpError(err))
		}
	}
	l.Success = d.statuses(m, "success")
	l.Failure = d.statuses(m, "failure")
	l.Action = "login"
	m.oneOf("action", &l.Action, "login", "reset", "register")
	l.SuccessSize = d.sizes(m, "success_size")
	l.FailureSize = d.sizes(m, "failure_size")
	m.done()
	if l.Path == "" && len(d.problems) == before {
		d.fail(n, "%s has no path; write a regular expression such as \"^/session$\"", name)
	}
	if why := l.ambiguous(); why != "" && len(d.problems) == before {
		d.fail(n, "%s counts %s", name, why)
		return
	}
	if len(d.problems) > before {
		return
	}
	if _, err := event.NewDeriver(event.DeriveOptions{Logins: []event.LoginRule{l.rule()}}); err != nil {
		d.fail(n, "%s: %s", name, strings.TrimPrefix(err.Error(), "identity options: "))
		return
	}
	c.Logins = append(c.Logins, l)
}

// ambiguous says which answer counts both as success and as failure, "" for none.
func (l *Login) ambiguous() string {
	for _, a := range l.Success {
		for _, b := range l.Failure {
			if a.From > b.To || b.From > a.To {
				continue
			}
			status := max(a.From, b.From)
			if len(l.SuccessSize) == 0 && len(l.FailureSize) == 0 {
				return fmt.Sprintf("status %d both as success and as failure; sizes of the body in success_size or failure_size tell them apart", status)
			}
			for _, x := range l.SuccessSize {
				for _, y := range l.FailureSize {
					if x.From <= y.To && y.From <= x.To {
						return fmt.Sprintf("status %d with a body of %d bytes both as success and as failure", status, max(x.From, y.From))
					}
				}
			}
		}
	}
	return ""
}

// sizes reads ranges of body sizes, such as "1200-1300, 1500".
func (d *decoder) sizes(m *mapping, key string) []event.SizeRange {
	var s string
	n := m.text(key, &s)
	if n == nil {
		return nil
	}
	var out []event.SizeRange
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseInt(strings.TrimSpace(low), 10, 64)
		to, err2 := strconv.ParseInt(strings.TrimSpace(high), 10, 64)
		if err != nil || err2 != nil || from < 0 || to < from {
			d.fail(n, "%s: %s is no size of a body; write bytes such as 1840, or 1200-1300, with commas between several", m.path(key), quote(part))
			return nil
		}
		out = append(out, event.SizeRange{From: from, To: to})
	}
	return out
}

func (d *decoder) statuses(m *mapping, key string) []StatusRange {
	var s string
	n := m.text(key, &s)
	if n == nil {
		return nil
	}
	out, err := parseStatuses(s)
	if err != nil {
		d.fail(n, "%s: %s", m.path(key), err)
	}
	return out
}

func (d *decoder) merge(c *Config, n *yaml.Node) {
	m := d.mapping(n, "merge")
	m.duration("wait", &c.Merge.Wait, 10*time.Millisecond, time.Hour)
	m.duration("hold", &c.Merge.Hold, time.Second, day)
	m.done()
}

func (d *decoder) state(c *Config, n *yaml.Node) {
	m := d.mapping(n, "state")
	if at := m.text("path", &c.State.Path); at != nil && c.State.Path == "" {
		d.fail(at, "state.path is empty; write the path of a file, or remove the key")
	}
	c.State.Path = join(c.Dir, c.State.Path)
	m.size("budget", &c.State.Budget, 1<<20, 1<<40)
	m.duration("checkpoint", &c.State.Checkpoint, 100*time.Millisecond, time.Hour)
	m.done()
}

func (d *decoder) incidents(c *Config, n *yaml.Node) {
	m := d.mapping(n, "incidents")
	m.duration("resolve_after", &c.Incidents.ResolveAfter, time.Second, 30*day)
	m.duration("group_interval", &c.Incidents.GroupInterval, time.Second, 30*day)
	m.duration("repeat_interval", &c.Incidents.RepeatInterval, time.Minute, forever)
	m.integer("keep", &c.Incidents.Keep, 1, 1_000_000)
	m.done()
}

func (d *decoder) api(c *Config, n *yaml.Node) {
	m := d.mapping(n, "api")
	at := m.text("listen", &c.API.Listen)
	if socket := m.text("socket", &c.API.Socket); socket != nil {
		c.API.Socket = join(c.Dir, strings.TrimPrefix(c.API.Socket, "unix:"))
		if c.API.Socket == "" {
			d.fail(socket, "api.socket is empty; write the path of a socket, such as /run/gatewatch/api.sock, or remove the key")
		}
	}
	d.apiToken(m, c)
	m.texts("hosts", &c.API.Hosts, func(s string) error {
		if !hostName.MatchString(s) {
			return fmt.Errorf("%s is no name of a host; write one such as gatewatch.example.com, without a port", quote(s))
		}
		return nil
	})
	m.done()
	if at == nil {
		return
	}
	if path, ok := strings.CutPrefix(c.API.Listen, "unix:"); ok {
		if path == "" {
			d.fail(at, "api.listen names no socket; write unix:/path/to/socket")
		}
		c.API.Listen = "unix:" + join(c.Dir, path)
		return
	}
	host, port, err := net.SplitHostPort(c.API.Listen)
	if err == nil {
		if number, bad := strconv.Atoi(port); bad != nil || number < 0 || number > 65535 {
			err = fmt.Errorf("bad port")
		}
	}
	if err != nil || strings.ContainsAny(host, "/ ") {
		d.fail(at, "api.listen is %s; write host:port such as 127.0.0.1:9377, or unix:/path/to/socket", quote(c.API.Listen))
	}
}

// hostName is what a Host header may hold besides an address.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$`)

// apiToken reads api.token. Who only reads may do so without the variable that
// holds it: a command finds its own way to the token.
func (d *decoder) apiToken(m *mapping, c *Config) {
	before := len(d.problems)
	at := m.secret("token", &c.API.Token)
	if d.reading {
		d.problems = d.problems[:before]
		return
	}
	if at != nil && c.API.Token.value != "" && len(c.API.Token.value) < leastToken {
		d.fail(at, "api.token is shorter than %d characters; make one with: openssl rand -hex 32", leastToken)
	}
}

// leastToken is how long a token has to be, so that nobody guesses it.
const leastToken = 16

func (d *decoder) log(c *Config, n *yaml.Node) {
	m := d.mapping(n, "log")
	level := "info"
	m.oneOf("level", &level, "debug", "info", "warn", "error")
	if err := c.Log.Level.UnmarshalText([]byte(level)); err != nil {
		d.fail(n, "log.level: %s", err)
	}
	m.oneOf("format", &c.Log.Format, "text", "json")
	m.done()
}

func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.Prefix{}, fmt.Errorf("%s is no network; write one such as 10.0.0.0/8 or 2001:db8::/32, or an address", quote(s))
}

func checkGlob(s string) error {
	if _, err := filepath.Match(s, ""); err != nil {
		return fmt.Errorf("%s is no pattern: a [ has no ]; write [[] for the character itself", quote(s))
	}
	return nil
}

func names(fields []event.Field) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.String())
	}
	return out
}

// checkRoute asks the package that will use the template.
func checkRoute(s string) error {
	if strings.ContainsAny(s, "?#") {
		return fmt.Errorf("%s has a query or a fragment; write the path alone", quote(s))
	}
	if _, err := event.NewDeriver(event.DeriveOptions{Routes: []event.RouteRule{{Pattern: s}}}); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "identity options: "))
	}
	return nil
}

// parseStatuses reads a list such as "200,422", "2xx" or "400-403,429".
func parseStatuses(s string) ([]StatusRange, error) {
	var out []StatusRange
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		r, ok := parseStatus(part)
		if !ok {
			return nil, fmt.Errorf("%s is no status; write 302, 4xx or 400-403, with commas between several", quote(part))
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b StatusRange) int { return a.From - b.From })
	return out, nil
}

func parseStatus(s string) (StatusRange, bool) {
	if len(s) == 3 && strings.HasSuffix(strings.ToLower(s), "xx") && '1' <= s[0] && s[0] <= '5' {
		from := int(s[0]-'0') * 100
		return StatusRange{from, from + 99}, true
	}
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	from, err1 := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	ok := err1 == nil && err2 == nil && 100 <= from && from <= to && to <= 599
	return StatusRange{from, to}, ok
}

func parseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("not an address of a web server; write https://host/path")
	}
	return nil
}

// isToken reports whether s can be a header name or a method (RFC 9110).
func isToken(s string) bool {
	for _, c := range []byte(s) {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// regexpError drops the prefix that every error of package regexp has.
func regexpError(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

func join(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func joinAll(dir string, paths []string) []string {
	for i, p := range paths {
		paths[i] = join(dir, p)
	}
	return paths
}

// reservedHeaders are set by the sender itself.
var reservedHeaders = map[string]bool{
	"Content-Type": true, "Content-Length": true, "Host": true, "Connection": true, "Transfer-Encoding": true,
	"Webhook-Id": true, "Webhook-Timestamp": true, "Webhook-Signature": true,
}

func checkHeader(name string) error {
	if !isToken(name) {
		return fmt.Errorf("%s is no header name", quote(name))
	}
	if reservedHeaders[http.CanonicalHeaderKey(name)] {
		return fmt.Errorf("%s is set by gatewatch itself; remove it", quote(name))
	}
	return nil
}

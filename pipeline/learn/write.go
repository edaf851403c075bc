package learn

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/alerting/escape"
	"gatewatch/event"
)

// Write writes the result as a configuration, with the numbers behind each entry
// as comments. What has to be looked at by a person first is commented out; it
// becomes valid by taking away "# " at the start of its lines. Every text of a log is
// escaped for its place, so the output is valid whatever the log holds.
func (r *Result) Write(w io.Writer) error {
	p := &printer{w: bufio.NewWriter(w)}
	r.head(p)
	r.coverage(p)
	r.proxies(p)
	r.routes(p)
	r.logins(p)
	r.rules(p)
	return p.w.Flush()
}

// printer writes YAML line by line.
type printer struct {
	w   *bufio.Writer
	off bool // true where what is written is commented out
	in  string
}

// width is where comments break.
const width = 118

// line writes one line of YAML, or of what is commented out.
func (p *printer) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.off && text != "" {
		// Behind the indentation of the list, so that taking "# " away is enough.
		text = text[:min(len(p.in), len(text))] + "# " + strings.TrimPrefix(text, p.in)
	}
	_, _ = p.w.WriteString(text + "\n") // Flush tells
}

// note writes a comment, broken into lines. indent is what stands before the #.
func (p *printer) note(indent, format string, args ...any) {
	line := indent + "#"
	if p.off {
		line = p.in + "# " + strings.TrimPrefix(indent, p.in) + "#"
	}
	start := line
	for word := range strings.SplitSeq(fmt.Sprintf(format, args...), " ") {
		if len(line)+1+len(word) > width && line != start {
			_, _ = p.w.WriteString(line + "\n")
			line = start
		}
		line += " " + word
	}
	_, _ = p.w.WriteString(line + "\n")
}

// text makes something of a log fit for a comment.
func text(s string, limit int) string { return escape.Text(s, limit) }

// scalar makes something of a log a value of the configuration, where ${ would
// stand for a variable and $$ for one sign.
func scalar(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if b.WriteByte(s[i]); s[i] == '$' && i+1 < len(s) && (s[i+1] == '$' || s[i+1] == '{') {
			b.WriteByte('$')
		}
	}
	return escape.YAML(b.String(), 0)
}

// sigmaScalar makes something of a log a value of a Sigma document, in which
// nothing is a wildcard.
func sigmaScalar(s string) string {
	return escape.YAML(strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s), 0)
}

func stampOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (r *Result) head(p *printer) {
	p.note("", "What gatewatch learned from past logs, for you to review. Every entry has the numbers behind it. Entries that are "+
		"commented out are proposals that nobody should trust unseen: look at them, then take \"# \" away.")
	var logs []string
	for _, l := range r.Logs[:min(len(r.Logs), 20)] {
		logs = append(logs, text(l, 120))
	}
	if more := len(r.Logs) - len(logs); more > 0 {
		logs = append(logs, fmt.Sprintf("and %d more", more))
	}
	p.line("#")
	p.note("", "Logs: %s", strings.Join(logs, " "))
	if r.Requests == 0 {
		p.note("", "Nothing in them could be read as a request, so nothing was learned.")
		return
	}
	p.note("", "Span: %s to %s UTC (%s)", stampOf(r.First), stampOf(r.Last), r.Last.Sub(r.First).Round(time.Second))
	p.note("", "Lines: %s, of which %s are requests", thousands(r.Lines), thousands(r.Requests))
	for _, f := range slices.Sorted(maps.Keys(r.Formats)) {
		p.note("", "Format: %s, %s requests", text(f, 60), thousands(r.Formats[f]))
	}
	p.note("", "Attacks: %s at medium or above; the %s that they accuse taught nothing",
		plural(r.Incidents, "incident", "incidents"), plural(r.Suspects, "client or principal", "clients and principals"))
	if r.Last.Sub(r.First) < 48*time.Hour {
		p.note("", "The logs span less than two days. What happens once a day or once a week was not learned.")
	}
	for _, c := range r.Cleared {
		p.note("", "Not taken for an attacker: %s, which the rule %q accuses: %s.", c.Client.Prefix, c.Rule, c.Why)
	}
	for _, n := range r.Notes {
		p.note("", "Note: %s", n)
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(int64(n)) + " " + many
}

func (r *Result) coverage(p *printer) {
	if r.Requests == 0 {
		return
	}
	p.line("")
	p.note("", "Coverage. How much of the requests tell what:")
	for _, f := range r.Coverage {
		p.line("#   %-38s %s", f.Name, percent(f.Share))
	}
	p.note("", "What that shows of the OWASP API Security Top 10 (2023). Seen are attempts, never proof of a hole:")
	for _, k := range r.Risks {
		p.line("#   %-5s %-48s %-8s %s", k.ID, k.Name, k.Sight, k.Why)
	}
}

func (r *Result) proxies(p *printer) {
	if len(r.Proxies) == 0 {
		return
	}
	p.line("")
	p.note("", "Peers that send X-Forwarded-For for many clients. Trust only those that are yours: whoever is trusted says who the client is.")
	p.line("trusted_proxies:")
	for _, net := range r.Trusted {
		n, clients := int64(0), 0
		for _, x := range r.Proxies {
			if net.Contains(x.Peer) {
				n, clients = n+x.Requests, max(clients, x.Clients)
			}
		}
		p.note("  ", "%s requests, for %s clients or more; no address of the internet", thousands(n), thousands(int64(clients)))
		p.line("  - %s", scalar(net.String()))
	}
	p.off, p.in = true, "  "
	for i, x := range r.Proxies {
		if x.Ours && !x.Inside {
			continue
		}
		if i >= 50 {
			p.note("  ", "%d more are not listed", len(r.Proxies)-i)
			break
		}
		why := "trust it if it is your load balancer or CDN"
		if x.Inside {
			why = "the clients have private addresses: an office or another network, and whoever controls it can write anything"
		}
		p.note("  ", "%s requests, for %s clients or more: %s", thousands(x.Requests), thousands(int64(x.Clients)), why)
		p.line("  - %s", scalar(x.Peer.String()))
	}
	p.off = false
}

func (r *Result) routes(p *printer) {
	if len(r.Routes) == 0 {
		return
	}
	p.line("")
	p.note("", "Segments of paths that are values though they look like words. The first template that fits a path decides.")
	p.line("routes:")
	for _, x := range r.Routes {
		if x.Values == 0 {
			p.note("  ", "a fixed path beside values: %s requests", thousands(x.Requests))
			p.line("  - %s", scalar(x.Pattern))
			continue
		}
		var examples []string
		for _, e := range x.Examples {
			examples = append(examples, text(e, 40))
		}
		numbers := fmt.Sprintf("%s requests for %s values or more, %s of them new in the second half of the log, by %s clients or more; such as %s",
			thousands(x.Requests), thousands(int64(x.Values)), thousands(int64(x.New)), thousands(int64(x.Clients)), strings.Join(examples, ", "))
		if x.Broad {
			p.off, p.in = true, "  "
			p.note("  ", "%s. It takes every path of its length, so list the fixed ones before it.", numbers)
			p.line("  - %s", scalar(x.Pattern))
			p.off = false
			continue
		}
		p.note("  ", "%s", numbers)
		p.line("  - %s", scalar(x.Pattern))
	}
}

func (r *Result) logins(p *printer) {
	if len(r.Logins) == 0 {
		return
	}
	p.line("")
	p.note("", "Logins, and how their answers read. Who was refused tries again; who was let in goes on to something else.")
	p.line("logins:")
	for i := range r.Logins {
		l := &r.Logins[i]
		p.in = "  "
		p.off = !l.Active() && !l.other()
		p.note("  ", "%s %s: %s requests, %s with the name tried", text(l.Method, 20), text(l.Route, 120), thousands(l.Requests), thousands(l.Named))
		for _, s := range l.Statuses {
			p.note("  ", "  %d: %s times; %s tried again at once, %s went on (%s, counted a few times each)",
				s.Status, thousands(s.Requests), thousands(s.Retried), thousands(s.Moved), plural(int(s.Actors), "client", "clients"))
		}
		switch {
		case l.other():
			p.note("  ", "  It is read so without an entry.")
			continue
		case !l.Active():
			p.note("  ", "  Nothing in the path says that it is a login. Look whether it is one.")
		case l.AsBuiltIn:
			p.note("  ", "  It is read so without an entry too; this one keeps it so.")
		}
		size := ""
		if len(l.FailureSize) > 0 {
			var spans []string
			for _, s := range l.FailureSize {
				spans = append(spans, fmt.Sprintf("%d-%d", s.From, s.To))
			}
			size = fmt.Sprintf(", failure_size: \"%s\"", strings.Join(spans, ", "))
		}
		if l.Action > event.ActionLogin {
			size += ", action: " + l.Action.String()
		}
		p.line("  - {method: %s, path: %s, success: %q, failure: %q%s}", scalar(l.Method), scalar(l.Path), statuses(l.Success), statuses(l.failures()), size)
		p.off = false
	}
}

// Active reports whether the entry is written as one that works at once.
func (l *Login) Active() bool { return l.Words && !l.other() }

// other reports whether the route is read as it should be, and is no login: the
// built-in reading of resets and sign-ups knows more of their answers.
func (l *Login) other() bool { return l.Words && l.AsBuiltIn && l.Action > event.ActionLogin }

// failures are the statuses that mean failure: those seen, and those that mean it
// at every login and were not seen to mean something else.
func (l *Login) failures() []int32 {
	out := slices.Clone(l.Failure)
	for _, s := range [...]int32{400, 401, 403, 422, 429} {
		if !slices.Contains(out, s) && !slices.Contains(l.Success, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

func statuses(list []int32) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprint(s))
	}
	return strings.Join(out, ",")
}

// documentID is the same for the same text.
func documentID(text string) string {
	h := sha256.Sum256([]byte("learned\x00" + text))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // a UUID of version 8
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

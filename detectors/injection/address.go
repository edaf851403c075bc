package injection

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Addresses in values. An address of another site is honest: redirects, links
// and hooks have them. What is not: schemes that only libraries of transfer
// know, hosts inside the network in any spelling, and spellings that exist to
// be read in two ways.

func (a *Analyzer) addresses(s *subject) {
	t := s.low
	// A host inside without a scheme: url=localhost/
	if k := bytes.IndexAny(t, "/:"); k > 3 && k < 60 && inner(t[:k]) && (decimal(t[0]) || letter(t[0])) {
		if ip, spelled := parseHost(string(t[:k])); !ip.IsValid() || spelled && bytes.IndexByte(t[:k], '.') > 0 {
			a.hit(SSRF, s.full)
		}
	}
	if bytes.HasPrefix(t, []byte("unix:")) && hasAny(t, "|http", "|fcgi", "|ajp", "|https") {
		a.hit(SSRF, s.full) // a proxy is told to ask elsewhere, CVE-2021-40438
	}
	for at := 0; at < len(t); {
		i := nextAddress(t, at)
		if i < 0 {
			break
		}
		u := splitAddress(t[i:])
		at = i + max(u.length, 2)
		switch {
		case u.inside():
			if !u.spelledOut(s, i) || !u.callback(s.name) && !a.reports(s.name) && !mentioned(t[:i]) {
				a.hit(SSRF, s.full)
			}
		case i == 0 && share(t):
			a.hit(Inclusion, s.full)
		case i == 0 && (u.twoFaced(t, s.once, strings.ToLower(a.request.Host)) || u.lookalike(a.request.Host) || hiddenEnd(s.raw) || hiddenEnd(s.once)):
			a.hit(OpenRedirect, s.full)
		case i == 0 && (u.remoteCode(t) || u.included(s.name, a.request)):
			a.hit(Inclusion, s.full)
		}
	}
	if oddRedirect(t, s.once) || refreshes(t) || nestedRedirect(t) {
		a.hit(OpenRedirect, s.full)
	}
}

// refreshes reports whether t is what a page says that is to send its reader on,
// 5;url='http://evil.example'.
func refreshes(t []byte) bool {
	v := bytes.TrimLeft(t, "0123456789; ")
	return len(v) < len(t) && hasPrefixAny(v, "url='http", "url=\"http", "url=http", "url='//")
}

// hiddenEnd reports whether the host of an address, as it is spelled, holds an
// encoded sign that ends a host, and an @ behind it: before decoding the host
// is what follows the @, after it what comes first. A client that encodes its
// values encodes the slashes of the scheme as well.
func hiddenEnd(t []byte) bool {
	i := bytes.Index(t, []byte("://"))
	if i < 0 || i > 8 {
		return false
	}
	t = t[i+3:]
	if k := bytes.IndexAny(t, "/?#"); k >= 0 {
		t = t[:k]
	}
	for j := 0; j+2 < len(t); j++ {
		if t[j] != '%' {
			continue
		}
		switch string([]byte{t[j+1], lower(t[j+2])}) {
		case "2f", "5c", "3f", "23":
			rest := t[j+3:]
			return bytes.IndexByte(rest, '@') >= 0 || has(rest, "%40")
		}
	}
	return false
}

// lookalike reports whether a host begins with the API's own name and is
// another's all the same, api.example.com.evil.example, or ends in it without
// the dot, evilexample.com: checks that compare beginnings or ends take both
// for their own.
func (u *address) lookalike(own string) bool {
	own, _, _ = strings.Cut(strings.ToLower(own), ":")
	from := registered(own)
	if from == len(own) || u.scheme != "http" && u.scheme != "https" && u.scheme != "" {
		return false
	}
	if ip, _ := parseHost(own); ip.IsValid() {
		return false
	}
	name := own[from:]
	host := string(u.host)
	if k := strings.Index(host, name); k >= 0 {
		end := k + len(name)
		switch {
		case end < len(host):
			return host[end] == '.' && (k == 0 || host[k-1] == '.') && !strings.HasSuffix(host, "."+name) && strings.IndexByte(host[end+1:], '.') > 0
		case k > 0 && host[k-1] != '.':
			return strings.IndexByte(name, '.') >= 6 // what is shorter is at the end of many names
		}
	}
	return false
}

// nestedRedirect finds an address that is spelled oddly in the query of another:
// /redirect?url=//host.
func nestedRedirect(t []byte) bool {
	if len(t) < 8 || t[0] != '/' && !bytes.HasPrefix(t, []byte("http")) {
		return false
	}
	_, query, ok := bytes.Cut(t, []byte("?"))
	if !ok {
		return false
	}
	for range 16 {
		var p []byte
		p, query, ok = bytes.Cut(query, []byte("&"))
		name, value, _ := bytes.Cut(p, []byte("="))
		if redirects(name) && oddRedirect(value, value) {
			return true
		}
		if !ok {
			break
		}
	}
	return false
}

// listeners are names of hosts that do nothing but note who asks for them, which is
// how tools learn that a server can be made to ask.
var (
	listeners = [...]string{
		"oast.me", "oast.fun", "oast.pro", "oast.live", "oast.site", "oast.online", "oastify.com", "interact.sh",
		"burpcollaborator.net", "rbndr.us", "requestbin.net", "dnslog.cn", "ceye.io", "bxss.me", "r87.me",
	}
	anyListener = newAnyOf(listeners[:]...)
)

// listens reports whether such a host is named: behind a dot or where a name begins.
func listens(t []byte) bool {
	if !anyListener.in(t) {
		return false
	}
	for _, h := range listeners {
		i := bytes.Index(t, []byte(h))
		if i < 0 || i > 0 && wordByte(t[i-1]) {
			continue
		}
		if end := i + len(h); end == len(t) || !wordByte(t[end]) && t[end] != '-' && t[end] != '.' {
			return true
		}
	}
	return false
}

// pathAddress judges a path that is an address itself, /http://host/, or for a
// browser that is sent to it.
func (a *Analyzer) pathAddress(s *subject) {
	if redirectingPath(s.low) || encodedStart(s.raw) && hostLike(bytes.TrimLeft(s.low, "/\\")) {
		a.hit(OpenRedirect, s.full)
	}
	if t := bytes.TrimLeft(s.low, "/"); hasPrefixAny(t, "http:", "https:", "gopher:", "dict:", "ftp:") {
		if u := splitAddress(t); u.inside() {
			a.hit(SSRF, s.full)
		}
	}
	if _, after, ok := bytes.Cut(s.low, []byte("://")); ok {
		host := after
		if k := bytes.IndexAny(host, "/:"); k >= 0 {
			host = host[:k]
		}
		if len(host) > 3 && inner(host) {
			a.hit(SSRF, s.full) // /.://host/
		}
	}
	// A proxy takes the address from the rest of its own path.
	rest := s.low
	for range 8 {
		i := bytes.Index(rest, []byte("/http"))
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		if hasPrefixAny(rest, "http:/", "https:/") {
			if u := splitAddress(rest); u.inside() {
				a.hit(SSRF, s.full)
			}
		}
	}
}

// fetches reports whether a parameter says by its name that a server is to ask what its
// value names.
func fetches(name string) bool {
	var buf [16]byte
	return len(name) <= len(buf) && inList([]string{"url", "uri", "u", "link", "src", "host", "server", "callback", "webhook", "proxy", "feed", "image", "img", "dest"}, appendLower(buf[:0], bytesOf(name)))
}

// bareInside reports whether t is the host of a cloud's metadata, or a port of the machine
// itself, without a scheme.
func bareInside(t []byte) bool {
	host, rest := t, []byte(nil)
	if k := bytes.IndexAny(t, ":/"); k >= 0 {
		host, rest = t[:k], t[k:]
	}
	switch string(host) {
	case "169.254.169.254":
		return true
	case "127.0.0.1":
		return len(rest) > 1 && rest[0] == ':' && decimal(rest[1])
	}
	return false
}

// encodedStart reports whether a path begins with slashes of which one is encoded, which
// nobody needs to do.
func encodedStart(raw []byte) bool {
	rest, ok := bytes.CutPrefix(raw, []byte("/"))
	return ok && len(rest) > 3 && rest[0] == '%' && (rest[1] == '2' && rest[2]|0x20 == 'f' || rest[1] == '5' && rest[2]|0x20 == 'c')
}

// redirectingPath reports whether a path is an address of another site for a
// browser that is sent to it once more: //host/.., /\host, /host//... Servers that
// add or take away a slash at its end answer so.
func redirectingPath(t []byte) bool {
	i := 0
	for i < len(t) && (t[i] == '/' || t[i] == '\\' || t[i] == ';' || t[i] < ' ') {
		i++
	}
	lead, rest := t[:i], t[i:]
	if i == 0 || lead[0] != '/' || !hostLike(rest) {
		return false
	}
	climbs := bytes.HasSuffix(rest, []byte("/..")) || bytes.HasSuffix(rest, []byte("\\..")) || bytes.HasSuffix(rest, []byte("/../"))
	if len(lead) == 1 {
		return bytes.HasSuffix(rest, []byte("//..")) || bytes.HasSuffix(rest, []byte("//../"))
	}
	host, _, _ := bytes.Cut(rest, []byte("/"))
	return climbs || bytes.IndexByte(lead, '\\') >= 0 || look(lead)&(control|semicolon) != 0 || bytes.IndexByte(host, '@') >= 0
}

// redirects reports whether a parameter says by its name where a browser goes next.
func redirects(name []byte) bool {
	return inList([]string{"url", "uri", "next", "redirect", "redir", "rurl", "redirect_uri", "redirect_url", "redirect_to", "return", "returnto", "return_to", "returnurl", "return_url", "continue", "dest", "destination", "goto", "to", "target", "out", "forward", "callback", "checkout_url", "success", "service", "back", "r", "u"}, name)
}

// nextAddress finds a scheme, or // at the start.
func nextAddress(t []byte, from int) int {
	if from == 0 && len(t) > 2 && (t[0] == '/' || t[0] == '\\') && (t[1] == '/' || t[1] == '\\') {
		return 0
	}
	for i := from; i < len(t); i++ {
		if t[i] != ':' || i == 0 || !letter(t[i-1]) && !decimal(t[i-1]) {
			continue
		}
		j := i
		for j > from && (letter(t[j-1]) || decimal(t[j-1]) || t[j-1] == '+' || t[j-1] == '.' || t[j-1] == '-') {
			j--
		}
		if _, ok := schemes[string(t[j:i])]; ok {
			return j
		}
	}
	return -1
}

// schemes of addresses; true for those that a browser's user never meets.
var schemes = map[string]bool{
	"http": false, "https": false, "ftp": false, "ws": false, "wss": false, "ftps": true, "sftp": true, "gopher": true, "dict": true, "tftp": true, "ldap": true, "ldaps": true, "smb": true,
	"imap": true, "imaps": true, "pop3": true, "smtp": true, "telnet": true, "netdoc": true, "jar": true, "ssh": true, "scp": true, "rtsp": true, "rtmp": true, "mongodb": true, "redis": true,
	"news": true, "nntp": true, "svn": true, "rmi": true, "dns": true, "ssh2": true, "mailto": false, "local_file": true, "unix": true, "cvs": true, "finger": true, "hdfs": true, "pop2": true, "snmp": true,
	"afp": true, "nfs": true, "rsync": true, "xri": true, "irc": true, "acap": true, "ircs": true, "dav": true, "webdav": true, "mvn": true, "sip": true, "sips": true, "udp": true, "tcp": true, "vnc": true, "rdp": true, "mysql": true, "ssl": true, "smtps": true, "pop3s": true, "ssh.exec": true, "git": true, "svn+ssh": true, "feed": false, "turn": true, "stun": true, "url": false, "javascript": false,
}

// address is an address in a text, as lenient parsers read it.
type address struct {
	scheme  string
	slashes int
	user    []byte
	host    []byte
	port    []byte
	rest    []byte
	length  int
	at      int // how many @ there were
}

func splitAddress(t []byte) address {
	var u address
	i := 0
	if t[0] != '/' && t[0] != '\\' {
		i = bytes.IndexByte(t, ':')
		u.scheme = string(t[:i])
		i++
	}
	for i < len(t) && (t[i] == '/' || t[i] == '\\') {
		u.slashes++
		i++
	}
	end := i
	for end < len(t) && t[end] != '/' && t[end] != '?' && t[end] != '#' && t[end] != '\\' && t[end] != '"' && t[end] != '\'' && t[end] != '<' && t[end] != '>' && (!blank(t[end]) || t[end] == '\t' || bytes.ContainsRune(t[end:min(len(t), end+80)], '@')) {
		end++
	}
	// http://google.com#@inside/ : what follows the first end may be the host for another parser
	host := t[i:end]
	for k := bytes.IndexByte(host, '@'); k >= 0; k = bytes.IndexByte(host, '@') {
		u.user = append(u.user, host[:k]...)
		host = host[k+1:]
		u.at++
	}
	host = bytes.TrimSpace(host)
	if len(host) > 0 && host[0] == '[' {
		if k := bytes.IndexByte(host, ']'); k > 0 {
			u.host, u.port = host[:k+1], bytes.TrimPrefix(host[k+1:], []byte(":"))
		} else {
			u.host = host
		}
	} else if k := bytes.IndexByte(host, ':'); k >= 0 {
		u.host, u.port = host[:k], host[k+1:]
	} else {
		u.host = host
	}
	u.host = bytes.TrimRight(u.host, ".")
	u.rest, u.length = t[end:], end
	return u
}

// innerNames are hosts that mean the machine itself, its cloud, or a name
// service that answers with any address asked for.
var innerNames = [...]string{
	"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "metadata", "metadata.google.internal", "metadata.tencentyun.com", "instance-data", "kubernetes.default",
	"kubernetes.default.svc", "localtest.me", "lvh.me", "vcap.me", "lacolhost.com", "yoogle.com", "spoofed.burpcollaborator.net", "host.docker.internal", "gateway.docker.internal",
	"rancher-metadata", "burpcollaborator.net", "loopback", "broadcasthost", "localhost4", "localhost6", "localhost4.localdomain4", "localhost6.localdomain6", "ipv6-localhost",
	"ipv6-loopback", "host.containers.internal", "metadata.packet.net", "metadata.platformequinix.com", "metadata.azure.internal", "metadata.nicp.net",
}

// inside reports whether the address makes a server ask where the world cannot.
func (u *address) inside() bool {
	if odd := schemes[u.scheme]; odd && (u.slashes > 0 || len(u.host) > 3 && u.scheme != "news" && u.scheme != "url" && u.scheme != "git") && len(u.host)+len(u.rest) > 0 {
		return true
	}
	if u.scheme == "mailto" || u.scheme == "javascript" {
		return false
	}
	if len(u.host) > 0 && u.slashes > 1 && u.scheme != "" && allDigits(u.host) {
		return true // a number is an address, small ones too: http://0/
	}
	for _, h := range [...][]byte{u.host, hostIn(u.user), hostIn(u.rest)} {
		if len(h) == 0 {
			continue
		}
		if inner(h) {
			return true
		}
	}
	return false
}

// spelledOut reports whether the address, which begins at i of the text, is spelled as
// every client and every check reads it: as logged, a scheme, two slashes, a host of
// the machine or the network of whoever typed it, and a path without a sign that
// some parsers take for the end of a host. Clouds' metadata are no such host.
func (u *address) spelledOut(s *subject, i int) bool {
	if u.scheme != "http" && u.scheme != "https" || u.at > 0 || u.slashes != 2 || bytes.ContainsAny(u.rest, "\\@\r\n") {
		return false
	}
	if len(s.once) != len(s.full) || !bytes.EqualFold(s.once[i:], s.low[i:]) {
		return false
	}
	written := s.low[i+len(u.scheme)+3 : i+u.length]
	host, port, _ := bytes.Cut(written, []byte(":"))
	if !bytes.Equal(host, u.host) || len(port) > 0 && !allDigits(port) {
		return string(written) == "[::1]" || bytes.HasPrefix(written, []byte("[::1]:"))
	}
	if string(host) == "localhost" {
		return true
	}
	ip, spelled := parseHost(string(host))
	return ip.Is4() && !spelled && (string(host) == "127.0.0.1" || ip.IsPrivate())
}

// callback reports whether a browser is sent to the address and no server asks it:
// the way back from a login, which RFC 8252 has on the user's own machine and which
// an application in a home or a company has in its network.
func (u *address) callback(name string) bool {
	var buf [32]byte
	low := appendLower(buf[:0], bytesOf(name[:min(len(name), 32)]))
	switch string(low) {
	case "redirect_uri", "redirect_url", "redirecturi", "post_logout_redirect_uri", "origin", "returnurl", "return_url", "return_to", "returnto", "parentorigin", "wreply", "target_link_uri",
		"success_url", "cancel_url", "redirect", "service", "error_description", "samlrequest":
		return true
	case "callback", "callback_url", "callbackurl", "iss": // a server may call these back
		return string(u.host) == "localhost" || string(u.host) == "127.0.0.1" || string(u.host) == "[::1]"
	}
	return false
}

// reports reports whether the parameter tells a counter of visits which page was
// looked at. Pages under development and those of a company's own network have
// addresses there. The path has to be that of a counter, which whoever writes a
// query for another endpoint cannot choose.
func (a *Analyzer) reports(name string) bool {
	path := strings.TrimSuffix(a.request.Path, "/")
	switch name {
	case "dl", "dr":
		return (strings.HasSuffix(path, "/collect") || path == "/tr") && (parameterOf(a.request.Query, "tid=") || parameterOf(a.request.Query, "ev="))
	case "url", "urlref":
		return (strings.HasSuffix(path, "/matomo.php") || strings.HasSuffix(path, "/piwik.php")) && parameterOf(a.request.Query, "idsite=")
	}
	return false
}

// tellsPage reports whether what a parameter's value means may depend on the rest
// of the request, see reports.
func tellsPage(p string) bool {
	return strings.HasPrefix(p, "dl=") || strings.HasPrefix(p, "dr=") || strings.HasPrefix(p, "url=") || strings.HasPrefix(p, "urlref=")
}

// parameterOf reports whether a query has a parameter, name=.
func parameterOf(query, name string) bool {
	return strings.HasPrefix(query, name) || strings.Contains(query, "&"+name)
}

// mentioned reports whether an address has a sentence before it, or the name of a
// field that a search looks for it in. What a server asks for is an address and
// nothing else.
func mentioned(before []byte) bool {
	n := len(before)
	if n > 2 && before[n-1] == '"' && before[n-2] == ':' && wordByte(before[n-3]) && letter(before[0]) {
		return true
	}
	return n > 0 && blank(before[n-1]) && look(before)&^(space|dash|comma|dot|quote|colon) == 0 && len(bytes.Fields(before)) >= 3
}

// hostIn returns the host that another parser would find in what is left of an
// address: behind @, up to a port or a path.
func hostIn(t []byte) []byte {
	k := bytes.LastIndexByte(t, '@')
	if k < 0 {
		return nil
	}
	t = bytes.TrimLeft(t[k+1:], " ")
	for i, c := range t {
		if c == ':' || c == '/' || c == '?' || c == '#' || c == '\\' || blank(c) {
			return t[:i]
		}
	}
	return t
}

func inner(h []byte) bool {
	name := strings.Trim(string(h), ".[]")
	for _, n := range innerNames {
		if name == n || strings.HasSuffix(name, "."+n) && strings.IndexByte(n, '.') > 0 {
			return true
		}
	}
	if strings.HasSuffix(name, ".localhost") || strings.HasSuffix(name, ".internal") || strings.HasSuffix(name, ".nip.io") || strings.HasSuffix(name, ".xip.io") || strings.HasSuffix(name, ".sslip.io") ||
		strings.HasSuffix(name, ".burpcollaborator.net") || strings.HasSuffix(name, ".oastify.com") || strings.HasSuffix(name, ".interact.sh") || strings.HasSuffix(name, ".svc.cluster.local") {
		return true
	}
	addr, spelled := parseHost(name)
	if h[0] == '[' || !addr.IsValid() {
		return h[0] == '[' // what the world is to reach has a name
	}
	a := addr.Unmap()
	if a.IsLoopback() || a.IsPrivate() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return true
	}
	if a.Is4() {
		b := a.As4()
		switch {
		case b[0] == 0, b[0] == 127, b[0] == 100 && b[1]&0xC0 == 64, b == [4]byte{168, 63, 129, 16}, b == [4]byte{192, 0, 0, 192}:
			return true
		}
	} else if b := a.As16(); b[0] == 0xfd || b[0] == 0 && b[1] == 0 && b[2] == 0 || b[0] == 0 && b[1] == 0x64 && b[2] == 0xff {
		return true
	}
	return spelled // a number instead of four: nobody writes that honestly
}

// parseHost reads an address as inet_aton does: one to four parts, each in
// decimal, octal or hexadecimal. spelled says that it was not the usual form.
func parseHost(s string) (addr netip.Addr, spelled bool) {
	if strings.IndexByte(s, ':') >= 0 {
		if i := strings.IndexByte(s, '%'); i >= 0 {
			s = s[:i]
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Addr{}, false
		}
		return a, false
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var v uint64
	for i, p := range parts {
		if p == "" {
			return netip.Addr{}, false
		}
		if !decimal(p[0]) {
			return netip.Addr{}, false
		}
		base, digits := 10, p
		switch {
		case len(p) > 2 && p[0] == '0' && p[1] == 'x':
			base, digits = 16, strings.TrimLeft(p[2:], "0")
			if digits == "" {
				digits = "0"
			}
			if len(digits) > 8 {
				digits = digits[len(digits)-8:]
			}
			spelled = true
		case len(p) > 1 && p[0] == '0':
			base, digits = 8, strings.TrimLeft(p, "0")
			if digits == "" {
				digits = "0"
			}
			spelled = true
		}
		n, err := strconv.ParseUint(digits, base, 64)
		if err != nil {
			return netip.Addr{}, false
		}
		if i == len(parts)-1 {
			left := uint(8 * (5 - len(parts)))
			if left < 64 && n >= 1<<left {
				if len(parts) == 4 {
					n &= 0xff
					spelled = true
				} else if len(parts) == 1 && n>>36 == 0 {
					n &= 0xffffffff // what is too much is dropped
					spelled = true
				} else {
					return netip.Addr{}, false
				}
			}
			v = v<<left | n
		} else {
			if n > 255 {
				n &= 0xff
				spelled = true
			}
			v = v<<8 | n
		}
	}
	if len(parts) < 4 {
		if len(parts) == 1 && v < 1<<24 && !spelled {
			return netip.Addr{}, false // a number
		}
		spelled = true
	}
	b := [4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
	return netip.AddrFrom4(b), spelled
}

// twoFaced reports whether an address at the start of a value is spelled so
// that a check and a browser read different hosts.
func (u *address) twoFaced(t, once []byte, ownHost string) bool {
	switch u.scheme {
	case "http", "https", "ftp", "":
	default:
		return false
	}
	if u.nowhere() || bytes.IndexByte(u.host, '&') > 0 && hostLike(u.host[bytes.IndexByte(u.host, '&')+1:]) && bytes.IndexByte(u.host, '=') < 0 {
		return true
	}
	if u.scheme == "" && u.at > 0 && bytes.IndexByte(u.user, '.') > 0 && bytes.IndexByte(t, ' ') < 0 && len(u.host) > 0 {
		return true
	}
	if u.scheme == "" {
		if !hostLike(t[min(u.slashes, len(t)):]) || u.slashes == 2 && u.at == 0 && static(u.rest) {
			return false
		}
		return len(u.host) > 0 && (bytes.IndexByte(u.host, '.') > 0 || u.slashes > 2 || bytes.IndexByte(t, '\\') >= 0) || u.slashes > 2 || u.at > 0
	}
	if own := bytes.TrimRight(u.rest, "/"); len(own) > 3 && (own[0] == '?' || own[0] == '#') && hostLike(own[1:]) && string(own[1:]) == ownHost {
		return true // the API's own name where only a careless check finds it
	}
	switch {
	case u.slashes != 2 && len(u.host) > 0 && bytes.IndexByte(u.host, '.') > 0:
		return true // https:host, https:///host
	case u.slashes == 0 && len(u.host) > 2, u.slashes > 2:
		return true
	case u.at > 0 && (bytes.IndexByte(u.user, '.') > 0 || string(u.user) == "localhost") && len(u.host) > 0:
		return true // a host as user name
	case looksInside(u.host):
		return true
	case has(t[:min(len(t), u.length)], "\\"), bytes.HasPrefix(u.rest, []byte("\\")):
		return true
	case bytes.HasPrefix(u.rest, []byte("#@")), bytes.HasPrefix(u.rest, []byte("?@")), has(u.rest, "@") && has(u.rest, "\\"):
		return true
	}
	host := u.host
	if k := bytes.IndexByte(host, '|'); k > 0 && hostLike(host[:k]) && bytes.IndexByte(host[k:], '.') < 0 {
		host = host[:k] // a code of a system that has a name like an address, system|code
	}
	for _, c := range host {
		if c < 0x21 || c == '|' || c == '^' || c == '`' || c == '{' {
			return true
		}
	}
	// characters in the host that are folded to a dot, a slash or letters
	return !bytes.Equal(bytes.ToLower(once[:min(len(once), 40)]), t[:min(len(t), 40)]) && look(once[:min(len(once), 40)])&high != 0
}

// looksInside reports whether a host of the world begins like one inside, for checks
// that compare beginnings: localhost.evil.example, 127.0.0.1.evil.example.
func looksInside(host []byte) bool {
	if rest, ok := bytes.CutPrefix(host, []byte("localhost.")); ok {
		return bytes.IndexByte(rest, '.') > 0
	}
	if len(host) < 10 || !decimal(host[0]) {
		return false
	}
	dots := 0
	for i, c := range host {
		if c == '.' {
			if dots++; dots == 4 {
				ip, spelled := parseHost(string(host[:i]))
				return ip.IsValid() && !spelled && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()) && hostLike(host[i+1:])
			}
		}
	}
	return false
}

// nowhere reports whether the address has a path that only climbs, which checks
// that join names read as no path at all, or has blanks where its host should be
// and the host behind them.
func (u *address) nowhere() bool {
	path, _, _ := bytes.Cut(u.rest, []byte("?"))
	if has(path, "..") && len(bytes.Trim(path, "./\\")) == 0 && len(u.host) > 0 {
		return true
	}
	return u.scheme != "" && u.slashes >= 2 && len(u.host) == 0 && len(u.rest) > 1 && hostLike(bytes.TrimLeft(u.rest, "/\\"))
}

// static reports whether a path is that of a picture, a style or a script, which
// pages name without the scheme so that they load by either.
func static(path []byte) bool {
	path, _, _ = bytes.Cut(path, []byte("?"))
	k := bytes.LastIndexByte(path, '.')
	return k > 0 && inList([]string{"png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "css", "js", "mjs", "woff", "woff2", "mp4", "webm", "pdf"}, path[k+1:])
}

// remoteCode reports whether the address asks for a script, or cuts off what an
// include would append.
func (u *address) remoteCode(t []byte) bool {
	if u.scheme != "http" && u.scheme != "https" && u.scheme != "ftp" && u.scheme != "ftps" || len(u.host) == 0 {
		return false
	}
	if _, query, _ := bytes.Cut(u.rest, []byte("?")); len(query) > 1 && len(query) < 6 && query[0] == '.' && look(query[1:])&^digit == 0 {
		return true // page?.jpg: the ending that a check wants to see
	}
	if bytes.HasSuffix(t, []byte("?")) {
		return true
	}
	path, _, _ := bytes.Cut(u.rest, []byte("?"))
	if u.scheme == "ftp" || u.scheme == "ftps" {
		return !bytes.HasPrefix(u.host, []byte("ftp.")) || bytes.IndexByte(path[bytes.LastIndexByte(path, '/')+1:], '.') > 0 // a folder of an archive is a link
	}
	ip, _ := parseHost(string(u.host))
	code := false
	for _, x := range [...]string{".php", ".txt", ".inc", ".dat", ".sh", ".pl", ".jsp", ".asp", ".aspx", ".exe", ".bin", ".ps1", ".phtml", ".cgi"} {
		code = code || bytes.HasSuffix(path, []byte(x))
	}
	return code && (ip.IsValid() || bytes.HasSuffix(t, []byte("?")) || bytes.HasSuffix(path, []byte(".txt")) || bytes.HasSuffix(path, []byte(".inc"))) || ip.IsValid() && !code && len(path) > 1 && bytes.IndexByte(path, '.') > 0
}

// included reports whether the address is one that an application would open or
// include, in a parameter whose name says that it does so. Pages have addresses
// of pictures and of other pages in such parameters honestly; what is left is a
// script, a host without a name, or the name of a variable that no form has.
func (u *address) included(name string, r *Request) bool {
	if u.scheme != "http" && u.scheme != "https" || len(u.host) == 0 || len(name) > 64 || u.belongs(r.Host) {
		return false
	}
	var buf, plain [64]byte
	decoded, _ := unescape(plain[:0], bytesOf(name), true)
	low := appendLower(buf[:0], decoded)
	if hasAny(low, "absolute_path", "absolutepath", "root_path", "rootpath", "root_dir", "rootdir", "docroot", "document_root", "basepath", "base_path", "include_path", "globals[", "_server[", "_request[", "mosconfig", "phpbb_root", "[path]", "[root]", "[dir]", "[include]") {
		return true // a variable of a script that register_globals let anybody set
	}
	opens := hasAny(low, "path", "file", "include", "template", "tpl", "skin", "root", "src", "dir", "load", "conf", "module", "theme")
	if !opens {
		// Counters of visits are told the address of a page as well; a script that
		// puts pages together is one itself.
		if hasAny(low, "url", "uri", "href", "link", "ref") || !strings.Contains(r.Path, ".php") ||
			!hasAny(low, "page", "view", "doc", "content", "lang", "style", "layout", "section", "body", "menu") && !inList([]string{"inc", "pg", "p", "mod", "main", "show", "nav", "cat", "controller", "f"}, low) {
			return false
		}
	}
	path, query, _ := bytes.Cut(u.rest, []byte("?"))
	path = bytes.TrimRight(path, "\x00")
	if ip, _ := parseHost(string(u.host)); ip.IsValid() {
		return true
	}
	if k := bytes.Index(path, []byte(".txt/")); k > 0 {
		path = path[:k+4] // what an include appends was made a part of the path
	}
	dot := bytes.LastIndexByte(path, '.')
	if dot < 0 {
		return len(path) < 2 && bytes.HasSuffix(u.host, []byte(".php"))
	}
	switch end := path[dot+1:]; {
	case inList([]string{"php", "php3", "php5", "phtml", "phps", "asp", "aspx", "jsp", "jspx", "cfm", "cgi", "pl", "py", "rb", "sh", "inc", "tpl", "twig", "ftl", "vm", "txt", "dat", "class", "jar", "war", "dll"}, end):
		return true
	case inList([]string{"gif", "jpg", "jpeg", "png", "ico", "css"}, end):
		return hasPrefixAny(query, "cmd=", "c=", "exec=", "command=", "act=", "&cmd=") // a script under the name of a picture
	}
	return false
}

// belongs reports whether the host is the API's own or a neighbour of it.
func (u *address) belongs(own string) bool {
	own, _, _ = strings.Cut(strings.ToLower(own), ":")
	host := string(u.host)
	if host == own {
		return true
	}
	from := registered(own)
	return from < len(own) && (host == own[from:] || strings.HasSuffix(host, "."+own[from:]))
}

// registered returns where in a host the name begins that somebody registered:
// the last two labels, three below com.au and its like. It is the length of the
// host where there is none.
func registered(host string) int {
	dot := strings.LastIndexByte(host, '.')
	if dot <= 0 {
		return len(host)
	}
	from := strings.LastIndexByte(host[:dot], '.') + 1
	if from > 0 && dot-from <= 3 && len(host)-dot == 3 {
		from = strings.LastIndexByte(host[:from-1], '.') + 1
	}
	return from
}

// share reports whether t names a file on a share of Windows, \\host\share, that a
// server would fetch and send its own credentials for.
func share(t []byte) bool {
	if len(t) < 6 || t[0] != '\\' || t[1] != '\\' || t[2] == '\\' || t[2] == '/' {
		return false
	}
	host, rest, ok := bytes.Cut(t[2:], []byte("\\"))
	return ok && len(rest) > 0 && rest[0] != '\\' && len(host) > 1 && look(host)&^(dot|dash|digit|at) == 0
}

// oddRedirect finds values that are an address for a browser though they do
// not look like one.
func oddRedirect(t, once []byte) bool {
	if len(t) < 4 {
		return false
	}
	i := 0
	for i < len(t) && (t[i] == '/' || t[i] == '\\' || t[i] == '<' && i+1 < len(t) && t[i+1] == '>' || t[i] == '>' && i > 0 && t[i-1] == '<' || blank(t[i]) || t[i] < ' ' || t[i] == ';' || t[i] == '.' && i > 0 && i+1 < len(t) && (t[i+1] == '/' || t[i+1] == '\\')) {
		i++
	}
	lead := t[:i]
	rest := t[i:]
	slashes := bytes.Count(lead, []byte("/")) + bytes.Count(lead, []byte("\\"))
	odd := slashes > 1 || bytes.IndexByte(lead, '\\') >= 0 && slashes > 0 || slashes > 0 && look(lead)&(control|space|semicolon) != 0
	if odd && hostLike(rest) {
		return string(lead) != "//" || !static(rest)
	}
	if slashes > 0 && hasPrefixAny(rest, "http:", "https:", "javascript:", "http%", "https%") {
		return true
	}
	// A letter that only changes the one before it begins no word; browsers showed
	// some of them like a slash.
	if r, n := utf8.DecodeRune(rest); n > 1 && slashes < 2 && unicode.Is(unicode.Lm, r) && hostLike(rest[n:]) && look(rest[n:])&high == 0 {
		return true
	}
	if slashes == 1 && hostLike(rest) && (bytes.HasSuffix(rest, []byte("//..")) || bytes.HasSuffix(rest, []byte("//../"))) {
		return true
	}
	// @host, .host and their like: appended to the name of the site itself
	if slashes == 0 && len(t) > 4 && (t[0] == '@') && hostLike(t[1:]) && bytes.IndexByte(t[1:], ' ') < 0 {
		return false // a name on social sites looks the same
	}
	return look(once)&high != 0 && slashes > 0 && hostLike(rest) && !bytes.Equal(bytes.ToLower(once), t)
}

// hostLike reports whether t begins with a host name of two parts or an address.
func hostLike(t []byte) bool {
	if k := bytes.IndexByte(t, '@'); k >= 0 && k < 80 {
		t = t[k+1:]
	}
	n := 0
	for n < len(t) && (wordByte(t[n]) || t[n] == '.' || t[n] == '-' || t[n] >= 0x80) {
		n++
	}
	h := t[:n]
	dot := bytes.LastIndexByte(h, '.')
	if dot <= 0 || dot == len(h)-1 {
		return false
	}
	tld := h[dot+1:]
	if ip, _ := parseHost(string(h)); ip.IsValid() {
		return true
	}
	for _, c := range tld {
		if !letter(c) {
			return false
		}
	}
	return len(tld) >= 2 && !inList([]string{"html", "htm", "php", "js", "css", "png", "jpg", "gif", "svg", "json", "xml", "txt", "jsp", "aspx", "asp", "pdf", "ico", "woff", "map", "md", "do", "action", "webp", "mp4"}, tld)
}

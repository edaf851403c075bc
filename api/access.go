package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Token is what a caller over the network has to show. It is read each time,
// so that a file behind it may change. Its errors are free of secrets.
type Token interface {
	Read() (string, error)
}

// access is what a caller has to be allowed to.
type access uint8

const (
	accessOpen   access = iota // anybody: says nothing of requests
	accessRead                 // who shows the token, or anybody where there is none
	accessChange               // who shows the token, or comes by the socket
)

// guard decides who may do what on one listener.
type guard struct {
	socket bool // reached through a Unix socket of our own user
	token  Token
}

// allow answers a request that is not allowed, and reports whether it is.
func (g *guard) allow(w http.ResponseWriter, r *http.Request, a access) bool {
	switch {
	case a == accessOpen || g.socket:
		return true
	case g.token == nil && a == accessRead:
		return true
	case g.token == nil:
		writeError(w, http.StatusForbidden, "changes need a token or the Unix socket; set api.token or api.socket")
		return false
	}
	want, err := g.token.Read()
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, "the token of this server cannot be read: "+err.Error())
		return false
	}
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Hashes are of one length, so that the time says nothing of the token's.
	x, y := sha256.Sum256([]byte(strings.TrimSpace(got))), sha256.Sum256([]byte(want))
	if strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(x[:], y[:]) == 1 {
		return true
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="gatewatch"`)
	writeError(w, http.StatusUnauthorized, "show the token of this server: Authorization: Bearer TOKEN")
	return false
}

// hosts decides by which names one listener may be called: against web pages
// that reach for it through a name of their own (DNS rebinding). An address
// is safe, since a browser asks for no name then.
type hosts struct {
	loopback bool     // bound to a loopback address: only such addresses are ours
	names    []string // lower case
}

// newHosts returns nil for a Unix socket, which a browser cannot reach.
func newHosts(bound net.Addr, configured string, names []string) *hosts {
	tcp, ok := bound.(*net.TCPAddr)
	if !ok {
		return nil
	}
	h := &hosts{loopback: tcp.IP.IsLoopback(), names: []string{"localhost"}}
	if own, _, err := net.SplitHostPort(configured); err == nil && own != "" {
		h.names = append(h.names, strings.ToLower(own))
	}
	for _, n := range names {
		h.names = append(h.names, strings.ToLower(n))
	}
	return h
}

func (h *hosts) allow(header string) bool {
	if h == nil {
		return true
	}
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if slices.Contains(h.names, host) {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && (!h.loopback || a.Unmap().IsLoopback())
}

// protect refuses what a web page can make a browser send: requests under
// another host name and requests that change something from another origin.
func protect(h *hosts, next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "a page of another origin asks for this")
	}))
	next = origin.Handler(next)
	return headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.allow(r.Host) {
			writeError(w, http.StatusMisdirectedRequest, "the Host header names another server; use an address of this one, localhost, or a name of api.hosts")
			return
		}
		next.ServeHTTP(w, r)
	}))
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

package api

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// protect refuses what a web page can make a browser send: requests under
// another host name (DNS rebinding) and requests that change something from
// another origin.
func protect(bound net.Addr, configured string, next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	next = origin.Handler(next)
	tcp, ok := bound.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		// A browser cannot reach a Unix socket; on other addresses we cannot
		// know by which names we are called.
		return headers(next)
	}
	own, _, err := net.SplitHostPort(configured)
	if err != nil {
		own = ""
	}
	return headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host, own) {
			writeError(w, http.StatusMisdirectedRequest, "the Host header names another server; use a loopback address or localhost")
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// localHost reports whether a Host header names this machine's loopback, or
// the name that the server was told to listen on.
func localHost(header, own string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") || own != "" && strings.EqualFold(host, own) {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
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

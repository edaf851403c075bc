// Package api is gatewatch's HTTP server: health, metrics, status, incidents
// and reload. The command line starts it beside the pipeline.
//
// It listens on loopback by default and has no users: whoever reaches it may
// read everything and reload. Against web pages that reach for it through a
// browser it checks the Host header, refuses requests from other origins and
// sends no CORS headers.
package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"gatewatch/alerting"
)

// Backend is what the server shows. Its methods are called from many
// goroutines.
type Backend interface {
	// Incidents returns copies of all incidents in any order.
	Incidents(ctx context.Context) ([]*alerting.Incident, error)
	// Status is cheap enough to be called at every scrape.
	Status() Status
	// Reload reads the configuration again and returns why it was refused.
	Reload(ctx context.Context) error
}

// Options are the options of New.
type Options struct {
	Listen  string // "host:port", port 0 for any, or "unix:/path"
	Backend Backend
	Metrics http.Handler // serves /metrics; nil for none
	Logger  *slog.Logger // nil discards
}

// Limits of the server.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	shutdownTimeout   = 2 * time.Second
	reloadTimeout     = 45 * time.Second // below writeTimeout, so that the answer gets out
)

// Server is a bound HTTP server.
type Server struct {
	http     *http.Server
	listener net.Listener
	logger   *slog.Logger
}

// New binds the listener, so that Addr is known and a taken port is an error
// at once. Run or Close has to be called.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	listener, err := listen(o.Listen)
	if err != nil {
		return nil, err
	}
	h := &handler{backend: o.Backend, logger: o.Logger}
	s := &Server{listener: listener, logger: o.Logger}
	s.http = &http.Server{
		Handler:           protect(listener.Addr(), o.Listen, h.routes(o.Metrics)),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

func listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("listen for the API on %s: another program has this port, perhaps another gatewatch; stop that one, or set api.listen", address)
		}
		if err != nil {
			return nil, fmt.Errorf("listen for the API on %s: %w", address, err)
		}
		return l, nil
	}
	l, err := net.Listen("unix", path)
	if err != nil && removeStale(path) {
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the API on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("restrict the API socket: %w", err)
	}
	return l, nil
}

// removeStale removes a socket that a killed process left behind: one that
// nobody answers on.
func removeStale(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return false
	}
	return os.Remove(path) == nil
}

// Addr returns the bound address: "127.0.0.1:9377" or "unix:/path".
func (s *Server) Addr() string {
	if s.listener.Addr().Network() == "unix" {
		return "unix:" + s.listener.Addr().String()
	}
	return s.listener.Addr().String()
}

// Run serves until ctx is done, then lets open requests end for at most two
// seconds. It returns nil after an orderly stop.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		s.logger.Warn("requests to the api were cut off at shutdown", "error", err)
		_ = s.http.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// Close releases the listener of a server that is not run.
func (s *Server) Close() error {
	_ = s.http.Close()
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the API listener: %w", err)
	}
	return nil
}

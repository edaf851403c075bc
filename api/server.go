// Package api is gatewatch's HTTP server: health, metrics, status, incidents,
// silences and reload. The command line starts it beside the pipeline.
// openapi.yaml describes it.
//
// It listens on loopback by default and knows no users. Who comes by a Unix
// socket may do everything, as only our own user can open it. Over the network
// changes need a token; reading needs it where one is set. Against web pages
// that reach for it through a browser it checks the Host header, refuses
// requests from other origins and sends no CORS headers.
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

	"golang.org/x/sync/errgroup"
)

// Backend is what the server shows. Its methods are called from many
// goroutines.
type Backend interface {
	alerting.Actor
	// Incidents returns all incidents in any order; they are only read.
	Incidents(ctx context.Context) ([]*alerting.Incident, error)
	// ShadowIncidents are those of rules that are only watched.
	ShadowIncidents(ctx context.Context) ([]*alerting.Incident, error)
	// Status is cheap enough to be called at every scrape.
	Status() Status
	// Reload reads the configuration again and returns why it was refused.
	Reload(ctx context.Context) error
}

// Options are the options of New.
type Options struct {
	Listen string // "host:port", port 0 for any, or "unix:/path"
	// Socket is the path of a Unix socket that is served as well; "" for none.
	Socket string
	// Token, if not nil, has to be shown by who does not come by a socket.
	Token Token
	// Hosts are names by which the server may be called besides addresses.
	Hosts   []string
	Backend Backend
	Metrics http.Handler // serves /metrics; nil for none
	// CheckLabel says what is wrong with the name of a label in a matcher; nil
	// takes all.
	CheckLabel func(name string) error
	Now        func() time.Time // wall clock; default time.Now
	Logger     *slog.Logger     // nil discards
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
	ends   []end
	logger *slog.Logger
}

// end is one listener with what serves it.
type end struct {
	http     *http.Server
	listener net.Listener
}

// New binds the listeners, so that Addr is known and a taken port is an error
// at once. Run or Close has to be called.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.CheckLabel == nil {
		o.CheckLabel = func(string) error { return nil }
	}
	h := &handler{backend: o.Backend, logger: o.Logger, now: o.Now, checkLabel: o.CheckLabel}
	routes := h.routes(o.Metrics)
	s := &Server{logger: o.Logger}
	addresses := []string{o.Listen}
	if socket := "unix:" + o.Socket; o.Socket != "" && socket != o.Listen {
		addresses = append(addresses, socket)
	}
	for _, address := range addresses {
		listener, err := listen(address)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		g := &guard{socket: listener.Addr().Network() == "unix", token: o.Token}
		s.ends = append(s.ends, end{listener: listener, http: &http.Server{
			Handler:           protect(newHosts(listener.Addr(), o.Listen, o.Hosts), h.handler(routes, g)),
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		}})
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

// Addr returns the bound address of Listen: "127.0.0.1:9377" or "unix:/path".
func (s *Server) Addr() string {
	at := s.ends[0].listener.Addr()
	if at.Network() == "unix" {
		return "unix:" + at.String()
	}
	return at.String()
}

// Run serves until ctx is done, then lets open requests end for at most two
// seconds. It returns nil after an orderly stop.
func (s *Server) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, e := range s.ends {
		g.Go(func() error { return s.serve(ctx, e) })
	}
	return g.Wait()
}

func (s *Server) serve(ctx context.Context, e end) error {
	served := make(chan error, 1)
	go func() { served <- e.http.Serve(e.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := e.http.Shutdown(stop); err != nil {
		s.logger.Warn("requests to the api were cut off at shutdown", "error", err)
		_ = e.http.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// Close releases the listeners of a server that is not run.
func (s *Server) Close() error {
	var errs []error
	for _, e := range s.ends {
		_ = e.http.Close()
		if err := e.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close the API listener: %w", err))
		}
	}
	return errors.Join(errs...)
}

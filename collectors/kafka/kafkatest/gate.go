package kafkatest

import (
	"errors"
	"net"
	"sync"
)

// gate stands in front of an in-process cluster, so that its brokers can be
// away or deaf while what they hold stays.
type gate struct {
	mu        sync.Mutex
	listeners []*gateListener
	conns     map[*gateConn]struct{}
	isShut    bool
	isClosed  bool
	deaf      chan struct{} // while deaf: closed when hearing again
	changed   chan struct{} // closed at each change
}

func newGate() *gate {
	return &gate{conns: map[*gateConn]struct{}{}, changed: make(chan struct{})}
}

// change wakes who waits; the caller holds mu.
func (g *gate) change() {
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) addresses() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]string, 0, len(g.listeners))
	for _, l := range g.listeners {
		out = append(out, l.address.String())
	}
	return out
}

func (g *gate) listen(network, address string) (net.Listener, error) {
	inner, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	l := &gateListener{gate: g, inner: inner, address: inner.Addr()}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners = append(g.listeners, l)
	return l, nil
}

// shut ends all connections and refuses new ones.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isShut = true
	for _, l := range g.listeners {
		_ = l.inner.Close()
	}
	g.drop()
	g.change()
}

// drop ends all connections; the caller holds mu.
func (g *gate) drop() {
	for c := range g.conns {
		// No farewell: what a killed broker had not sent is lost.
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Conn.Close()
	}
}

// hang lets requests in and holds them.
func (g *gate) hang() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deaf == nil {
		g.deaf = make(chan struct{})
	}
}

// open undoes shut and hang.
func (g *gate) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deaf != nil {
		close(g.deaf)
		g.deaf = nil
	}
	if !g.isShut {
		return nil
	}
	for _, l := range g.listeners {
		inner, err := net.Listen(l.address.Network(), l.address.String())
		if err != nil {
			return err
		}
		l.inner = inner
	}
	g.isShut = false
	g.change()
	return nil
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isClosed = true
	if g.deaf != nil {
		close(g.deaf)
		g.deaf = nil
	}
	for _, l := range g.listeners {
		_ = l.inner.Close()
	}
	g.drop()
	g.change()
}

type gateListener struct {
	gate    *gate
	inner   net.Listener // changes when the gate opens again
	address net.Addr
	closed  bool
}

func (l *gateListener) Accept() (net.Conn, error) {
	g := l.gate
	for {
		g.mu.Lock()
		inner, changed := l.inner, g.changed
		over, shut := l.closed || g.isClosed, g.isShut
		g.mu.Unlock()
		if over {
			return nil, net.ErrClosed
		}
		if shut {
			<-changed
			continue
		}
		conn, err := inner.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				continue // shut, or over
			}
			return nil, err
		}
		c := &gateConn{Conn: conn, gate: g}
		g.mu.Lock()
		if g.isShut || g.isClosed {
			g.mu.Unlock()
			_ = conn.Close()
			continue
		}
		g.conns[c] = struct{}{}
		g.mu.Unlock()
		return c, nil
	}
}

func (l *gateListener) Close() error {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	l.closed = true
	l.gate.change()
	return l.inner.Close()
}

func (l *gateListener) Addr() net.Addr { return l.address }

type gateConn struct {
	net.Conn
	gate *gate
}

// Read holds what it has read while the gate is deaf.
func (c *gateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gate.mu.Lock()
	deaf := c.gate.deaf
	c.gate.mu.Unlock()
	if deaf != nil && err == nil {
		<-deaf
	}
	return n, err
}

func (c *gateConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

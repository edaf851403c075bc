// Package wire speaks the part of Kafka's protocol by which partitions are
// read: metadata with the ids of topics, offsets, and fetching. It exists beside
// kafka-go because reading there makes a value and a channel operation of each
// message, knows neither ids of topics nor ends of batches, and takes records
// of aborted transactions for real ones.
package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
)

// TopicID tells a topic from another of the same name before or after it. The
// zero value stands for a broker that has none.
type TopicID [16]byte

// The requests of this package.
const (
	apiFetch       = 1
	apiListOffsets = 2
	apiMetadata    = 3
	apiVersions    = 18
)

// maxAnswer bounds an answer other than one with records.
const maxAnswer = 64 << 20

// Dialer connects to a broker and logs in; conn.Cluster is one.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	ClientID() string
}

// Conn is a connection to one broker. It belongs to one goroutine, but for
// Close, which any may call to end what waits.
type Conn struct {
	nc       net.Conn
	r        *bufio.Reader
	client   string
	address  string
	versions map[int16][2]int16
	next     int32 // correlation id of the next request
	scratch  []byte
	fetches  []pendingFetch
}

// readBuffer is the size of the buffer before a connection: records go past it.
const readBuffer = 4 << 10

// Open connects to a broker and asks what it understands.
func Open(ctx context.Context, d Dialer, address string) (*Conn, error) {
	nc, err := d.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &Conn{nc: nc, r: bufio.NewReaderSize(nc, readBuffer), client: d.ClientID(), address: address}
	if err := c.negotiate(ctx); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return c, nil
}

// Address returns host and port as they were dialled.
func (c *Conn) Address() string { return c.address }

// Close ends the connection. It may be called by any goroutine, also again.
func (c *Conn) Close() error {
	if err := c.nc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (c *Conn) negotiate(ctx context.Context) error {
	d, err := c.ask(ctx, apiVersions, 0, func(*encoder) {})
	if err != nil {
		return err
	}
	if code := d.int16(); code != 0 {
		return fmt.Errorf("ask broker %s what it understands: %w", c.address, kafka.Error(code))
	}
	n := d.array()
	c.versions = make(map[int16][2]int16, n)
	for range n {
		key := d.int16()
		c.versions[key] = [2]int16{d.int16(), d.int16()}
	}
	return d.err
}

// version returns the latest version in least to most that the broker has too.
func (c *Conn) version(api, least, most int16) (int16, error) {
	has, ok := c.versions[api]
	if v := min(most, has[1]); ok && v >= max(least, has[0]) {
		return v, nil
	}
	return 0, fmt.Errorf("broker %s does not understand request %d in versions %d to %d; it is too old or too new", c.address, api, least, most)
}

// flexible tells whether a version of a request is written in the newer way.
func flexible(api, version int16) bool {
	switch api {
	case apiFetch:
		return version >= 12
	case apiMetadata:
		return version >= 9
	default:
		return false
	}
}

// send writes a request and returns its number.
func (c *Conn) send(api, version int16, body func(*encoder)) (int32, error) {
	e := encoder{b: append(c.scratch[:0], 0, 0, 0, 0)}
	id := c.next
	c.next++
	e.int16(api)
	e.int16(version)
	e.int32(id)
	e.string(c.client)
	e.flexible = flexible(api, version)
	e.tags()
	body(&e)
	binary.BigEndian.PutUint32(e.b, uint32(len(e.b)-4))
	c.scratch = e.b
	_, err := c.nc.Write(e.b)
	return id, c.wrap(err)
}

// head reads the head of the answer with the number and returns how many
// bytes follow.
func (c *Conn) head(id int32, flex bool) (int, error) {
	var b [8]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return 0, c.wrap(err)
	}
	size := int(int32(binary.BigEndian.Uint32(b[:]))) - 4
	if got := int32(binary.BigEndian.Uint32(b[4:])); got != id || size < 0 {
		return 0, c.wrap(errors.New("it answers what was not asked"))
	}
	if !flex {
		return size, nil
	}
	// No broker sends tags here yet; a zero says so.
	t, err := c.r.ReadByte()
	if err == nil && t != 0 {
		err = errors.New("its answer has a head that is not known")
	}
	return size - 1, c.wrap(err)
}

// ask sends a request and reads the whole answer.
func (c *Conn) ask(ctx context.Context, api, version int16, body func(*encoder)) (*decoder, error) {
	if len(c.fetches) > 0 {
		return nil, errors.New("a fetch is still to be read")
	}
	stop, err := c.bound(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	id, err := c.send(api, version, body)
	if err != nil {
		return nil, err
	}
	flex := flexible(api, version)
	size, err := c.head(id, flex)
	if err != nil {
		return nil, err
	}
	if size > maxAnswer {
		return nil, c.wrap(fmt.Errorf("its answer has %d bytes", size))
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, c.wrap(err)
	}
	return &decoder{b: b, flexible: flex}, nil
}

// bound makes the connection follow the deadline and the end of ctx, until
// stop is called.
func (c *Conn) bound(ctx context.Context) (stop func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := c.nc.SetDeadline(deadline); err != nil {
		return nil, c.wrap(err)
	}
	cancel := context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })
	return func() { cancel() }, nil
}

func (c *Conn) wrap(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("talk to broker %s: %w", c.address, err)
}

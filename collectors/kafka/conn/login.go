package conn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/segmentio/kafka-go"
)

// The requests of a login, of versions that every broker since Kafka 1.0 has.
const (
	apiSaslHandshake    = 17
	apiSaslAuthenticate = 36

	// maxLoginAnswer bounds what a broker may answer to a login.
	maxLoginAnswer = 1 << 20
	// maxLoginSteps bounds how often it may ask back.
	maxLoginSteps = 8
)

// login runs the mechanism over the connection.
func (c *Cluster) login(ctx context.Context, nc net.Conn, address string) error {
	name := c.mechanism.Name()
	refused := func(text string, err error) error {
		return &LoginError{Broker: address, Mechanism: name, Text: text, Err: err}
	}
	body, err := c.exchange(nc, apiSaslHandshake, 1, appendString(nil, name))
	if err != nil {
		return refused("", broken(err))
	}
	code, body := readInt16(body)
	if code == int16(kafka.UnsupportedSASLMechanism) {
		return refused("the broker offers "+offered(body), kafka.UnsupportedSASLMechanism)
	}
	if code != 0 {
		return refused("", kafka.Error(code))
	}
	session, out, err := c.mechanism.Start(ctx)
	if err != nil {
		return refused("", err)
	}
	for range maxLoginSteps {
		body, err := c.exchange(nc, apiSaslAuthenticate, 0, appendBytes(nil, out))
		if err != nil {
			return refused("", broken(err))
		}
		code, body := readInt16(body)
		text, body := readString(body)
		challenge, _ := readBytes(body)
		if code != 0 {
			return refused(printable(text), kafka.Error(code))
		}
		done, next, err := session.Next(ctx, challenge)
		if err != nil {
			return refused("", err)
		}
		if done {
			return nil
		}
		out = next
	}
	return refused("it asked back too often", kafka.SASLAuthenticationFailed)
}

// broken explains the one way in which older brokers refuse.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the broker closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// exchange sends one request and returns the body of the answer.
func (c *Cluster) exchange(nc net.Conn, api, version int16, body []byte) ([]byte, error) {
	b := make([]byte, 4, 64+len(body))
	b = binary.BigEndian.AppendUint16(b, uint16(api))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 1) // correlation id
	b = appendString(b, c.cfg.ClientID)
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if _, err := nc.Write(b); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(nc, head[:]); err != nil {
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 4 || size > maxLoginAnswer {
		return nil, errors.New("the answer is none of Kafka's; is this the right port, and does it want TLS?")
	}
	answer := make([]byte, size-4)
	_, err := io.ReadFull(nc, answer)
	return answer, err
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendBytes(b, v []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func readInt16(b []byte) (int16, []byte) {
	if len(b) < 2 {
		return 0, nil
	}
	return int16(binary.BigEndian.Uint16(b)), b[2:]
}

// readString reads a string that may be null.
func readString(b []byte) (string, []byte) {
	n, b := readInt16(b)
	if n <= 0 || int(n) > len(b) {
		return "", b
	}
	return string(b[:n]), b[n:]
}

func readBytes(b []byte) (v, rest []byte) {
	if len(b) < 4 {
		return nil, nil
	}
	n := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	if n <= 0 || int(n) > len(b) {
		return nil, b
	}
	return b[:n], b[n:]
}

// offered reads the list of mechanisms of a handshake's answer.
func offered(b []byte) string {
	if len(b) < 4 {
		return "none"
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	var names []string
	for range min(n, 16) {
		var s string
		if s, b = readString(b); s != "" {
			names = append(names, printable(s))
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// printable bounds and cleans what a broker says before it is logged.
func printable(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

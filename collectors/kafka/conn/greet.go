package conn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

const apiVersions = 18

// greet asks a broker that wants no login which requests it knows. kafka-go asks
// the same, but believes every length in an answer: what another kind of server
// says would have it reserve gigabytes. A login is as good as this.
func (c *Cluster) greet(nc net.Conn, address string) error {
	body, err := c.exchange(nc, apiVersions, 0, nil)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("talk to broker %s: it closed the connection: %w; is this the right port, and does it want TLS or a login?", address, io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("talk to broker %s: %w", address, err)
	}
	// A code, and for each request its number and the range of its versions.
	if len(body) < 6 || (len(body)-6)/6 != int(binary.BigEndian.Uint32(body[2:])) {
		return fmt.Errorf("talk to broker %s: the answer is none of Kafka's; is this the right port?", address)
	}
	return nil
}

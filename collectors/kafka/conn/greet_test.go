package conn

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestNoKafka talks to servers of other kinds, which have kafka-go reserve
// gigabytes where it is let at them.
func TestNoKafka(t *testing.T) {
	for _, c := range []struct{ say, want string }{
		{"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "none of Kafka's"},
		{"220 mail.example.org ESMTP\r\n", "none of Kafka's"},
		{"\x15\x03\x03\x00\x02\x02\x46", "does it want TLS"}, // an alert
		{"", "it closed the connection"},
		{"\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x7f\xff\xff\xff", "none of Kafka's"},                  // two thousand million requests
		{"\x00\x00\x00\x04\x00\x00\x00\x01", "none of Kafka's"},                                          // nothing
		{"\x00\x00\x00\x00\x00\x00\x00\x01", "none of Kafka's"},                                          // too short to be an answer
		{"\x7f\xff\xff\xff\x00\x00\x00\x01", "none of Kafka's"},                                          // two gigabytes
		{"\x00\x00\x00\x10\x00\x00\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00", "it closed the connection"}, // half an answer
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = nc.Read(make([]byte, 1024))
			_, _ = io.WriteString(nc, c.say)
			_ = nc.Close()
		})
		cluster, err := New(Config{Brokers: []string{l.Addr().String()}, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		nc, err := cluster.Dial(t.Context(), "tcp", l.Addr().String())
		if err == nil {
			_ = nc.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: want %q, got %v", c.say, c.want, err)
		}
		_ = l.Close()
		wg.Wait()
	}
}

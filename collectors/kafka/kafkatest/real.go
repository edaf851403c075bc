package kafkatest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The environment variables that say which real broker tests use.
const (
	// EnvReal, if set to anything, makes Real start a broker of its own.
	EnvReal = "GATEWATCH_KAFKA_REAL"
	// EnvBroker is host:port of a broker that runs already and takes clients in plain
	// text. Tests that have to kill it, or to log in, are skipped then.
	EnvBroker = "GATEWATCH_KAFKA_BROKER"
)

// Real starts Apache Kafka for the length of the test. It takes some seconds,
// so a package has one test that starts it, with subtests. Without one of the
// environment variables the test is skipped, and with EnvReal also where java or
// maven is missing; a broker that does not start fails it.
func Real(t testing.TB) *Cluster {
	t.Helper()
	if given := os.Getenv(EnvBroker); given != "" {
		c := &Cluster{t, &core{given: given}}
		t.Cleanup(c.closeAdmin)
		c.ready()
		return c
	}
	if os.Getenv(EnvReal) == "" {
		t.Skipf("a test with a real broker: set %s=1 to start one, or %s=host:port to use one", EnvReal, EnvBroker)
	}
	script, err := scriptPath()
	if err != nil {
		t.Skipf("a test with a real broker: %v", err)
	}
	if out, err := exec.Command(script, "need").Output(); err != nil {
		t.Skipf("a test with a real broker: not found here: %s", bytes.TrimSpace(out))
	}
	c := &Cluster{t, &core{broker: &broker{script: script, dir: t.TempDir()}}}
	t.Cleanup(func() {
		c.closeAdmin()
		if err := c.broker.kill(); err != nil {
			t.Errorf("kafkatest: end the broker: %v", err)
		}
		if t.Failed() {
			t.Logf("kafkatest: the end of the broker's log:\n%s", c.broker.tail())
		}
	})
	if err := c.broker.start(); err != nil {
		t.Fatalf("kafkatest: start a broker: %v", err)
	}
	if c.certs, err = readCertificates(filepath.Join(c.broker.dir, "tls")); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	c.ready()
	return c
}

// scriptPath finds the script in the tree that this file was built from.
func scriptPath() (string, error) {
	_, self, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(self) {
		return "", errors.New("the project's folder is not known to this build (-trimpath), so neither is the script testdata/kafka/broker")
	}
	path := filepath.Join(filepath.Dir(self), "..", "..", "..", "testdata", "kafka", "broker")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the script that starts it is missing: %w", err)
	}
	return path, nil
}

// broker drives the script.
type broker struct {
	script, dir string

	mu    sync.Mutex
	port  int
	alive *os.File // while open, the broker lives
}

// ports is how many the script uses from its first on.
const ports = 6

// start starts the broker, with the data and ports that it had before.
func (b *broker) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.port == 0
	for try := 1; ; try++ {
		if first {
			b.port = freePorts()
		}
		err := b.run()
		if err == nil || try == 5 || !first {
			return err
		}
		// Somebody else took a port between looking and starting.
		if !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
	}
}

func (b *broker) run() error {
	in, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // the first time it fetches the jars
	defer cancel()
	cmd := exec.CommandContext(ctx, b.script, "start", "--owned", "--dir", b.dir, "--port", strconv.Itoa(b.port))
	cmd.Stdin = in
	// A file, not a buffer: nobody waits for what the broker inherited.
	said, err := os.CreateTemp(b.dir, "start")
	if err != nil {
		return err
	}
	defer func() { _ = said.Close() }()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Run(); err != nil {
		_ = alive.Close()
		text, _ := os.ReadFile(said.Name())
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(text))
	}
	b.alive = alive
	return nil
}

// kill ends the broker by SIGKILL, if it runs.
func (b *broker) kill() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.alive == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.script, "kill", "--dir", b.dir).CombinedOutput()
	_ = b.alive.Close()
	b.alive = nil
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (b *broker) tail() string {
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// address returns the listener that lets clients in this way.
func (b *broker) address(w Way) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	port := b.port
	switch {
	case w.Mechanism != "" && w.TLS:
		port += 4
	case w.Mechanism != "":
		port++
	case w.ClientCert:
		port += 3
	case w.TLS:
		port += 2
	}
	return "127.0.0.1:" + strconv.Itoa(port)
}

// freePorts returns the first of some ports in a row that nobody listens on now,
// below those that the system hands out by itself.
func freePorts() int {
	for {
		first := 20000 + ports*rand.IntN(2000)
		free := true
		for i := range ports {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(first+i))
			if err != nil {
				free = false
				break
			}
			_ = l.Close()
		}
		if free {
			return first
		}
	}
}

// readCertificates reads those that the script made.
func readCertificates(dir string) (*Certificates, error) {
	c := &Certificates{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key"),
		pool: x509.NewCertPool(),
	}
	ca, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, err
	}
	if !c.pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("no certificate in %s", c.CAFile)
	}
	c.shown, err = tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	return c, err
}

package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"gatewatch/alerting"
	"gatewatch/alerting/internal/receivertest"
	"gatewatch/alerting/ocsf"
	"gatewatch/alerting/webhook"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/collectors/kafka/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is what comes in by that access.
func config(a kafkatest.Access, topic string) Config {
	c := Config{Name: "bus", Topic: topic, Version: "1.2.3", Cluster: conn.Config{Brokers: a.Brokers}}
	if a.CAFile != "" {
		c.Cluster.TLS = &conn.TLS{CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile}
	}
	if a.Mechanism != "" {
		c.Cluster.SASL = &conn.SASL{Mechanism: a.Mechanism, Username: a.User, Password: alerting.Secret(a.Password)}
	}
	return c
}

func receiver(t testing.TB, c Config) *Receiver {
	t.Helper()
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// plain is a cluster in plain text with the topic "t" of three partitions, and
// a receiver that writes to it.
func plain(t *testing.T, change func(*Config)) (*kafkatest.Cluster, *Receiver) {
	t.Helper()
	c := kafkatest.Start(t, kafkatest.Options{Topics: map[string]int{"t": 3}, Brokers: 2})
	conf := config(c.Access(kafkatest.Way{}), "t")
	if change != nil {
		change(&conf)
	}
	return c, receiver(t, conf)
}

func note(t testing.TB, change func(*alerting.Incident)) alerting.Notification {
	t.Helper()
	inc := receivertest.Incident("203.0.113.7")
	if change != nil {
		change(&inc)
	}
	return receivertest.Note(t, inc, alerting.CauseOpened)
}

// TestMessage says what a consumer sees.
func TestMessage(t *testing.T) {
	c, r := plain(t, nil)
	n := note(t, nil)
	if res := r.Notify(t.Context(), n); res.Err != nil || res.Reason != alerting.ReasonOK {
		t.Fatalf("got %+v", res)
	}
	got := c.Records("t")
	if len(got) != 1 {
		t.Fatalf("want one message, got %d", len(got))
	}
	headers := map[string]string{}
	for _, h := range got[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": "654adc8f559de823/1", "ce_source": "gatewatch", "ce_type": "incident.updated",
		"ce_subject": "654adc8f559de823", "ce_time": "2026-11-19T06:38:01Z", "content-type": "application/json",
	}
	if diff := cmp.Diff(want, headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if string(got[0].Key) != n.Incident || !got[0].Time.Equal(n.Made) {
		t.Errorf("want the key %s at %s, got %s at %s", n.Incident, n.Made, got[0].Key, got[0].Time)
	}
	// The value is what the webhook receiver posts.
	var posted []byte
	server := receivertest.Server(t, func(_ http.ResponseWriter, r *http.Request) { posted, _ = io.ReadAll(r.Body) })
	hook, err := webhook.New(webhook.Config{Name: "hook", URL: alerting.Secret(server.URL)})
	if err != nil {
		t.Fatal(err)
	}
	defer hook.Close()
	if res := hook.Notify(t.Context(), n); res.Err != nil {
		t.Fatal(res.Err)
	}
	if diff := cmp.Diff(string(posted), string(got[0].Value)); diff != "" {
		t.Errorf("value (-webhook +kafka):\n%s", diff)
	}
}

func TestOCSF(t *testing.T) {
	c, r := plain(t, func(c *Config) { c.Format = OCSF })
	n := note(t, nil)
	if res := r.Notify(t.Context(), n); res.Err != nil {
		t.Fatal(res.Err)
	}
	got := c.Records("t")[0]
	var f ocsf.Finding
	if err := json.Unmarshal(got.Value, &f); err != nil {
		t.Fatal(err)
	}
	if f.ClassUID != 2004 || f.Metadata.UID != n.Key || f.FindingInfo.UID != n.Incident || f.Metadata.Product.Version != "1.2.3" {
		t.Errorf("got %s", got.Value)
	}
	if got.Header("ce_type") != "ocsf.detection_finding" {
		t.Errorf("got type %s", got.Header("ce_type"))
	}
}

// TestPartitions says that all revisions of an incident are in one partition,
// and incidents in all.
func TestPartitions(t *testing.T) {
	c, r := plain(t, nil)
	const incidents, revisions = 30, 3
	for rev := range int64(revisions) {
		for i := range incidents {
			n := note(t, func(inc *alerting.Incident) { inc.ID, inc.Revision = fmt.Sprintf("%016x", i), rev+1 })
			if res := r.Notify(t.Context(), n); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
	}
	where, last, used := map[string]int{}, map[string]string{}, map[int]bool{}
	records := c.Records("t")
	for _, rec := range records {
		key := string(rec.Key)
		if p, seen := where[key]; seen && p != rec.Partition {
			t.Errorf("%s is in partitions %d and %d", key, p, rec.Partition)
		}
		if id := rec.Header("ce_id"); id <= last[key] {
			t.Errorf("%s came after %s", id, last[key])
		}
		where[key], last[key], used[rec.Partition] = rec.Partition, rec.Header("ce_id"), true
	}
	if len(records) != incidents*revisions || len(used) != 3 {
		t.Errorf("%d messages in %d partitions", len(records), len(used))
	}
}

func TestCompressions(t *testing.T) {
	for _, name := range Compressions() {
		t.Run(name, func(t *testing.T) {
			c, r := plain(t, func(c *Config) { c.Compression = name })
			n := note(t, nil)
			if res := r.Notify(t.Context(), n); res.Err != nil {
				t.Fatal(res.Err)
			}
			if got := c.Records("t"); len(got) != 1 || !bytes.Contains(got[0].Value, n.Payload) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestWays lets the receiver in by every way, and keeps it out with a wrong
// password or authority.
func TestWays(t *testing.T) {
	for _, w := range kafkatest.Ways() {
		t.Run(w.String(), func(t *testing.T) {
			c := kafkatest.Start(t, kafkatest.Options{Way: w, Topics: map[string]int{"t": 1}})
			ways(t, c, "t", w)
		})
	}
}

func ways(t *testing.T, c *kafkatest.Cluster, topic string, w kafkatest.Way) {
	t.Helper()
	good := c.Access(w)
	if res := receiver(t, config(good, topic)).Notify(t.Context(), note(t, nil)); res.Err != nil {
		t.Fatalf("got %+v", res)
	}
	before := len(c.Records(topic))
	refused := func(change func(*kafkatest.Access), reason alerting.Reason, say string) {
		t.Helper()
		bad := good
		change(&bad)
		conf := config(bad, topic)
		conf.Timeout = 5 * time.Second
		res := receiver(t, conf).Notify(t.Context(), note(t, nil))
		if res.Err == nil || !res.Retry || res.Reason != reason || !strings.Contains(res.Err.Error(), say) {
			t.Errorf("want %s, to be tried again, with %q, got %+v", reason, say, res)
		}
		if res.Err != nil && strings.Contains(res.Err.Error(), "wrong-secret") {
			t.Errorf("the password is in %q", res.Err)
		}
	}
	if w.Mechanism != "" {
		refused(func(a *kafkatest.Access) { a.Password = "wrong-secret" }, alerting.ReasonClientError, "log in at broker")
	}
	if w.TLS {
		stranger := kafkatest.NewCertificates(t)
		refused(func(a *kafkatest.Access) { a.CAFile = stranger.CAFile }, alerting.ReasonTLS, "unknown authority")
	}
	if w.ClientCert {
		refused(func(a *kafkatest.Access) { a.CertFile, a.KeyFile = "", "" }, alerting.ReasonTLS, "certificate")
	}
	if got := len(c.Records(topic)); got != before {
		t.Errorf("%d messages came through", got-before)
	}
}

// TestBrokerErrors answers a write with each error that a broker knows.
func TestBrokerErrors(t *testing.T) {
	c, r := plain(t, nil)
	for _, e := range []struct {
		code   *kerr.Error
		reason alerting.Reason
		retry  bool
		lands  bool // the work happens all the same
	}{
		{kerr.NotLeaderForPartition, alerting.ReasonServerError, true, false},
		{kerr.LeaderNotAvailable, alerting.ReasonServerError, true, false},
		{kerr.NotEnoughReplicas, alerting.ReasonServerError, true, false},
		{kerr.NotEnoughReplicasAfterAppend, alerting.ReasonServerError, true, true},
		{kerr.RequestTimedOut, alerting.ReasonTimeout, true, true},
		{kerr.KafkaStorageError, alerting.ReasonServerError, true, false},
		{kerr.UnknownServerError, alerting.ReasonServerError, true, false},
		{kerr.CorruptMessage, alerting.ReasonServerError, true, false},
		{kerr.ThrottlingQuotaExceeded, alerting.ReasonRateLimited, true, false},
		{kerr.UnknownTopicOrPartition, alerting.ReasonClientError, true, false},
		{kerr.TopicAuthorizationFailed, alerting.ReasonClientError, true, false},
		{kerr.ClusterAuthorizationFailed, alerting.ReasonClientError, true, false},
		{kerr.MessageTooLarge, alerting.ReasonInvalid, false, false},
		{kerr.RecordListTooLarge, alerting.ReasonInvalid, false, false},
		{kerr.InvalidTopicException, alerting.ReasonClientError, false, false},
		{kerr.InvalidTimestamp, alerting.ReasonClientError, true, false},
		{kerr.InvalidRecord, alerting.ReasonClientError, false, false},
		{kerr.PolicyViolation, alerting.ReasonClientError, false, false},
		{kerr.UnsupportedCompressionType, alerting.ReasonClientError, false, false},
	} {
		t.Run(e.code.Message, func(t *testing.T) {
			before := len(c.Records("t"))
			h := c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: e.code})
			defer h.Remove()
			res := r.Notify(t.Context(), note(t, nil))
			if res.Err == nil || res.Reason != e.reason || res.Retry != e.retry {
				t.Errorf("want %s, retry %t, got %+v", e.reason, e.retry, res)
			}
			if h.Hits() != 1 {
				t.Errorf("want one request, there were %d", h.Hits())
			}
			want := before
			if e.lands {
				want++
			}
			if got := len(c.Records("t")); got != want {
				t.Errorf("want %d messages, got %d", want, got)
			}
			// The next attempt works.
			if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
				t.Errorf("afterwards: %v", res.Err)
			}
		})
	}
}

// TestMetadataErrors answers the question where the topic is with errors.
func TestMetadataErrors(t *testing.T) {
	for _, e := range []struct {
		code   *kerr.Error
		reason alerting.Reason
	}{
		{kerr.TopicAuthorizationFailed, alerting.ReasonClientError},
		{kerr.LeaderNotAvailable, alerting.ReasonServerError},
		{kerr.UnknownTopicOrPartition, alerting.ReasonClientError},
	} {
		c, r := plain(t, nil)
		h := c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Err: e.code, Count: -1})
		res := r.Notify(t.Context(), note(t, nil))
		h.Remove()
		if res.Err == nil || !res.Retry || res.Reason != e.reason {
			t.Errorf("%s: got %+v", e.code.Message, res)
		}
		if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
			t.Errorf("%s, afterwards: %v", e.code.Message, res.Err)
		}
	}
}

func TestUnknownTopic(t *testing.T) {
	c, _ := plain(t, nil)
	unknownTopic(t, c, config(c.Access(kafkatest.Way{}), "not-there"))
}

func unknownTopic(t *testing.T, c *kafkatest.Cluster, conf Config) {
	t.Helper()
	r := receiver(t, conf)
	res := r.Notify(t.Context(), note(t, nil))
	if res.Err == nil || !res.Retry || res.Reason != alerting.ReasonClientError || !strings.Contains(res.Err.Error(), "make the topic") {
		t.Fatalf("got %+v", res)
	}
	// It is not made on the way, and found once somebody makes it.
	c.CreateTopic(conf.Topic, 1, nil)
	if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
		t.Errorf("got %+v", res)
	}
}

// TestMoved moves leaders to the other broker between two attempts.
func TestMoved(t *testing.T) {
	c, r := plain(t, nil)
	n := note(t, nil)
	if res := r.Notify(t.Context(), n); res.Err != nil {
		t.Fatal(res.Err)
	}
	p := c.Records("t")[0].Partition
	other := 1 - c.Fake().LeaderFor("t", int32(p))
	if err := c.Fake().MoveTopicPartition("t", int32(p), other); err != nil {
		t.Fatal(err)
	}
	res := r.Notify(t.Context(), n)
	if res.Err == nil || !res.Retry || res.Reason != alerting.ReasonServerError {
		t.Errorf("got %+v", res)
	}
	if res := r.Notify(t.Context(), n); res.Err != nil {
		t.Errorf("afterwards: %v", res.Err)
	}
}

// TestAway has a broker that is away and comes back, with nobody touching the
// receiver.
func TestAway(t *testing.T) {
	c, r := plain(t, nil)
	away(t, c, r, "t")
}

func away(t *testing.T, c *kafkatest.Cluster, r *Receiver, topic string) {
	t.Helper()
	n := note(t, nil)
	if res := r.Notify(t.Context(), n); res.Err != nil {
		t.Fatal(res.Err)
	}
	c.Kill()
	for range 3 {
		res := r.Notify(t.Context(), n)
		if res.Err == nil || !res.Retry || res.Reason != alerting.ReasonConnection {
			t.Errorf("want a lost connection, got %+v", res)
		}
	}
	c.Restart()
	var res alerting.Result
	c.Await("the receiver to write again", func() bool {
		res = r.Notify(t.Context(), n)
		return res.Err == nil
	})
	got := c.Records(topic)
	if len(got) < 2 || string(got[0].Value) != string(got[1].Value) {
		t.Errorf("want the same message twice, got %d", len(got))
	}
}

// TestHang has brokers that take requests and answer nothing, from the
// beginning and between two writes.
func TestHang(t *testing.T) {
	for _, before := range []bool{true, false} {
		c, r := plain(t, func(c *Config) { c.Timeout = 300 * time.Millisecond })
		if before {
			if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
		c.Hang()
		begin := time.Now()
		res := r.Notify(t.Context(), note(t, nil))
		if res.Err == nil || !res.Retry || res.Reason != alerting.ReasonTimeout {
			t.Errorf("got %+v", res)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("took %s", took)
		}
		c.Restart()
		if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
			t.Errorf("afterwards: %v", res.Err)
		}
	}
}

func TestStopped(t *testing.T) {
	c, r := plain(t, nil)
	c.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if res := r.Notify(ctx, note(t, nil)); !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("got %+v", res)
	}
	r.Close()
	r.Close()
	if res := r.Notify(t.Context(), note(t, nil)); !res.Retry || res.Reason != alerting.ReasonCanceled {
		t.Errorf("after Close: got %+v", res)
	}
}

// TestNoKafka talks to something else.
func TestNoKafka(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = l.Close() }()
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	})
	conf := config(kafkatest.Access{Brokers: []string{l.Addr().String()}}, "t")
	conf.Timeout = time.Second
	begin := time.Now()
	res := receiver(t, conf).Notify(t.Context(), note(t, nil))
	if res.Err == nil || !res.Retry || !strings.Contains(res.Err.Error(), "none of Kafka's") {
		t.Errorf("got %+v", res)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

// huge makes an incident as large as few are.
func huge(inc *alerting.Incident) {
	for i := range inc.Evidence {
		inc.Evidence[i].Text = strings.Repeat("ü", 512)
	}
	inc.Accounts = slices.Repeat([]string{strings.Repeat("a", 96)}, 100)
	inc.Group["principal"] = strings.Repeat("p", 1024)
	inc.Count, inc.AccountsTotal = 99999, 100
}

// TestLarge bounds messages and says that it did.
func TestLarge(t *testing.T) {
	for _, format := range Formats() {
		for _, limit := range []int{MinMessage, 6 << 10, 12 << 10, 64 << 10} {
			t.Run(fmt.Sprintf("%s %d", format, limit), func(t *testing.T) {
				c, r := plain(t, func(c *Config) { c.MaxMessage, c.Format = limit, format })
				n := note(t, huge)
				if res := r.Notify(t.Context(), n); res.Err != nil {
					t.Fatal(res.Err)
				}
				got := c.Records("t")[0]
				size := len(got.Key) + len(got.Value)
				for _, h := range got.Headers {
					size += len(h.Key) + len(h.Value)
				}
				if size > limit || !json.Valid(got.Value) {
					t.Errorf("%d bytes for a limit of %d", size, limit)
				}
				said := bytes.Contains(got.Value, []byte("shortened to fit"))
				if want := limit < 64<<10; said != want {
					t.Errorf("says that it was shortened: want %t, got %t: %s", want, said, got.Value)
				}
				if !bytes.Contains(got.Value, []byte("99999")) || !bytes.Contains(got.Value, []byte(`accounts_total":100`)) {
					t.Errorf("totals changed: %s", got.Value)
				}
			})
		}
	}
	t.Run("too large for the broker", func(t *testing.T) {
		c, _ := plain(t, nil)
		c.CreateTopic("small", 1, map[string]string{"max.message.bytes": "8192"})
		tooLarge(t, c, "small")
	})
	t.Run("cannot be cut enough", func(t *testing.T) {
		_, r := plain(t, func(c *Config) { c.MaxMessage = MinMessage })
		res := r.Notify(t.Context(), note(t, func(inc *alerting.Incident) { inc.Family = strings.Repeat("x", 8<<10) }))
		if res.Err == nil || res.Retry || res.Reason != alerting.ReasonInvalid {
			t.Errorf("got %+v", res)
		}
	})
}

// tooLarge writes to a topic that takes 8 KiB.
func tooLarge(t *testing.T, c *kafkatest.Cluster, topic string) {
	t.Helper()
	conf := config(c.Access(kafkatest.Way{}), topic)
	res := receiver(t, conf).Notify(t.Context(), note(t, huge))
	if res.Err == nil || res.Retry || res.Reason != alerting.ReasonInvalid || !strings.Contains(res.Err.Error(), "max_message") {
		t.Errorf("got %+v", res)
	}
	conf.MaxMessage = 8 << 10
	if res := receiver(t, conf).Notify(t.Context(), note(t, huge)); res.Err != nil {
		t.Errorf("got %+v", res)
	}
}

func TestDamagedPayload(t *testing.T) {
	_, r := plain(t, func(c *Config) { c.Format = OCSF })
	res := r.Notify(t.Context(), alerting.Notification{Key: "x/1", Incident: "x", Payload: []byte("{")})
	if res.Err == nil || res.Retry || res.Reason != alerting.ReasonInvalid {
		t.Errorf("got %+v", res)
	}
}

// TestMany writes by many goroutines at once.
func TestMany(t *testing.T) {
	c, r := plain(t, nil)
	const each, goroutines = 25, 8
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				inc := receivertest.Incident("203.0.113.7")
				inc.ID = fmt.Sprintf("%08x%08x", g, i)
				if res := r.Notify(t.Context(), receivertest.Note(t, inc, alerting.CauseOpened)); res.Err != nil {
					t.Error(res.Err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(c.Records("t")); got != each*goroutines {
		t.Errorf("want %d messages, got %d", each*goroutines, got)
	}
}

func TestConfig(t *testing.T) {
	good := func() Config { return config(kafkatest.Access{Brokers: []string{"localhost"}}, "t") }
	for say, change := range map[string]func(*Config){
		"no name":                 func(c *Config) { c.Name = "" },
		"no name of a topic":      func(c *Config) { c.Topic = "a topic" },
		`".." is no name`:         func(c *Config) { c.Topic = ".." },
		"write json or ocsf":      func(c *Config) { c.Format = "xml" },
		"out of range":            func(c *Config) { c.MaxMessage = 100 },
		"write none, gzip":        func(c *Config) { c.Compression = "rar" },
		"there is no broker":      func(c *Config) { c.Cluster.Brokers = nil },
		"certificate authority":   func(c *Config) { c.Cluster.TLS = &conn.TLS{CAFile: filepath.Join(t.TempDir(), "none.pem")} },
		"write host:port such as": func(c *Config) { c.Cluster.Brokers = []string{"http://x"} },
	} {
		c := good()
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("want %q, got %v", say, err)
		}
	}
	r := receiver(t, good())
	if r.Name() != "bus" || !r.Keeps() || r.Folds() {
		t.Error("the receiver does not say who it is")
	}
}

// TestSecretFile reads a password anew for each connection.
func TestSecretFile(t *testing.T) {
	w := kafkatest.Way{Mechanism: kafkatest.Plain}
	c := kafkatest.Start(t, kafkatest.Options{Way: w, Topics: map[string]int{"t": 1}})
	conf := config(c.Access(w), "t")
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf.Cluster.SASL.Password = file(path)
	r := receiver(t, conf)
	if res := r.Notify(t.Context(), note(t, nil)); res.Err == nil || !res.Retry {
		t.Errorf("got %+v", res)
	}
	if err := os.WriteFile(path, []byte(kafkatest.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	if res := r.Notify(t.Context(), note(t, nil)); res.Err != nil {
		t.Errorf("got %+v", res)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.link.close()
	r.link = nil
	r.mu.Unlock()
	if res := r.Notify(t.Context(), note(t, nil)); res.Err == nil || !res.Retry {
		t.Errorf("got %+v", res)
	}
}

type file string

func (f file) Read() (string, error) {
	text, err := os.ReadFile(string(f))
	return string(text), err
}

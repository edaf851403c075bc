package kafkatest

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Options say what an in-process cluster is like. The zero value is one broker
// without topics, in plain text.
type Options struct {
	// Topics are there from the start, with so many partitions.
	Topics map[string]int
	// Brokers is how many there are. Default 1.
	Brokers int
	// Way is the one way in.
	Way Way
	// AutoCreate lets a client's request for metadata make a missing topic.
	AutoCreate bool
	// Configs are settings of the brokers, such as message.max.bytes.
	Configs map[string]string
	// MinSession is the shortest session that a member of a group may ask for.
	// Default 100 ms, where Kafka has 6 s.
	MinSession time.Duration
}

// Start starts an in-process cluster that ends with the test.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	if o.Way.ClientCert {
		o.Way.TLS = true
	}
	c := &Cluster{t, &core{way: o.Way, gate: newGate()}}
	opts := []kfake.Opt{
		kfake.NumBrokers(max(o.Brokers, 1)),
		kfake.GroupMinSessionTimeout(cmp.Or(o.MinSession, 100*time.Millisecond)),
		kfake.ListenFn(func(network, address string) (net.Listener, error) { return c.gate.listen(network, address) }),
	}
	if o.Way.TLS {
		c.certs = NewCertificates(t)
		opts = append(opts, kfake.TLS(c.certs.server(o.Way.ClientCert)))
	}
	if o.Way.Mechanism != "" {
		opts = append(opts, kfake.EnableSASL(), kfake.Superuser(o.Way.Mechanism, User, Password))
	}
	if o.AutoCreate {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if len(o.Configs) > 0 {
		opts = append(opts, kfake.BrokerConfigs(o.Configs))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Topics)) {
		opts = append(opts, kfake.SeedTopics(int32(max(o.Topics[name], 1)), name))
	}
	fake, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatalf("kafkatest: start an in-process cluster: %v", err)
	}
	c.fake = fake
	t.Cleanup(func() {
		c.closeAdmin()
		fake.Close()
		c.gate.close()
	})
	return c
}

package config

import (
	"os"
	"testing"
	"time"

	"gatewatch/alerting/kafka"
	"gatewatch/collectors/kafka/conn"

	"github.com/google/go-cmp/cmp"
)

// TestKafka follows the settings of every login to where they are used.
func TestKafka(t *testing.T) {
	data, err := os.ReadFile("testdata/receivers.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("receivers.yaml", "/etc/gw", data, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]kafka.Config{}
	for _, r := range c.Receivers {
		k, ok := r.Settings.(*KafkaReceiver)
		if !ok {
			continue
		}
		o := k.Options(r.Name, "1.2.3", testEnv)
		if a := o.Cluster.SASL.AWS; a != nil {
			if v, ok := a.Env("SIZE"); !ok || v != "64MiB" {
				t.Errorf("the environment gives %q", v)
			}
			a.Env = nil
		}
		got[r.Name] = o
	}
	hook := Secret{value: "https://hook.example/services/T0/s3cret"}
	want := map[string]kafka.Config{
		"bus": {
			Name: "bus", Topic: "security.incidents", Format: kafka.OCSF, Compression: "zstd", MaxMessage: 256 << 10, Timeout: 15 * time.Second, Version: "1.2.3",
			Cluster: conn.Config{
				Brokers: []string{"kafka1.example.com:9093", "kafka2.example.com"}, ClientID: "gw1",
				TLS:  &conn.TLS{CAFile: "/etc/gw/ca.pem", ServerName: "kafka.example.com"},
				SASL: &conn.SASL{Mechanism: conn.SCRAM512, Username: "gatewatch", Password: Secret{file: "/run/secrets/kafka"}},
			},
		},
		"hubs": {
			Name: "hubs", Topic: "incidents", Format: kafka.JSON, Compression: "none", Timeout: 10 * time.Second, Version: "1.2.3",
			Cluster: conn.Config{
				Brokers: []string{"ns.servicebus.windows.net:9093"}, TLS: &conn.TLS{},
				SASL: &conn.SASL{Mechanism: conn.OAuthBearer, OAuth: &conn.OAuth{
					TokenURL: "https://login.example/token", ClientID: "gw", ClientSecret: hook, Scope: "all", Extensions: map[string]string{"logicalCluster": "lkc-1"},
				}},
			},
		},
		"msk": {
			Name: "msk", Topic: "incidents", Format: kafka.JSON, Compression: "none", Timeout: 10 * time.Second, Version: "1.2.3",
			Cluster: conn.Config{
				Brokers: []string{"b-1.msk.example:9098"}, TLS: &conn.TLS{Insecure: true},
				SASL: &conn.SASL{Mechanism: conn.AWSMSKIAM, AWS: &conn.AWS{
					Region: "eu-west-1", AccessKeyID: "AKIA", SecretAccessKey: Secret{file: "/etc/gw/key.txt"}, SessionToken: hook,
				}},
			},
		},
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/alerting/kafka"
	source "gatewatch/collectors/kafka"
	"gatewatch/collectors/kafka/conn"
	"gatewatch/event"
	"gatewatch/pipeline"

	"github.com/google/go-cmp/cmp"
)

// TestKafkaSource follows the settings of a topic to where they are used.
func TestKafkaSource(t *testing.T) {
	data, err := os.ReadFile("testdata/kafka.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("kafka.yaml", "/etc/gw", data, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	s := &c.Sources[0]
	o := s.Kafka.Options()
	if !o.Pattern.MatchString("access-eu") || o.Pattern.MatchString("no-access-eu") {
		t.Errorf("pattern %v", o.Pattern)
	}
	o.Pattern = nil
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	want := source.Options{
		Name: "frankfurt", Group: "watchers", Topics: []string{"access-logs", "edge.logs"}, Begin: source.At, BeginAt: at, Stale: source.Stop,
		Uncommitted: true, Headers: []string{"x-peer", "x-tenant"}, MaxMessage: 2 << 20, MaxBatch: 8 << 20, FetchBytes: 512 << 10,
		Session: 10 * time.Second, Rebalance: 20 * time.Second, Refresh: 5 * time.Second, Stall: 2 * time.Minute,
	}
	if diff := cmp.Diff(want, o, cmp.AllowUnexported(source.DeadLetters{})); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	messages := pipeline.Messages{
		MaxLine: 64 << 10, OwnTime: true,
		Headers: map[string]event.Field{"x-tenant": event.FieldConsumer, "x-peer": event.FieldClient},
	}
	if diff := cmp.Diff(messages, s.Messages()); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if s.Format != "json" || s.Lateness != 20*time.Second || s.Kafka.DeadLetters != (KafkaDeadLetters{File: "/etc/gw/dead.jsonl", MaxSize: 1 << 20}) {
		t.Errorf("%+v", s)
	}
	cluster := conn.Config{
		Brokers: []string{"kafka1.example.com:9093", "kafka2"}, ClientID: "gw1", TLS: &conn.TLS{CAFile: "/etc/gw/ca.pem"},
		SASL: &conn.SASL{Mechanism: conn.Plain, Username: "gw", Password: Secret{value: "https://hook.example/services/T0/s3cret"}},
	}
	if diff := cmp.Diff(cluster, s.Kafka.KafkaCluster.Options(testEnv), compare); diff != "" {
		t.Errorf("cluster (-want +got):\n%s", diff)
	}
	r := s.Kafka.ReplayOptions("other")
	if diff := cmp.Diff(source.ReplayOptions{
		Name: "frankfurt", Topic: "other", Uncommitted: true, Headers: []string{"x-peer", "x-tenant"}, MaxMessage: 2 << 20, MaxBatch: 8 << 20,
	}, r); diff != "" {
		t.Errorf("replay (-want +got):\n%s", diff)
	}
	plain := c.Sources[1].Kafka
	if plain.Group != "gatewatch" || !plain.MessageTime || plain.Begin != source.First || plain.Stale != source.Latest || plain.DeadLetters.Topic != "t.dead" {
		t.Errorf("%+v", plain)
	}
}

// TestKafkaSourceForReading: commands that send nothing work without the secrets
// of a login, and say so where they need it.
func TestKafkaSourceForReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatewatch.yaml")
	text := "sources: [{kafka: {brokers: [localhost], topics: [t], sasl: {mechanism: PLAIN, username: u, password: \"${NOT_THERE}\"}}}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadForReading(path, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sources[0].Kafka.LoginFault; err == nil || !strings.Contains(err.Error(), "NOT_THERE is not set") {
		t.Errorf("the fault is %v", err)
	}
	if _, err := Load(path, testEnv); err == nil {
		t.Error("run would start without the password")
	}
}

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

package config

import (
	"gatewatch/collectors/kafka/conn"

	"go.yaml.in/yaml/v4"
)

// KafkaCluster says how to reach a Kafka cluster, for whoever reads from it or
// writes to it.
type KafkaCluster struct {
	Brokers  []string // host:port
	ClientID string
	TLS      *KafkaTLS  // nil for an unencrypted connection
	SASL     *KafkaSASL // nil for no login
}

// KafkaTLS says how connections to brokers are encrypted.
type KafkaTLS struct {
	TLS
	ServerName string // "" for the host that is dialled
	Insecure   bool
}

// KafkaSASL says how to log in. Which fields are set depends on Mechanism.
type KafkaSASL struct {
	Mechanism string
	Username  string // PLAIN and SCRAM
	Password  Secret

	Token        Secret // OAUTHBEARER: a token,
	TokenURL     string // or where to get one
	ClientID     string
	ClientSecret Secret
	Scope        string
	Extensions   map[string]string

	Region          string // AWS_MSK_IAM
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret
}

// Options returns the settings for package conn. env looks up environment
// variables, which AWS_MSK_IAM may take its keys from.
func (k *KafkaCluster) Options(env func(string) (string, bool)) conn.Config {
	c := conn.Config{Brokers: k.Brokers, ClientID: k.ClientID}
	if t := k.TLS; t != nil {
		c.TLS = &conn.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName, Insecure: t.Insecure}
	}
	if k.SASL != nil {
		c.SASL = k.SASL.options(env)
	}
	return c
}

func (s *KafkaSASL) options(env func(string) (string, bool)) *conn.SASL {
	secret := func(s Secret) conn.Secret {
		if !s.IsSet() {
			return nil
		}
		return s
	}
	out := &conn.SASL{Mechanism: s.Mechanism, Username: s.Username, Password: secret(s.Password)}
	switch s.Mechanism {
	case conn.OAuthBearer:
		out.OAuth = &conn.OAuth{
			Token: secret(s.Token), TokenURL: s.TokenURL, ClientID: s.ClientID, ClientSecret: secret(s.ClientSecret),
			Scope: s.Scope, Extensions: s.Extensions,
		}
	case conn.AWSMSKIAM:
		out.AWS = &conn.AWS{
			Region: s.Region, AccessKeyID: s.AccessKeyID, SecretAccessKey: secret(s.SecretAccessKey),
			SessionToken: secret(s.SessionToken), Env: env,
		}
	}
	return out
}

// kafkaCluster reads the keys brokers, client_id, tls and sasl of the section m,
// whose node is n.
func (d *decoder) kafkaCluster(m *mapping, n *yaml.Node, k *KafkaCluster) {
	before := len(d.problems)
	m.texts("brokers", &k.Brokers, func(s string) error {
		_, err := conn.Address(s)
		return err
	})
	if len(k.Brokers) == 0 && len(d.problems) == before {
		d.fail(n, "%s has no brokers; write brokers: [kafka1.example.com:9092]", m.name)
	}
	m.text("client_id", &k.ClientID)
	if t := m.take("tls"); t != nil {
		k.TLS = d.kafkaTLS(t, m.path("tls"))
	}
	if s := m.take("sasl"); s != nil {
		k.SASL = d.kafkaSASL(s, m.path("sasl"))
	}
}

func (d *decoder) kafkaTLS(n *yaml.Node, name string) *KafkaTLS {
	t := &KafkaTLS{}
	m := d.mapping(n, name)
	d.tls(m, n, &t.TLS)
	m.text("server_name", &t.ServerName)
	m.boolean("insecure", &t.Insecure)
	m.done()
	return t
}

func (d *decoder) kafkaSASL(n *yaml.Node, name string) *KafkaSASL {
	before := len(d.problems)
	s := &KafkaSASL{}
	m := d.mapping(n, name)
	m.oneOf("mechanism", &s.Mechanism, conn.Mechanisms()...)
	var missing string
	need := func(there bool, key string) {
		if !there && missing == "" {
			missing = key
		}
	}
	switch s.Mechanism {
	case conn.Plain, conn.SCRAM256, conn.SCRAM512:
		m.text("username", &s.Username)
		m.secret("password", &s.Password)
		need(s.Username != "", "username: gatewatch")
		need(s.Password.IsSet(), "password: ${KAFKA_PASSWORD}, or password_file with the path of a file that holds it")
	case conn.OAuthBearer:
		m.secret("token", &s.Token)
		m.text("token_url", &s.TokenURL)
		m.text("client_id", &s.ClientID)
		m.secret("client_secret", &s.ClientSecret)
		m.text("scope", &s.Scope)
		m.pairs("extensions", func(_, _ *yaml.Node, key, value string) {
			if s.Extensions == nil {
				s.Extensions = map[string]string{}
			}
			s.Extensions[key] = value
		})
		need(s.Token.IsSet() || s.TokenURL != "", "token_file with the path of a file that holds a token, or token_url with client_id and client_secret")
	case conn.AWSMSKIAM:
		m.text("region", &s.Region)
		m.text("access_key_id", &s.AccessKeyID)
		m.secret("secret_access_key", &s.SecretAccessKey)
		m.secret("session_token", &s.SessionToken)
	default:
		if len(d.problems) == before {
			d.fail(n, "%s has no mechanism; write mechanism: %s", name, orList(conn.Mechanisms()))
		}
		return s
	}
	m.done()
	if missing != "" && len(d.problems) == before {
		d.fail(n, "%s lacks something for %s; write %s", name, s.Mechanism, missing)
	}
	return s
}

package conn

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
)

// scramMechanism is SCRAM of RFC 5802 and RFC 7677 without channel binding.
type scramMechanism struct {
	name     string
	hash     func() hash.Hash
	username string
	password Secret
}

func newSCRAM(name, username string, password Secret) scramMechanism {
	m := scramMechanism{name: name, hash: sha256.New, username: username, password: password}
	if name == SCRAM512 {
		m.hash = sha512.New
	}
	return m
}

const (
	// minIterations is what RFC 7677 and Kafka ask for at least.
	minIterations = 4096
	// maxIterations bounds the work that a broker can ask for.
	maxIterations = 1 << 20
)

// Name implements sasl.Mechanism.
func (m scramMechanism) Name() string { return m.name }

// Start implements sasl.Mechanism.
func (m scramMechanism) Start(context.Context) (sasl.StateMachine, []byte, error) {
	password, err := m.password.Read()
	if err != nil {
		return nil, nil, err
	}
	s := &scramSession{scramMechanism: m, secret: password, nonce: rand.Text()}
	s.first = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(m.username) + ",r=" + s.nonce
	return s, []byte("n,," + s.first), nil
}

// scramSession is one login.
type scramSession struct {
	scramMechanism
	secret string
	nonce  string
	first  string // the client's first message without its header
	server []byte // the signature that the broker has to show; nil before it was asked
}

// Next implements sasl.StateMachine.
func (s *scramSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	fields := scramFields(string(challenge))
	if text, ok := fields["e"]; ok {
		return false, nil, fmt.Errorf("the broker says %s", printable(text))
	}
	if s.server != nil {
		got, err := base64.StdEncoding.DecodeString(fields["v"])
		if err != nil || subtle.ConstantTimeCompare(got, s.server) != 1 {
			return false, nil, errors.New("the broker does not know the password itself; this may be another server than it says")
		}
		return true, nil, nil
	}
	out, err := s.answer(string(challenge), fields)
	return false, out, err
}

func (s *scramSession) answer(challenge string, fields map[string]string) ([]byte, error) {
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	if err != nil || len(salt) == 0 {
		return nil, errors.New("the broker's challenge has no salt")
	}
	n, err := strconv.Atoi(fields["i"])
	if err != nil || n < minIterations || n > maxIterations {
		return nil, fmt.Errorf("the broker asks for %s iterations, which is not between %d and %d", printable(fields["i"]), minIterations, maxIterations)
	}
	nonce := fields["r"]
	if !strings.HasPrefix(nonce, s.nonce) || len(nonce) == len(s.nonce) {
		return nil, errors.New("the broker's challenge belongs to another login")
	}
	salted, err := pbkdf2.Key(s.hash, s.secret, salt, n, s.hash().Size())
	if err != nil {
		return nil, err
	}
	last := "c=biws,r=" + nonce
	message := s.first + "," + challenge + "," + last
	key := s.mac(salted, "Client Key")
	h := s.hash()
	h.Write(key)
	proof := s.mac(h.Sum(nil), message)
	subtle.XORBytes(proof, proof, key)
	s.server = s.mac(s.mac(salted, "Server Key"), message)
	return []byte(last + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func (s *scramSession) mac(key []byte, text string) []byte {
	m := hmac.New(s.hash, bytes.Clone(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// scramFields splits "r=...,s=...,i=...".
func scramFields(s string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(s, ",") {
		if k, v, ok := strings.Cut(part, "="); ok && out[k] == "" {
			out[k] = v
		}
	}
	return out
}

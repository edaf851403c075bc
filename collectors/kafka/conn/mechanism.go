package conn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"
)

// mechanism returns what runs the login. timeout bounds calls to others for a
// token.
func (s *SASL) mechanism(timeout time.Duration) (sasl.Mechanism, error) {
	switch s.Mechanism {
	case Plain, SCRAM256, SCRAM512:
		if s.Username == "" || s.Password == nil {
			return nil, fmt.Errorf("a login by %s needs username and password", s.Mechanism)
		}
		if s.Mechanism == Plain {
			return plain{s.Username, s.Password}, nil
		}
		return newSCRAM(s.Mechanism, s.Username, s.Password), nil
	case OAuthBearer:
		if s.OAuth == nil {
			return nil, errors.New("a login by OAUTHBEARER needs a token, or where to get one")
		}
		return newOAuth(*s.OAuth, timeout)
	case AWSMSKIAM:
		var a AWS
		if s.AWS != nil {
			a = *s.AWS
		}
		return newIAM(a, timeout)
	}
	return nil, fmt.Errorf("%q is no way to log in; write %s", s.Mechanism, strings.Join(Mechanisms(), ", "))
}

// plain sends name and password as they are.
type plain struct {
	username string
	password Secret
}

// Name implements sasl.Mechanism.
func (plain) Name() string { return Plain }

// Start implements sasl.Mechanism.
func (p plain) Start(context.Context) (sasl.StateMachine, []byte, error) {
	password, err := p.password.Read()
	if err != nil {
		return nil, nil, err
	}
	if strings.ContainsRune(p.username, 0) || strings.ContainsRune(password, 0) {
		return nil, nil, errors.New("a name or password with a zero byte cannot be sent")
	}
	return oneStep{}, []byte("\x00" + p.username + "\x00" + password), nil
}

// oneStep is the state of a login that is over once the broker has answered
// without an error.
type oneStep struct{}

// Next implements sasl.StateMachine.
func (oneStep) Next(context.Context, []byte) (bool, []byte, error) { return true, nil, nil }

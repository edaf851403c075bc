package conn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"
)

// AWS says as whom to log in by AWS_MSK_IAM. What is not set comes from where
// programs on AWS find it, see [AWS.Env].
type AWS struct {
	Region          string // default: AWS_REGION, else as in the broker's name
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret // nil for keys that are not temporary
	// Env looks up environment variables; nil finds none. Without keys of its
	// own a login takes, in this order: AWS_ACCESS_KEY_ID and its companions;
	// a role by AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN (EKS); what
	// AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI gives (ECS, EKS);
	// the role of the EC2 instance.
	Env func(name string) (string, bool)
}

// iamMechanism is AWS_MSK_IAM: a request to connect, signed as AWS signs the
// address of a request (Signature Version 4), sent as JSON.
type iamMechanism struct {
	cfg   AWS
	creds *awsCredentials
	now   func() time.Time
}

func newIAM(cfg AWS, timeout time.Duration) (*iamMechanism, error) {
	if cfg.Env == nil {
		cfg.Env = func(string) (string, bool) { return "", false }
	}
	if (cfg.AccessKeyID == "") != (cfg.SecretAccessKey == nil) {
		return nil, errors.New("a login by AWS_MSK_IAM needs both access_key_id and secret_access_key, or none of them")
	}
	return &iamMechanism{cfg: cfg, creds: &awsCredentials{cfg: cfg, client: tokenClient(timeout)}, now: time.Now}, nil
}

// Name implements sasl.Mechanism.
func (*iamMechanism) Name() string { return AWSMSKIAM }

// Start implements sasl.Mechanism.
func (m *iamMechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	meta := sasl.MetadataFromContext(ctx)
	if meta == nil {
		return nil, nil, errors.New("the broker's name is not known")
	}
	region := m.region(meta.Host)
	if region == "" {
		return nil, nil, errors.New("the AWS region is not known; set region")
	}
	keys, err := m.creds.get(ctx, region, m.now())
	if err != nil {
		return nil, nil, fmt.Errorf("get AWS credentials: %w", err)
	}
	payload := map[string]string{"version": "2020_10_22", "host": meta.Host, "user-agent": "gatewatch"}
	signed := presign(presignRequest{
		host: meta.Host, path: "/", service: "kafka-cluster", region: region, payloadHash: emptyHash,
		query: map[string]string{"Action": "kafka-cluster:Connect"}, expires: 15 * time.Minute,
	}, keys, m.now())
	for k, v := range signed {
		payload[strings.ToLower(k)] = v
	}
	b, err := json.Marshal(payload)
	return iamSession{}, b, err
}

func (m *iamMechanism) region(host string) string {
	if m.cfg.Region != "" {
		return m.cfg.Region
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if v, ok := m.cfg.Env(name); ok && v != "" {
			return v
		}
	}
	// b-1.name.abc123.c2.kafka.eu-west-1.amazonaws.com
	parts := strings.Split(host, ".")
	for i, p := range parts {
		if (p == "kafka" || p == "kafka-serverless") && i+2 < len(parts) && parts[i+2] == "amazonaws" {
			return parts[i+1]
		}
	}
	return ""
}

// iamSession is one login.
type iamSession struct{}

// Next implements sasl.StateMachine.
func (iamSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if len(challenge) == 0 {
		return false, nil, errors.New("the broker did not answer the signed request")
	}
	return true, nil, nil
}

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// awsKeys sign requests.
type awsKeys struct {
	id, secret, session string
	until               time.Time // zero for keys that do not expire
}

// presignRequest is a GET request whose address is to be signed.
type presignRequest struct {
	host, path, service, region, payloadHash string

	query   map[string]string
	expires time.Duration
}

// presign returns the query of the signed address.
func presign(r presignRequest, keys awsKeys, now time.Time) map[string]string {
	now = now.UTC()
	stamp, day := now.Format("20060102T150405Z"), now.Format("20060102")
	scope := day + "/" + r.region + "/" + r.service + "/aws4_request"
	q := map[string]string{
		"X-Amz-Algorithm":     "AWS4-HMAC-SHA256",
		"X-Amz-Credential":    keys.id + "/" + scope,
		"X-Amz-Date":          stamp,
		"X-Amz-Expires":       fmt.Sprint(int(r.expires.Seconds())),
		"X-Amz-SignedHeaders": "host",
	}
	maps.Copy(q, r.query)
	if keys.session != "" {
		q["X-Amz-Security-Token"] = keys.session
	}
	var pairs []string
	for k, v := range q {
		pairs = append(pairs, awsEscape(k)+"="+awsEscape(v))
	}
	slices.Sort(pairs)
	canonical := "GET\n" + r.path + "\n" + strings.Join(pairs, "&") + "\nhost:" + r.host + "\n\nhost\n" + r.payloadHash
	sum := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4" + keys.secret)
	for _, part := range []string{day, r.region, r.service, "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	q["X-Amz-Signature"] = hex.EncodeToString(key)
	return q
}

// awsEscape escapes all but what RFC 3986 reserves for nothing.
func awsEscape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

package conn

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// awsCredentials finds keys where programs on AWS find them, and keeps
// temporary ones until shortly before they expire.
type awsCredentials struct {
	cfg    AWS
	client *http.Client

	mu   sync.Mutex
	keys awsKeys
}

// renewBefore is how long before their end temporary keys are renewed.
const renewBefore = 5 * time.Minute

func (c *awsCredentials) get(ctx context.Context, region string, now time.Time) (awsKeys, error) {
	if c.cfg.AccessKeyID != "" {
		return c.configured()
	}
	if id := c.env("AWS_ACCESS_KEY_ID"); id != "" {
		return awsKeys{id: id, secret: c.env("AWS_SECRET_ACCESS_KEY"), session: c.env("AWS_SESSION_TOKEN")}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys.id != "" && now.Add(renewBefore).Before(c.keys.until) {
		return c.keys, nil
	}
	keys, err := c.temporary(ctx, region)
	if err != nil {
		return awsKeys{}, err
	}
	if keys.id == "" || keys.secret == "" {
		return awsKeys{}, errors.New("the answer has no keys")
	}
	c.keys = keys
	return keys, nil
}

func (c *awsCredentials) env(name string) string {
	if v, ok := c.cfg.Env(name); ok {
		return v
	}
	return ""
}

func (c *awsCredentials) configured() (awsKeys, error) {
	keys := awsKeys{id: c.cfg.AccessKeyID}
	var err error
	if keys.secret, err = c.cfg.SecretAccessKey.Read(); err != nil {
		return keys, err
	}
	if c.cfg.SessionToken != nil {
		keys.session, err = c.cfg.SessionToken.Read()
	}
	return keys, err
}

func (c *awsCredentials) temporary(ctx context.Context, region string) (awsKeys, error) {
	if file, role := c.env("AWS_WEB_IDENTITY_TOKEN_FILE"), c.env("AWS_ROLE_ARN"); file != "" && role != "" {
		return c.webIdentity(ctx, region, file, role)
	}
	if full := c.env("AWS_CONTAINER_CREDENTIALS_FULL_URI"); full != "" {
		return c.container(ctx, full)
	}
	if relative := c.env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); relative != "" {
		return c.container(ctx, "http://169.254.170.2"+relative)
	}
	return c.instance(ctx)
}

// jsonKeys is how container and instance give their keys.
type jsonKeys struct {
	ID      string    `json:"AccessKeyId"`
	Secret  string    `json:"SecretAccessKey"`
	Session string    `json:"Token"`
	Until   time.Time `json:"Expiration"`
}

func decodeKeys(body []byte) (awsKeys, error) {
	var k jsonKeys
	if err := json.Unmarshal(body, &k); err != nil {
		return awsKeys{}, errors.New("the answer is no JSON with keys")
	}
	return awsKeys{id: k.ID, secret: k.Secret, session: k.Session, until: k.Until}, nil
}

// container asks the agent beside a container on ECS or EKS.
func (c *awsCredentials) container(ctx context.Context, address string) (awsKeys, error) {
	u, err := url.Parse(address)
	if err != nil {
		return awsKeys{}, errors.New("the address of the container's credentials is broken")
	}
	switch host := u.Hostname(); {
	case u.Scheme == "https", isLoopback(host), host == "169.254.170.2", host == "169.254.170.23", host == "fd00:ec2::23":
	default:
		return awsKeys{}, fmt.Errorf("credentials of a container are not taken from %s: it is neither local nor https", host)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return awsKeys{}, err
	}
	token := c.env("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if file := c.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return awsKeys{}, fmt.Errorf("read the container's token: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	body, err := answer(c.client, req)
	if err != nil {
		return awsKeys{}, err
	}
	return decodeKeys(body)
}

// instance asks the metadata service of an EC2 instance, in its second version.
func (c *awsCredentials) instance(ctx context.Context) (awsKeys, error) {
	base := c.env("AWS_EC2_METADATA_SERVICE_ENDPOINT")
	if base == "" {
		base = "http://169.254.169.254"
	}
	base = strings.TrimSuffix(base, "/") + "/latest/"
	call := func(method, path, header, value string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set(header, value)
		return answer(c.client, req)
	}
	token, err := call(http.MethodPut, "api/token", "X-aws-ec2-metadata-token-ttl-seconds", "300")
	if err != nil {
		return awsKeys{}, fmt.Errorf("no keys are configured or in the environment, and this is no EC2 instance: %w", err)
	}
	const roles = "meta-data/iam/security-credentials/"
	role, err := call(http.MethodGet, roles, "X-aws-ec2-metadata-token", string(token))
	if err != nil {
		return awsKeys{}, fmt.Errorf("the instance has no role: %w", err)
	}
	name, _, _ := strings.Cut(strings.TrimSpace(string(role)), "\n")
	body, err := call(http.MethodGet, roles+url.PathEscape(name), "X-aws-ec2-metadata-token", string(token))
	if err != nil {
		return awsKeys{}, err
	}
	return decodeKeys(body)
}

// webIdentity changes the token of a Kubernetes service account into keys.
func (c *awsCredentials) webIdentity(ctx context.Context, region, file, role string) (awsKeys, error) {
	token, err := os.ReadFile(file)
	if err != nil {
		return awsKeys{}, fmt.Errorf("read the web identity token: %w", err)
	}
	endpoint := c.env("AWS_ENDPOINT_URL_STS")
	if endpoint == "" {
		endpoint = "https://sts." + region + ".amazonaws.com"
	}
	name := c.env("AWS_ROLE_SESSION_NAME")
	if name == "" {
		name = "gatewatch"
	}
	form := url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleArn": {role},
		"RoleSessionName": {name}, "WebIdentityToken": {strings.TrimSpace(string(token))},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return awsKeys{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	body, err := answer(c.client, req)
	if err != nil {
		return awsKeys{}, err
	}
	var out struct {
		Keys struct {
			ID      string    `xml:"AccessKeyId"`
			Secret  string    `xml:"SecretAccessKey"`
			Session string    `xml:"SessionToken"`
			Until   time.Time `xml:"Expiration"`
		} `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
	}
	if err := xml.Unmarshal(body, &out); err != nil {
		return awsKeys{}, errors.New("the answer of STS is no XML with keys")
	}
	k := out.Keys
	return awsKeys{id: k.ID, secret: k.Secret, session: k.Session, until: k.Until}, nil
}

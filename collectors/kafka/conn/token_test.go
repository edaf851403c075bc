package conn

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

type secret string

func (s secret) Read() (string, error) { return string(s), nil }

// broker is a server that knows how logins look on the wire and nothing else.
// judge answers each message of the client.
func broker(t *testing.T, judge func(step int, msg []byte) (code int16, text string, answer []byte)) (address string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serveLogin(c, judge)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func serveLogin(c net.Conn, judge func(int, []byte) (int16, string, []byte)) {
	defer func() { _ = c.Close() }()
	for step := 0; ; {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		api := binary.BigEndian.Uint16(b)
		id := b[4:8]
		_, b = readString(b[8:])
		out := append(make([]byte, 4), id...)
		if api == apiSaslHandshake {
			out = append(out, 0, 0, 0, 0, 0, 0)
		} else {
			msg, _ := readBytes(b)
			code, text, answer := judge(step, msg)
			step++
			out = binary.BigEndian.AppendUint16(out, uint16(code))
			out = appendBytes(appendString(out, text), answer)
		}
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}

// loginTo logs in over an unencrypted connection, which New refuses for tokens.
func loginTo(t *testing.T, address string, m sasl.Mechanism) error {
	t.Helper()
	c := &Cluster{cfg: Config{ClientID: "test", Timeout: 5 * time.Second}, mechanism: m}
	nc, err := c.Dial(t.Context(), "tcp", address)
	if err == nil {
		err = nc.Close()
	}
	return err
}

func TestOAuthBearer(t *testing.T) {
	good := func(step int, msg []byte) (int16, string, []byte) {
		switch {
		case step == 1 && string(msg) == "\x01":
			return int16(kafka.SASLAuthenticationFailed), "no such token", nil
		case string(msg) == "n,,\x01auth=Bearer abc\x01logicalCluster=lkc-1\x01\x01":
			return 0, "", nil
		}
		return 0, "", []byte(`{"status":"invalid_token"}`)
	}
	address := broker(t, good)
	ext := map[string]string{"logicalCluster": "lkc-1"}
	m, err := newOAuth(OAuth{Token: secret("abc"), Extensions: ext}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := loginTo(t, address, m); err != nil {
		t.Error(err)
	}
	if m, err = newOAuth(OAuth{Token: secret("old"), Extensions: ext}, time.Second); err != nil {
		t.Fatal(err)
	}
	err = loginTo(t, address, m)
	if e, ok := errors.AsType[*LoginError](err); !ok || e.Text != "no such token" || Reason(err) != ReasonLogin {
		t.Errorf("a token that the broker does not know: %v", err)
	}
}

func TestClientCredentials(t *testing.T) {
	calls, life := 0, 3600
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		user, password, _ := r.BasicAuth()
		if r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" || user != "me" || password != "hush%2Fhush" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":"t%d","expires_in":%d}`, calls, life)
	}))
	defer idp.Close()
	cfg := OAuth{TokenURL: idp.URL, ClientID: "me", ClientSecret: secret("hush/hush"), Scope: "kafka"}
	m, err := newOAuth(cfg, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := func(token string) {
		t.Helper()
		if got, err := m.bearer(t.Context()); got != token || err != nil {
			t.Errorf("got %q and %v, want %q", got, err, token)
		}
	}
	want("t1")
	want("t1") // it is good for an hour
	m.forget() // a broker refused it
	want("t2")
	m.until = time.Now()
	want("t3")
	cfg.ClientSecret = secret("other")
	if m, err = newOAuth(cfg, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := m.bearer(t.Context()); err == nil || strings.Contains(err.Error(), "other") || !strings.Contains(err.Error(), "401") {
		t.Errorf("wrong secret: %v", err)
	}
}

// TestPresign uses the example that AWS prints with its documentation of
// signed addresses.
func TestPresign(t *testing.T) {
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	got := presign(presignRequest{
		host: "examplebucket.s3.amazonaws.com", path: "/test.txt", service: "s3", region: "us-east-1", payloadHash: "UNSIGNED-PAYLOAD",
		expires: 24 * time.Hour,
	}, awsKeys{id: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}, at)
	if want := "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"; got["X-Amz-Signature"] != want {
		t.Errorf("signature is %s, want %s", got["X-Amz-Signature"], want)
	}
}

func TestIAM(t *testing.T) {
	var got map[string]string
	address := broker(t, func(_ int, msg []byte) (int16, string, []byte) {
		if err := json.Unmarshal(msg, &got); err != nil {
			return int16(kafka.SASLAuthenticationFailed), err.Error(), nil
		}
		return 0, "", []byte(`{"version":"2020_10_22","request-id":"r"}`)
	})
	m, err := newIAM(AWS{Region: "eu-west-1", AccessKeyID: "AKID", SecretAccessKey: secret("s"), SessionToken: secret("tok")}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	m.now = func() time.Time { return time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC) }
	if err := loginTo(t, address, m); err != nil {
		t.Fatal(err)
	}
	if len(got["x-amz-signature"]) != 64 {
		t.Errorf("signature %q", got["x-amz-signature"])
	}
	delete(got, "x-amz-signature")
	want := map[string]string{
		"version": "2020_10_22", "host": "127.0.0.1", "user-agent": "gatewatch", "action": "kafka-cluster:Connect",
		"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": "AKID/20261123/eu-west-1/kafka-cluster/aws4_request",
		"x-amz-date": "20261123T060000Z", "x-amz-expires": "900", "x-amz-security-token": "tok", "x-amz-signedheaders": "host",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestIAMRegion(t *testing.T) {
	m, err := newIAM(AWS{}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"b-1.n.abc.c2.kafka.us-east-1.amazonaws.com": "us-east-1", "boot-x.c1.kafka-serverless.eu-west-1.amazonaws.com": "eu-west-1", "kafka.example.org": "",
	} {
		if got := m.region(host); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// TestIAMKeys finds keys in each place where programs on AWS find them.
func TestIAMKeys(t *testing.T) {
	asked := map[string]int{}
	body := func(id string) string {
		return fmt.Sprintf(`{"AccessKeyId":%q,"SecretAccessKey":"s","Token":"t","Expiration":"2026-11-23T12:00:00Z"}`, id)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		switch {
		case r.URL.Path == "/creds" && r.Header.Get("Authorization") == "let me in":
			_, _ = io.WriteString(w, body("CONTAINER"))
		case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut:
			_, _ = io.WriteString(w, "v2")
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/" && r.Header.Get("X-aws-ec2-metadata-token") == "v2":
			_, _ = io.WriteString(w, "role one\n")
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/role one":
			_, _ = io.WriteString(w, body("INSTANCE"))
		case r.URL.Path == "/sts" && r.FormValue("WebIdentityToken") == "jwt" && r.FormValue("RoleArn") == "arn:x":
			_, _ = io.WriteString(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
				`<AccessKeyId>WEB</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>`+
				`<Expiration>2026-11-23T12:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("jwt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, env := range map[string]map[string]string{
		"ENV":       {"AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s"},
		"WEB":       {"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:x", "AWS_ENDPOINT_URL_STS": server.URL + "/sts"},
		"CONTAINER": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": server.URL + "/creds", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let me in"},
		"INSTANCE":  {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL},
	} {
		t.Run(want, func(t *testing.T) {
			m, err := newIAM(AWS{Env: func(n string) (string, bool) { v, ok := env[n]; return v, ok }}, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
			clear(asked)
			for range 2 {
				if k, err := m.creds.get(t.Context(), "eu-west-1", now); err != nil || k.id != want {
					t.Fatalf("got %q and %v", k.id, err)
				}
			}
			for path, n := range asked {
				if n > 1 {
					t.Errorf("%s was asked %d times for keys that are good for hours", path, n)
				}
			}
			if want == "ENV" {
				return
			}
			if _, err := m.creds.get(t.Context(), "eu-west-1", now.Add(5*time.Hour+56*time.Minute)); err != nil {
				t.Fatal(err)
			}
			for path, n := range asked {
				if n != 2 {
					t.Errorf("%s was asked %d times, want 2: keys are renewed before their end", path, n)
				}
			}
		})
	}
	m, err := newIAM(AWS{Env: func(n string) (string, bool) {
		return "http://evil.example.org/", n == "AWS_CONTAINER_CREDENTIALS_FULL_URI"
	}}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.creds.get(t.Context(), "eu-west-1", time.Now()); err == nil || !strings.Contains(err.Error(), "evil.example.org") {
		t.Errorf("keys from elsewhere: %v", err)
	}
}

// TestSCRAM runs the example of RFC 7677.
func TestSCRAM(t *testing.T) {
	m := newSCRAM(SCRAM256, "user", secret("pencil"))
	s := &scramSession{scramMechanism: m, secret: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO", first: "n=user,r=rOprNGfwEbeRWgbNEkqO"}
	_, out, err := s.Next(t.Context(), []byte("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
	want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if err != nil || string(out) != want {
		t.Fatalf("got %q and %v, want %q", out, err, want)
	}
	if done, _, err := s.Next(t.Context(), []byte("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); !done || err != nil {
		t.Errorf("the right server: %v", err)
	}
	if _, _, err := s.Next(t.Context(), []byte("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")); err == nil {
		t.Error("a server that does not know the password is believed")
	}
	for name, challenge := range map[string]string{
		"other nonce": "r=x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "few rounds": "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
		"many rounds": "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=999999999", "no salt": "r=rOprNGfwEbeRWgbNEkqOx,i=4096", "refusal": "e=unknown-user",
	} {
		s := &scramSession{scramMechanism: m, secret: "pencil", nonce: "rOprNGfwEbeRWgbNEkqO"}
		if _, _, err := s.Next(t.Context(), []byte(challenge)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzAnswers gives the login whatever a server may say.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("r=abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), "PLAIN")
	f.Add([]byte{0, 0, 0, 2, 0, 1, 'x', 0xff, 0xff}, "x")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		code, rest := readInt16(b)
		_, rest = readString(rest)
		_, rest = readBytes(rest)
		if len(rest) > len(b) {
			t.Fatalf("code %d: more left than there was", code)
		}
		if s := printable(offered(b) + text); strings.ContainsAny(s, "\x00\n\x1b") {
			t.Fatalf("%q", s)
		}
		s := &scramSession{scramMechanism: newSCRAM(SCRAM256, "u", secret("p")), secret: "p", nonce: "abc"}
		if fields := scramFields(string(b)); fields["i"] == "4096" || fields["i"] == "" {
			_, _, _ = s.Next(context.Background(), b)
		}
		if u, err := url.Parse("http://x/?" + awsEscape(text)); err != nil || u.RawQuery != awsEscape(text) {
			t.Fatalf("%q is escaped to %q", text, awsEscape(text))
		}
	})
}

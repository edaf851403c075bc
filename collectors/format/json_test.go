package format

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/event"
)

func TestJSONLine(t *testing.T) {
	d := decoder(t, Options{})
	line := `{"time_iso8601":"2026-11-19T06:00:01+00:00","msec":1795068002.276,"request_id":"1399e8ff","remote_addr":"192.0.2.7",` +
		`"remote_port":"63253","remote_user":"","consumer":"shop","login_name":"eve","host":"api.example.org:8443","scheme":"https",` +
		`"server_protocol":"HTTP/2.0","request_method":"POST","request_uri":"/api/login?x=1","uri":"/other","args":"y=2","status":401,` +
		`"body_bytes_sent":71,"bytes_sent":227,"request_length":173,"request_time":0.003,"upstream_status":"200","http_referer":"",` +
		`"http_user_agent":"agent \"1\" \u00e9","http_x_forwarded_for":"203.0.113.9, 10.0.0.1","content_type":"text/plain"}`
	var got event.Event
	if err := d.Decode([]byte(line), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want(line, event.Event{
		Format: "json", Time: 1795068002276000000, Method: "POST", Target: "/api/login?x=1", Path: "/api/login", Query: "x=1",
		Scheme: "https", Host: "api.example.org", Protocol: "2", Status: 401, RequestSize: 173, BodySize: 71, Duration: 3000000,
		UserAgent: `agent "1" é`, ForwardedFor: "203.0.113.9, 10.0.0.1", RequestID: "1399e8ff", PeerText: "192.0.2.7",
		ConsumerID: "shop", LoginName: "eve",
	}), got, addrs); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestJSONShapes(t *testing.T) {
	d := decoder(t, Options{})
	type want = map[event.Field]string
	f := func(line string, fields want) {
		t.Helper()
		var ev event.Event
		if err := d.Decode([]byte(line), &ev); err != nil {
			t.Errorf("%s\n\tgives %v", line, err)
			return
		}
		got := want{}
		for f := range fields {
			got[f], _ = ev.Text(f)
		}
		if diff := cmp.Diff(fields, got); diff != "" || ev.Time/1e9 != at {
			t.Errorf("%s\n\ttime %d (-want +got):\n%s", line, ev.Time, diff)
		}
	}
	const now = `"time":1795068002,"remote_addr":"192.0.2.7",`
	// Times.
	f(`{"ts":1795068002.5,"path":"/","status":200}`, want{})
	f(`{"time":1795068002000,"path":"/","status":200}`, want{})
	f(`{"time":"1795068002000000","path":"/","status":200}`, want{})
	f(`{"time":1795068002000000000,"path":"/","status":200}`, want{})
	f(`{"time":1.795068002e9,"path":"/","status":200}`, want{})
	f(`{"time":"19/Nov/2026:07:00:02 +0100","path":"/","status":200}`, want{})
	f(`{"time":"[19/Nov/2026:07:00:02 +0100]","path":"/","status":200}`, want{})
	f(`{"time":"2026-11-19T06:00:02.123456789Z","path":"/","status":200}`, want{})
	f(`{"time":"2026-11-19 06:00:02","path":"/","status":200}`, want{})
	f(`{"time":"2026-11-19T01:30:02-0430","path":"/","status":200}`, want{})
	f(`{"@timestamp":"2026-11-19T06:00:00Z","msec":"1795068002.000","path":"/","status":200}`, want{})
	// The request in its many spellings.
	f(`{`+now+`"request":"GET /a?b HTTP/1.1","response":"304","bytes":"0"}`,
		want{event.FieldMethod: "GET", event.FieldPath: "/a", event.FieldQuery: "b", event.FieldProtocol: "1.1", event.FieldStatus: "304", event.FieldBodySize: "0"})
	f(`{`+now+`"request":"\u0016\u0003\u0001","request_method":"","request_uri":"","status":400}`, want{event.FieldMalformedReason: "tls", event.FieldMethod: ""})
	f(`{`+now+`"message":"/a?b","verb":"PUT","httpversion":"HTTP/1.0","status":1}`, want{event.FieldMethod: "PUT", event.FieldTarget: "/a?b", event.FieldProtocol: "1.0"})
	f(`{`+now+`"message":"done","status":200}`, want{event.FieldTarget: "", event.FieldMalformedReason: "empty"})
	f(`{`+now+`"uri":"/a","args":"b=c","request_method":"FROB"}`, want{event.FieldTarget: "/a?b=c", event.FieldQuery: "b=c", event.FieldMethod: "_OTHER", event.FieldMethodOriginal: "FROB"})
	f(`{`+now+`"path":"/a?b=c","method":"get"}`, want{event.FieldPath: "/a", event.FieldQuery: "b=c", event.FieldMalformedReason: "bad_method"})
	f(`{`+now+`"url":"http://shop.example.org/a?b","method":"GET"}`, want{event.FieldTarget: "/a?b", event.FieldHost: "shop.example.org", event.FieldScheme: "http"})
	// OpenTelemetry, flat and nested.
	f(`{"timestamp":"2026-11-19T06:00:02Z","http.request.method":"GET","url.path":"/a/1","url.query":"x","http.route":"/a/{n}",`+
		`"http.response.status_code":200,"client.address":"203.0.113.9","network.peer.address":"10.0.0.1","user_agent.original":"u"}`,
		want{event.FieldTarget: "/a/1?x", event.FieldRoute: "/a/{n}", event.FieldClient: "203.0.113.9", event.FieldPeer: "10.0.0.1", event.FieldClientSource: "gateway"})
	f(`{"@timestamp":"2026-11-19T06:00:02Z","http":{"request":{"method":"GET","x":[1,{"y":"}"}],"header":{"x-forwarded-for":["203.0.113.9","10.0.0.1"]}},`+
		`"response":{"status_code":"201"}},"url":{"original":"/a"},"event":{"duration":5},"user":{"name":"-"}}`,
		want{event.FieldMethod: "GET", event.FieldForwardedFor: "203.0.113.9, 10.0.0.1", event.FieldStatus: "201", event.FieldPath: "/a", event.FieldDuration: "5", event.FieldUser: ""})
	f(`{`+now+`"status":200,"xff":["a","\"b\"",null,"",5,"\u0063",["x"],{"y":1},"d"]}`, want{event.FieldForwardedFor: `a, "b", 5, c, d`})
	f(`{`+now+`"status":200,"xff":["\u0061\u0062\u0063","\u0064\u0065\u0066"]}`, want{event.FieldForwardedFor: `abc, def`})
	// Kong stamps the start.
	f(`{"started_at":1795067999500,"client_ip":"203.0.113.9","request":{"method":"GET","uri":"/a?b","headers":{"user-agent":"u"},"tls":{}},"response":{"status":200,"size":"9"},`+
		`"latencies":{"request":2500,"kong":1},"consumer":{"id":"c1","username":"shop"},"authenticated_entity":{"id":"k1"}}`,
		want{
			event.FieldTarget: "/a?b", event.FieldStatus: "200", event.FieldBodySize: "9", event.FieldUserAgent: "u", event.FieldPeer: "203.0.113.9",
			event.FieldConsumer: "shop", event.FieldKeyID: "k1", event.FieldDurationMS: "2500",
		})
	// What tells clients apart is hashed before anything sees it.
	f(`{`+now+`"status":200,"authorization":"Bearer 0a1b2c3d4e5f60718293","session_id":"1a2b3c4d5e6f70819203"}`, want{
		event.FieldTokenHash: string(event.HashToken(nil, "Bearer 0a1b2c3d4e5f60718293")), event.FieldSession: string(event.HashSession(nil, "1a2b3c4d5e6f70819203")),
	})
	f(`{`+now+`"status":200,"authorization":"REDACTED","session_id":"***"}`, want{event.FieldTokenHash: "", event.FieldSession: ""})
	// Repairs and oddities.
	f(` { "t" : , `+now+` "status" : 200 , "client":-, "user":null, "consumer":"(not set)", "host":"-" } `,
		want{event.FieldStatus: "200", event.FieldPeer: "192.0.2.7", event.FieldUser: "", event.FieldConsumer: "", event.FieldHost: ""})
	f(`{`+now+`"uri":"/\x22caf\xC3\xA9\xzz\q\/","status":200}`, want{event.FieldPath: "/\"caf\xc3\xa9\\xzz\\q/"})
	f(`{`+now+`"uri":"/\ud83d\ude00\ud83d\u00e9\u12","status":200}`, want{event.FieldPath: "/😀\uFFFDé\\u12"})
	f("{"+now+"\"uri\":\"/\xff\x00\t\",\"status\":200}", want{event.FieldPath: "/\xff\x00\t"})
	f(`{`+now+`"status":200,"status":500,"path":"/a","path":"/b"}`, want{event.FieldStatus: "200", event.FieldPath: "/a"})
	f(`{`+now+`"\u0073tatus":204}`, want{event.FieldStatus: "204"})
	f(`{`+now+`"status":2000,"path":"/"}`, want{event.FieldStatus: ""})
	f(`{`+now+`"status":200,"a":{"b":{"c":{"d":{"e":{"f":{"g":[[["]}"]]]}}}}}}}`, want{event.FieldStatus: "200"})
	f(`{`+now+`"status":200,"request_time":"-","body_bytes_sent":"many"}`, want{event.FieldDuration: "", event.FieldBodySize: ""})
	f(`{`+now+`"status":200,"http_version":"2.0","duration_ms":12.5}`, want{event.FieldProtocol: "2", event.FieldDuration: "12500000"})
}

func TestJSONFaults(t *testing.T) {
	d := decoder(t, Options{})
	f := func(line, reason string) {
		t.Helper()
		var ev event.Event
		var fault *LineError
		if err := d.Decode([]byte(line), &ev); !errors.As(err, &fault) || fault.Reason != reason {
			t.Errorf("%s: want reason %q, got %v", line, reason, err)
		}
	}
	f(`{`, reasonJSON)
	f(`{}`, reasonAccess)
	f(`{"a":1}`, reasonAccess)
	f(`{"status":"ok","time":5,"ip":"192.0.2.1"}`, reasonAccess)
	f(`{"status":200,"time":5}`, reasonAccess)
	f(`{"path":"/tmp/x","time":5,"msg":"opened"}`, reasonAccess)
	f(`{"method":"GetUser","time":5}`, reasonAccess)
	f(`{"status":200,"path":"/"}`, reasonTime)
	f(`{"status":200,"path":"/","time":"yesterday"}`, reasonTime)
	f(`{"status":200,"path":"/","time":-5}`, reasonTime)
	f(`{"status":200} x`, reasonJSON)
	f(`{"status":200}{"status":200}`, reasonJSON)
	f(`{"status" 200}`, reasonJSON)
	f(`{"status":200,}`, reasonJSON)
	f(`{"status":"200}`, reasonJSON)
	f(`{"status":{"a":1}`, reasonJSON)
	f(`{"a":[1,2}`, reasonJSON)
	f(`{status:200}`, reasonJSON)
}

func TestAliases(t *testing.T) {
	d := decoder(t, Options{Aliases: map[string]string{
		"when": "timestamp", "who.ip": "client.address", "took": "request_time", "hash": "api.key.id", "status": "http.response.status_code", "code": "http.response.status_code",
	}})
	var ev event.Event
	if err := d.Decode([]byte(`{"when":1795068002,"time":5,"who":{"ip":"203.0.113.9"},"took":"0.5","hash":"k1","path":"/","code":404,"status":200}`), &ev); err != nil {
		t.Fatal(err)
	}
	got := [5]any{ev.Time / 1e9, ev.Client.String(), ev.Duration, ev.KeyID, ev.Status}
	if diff := cmp.Diff([5]any{int64(at), "203.0.113.9", int64(5e8), "k1", int32(404)}, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	for key, to := range map[string]string{"a": "no.such.field", "b": "principal", "": "url.path"} {
		if _, err := New(Options{Aliases: map[string]string{key: to}}); err == nil {
			t.Errorf("alias %q to %q: want an error, got none", key, to)
		}
	}
}

package event

import "testing"

func TestAction(t *testing.T) {
	d, err := NewDeriver(DeriveOptions{Logins: []LoginRule{{Path: "^/lost$", Action: "reset", Failure: []string{"404"}}, {Path: "^/in$"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int32
		action       string
		failed       int64
		known        bool
	}{
		{"POST", "/api/v1/login", 401, "login", 1, true},
		{"POST", "/api/v1/login", 200, "login", 0, true},
		{"POST", "/api/v1/login", 503, "login", 0, false},
		{"POST", "/login", 200, "login", 0, false}, // a form: it may be the form again
		{"POST", "/oauth/token", 400, "login", 1, true},
		{"POST", "/api/v1/password-reset", 404, "reset", 1, true},
		{"POST", "/api/v1/password-reset", 202, "reset", 0, true},
		{"POST", "/api/register", 409, "register", 1, true},
		{"POST", "/lost", 404, "reset", 1, true},
		{"POST", "/in", 403, "login", 1, true},
		{"GET", "/api/v1/login", 200, "", 0, false},
		{"GET", "/api/v1/me", 401, "", 1, true}, // a token that is refused is a failure, of no login
		{"GET", "/api/v1/admin", 403, "", 0, false},
	} {
		ev := Event{Method: c.method, Path: c.path, Status: c.status}
		d.Derive(&ev, 0)
		action, has := ev.Text(FieldAuthAction)
		failed, known := ev.Number(FieldAuthFailed)
		if action != c.action || has != (c.action != "") || failed != c.failed || known != c.known {
			t.Errorf("%s %s %d: %q, %d %t; want %q, %d %t", c.method, c.path, c.status, action, failed, known, c.action, c.failed, c.known)
		}
	}
	if _, err := NewDeriver(DeriveOptions{Logins: []LoginRule{{Path: "^/b$", Action: "forgot"}}}); err == nil {
		t.Error("an action that is none passes")
	}
}

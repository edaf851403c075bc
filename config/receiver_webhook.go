package config

import (
	"os"

	"gatewatch/alerting/webhook"

	"go.yaml.in/yaml/v4"
)

// Webhook is a receiver that is called by HTTP.
type Webhook struct {
	HTTP
	Secret      Secret // signs the message; may be unset
	Method      string // "" for POST
	ContentType string // "" for application/json
	Body        string // a template, "" for the incident as it is
}

// Options returns the options of webhook.New for a receiver of that name;
// version is gatewatch's own.
func (w *Webhook) Options(name, version string) webhook.Config {
	c := webhook.Config{
		Name: name, URL: w.URL, Headers: w.headers(), Timeout: w.Timeout, TLS: w.TLS.Files(), Proxy: w.proxy(),
		Version: version, Method: w.Method, ContentType: w.ContentType, Body: w.Body,
	}
	if w.Secret.IsSet() {
		c.Secrets = []webhook.Secret{w.Secret}
	}
	return c
}

func readWebhook(d *decoder, n *yaml.Node, name string) ReceiverSettings {
	w := &Webhook{}
	m := d.mapping(n, name)
	d.http(m, n, &w.HTTP, "https://host/path")
	m.secret("secret", &w.Secret)
	m.oneOf("method", &w.Method, "POST", "PUT", "PATCH")
	m.text("content_type", &w.ContentType)
	if at, file := d.template(m, "body", &w.Body); at != nil {
		if _, err := webhook.ParseTemplate(w.Body, w.ContentType); err != nil {
			d.fail(at, "%s%s: %s", m.path("body"), file, err)
		}
	}
	m.done()
	return w
}

// template reads a template that stands in the file or, with _file behind the
// key, in a file of its own. It returns the node of the one that was, and for
// messages the name of that file.
func (d *decoder) template(m *mapping, key string, dst *string) (at *yaml.Node, file string) {
	var path string
	direct := m.text(key, dst)
	twin := m.text(key+"_file", &path)
	switch {
	case direct != nil && twin != nil:
		d.fail(twin, "%s has both %s and %s_file; keep one", m.name, key, key)
		return nil, ""
	case direct != nil && *dst == "":
		d.fail(direct, "%s is empty; write a template or remove it", m.path(key))
		return nil, ""
	case direct != nil:
		return direct, ""
	case twin == nil:
		return nil, ""
	}
	text, err := os.ReadFile(d.path(path))
	if err != nil {
		d.fail(twin, "%s_file: %s", m.path(key), err)
		return nil, ""
	}
	*dst = string(text)
	return twin, "_file " + path
}

package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	markup "html"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"gatewatch/alerting/slack/fakeslack"
	"gatewatch/collectors/kafka/kafkatest"
)

// mailbox is an SMTP server that keeps what it is given.
type mailbox struct {
	address string
	mu      sync.Mutex
	mails   []string
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &mailbox{address: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				b.session(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return b
}

func (b *mailbox) session(c net.Conn) {
	say := func(text string) { _, _ = fmt.Fprintf(c, "%s\r\n", text) }
	say("220 mx.example ESMTP")
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			b.mu.Lock()
			b.mails = append(b.mails, text.String())
			b.mu.Unlock()
			say("250 queued")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

// text is all mails as they came, and as a program that reads mail shows them:
// decoded, and the markup of HTML resolved.
func (b *mailbox) text(t *testing.T) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	for _, raw := range b.mails {
		m, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			t.Fatalf("%v:\n%s", err, raw)
		}
		out.WriteString(raw)
		for name, values := range m.Header {
			for _, v := range values {
				plain, err := new(mime.WordDecoder).DecodeHeader(v)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				fmt.Fprintf(&out, "%s: %s\n", name, plain)
			}
		}
		mailPart(t, &out, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
	}
	return out.String()
}

func mailPart(t *testing.T, out *strings.Builder, contentType, encoding string, body io.Reader) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatalf("%q: %v", contentType, err)
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	if strings.HasPrefix(kind, "multipart/") {
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			p, err := parts.NextRawPart() // with its encoding still on it
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mailPart(t, out, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p)
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(out, "%s\n%s\n", text, markup.UnescapeString(string(text)))
}

// slackText is all that was said in a channel, as sent and as people see it.
func slackText(f *fakeslack.Fake) string {
	var out strings.Builder
	for _, m := range f.All() {
		fmt.Fprintf(&out, "%s\n%s\n%s\n%s\n%s\n", m.Text, m.Blocks, m.Attachments, m.Metadata, m.Reading())
	}
	return unjoin(out.String())
}

// unjoin takes out the signs without width that keep chats from finding links
// and mentions, and the escapes of markup: what is left is what a person copies.
func unjoin(text string) string {
	return text + "\n" + markup.UnescapeString(strings.NewReplacer("\u2060", "", "\u200b", "", `\u2060`, "", `\u200b`, "").Replace(text))
}

// topicText is what is in a topic: keys, values and headers.
func topicText(k *kafkatest.Cluster, topic string) string {
	var out strings.Builder
	for _, r := range k.Records(topic) {
		fmt.Fprintf(&out, "%s %s\n%s\n", r.Key, r.Headers, r.Value)
	}
	return out.String()
}

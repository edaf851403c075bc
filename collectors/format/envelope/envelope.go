// Package envelope finds log lines in the messages of a queue. Shippers put
// one line into a message or many, as text, as JSON objects one after the other,
// as a JSON array, in a list inside an object, or as a text inside an object. What it
// returns depends on the message alone. It is a leaf.
package envelope

import "bytes"

// Splitter returns the lines of one message after the other. Its zero value
// has none. It keeps memory for texts that it has to unescape, so one is used for
// many messages; it belongs to one goroutine.
type Splitter struct {
	rest    []byte
	shape   shape
	scratch []byte
}

type shape uint8

const (
	shapeText    shape = iota // lines
	shapeArray                // elements, up to the bracket that ends them
	shapeObjects              // JSON objects, one after the other
)

// Reset begins with a message.
//
// The message is one of: a JSON array; a JSON object that has a list of
// entries under one of the keys of lists; JSON objects, which may have line feeds
// inside; else text, whose lines end with line feeds.
func (s *Splitter) Reset(message []byte) {
	b := trim(message)
	s.rest, s.shape = b, shapeText
	if len(b) == 0 {
		return
	}
	switch b[0] {
	case '[':
		if end := skip(b, 0); end == len(b) {
			s.rest, s.shape = b[1:], shapeArray
		}
	case '{':
		if list, ok := entries(b); ok {
			s.rest, s.shape = list[1:], shapeArray
			return
		}
		if several(b) && objects(b) {
			s.shape = shapeObjects
		}
	}
}

// several reports whether text that begins with a brace may be more than one
// line or object.
func several(b []byte) bool {
	if bytes.IndexByte(b, '\n') >= 0 {
		return true
	}
	for at := 1; ; {
		n := bytes.IndexByte(b[at:], '{')
		if n < 0 {
			return false
		}
		at += n
		if before(b, at) == '}' {
			return true
		}
		at++
	}
}

// before returns the last byte before b[at] that is no blank; b begins with none.
func before(b []byte, at int) byte {
	for at--; at > 0 && isBlank(b[at]); at-- {
	}
	return b[max(at, 0)]
}

// objects reports whether b is JSON objects and blanks, nothing else.
func objects(b []byte) bool {
	for at := 0; at < len(b); {
		if b[at] != '{' {
			return false
		}
		end := skip(b, at)
		if end < 0 {
			return false
		}
		at = blanks(b, end)
	}
	return true
}

// Next returns the next line, false behind the last. It is a view into the
// message, or valid until the next call.
func (s *Splitter) Next() ([]byte, bool) {
	for len(s.rest) > 0 {
		var line []byte
		switch s.shape {
		case shapeText:
			line = s.text()
		case shapeObjects:
			line = s.object()
		case shapeArray:
			line = s.element()
		}
		if len(line) > 0 {
			return line, true
		}
	}
	return nil, false
}

func (s *Splitter) text() []byte {
	line, rest, _ := bytes.Cut(s.rest, []byte{'\n'})
	s.rest = rest
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

func (s *Splitter) object() []byte {
	end := skip(s.rest, 0) // Reset saw that there is one
	line := s.rest[:end]
	s.rest = s.rest[blanks(s.rest, end):]
	return line
}

func (s *Splitter) element() []byte {
	at := blanks(s.rest, 0)
	if at < len(s.rest) && s.rest[at] == ',' {
		at = blanks(s.rest, at+1)
	}
	if at >= len(s.rest) || s.rest[at] == ']' {
		s.rest = nil
		return nil
	}
	end := skip(s.rest, at)
	if end < 0 {
		s.rest = nil
		return nil
	}
	line := s.rest[at:end]
	s.rest = s.rest[end:]
	if line[0] == '"' {
		s.scratch = unescape(s.scratch[:0], line)
		return bytes.TrimRight(s.scratch, "\r\n")
	}
	return line
}

// lists are the keys under which an object has entries: Azure diagnostic logs,
// CloudWatch subscriptions.
var lists = [...][]byte{[]byte(`"records"`), []byte(`"logEvents"`)}

// listWithin is how far from the start of an object such a key may be.
const listWithin = 1 << 10

// entries returns the list of entries of an object, from its bracket on, and
// whether it has one.
func entries(b []byte) ([]byte, bool) {
	near := b[:min(len(b), listWithin)]
	for at := 0; ; at++ {
		n := bytes.IndexByte(near[at:], '[')
		if n < 0 {
			return nil, false
		}
		at += n
		for _, key := range lists {
			if before(b, at) == ':' && named(b, at, key) {
				list := member(b, key)
				return b[max(list, 0):], list >= 0 && b[list] == '[' && skip(b, list) > 0
			}
		}
	}
}

// named reports whether the value at b[at] stands behind a key, as it looks.
func named(b []byte, at int, key []byte) bool {
	colon := bytes.LastIndexByte(b[:at], ':')
	end := colon
	for end > 0 && isBlank(b[end-1]) {
		end--
	}
	return bytes.HasSuffix(b[:end], key)
}

// texts are the keys under which shippers put the line that they read: in the
// order in which they are looked for. Elastic and Fluentd agents, Vector,
// container runtimes, journald, Splunk, Google Cloud, OpenTelemetry.
var texts = [...][]byte{
	[]byte(`"message"`), []byte(`"log"`), []byte(`"MESSAGE"`), []byte(`"_raw"`), []byte(`"textPayload"`), []byte(`"jsonPayload"`), []byte(`"body"`), []byte(`"original"`),
}

// Inner returns the line that a JSON object wraps, as a text or as an object,
// and whether it wraps one. The line is a view into scratch or into the object;
// scratch is grown as needed.
func Inner(object []byte, scratch *[]byte) ([]byte, bool) {
	b := trim(object)
	if len(b) == 0 || b[0] != '{' {
		return nil, false
	}
	for _, key := range texts {
		if !bytes.Contains(b, key) {
			continue
		}
		at := member(b, key)
		if at < 0 {
			if at = member(b, []byte(`"event"`)); at < 0 || b[at] != '{' {
				continue
			}
			inner := member(b[at:], key) // event.original of Elastic agents
			if inner < 0 {
				continue
			}
			at += inner
		}
		switch end := skip(b, at); {
		case end < 0:
		case b[at] == '{':
			return b[at:end], true
		case b[at] == '"':
			*scratch = unescape((*scratch)[:0], b[at:end])
			if line := bytes.TrimRight(*scratch, "\r\n"); len(line) > 0 {
				return line, true
			}
		}
	}
	return nil, false
}

package event

import (
	"fmt"
	"strings"
)

// RouteRule gives the template of paths that syntax alone cannot tell, such
// as slugs.
type RouteRule struct {
	// Pattern is a path whose slots stand in braces: "/shop/{slug}/items/{id}".
	// A segment has at most one slot, with or without text around it
	// ("{id}.json"). A last segment "{rest...}" takes one or more segments.
	Pattern string
}

// pattern is a compiled RouteRule or a template that a gateway logged.
type pattern struct {
	text string
	segs []patternSeg
	tail bool // the last segment takes all that is left
}

type patternSeg struct {
	pre, post string
	slot      bool
}

func compilePattern(text string) (pattern, error) {
	p := pattern{text: text}
	if !strings.HasPrefix(text, "/") {
		return p, fmt.Errorf("route %q does not begin with a slash; write a path such as /users/{id}", text)
	}
	rest := text
	for rest != "" {
		var seg string
		seg, rest = nextSegment(rest)
		if seg == "" {
			continue
		}
		if p.tail {
			return p, fmt.Errorf("route %q goes on after {...}; only the last segment can take the rest", text)
		}
		open, end := strings.IndexByte(seg, '{'), strings.LastIndexByte(seg, '}')
		switch {
		case open < 0 && end < 0:
			p.segs = append(p.segs, patternSeg{pre: seg})
			continue
		case open < 0 || end < open+2 || strings.Count(seg, "{") != 1 || strings.Count(seg, "}") != 1:
			return p, fmt.Errorf("route %q: segment %q needs one name in braces, such as {id}", text, seg)
		}
		if strings.HasSuffix(seg[open:end], "...") {
			if open != 0 || end != len(seg)-1 {
				return p, fmt.Errorf("route %q: %q must be a whole segment", text, seg)
			}
			p.tail = true
		}
		p.segs = append(p.segs, patternSeg{pre: seg[:open], post: seg[end+1:], slot: true})
	}
	return p, nil
}

// nextSegment cuts the first segment off a path, without its slashes.
func nextSegment(path string) (seg, rest string) {
	for path != "" && path[0] == '/' {
		path = path[1:]
	}
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// match reports whether path fits, and the value of the last slot.
func (p *pattern) match(path string) (object string, ok bool) {
	rest := path
	for i := range p.segs {
		s := &p.segs[i]
		var seg string
		before := rest
		seg, rest = nextSegment(rest)
		if seg == "" {
			return "", false
		}
		switch {
		case !s.slot:
			if seg != s.pre {
				return "", false
			}
		case p.tail && i == len(p.segs)-1:
			return strings.TrimLeft(before, "/"), true
		default:
			if len(seg) <= len(s.pre)+len(s.post) || !strings.HasPrefix(seg, s.pre) || !strings.HasSuffix(seg, s.post) {
				return "", false
			}
			object = seg[len(s.pre) : len(seg)-len(s.post)]
		}
	}
	seg, _ := nextSegment(rest)
	return object, seg == ""
}

// objectOf finds the value of the last slot of a template that a gateway
// logged, in braces or as ":name", by walking template and path together. It
// compiles nothing, as such templates come with every line.
func objectOf(template, path string) (object string) {
	for {
		var t, s string
		t, template = nextSegment(template)
		s, path = nextSegment(path)
		if t == "" || s == "" {
			return object
		}
		if t[0] == ':' {
			object = s
			continue
		}
		open, end := strings.IndexByte(t, '{'), strings.LastIndexByte(t, '}')
		if open >= 0 && end > open && len(s) > open+len(t)-end-1 {
			object = s[open : len(s)-(len(t)-end-1)]
		}
	}
}

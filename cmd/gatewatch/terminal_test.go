package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := escape(in); got != want {
			t.Errorf("escape(%q): want %s, got %s", in, want, got)
		}
	}
	f("", "")
	f("GET /a?b=c%20 ~", "GET /a?b=c%20 ~")
	f("\x1b[31mred\x1b]0;title\x07", `\x1b[31mred\x1b]0;title\x07`)
	f("a\nb\r\tc\x00\x7f", `a\nb\r\tc\x00\x7f`)
	f("\u009b31m", `\u{9b}31m`)
	f("abc\u202edef\u2066\u200b\ufeff\u2028", `abc\u{202e}def\u{2066}\u{200b}\u{feff}\u{2028}`)
	f("caf\u00e9 \u4f60", "caf\u00e9 \u4f60")
	f("a\u0301\u0489", `a\u{301}\u{489}`)
	f("\xff\xc3(", `\xff\xc3(`)
	f("\U000e0041\ue000", `\u{e0041}\u{e000}`)
	f("\u00a0", `\u{a0}`)
}

func TestClip(t *testing.T) {
	f := func(in string, width int, want string) {
		t.Helper()
		if got := clip(in, width); got != want {
			t.Errorf("clip(%q, %d): want %q, got %q", in, width, want, got)
		}
	}
	f("abc", 3, "abc")
	f("abcd", 3, "ab…")
	f("äöüß", 3, "äö…")
	f("abc", 1, "…")
	f("abc", 0, "")
}

func FuzzEscape(f *testing.F) {
	f.Add("\x1b[2J\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := escape(s)
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Fatalf("%q holds %U", got, r)
			}
		}
		if strings.ContainsAny(got, "\x1b\n\r") {
			t.Fatalf("%q can steer a terminal", got)
		}
	})
}

func FuzzInertJSON(f *testing.F) {
	for _, s := range []string{"plain", "\u202eabc\u2066", "\u009b31m\x7f", "\U000e0001é日", "\xff\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		plain, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		inert := inertJSON(plain)
		for _, r := range string(inert) {
			if !unicode.IsPrint(r) {
				t.Errorf("%q keeps %U", inert, r)
			}
		}
		var want, got string
		if err := errors.Join(json.Unmarshal(plain, &want), json.Unmarshal(inert, &got)); err != nil || want != got {
			t.Errorf("%q reads as %q, %v", inert, got, err)
		}
	})
}

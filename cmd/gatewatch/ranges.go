package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"gatewatch/pipeline/learn"
)

// Bounds of a file of published ranges.
const (
	maxRangesFile = 16 << 20
	maxRanges     = 50_000
)

// readRanges reads the files of --ranges. They have the form in which operators
// of crawlers publish their addresses: an object with prefixes, each with an
// ipv4Prefix or an ipv6Prefix.
func readRanges(flags []string) (learn.Ranges, error) {
	out := learn.Ranges{}
	for _, f := range flags {
		name, path, ok := strings.Cut(f, "=")
		if !ok || name == "" || path == "" {
			return nil, usage("--ranges is %q; write NAME=FILE, such as googlebot=googlebot.json", f)
		}
		if strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" || len(name) > 64 {
			return nil, usage("--ranges has the name %q; write the word of the agent in letters, digits, dots, _ and -", name)
		}
		if len(name) < 3 {
			return nil, usage("--ranges has the name %q, which is in too many agents; write three letters or more", name)
		}
		list, err := readRangesFile(path)
		if err != nil {
			return nil, usage("--ranges %s: %w", name, err)
		}
		out[name] = append(out[name], list...)
	}
	return out, nil
}

func readRangesFile(path string) ([]netip.Prefix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxRangesFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxRangesFile {
		return nil, fmt.Errorf("%s is larger than 16 MiB", path)
	}
	list, err := parseRanges(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

func parseRanges(data []byte) ([]netip.Prefix, error) {
	var doc struct {
		Prefixes []struct {
			IPv4 string `json:"ipv4Prefix"`
			IPv6 string `json:"ipv6Prefix"`
		} `json:"prefixes"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("not the JSON of published ranges: %w", err)
	}
	if len(doc.Prefixes) == 0 {
		return nil, fmt.Errorf(`it has no prefixes; the form is {"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}, {"ipv6Prefix": "2001:db8::/32"}]}`)
	}
	if len(doc.Prefixes) > maxRanges {
		return nil, fmt.Errorf("it has %d prefixes; at most %d are read", len(doc.Prefixes), maxRanges)
	}
	var out []netip.Prefix
	for i, p := range doc.Prefixes {
		text := p.IPv4
		if text == "" {
			text = p.IPv6
		}
		net, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("prefixes[%d] is %q, which is no network; write one such as 192.0.2.0/24 as its ipv4Prefix or ipv6Prefix", i, text)
		}
		// Nobody crawls from a part of the internet as large as this.
		if net.Addr().Is4() && net.Bits() < 8 || net.Addr().Is6() && net.Bits() < 19 {
			return nil, fmt.Errorf("prefixes[%d] is %s, which is too much of the internet to be a crawler's", i, net)
		}
		out = append(out, net.Masked())
	}
	return out, nil
}

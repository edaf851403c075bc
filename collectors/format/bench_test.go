package format

import (
	"testing"

	"gatewatch/event"
)

func benchmark(b *testing.B, lines [][]byte) {
	d, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	size := 0
	for _, l := range lines {
		size += len(l) + 1
	}
	b.SetBytes(int64(size / len(lines)))
	b.ReportAllocs()
	var ev event.Event
	i := 0
	for b.Loop() {
		if err := d.Decode(lines[i], &ev); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(lines) {
			i = 0
		}
	}
}

// The samples fit the processor cache, as a block that was just read does.
func BenchmarkRangeCombined(b *testing.B) {
	benchmark(b, sharedLines(b, "corpora/range/stretched_public_access_combined.log.gz", 1500))
}

func BenchmarkRangeJSON(b *testing.B) {
	benchmark(b, sharedLines(b, "corpora/range/stretched_public_access.json.log.gz", 1500))
}

func BenchmarkCombinedLine(b *testing.B) {
	benchmark(b, [][]byte{[]byte(`203.0.113.77 - - [19/Nov/2026:06:00:02 +0000] "GET /api/v1/products/31337?fields=id,name,price,stock&currency=EUR HTTP/1.1" 200 2613 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"`)})
}

func BenchmarkEscapedLine(b *testing.B) {
	benchmark(b, [][]byte{[]byte(`203.0.113.77 - - [19/Nov/2026:06:00:02 +0000] "GET /api/v1/search?q=\x22caf\xC3\xA9\x22 HTTP/1.1" 200 2613 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) \x5Cx Gecko/20100101 Firefox/127.0"`)})
}

func BenchmarkJunk(b *testing.B) {
	d, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	line := []byte(`2021/12/01 13:53:33 [error] 31#31: *46 "/usr/share/nginx/html/x" is not found, client: 172.17.0.1`)
	b.ReportAllocs()
	var ev event.Event
	for b.Loop() {
		if d.Decode(line, &ev) == nil {
			b.Fatal("junk was read")
		}
	}
}

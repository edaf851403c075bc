package event

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"
)

func TestClassOf(t *testing.T) {
	for agent, want := range map[string]ClientClass{
		"": ClassNone,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36": ClassBrowser,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1":    ClassBrowser,
		"Mozilla/5.0 (Linux; Android 13; CUBOT P80) AppleWebKit/537.36 Chrome/124.0.0.0 Mobile Safari/537.36":             ClassBrowser,
		"Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18":                                                       ClassBrowser,
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                        ClassBot,
		"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)":                                         ClassBot,
		"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)":                                       ClassBot,
		"kube-probe/1.29":       ClassBot,
		"ELB-HealthChecker/2.0": ClassBot,
		"okhttp/4.12.0":         ClassApp,
		"ShopApp/7.2 CFNetwork/1494.0.7 Darwin/23.4.0":           ClassApp,
		"Dalvik/2.1.0 (Linux; U; Android 12; SM-A515F)":          ClassApp,
		"ShopApp/3.1 (iPhone; iOS 17.4)":                         ClassApp,
		"curl/8.5.0":                                             ClassTool,
		"python-requests/2.31.0":                                 ClassTool,
		"Go-http-client/1.1":                                     ClassTool,
		"Apache-HttpClient/4.5.14 (Java/17.0.9)":                 ClassTool,
		"hey/0.0.1":                                              ClassTool,
		"Java-http-client/21.0.3":                                ClassTool,
		"node-fetch/1.0 (+https://github.com/bitinn/node-fetch)": ClassTool,
		"Mozilla/5.0 (compatible; Inspector/1.0; +https://inspector.example/about)": ClassBot,
		"partner-sync/2.4": ClassOther,
		"-x":               ClassOther,
	} {
		if got := ClassOf(agent); got != want {
			t.Errorf("%q: want %s, got %s", agent, want, got)
		}
	}
}

// TestAgents: who came before is known by the same pointer each time, with the class that would be
// worked out, and what never comes again is not kept.
func TestAgents(t *testing.T) {
	m := agentMemory{seed: maphash.MakeSeed()}
	agents := []string{"", "curl/8.5.0", "okhttp/4.12.0", "Mozilla/5.0 (X11; Linux x86_64)", "Googlebot/2.1", "partner-sync/2.4"}
	known := 0
	seen := map[string]*Agent{}
	for i := range 20_000 {
		text := agents[i%len(agents)]
		if i%7 == 0 {
			text = fmt.Sprintf("python-requests/2.%d", i)
		}
		a := m.find(text)
		if a == nil {
			continue
		}
		known++
		if a.Text != text || a.Class != ClassOf(text) || m.slots[a.Number].agent != a {
			t.Fatalf("%q: got %+v", text, a)
		}
		if before := seen[text]; before != nil && before != a && m.slots[before.Number].agent == before {
			t.Fatalf("%q: two agents", text)
		}
		seen[text] = a
	}
	if known < 10_000 {
		t.Errorf("only %d were known", known)
	}
	kept := 0
	for i := range m.slots {
		if m.slots[i].agent != nil {
			kept++
		}
	}
	if kept == 0 || kept > 2*len(agents) {
		t.Errorf("%d agents are kept", kept)
	}
	if n := testing.AllocsPerRun(100, func() { m.find(agents[2]) }); n != 0 {
		t.Errorf("%g allocations for an agent that is known", n)
	}
}

// TestWords: each word of the lists is found, wherever it stands and however it is written.
func TestWords(t *testing.T) {
	n := 0
	for _, list := range agentWords.by {
		for _, w := range list {
			n++
			for _, text := range []string{w.text, "x " + w.text, strings.Repeat("y", 40) + w.text + "z"} {
				if agentWords.find([]byte(text))&(1<<w.class) == 0 {
					t.Errorf("%q is not found in %q", w.text, text)
				}
			}
			if a, b := ClassOf("x "+w.text), ClassOf("x "+strings.ToUpper(w.text)); a != b || a == ClassOther {
				t.Errorf("%q is %s, in capitals %s", w.text, a, b)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d words", n)
	}
	if n := testing.AllocsPerRun(100, func() { ClassOf("Some Agent that never came before 1.2.3") }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// BenchmarkClassOf is the cost of an agent that never came before.
func BenchmarkClassOf(b *testing.B) {
	text := strings.Repeat("aZ;(bQ/w.Xr )tK", 16)
	for b.Loop() {
		ClassOf(text)
	}
}

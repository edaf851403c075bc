package event

import (
	"bytes"
	"hash/maphash"
	"strings"
)

// ClientClass is the kind of program that a client calls itself in its user agent. It is
// what the client says, no more: anybody can call itself a browser.
type ClientClass uint8

// The classes of clients.
const (
	ClassNone    ClientClass = iota // names no agent
	ClassBrowser                    // what people use, and what does not want to be told from that
	ClassApp                        // an application on a telephone or a desktop
	ClassTool                       // a program or a library of one: curl, python-requests, a load generator
	ClassBot                        // a crawler, a monitor or a preview, by its own word
	ClassOther                      // names something else
)

// String returns the value of client.class.
func (c ClientClass) String() string {
	return [...]string{"none", "browser", "app", "tool", "bot", "other"}[c]
}

// Words of agents, in lower case, as they are found in the documentation of the programs and
// in published logs. A bot says so, or gives a page about itself.
var agentWords = newWords(map[ClientClass][]string{
	ClassBot: {
		"bot", "crawl", "spider", "slurp", "facebookexternalhit", "preview", "archiver", "embedly", "whatsapp/", "mediapartners-google",
		"feedfetcher", "kube-probe", "prometheus", "blackbox", "uptime", "pingdom", "statuscake", "healthcheck", "health-check",
		"elb-health", "googlehc", "site24x7", "datadog", "nagios", "check_http", "zabbix", "checkly",
	},
	ClassApp: {
		"okhttp/", "cfnetwork/", "dalvik/", "alamofire/", "darwin/", "dart/", "expo/", "react-native", "reactnative", "flutter", "android",
		"iphone", "ipad", "electron/",
	},
	ClassTool: {
		"curl/", "wget/", "python", "go-http-client", "java/", "java-http-client", "apache-httpclient", "jersey/", "axios/", "node-fetch", "node.js", "undici",
		"libwww", "lwp", "perl", "ruby", "faraday", "php/", "guzzle", "postman", "insomnia", "httpie/", "aiohttp/", "httpx", "scrapy/",
		"powershell", "restsharp", "hey/", "k6/", "jmeter", "apachebench", "wrk", "vegeta", "locust", "sqlmap", "nikto", "nmap", "nuclei", "gobuster",
		"fuzz", "dirbuster", "masscan", "zgrab", "reqwest", "dotnet", "http.rb", "unirest", "lua-resty", "grpc-",
	},
	aboutItself: {"+http"},
})

// aboutItself stands for an address of a page in the agent.
const aboutItself ClientClass = 6

// words finds words by their first three bytes: whether any may begin so is one bit, and mostly none does.
type words struct {
	begins [1 << 16 / 64]uint64
	by     map[[3]byte][]word
}

type word struct {
	text  string
	class ClientClass
}

// beginning is the number of the bit for three bytes.
func beginning(a, b, c byte) uint16 { return uint16(a)<<10 ^ uint16(b)<<5 ^ uint16(c) }

func newWords(lists map[ClientClass][]string) *words {
	w := &words{by: map[[3]byte][]word{}}
	for class, list := range lists {
		for _, text := range list {
			bit := beginning(text[0], text[1], text[2])
			w.begins[bit/64] |= 1 << (bit % 64)
			first := [3]byte([]byte(text))
			w.by[first] = append(w.by[first], word{text, class})
		}
	}
	return w
}

// find returns the classes of the words in a text, as bits.
func (w *words) find(low []byte) (classes uint8) {
	for i := range max(0, len(low)-2) {
		bit := beginning(low[i], low[i+1], low[i+2])
		if w.begins[bit/64]&(1<<(bit%64)) == 0 {
			continue
		}
		for _, x := range w.by[[3]byte(low[i:])] {
			if len(low)-i < len(x.text) || string(low[i:i+len(x.text)]) != x.text {
				continue
			}
			if x.text == "bot" && i >= 2 && low[i-2] == 'c' && low[i-1] == 'u' {
				continue // Cubot makes telephones
			}
			classes |= 1 << x.class
		}
	}
	return classes
}

// lowered is each byte as a lower-case letter, if it is a letter.
var lowered = func() (t [256]byte) {
	for i := range t {
		if t[i] = byte(i); 'A' <= i && i <= 'Z' {
			t[i] |= 0x20
		}
	}
	return t
}()

// maxClassed is how much of an agent is looked at, in bytes.
const maxClassed = 256

// ClassOf returns the class of a client that names this agent.
func ClassOf(agent string) ClientClass {
	if agent == "" {
		return ClassNone
	}
	var buf [maxClassed]byte
	low := buf[:copy(buf[:], agent)]
	for i, c := range low {
		low[i] = lowered[c] // no branch: the case of a random text cannot be foretold
	}
	classes := agentWords.find(low)
	has := func(c ClientClass) bool { return classes&(1<<c) != 0 }
	switch {
	case has(ClassBot) || has(aboutItself) && !has(ClassTool):
		return ClassBot
	case bytes.HasPrefix(low, []byte("mozilla/")) || bytes.HasPrefix(low, []byte("opera/")):
		return ClassBrowser
	case has(ClassTool):
		return ClassTool
	case has(ClassApp):
		return ClassApp
	default:
		return ClassOther
	}
}

// Agent is a user agent that came several times. It does not change, and as long as one is kept
// equal pointers are equal texts: what is known of an agent can be found by its pointer.
type Agent struct {
	Text   string
	Class  ClientClass
	Number int // its place in the Deriver's memory, below MaxAgents; another may have it later
}

// MaxAgents is how many agents a Deriver remembers.
const MaxAgents = 1024

// maxAgent is how long an agent to remember may be, in bytes.
const maxAgent = 1024

// agentMemory remembers agents that come again. A text has its place by its hash and takes
// that of another when it was the last to miss it twice; so agents that never come
// again displace nothing and copy nothing.
type agentMemory struct {
	seed  maphash.Seed
	slots [MaxAgents]agentSlot
}

type agentSlot struct {
	agent  *Agent
	missed uint32 // part of the hash of the last text that was not this one
}

// find returns what is remembered of a text, nil where it did not come often enough.
func (m *agentMemory) find(text string) *Agent {
	if text == "" || len(text) > maxAgent {
		return nil
	}
	h := maphash.String(m.seed, text)
	i := int(h % MaxAgents)
	s := &m.slots[i]
	if s.agent != nil && s.agent.Text == text {
		return s.agent
	}
	if tag := uint32(h>>32) | 1; s.missed != tag {
		s.missed = tag
		return nil
	}
	s.agent = &Agent{Text: strings.Clone(text), Class: ClassOf(text), Number: i}
	return s.agent
}

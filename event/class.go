package event

import (
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
var (
	botWords = []string{
		"bot", "crawl", "spider", "slurp", "facebookexternalhit", "preview", "archiver", "embedly", "whatsapp/", "mediapartners-google",
		"feedfetcher", "kube-probe", "prometheus", "blackbox", "uptime", "pingdom", "statuscake", "healthcheck", "health-check",
		"elb-health", "googlehc", "site24x7", "datadog", "nagios", "check_http", "zabbix", "checkly",
	}
	appWords = []string{
		"okhttp/", "cfnetwork/", "dalvik/", "alamofire/", "darwin/", "dart/", "expo/", "react-native", "reactnative", "flutter", "android",
		"iphone", "ipad", "electron/",
	}
	toolWords = []string{
		"curl/", "wget/", "python", "go-http-client", "java/", "java-http-client", "apache-httpclient", "jersey/", "axios/", "node-fetch", "node.js", "undici",
		"libwww", "lwp", "perl", "ruby", "faraday", "php/", "guzzle", "postman", "insomnia", "httpie/", "aiohttp/", "httpx", "scrapy/",
		"powershell", "restsharp", "hey/", "k6/", "jmeter", "apachebench", "wrk", "vegeta", "locust", "sqlmap", "nikto", "nmap", "nuclei", "gobuster",
		"fuzz", "dirbuster", "masscan", "zgrab", "reqwest", "dotnet", "http.rb", "unirest", "lua-resty", "grpc-",
	}
)

// maxClassed is how much of an agent is looked at, in bytes.
const maxClassed = 256

// ClassOf returns the class of a client that names this agent.
func ClassOf(agent string) ClientClass {
	if agent == "" {
		return ClassNone
	}
	low := strings.ToLower(agent[:min(len(agent), maxClassed)])
	has := func(words []string) bool {
		for _, w := range words {
			if strings.Contains(low, w) {
				return true
			}
		}
		return false
	}
	tool := has(toolWords)
	switch {
	case has(botWords) && (!strings.Contains(low, "cubot") || strings.Count(low, "bot") > 1): // Cubot makes telephones
		return ClassBot
	case strings.Contains(low, "+http") && !tool:
		return ClassBot
	case strings.HasPrefix(low, "mozilla/") || strings.HasPrefix(low, "opera/"):
		return ClassBrowser
	case tool:
		return ClassTool
	case has(appWords):
		return ClassApp
	default:
		return ClassOther
	}
}

// classMemory remembers the classes of agents that come again. A text has its place by
// its hash and takes that of another when it was the last to miss it twice; so agents
// that never come again displace nothing and copy nothing.
type classMemory struct {
	seed  maphash.Seed
	slots [1024]classSlot
}

type classSlot struct {
	agent  string
	missed uint32 // part of the hash of the last text that was not this one
	class  ClientClass
}

func (m *classMemory) of(agent string) ClientClass {
	if agent == "" {
		return ClassNone
	}
	h := maphash.String(m.seed, agent)
	s := &m.slots[h%uint64(len(m.slots))]
	if s.agent == agent {
		return s.class
	}
	class := ClassOf(agent)
	if tag := uint32(h>>32) | 1; s.missed != tag {
		s.missed = tag
	} else if len(agent) <= 1024 {
		*s = classSlot{agent: strings.Clone(agent), class: class}
	}
	return class
}

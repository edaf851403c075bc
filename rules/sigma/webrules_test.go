package sigma

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// webRules makes rules in the shape of published ones for web servers and
// proxies: paths of products with holes, parameters with payloads, agents of
// tools, keywords in their encodings, filters on method and status. How often
// each construct comes is counted from SigmaHQ's web rules.
type webRules struct{ r *rand.Rand }

func (w webRules) pick(list ...string) string { return list[w.r.IntN(len(list))] }

func (w webRules) chance(percent int) bool { return w.r.IntN(100) < percent }

// word is a product, plugin or file name.
func (w webRules) word() string {
	var b strings.Builder
	for range 1 + w.r.IntN(2) {
		b.WriteString(w.pick("form", "file", "doc", "web", "net", "mail", "admin", "log", "cloud", "photo", "shop", "cart", "wiki", "forum",
			"backup", "sync", "auto", "smart", "quick", "power", "data", "event", "gallery", "ticket", "survey", "invoice", "portal", "print",
			"stream", "vault", "zen", "open", "max", "neo", "pro", "free", "cam", "dvr", "gate", "link", "meta", "nova", "orbit", "pixel", "ray",
			"sonic", "tera", "ultra", "vero", "xero", "yoga", "zip", "bit", "core", "dash", "edge", "flux", "grid", "hub", "ion", "jet", "key"))
		b.WriteString(w.pick("", "ly", "er", "ify", "box", "man", "view", "port", "base", "kit", "ware", "soft", "press", "desk", "flow", "pad", "ster", "ia"))
	}
	return b.String()
}

func (w webRules) path() string {
	a, b := w.word(), w.word()
	switch w.r.IntN(10) {
	case 0:
		return "/wp-content/plugins/" + a + "-" + b + "/" + w.word() + ".php"
	case 1:
		return "/cgi-bin/" + a + w.pick(".cgi", ".pl", "", "/luci")
	case 2:
		return "/api/v" + w.pick("1", "2", "3") + "/" + a + "/" + b
	case 3:
		return "/" + a + "/" + b + w.pick(".jsp", ".do", ".action", ".aspx", ".asmx", ".ashx")
	case 4:
		return "/" + w.pick("admin", "remote", "manager", "console", "owa", "rest", "ajax", "portal", "auth", "setup") + "/" + a
	case 5:
		return "/" + a + "." + w.pick("php", "asp", "jsp", "cgi") + "?" + w.pick("action", "cmd", "page", "id", "file", "do") + "=" + b
	case 6:
		return "/" + a + "/..;/" + b
	case 7:
		return "/" + a + "/" + w.pick("..%2f", "%2e%2e/", "../", "..%5c") + b
	case 8:
		return "/" + a + "_" + b + "/" + w.pick("upload", "login", "export", "download", "config", "index") + "." + w.pick("php", "jsp", "html")
	default:
		return "/" + a + "/" + b + "/" + w.word()
	}
}

func (w webRules) payload() string {
	return w.pick("../", "..%2f", "/etc/passwd", "cmd=", "exec=", "id=", "file=", "url=http", "path=", "%00", "<script", "%3Cscript", "union%20select",
		"union+select", "sleep(", "benchmark(", "${jndi:", "%24%7Bjndi", ";wget", "|id", "%7Cid", "`", "$(", "%60", "?cmd", "whoami", "powershell", "base64", "/bin/sh",
		"<?php", "eval(", "system(", "passthru(", "0x", "char(", "win.ini", "web.config", "WEB-INF/web.xml", ".env", ".git/config")
}

func (w webRules) agent() string {
	switch w.r.IntN(4) {
	case 0:
		return w.word() + "/" + fmt.Sprintf("%d.%d", w.r.IntN(9), w.r.IntN(20))
	case 1:
		return w.word() + w.pick("bot", " scanner", "-crawler", "_spider", " agent", "Client/")
	case 2:
		return fmt.Sprintf("Mozilla/%d.0 (compatible; %s %d.%d", 3+w.r.IntN(3), w.word(), w.r.IntN(9), w.r.IntN(9))
	default:
		return " " + w.word() + " "
	}
}

// values writes a list of n values.
func (w webRules) values(n int, one func() string) string {
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "\n      - '%s'", strings.ReplaceAll(one(), "'", "''"))
	}
	return b.String() + "\n"
}

// shapes are the kinds of rules, so mixed that each run of twenty is like the
// whole.
const shapes = "cacskcaecuacrchcxaqc"

// rule returns the i-th rule.
func (w webRules) rule(i int) string { return w.ruleOf(i, shapes[i%len(shapes)]) }

func (w webRules) ruleOf(i int, shape byte) string {
	category, items, more, cond := "webserver", "", "", "selection"
	switch shape {
	case 'c':
		items = "    cs-uri-query|contains:" + w.values(1+w.r.IntN(6), w.path)
	case 'a':
		items = "    cs-uri-query|contains|all:" + w.values(1, w.path)
		for range 1 + w.r.IntN(2) {
			items += fmt.Sprintf("      - '%s'\n", w.payload())
		}
		if w.chance(30) {
			more = "  selection_payload:\n    cs-uri-query|contains:" + w.values(2+w.r.IntN(5), w.payload)
			cond = "all of selection*"
		}
	case 's':
		items = "    cs-uri-stem|" + w.pick("contains", "endswith", "startswith") + ":" + w.values(1+w.r.IntN(3), w.path)
	case 'e':
		items = "    cs-uri-query|endswith:" + w.values(1+w.r.IntN(3), w.path)
	case 'k':
		items = w.values(3+w.r.IntN(20), func() string { return w.pick("=", "/", "%2f", "") + w.word() + w.payload() })[1:]
	case 'u':
		category, items = "proxy", "    c-useragent|"+w.pick("contains", "startswith")+":"+w.values(2+w.r.IntN(20), w.agent)
	case 'q':
		category, items = "proxy", "    c-useragent:"+w.values(1+w.r.IntN(8), w.agent)
	case 'r':
		items = "    cs-referer|contains:" + w.values(1+w.r.IntN(3), w.path)
	case 'h':
		category = "proxy"
		items = "    cs-host|endswith:" + w.values(1+w.r.IntN(8), func() string { return "." + w.word() + w.pick(".com", ".net", ".xyz", ".top") })
	case 'x':
		items = fmt.Sprintf("    cs-uri-query|re: '%s%s'\n", strings.NewReplacer("?", `\?`, ".", `\.`).Replace(w.path()), w.pick(`[0-9]{1,9}`, `[^/]+\.php`, `.*(id|ls|cat)`, `\w+=`))
	}
	if shape != 'k' && category == "webserver" {
		if w.chance(55) {
			items += "    cs-method: " + w.pick("GET", "POST", "POST", "[GET, POST]") + "\n"
		}
		if w.chance(33) {
			items += "    sc-status: " + w.pick("200", "200", "[200, 201]", "[301, 302]", "500") + "\n"
		}
	}
	if w.chance(20) {
		more += "  filter_main:\n    sc-status: 404\n"
		cond += " and not 1 of filter_*"
	}
	return fmt.Sprintf("---\ntitle: web rule %d\nid: web-%d\nlogsource: {category: %s}\ndetection:\n  selection:\n%s%s  condition: %s\nlevel: medium\n",
		i, i, category, items, more, cond)
}

// webRuleSet returns n rules in one file.
func webRuleSet(n int) string {
	w := webRules{rand.New(rand.NewPCG(11, 12))}
	var b strings.Builder
	for i := range n {
		b.WriteString(w.rule(i))
	}
	return b.String()
}

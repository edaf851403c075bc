package sigma

import (
	"strings"

	"gatewatch/event"
)

// What logs are full of: the frame of a line, paths and parameters of sites
// and APIs, agents, referers; in lower case. It says which literals are common and
// which states of an automaton are visited, and only ever makes a difference of speed.
const (
	ordinaryLines = `192.168.100.200 - - [10/mar/2026:09:12:45 +0000] "get /index.html http/1.1" 200 1234 "-" "-"
10.0.0.1 - user [24/nov/2025:23:59:59 +0000] "post /api/v1/auth/login http/2.0" 302 0 "https://www.example.com/" "curl/8.5.0"`
	ordinaryRequests = `/ /api/v1/users/12345/orders?status=open&page=1&limit=20&sort=created_at /api/v2/products/678?fields=id,name,price&currency=eur
/api/v3/customers/7/items?per_page=50&offset=100&q=search+term&lang=en-us /api/users/me /api/auth/token/refresh /api/session
/static/js/main.0a1b2c3d.chunk.js /static/css/style.min.css?v=1.2.3 /assets/app-0123abcd.js /assets/fonts/icons.woff2 /images/logo.png
/img/products/thumb_320x240.webp /media/files/document.pdf /uploads/2025/11/photo.jpg /favicon.ico /robots.txt /sitemap.xml /manifest.json
/login /logout /register /account/profile /search?q=blue+shoes /cart /checkout /category/shoes?page=2 /product/123-some-name.html
/blog/2025/11/24/how-to-use-the-new-version/ /news/article/ /about /contact /help /terms /privacy /feed /rss.xml /index.php?id=12&page=3
/wp-content/themes/site/style.css?ver=6.4 /wp-content/plugins/contact-form/includes/js/index.js /wp-includes/js/jquery/jquery.min.js?ver=3.7.1
/wp-json/wp/v2/posts /wp-admin/admin-ajax.php?action=heartbeat /graphql?operationname=getproduct&variables=%7b%22id%22%3a12%7d /healthz
/health /status /metrics /v1/events?session=0123456789abcdef0123456789abcdef&ts=1700000000&type=view /oauth2/authorize?client_id=web
&redirect_uri=https%3a%2f%2fapp.example.com%2fcallback&response_type=code&scope=openid%20profile%20email&state=xyz /download/file.zip
/2a45eedc-0b77-48a1-9c3e-a85e250c1234/ /0f8fad5b-d9cb-469f-a165-70867728950e utm_source=newsletter&utm_medium=email&utm_campaign=sale`
	ordinaryAgents = `mozilla/5.0 (windows nt 10.0; win64; x64) applewebkit/537.36 (khtml, like gecko) chrome/126.0.0.0 safari/537.36 edg/126.0.0.0
mozilla/5.0 (macintosh; intel mac os x 10_15_7) applewebkit/605.1.15 (khtml, like gecko) version/17.4 safari/605.1.15
mozilla/5.0 (iphone; cpu iphone os 17_5 like mac os x) applewebkit/605.1.15 (khtml, like gecko) version/17.5 mobile/15e148 safari/604.1
mozilla/5.0 (linux; android 14; sm-s918b) applewebkit/537.36 (khtml, like gecko) samsungbrowser/24.0 chrome/117.0.0.0 mobile safari/537.36
mozilla/5.0 (x11; ubuntu; linux x86_64; rv:127.0) gecko/20100101 firefox/127.0 mozilla/4.0 (compatible; msie 8.0; windows nt 6.1; trident/4.0)
mozilla/5.0 (compatible; googlebot/2.1; +http://www.google.com/bot.html) mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)
okhttp/4.12.0 python-requests/2.31.0 go-http-client/1.1 axios/1.7.2 dalvik/2.1.0 java/17.0.1 postmanruntime/7.39.0 node-fetch/1.0 apache-httpclient`
	ordinaryReferers = `https://www.google.com/ https://www.bing.com/search http://www.example.org/path/page.html https://shop.example.com/catalog https://app.example.net/`
)

// ordinary returns what values of a source are full of.
func (s source) ordinary() []string {
	switch {
	case s.inRequest():
		return []string{ordinaryRequests}
	case s == fieldSource(event.FieldUserAgent):
		return []string{ordinaryAgents}
	case s == fieldSource(event.FieldReferer):
		return []string{ordinaryReferers, ordinaryRequests}
	default:
		return []string{ordinaryLines, ordinaryRequests, ordinaryAgents, ordinaryReferers}
	}
}

// isOrdinary reports whether ordinary values of a source hold a folded text.
func isOrdinary(text string, src source) bool {
	for _, sample := range src.ordinary() {
		if strings.Contains(sample, text) {
			return true
		}
	}
	return false
}

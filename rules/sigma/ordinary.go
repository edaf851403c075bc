package sigma

// ordinaryText is what requests and logs are full of: paths and parameters of
// sites and APIs, agents, referers, and the frame of a line. It says which
// literals are common and which states of an automaton are visited. It only
// ever makes a difference of speed.
const ordinaryText = `192.168.100.200 - - [10/Mar/2026:09:12:45 +0000] "GET /index.html HTTP/1.1" 200 1234 "-" "-"
10.0.0.1 - user [24/Nov/2025:23:59:59 +0000] "POST /api/v1/auth/login HTTP/2.0" 302 0 "https://www.example.com/" "curl/8.5.0"
/ /api/v1/users/12345/orders?status=open&page=1&limit=20&sort=created_at /api/v2/products/678?fields=id,name,price&currency=EUR
/api/v3/customers/7/items?per_page=50&offset=100&q=search+term&lang=en-us /api/users/me /api/auth/token/refresh /api/session
/static/js/main.0a1b2c3d.chunk.js /static/css/style.min.css?v=1.2.3 /assets/app-0123abcd.js /assets/fonts/icons.woff2 /images/logo.png
/img/products/thumb_320x240.webp /media/files/document.pdf /uploads/2025/11/photo.jpg /favicon.ico /robots.txt /sitemap.xml /manifest.json
/login /logout /register /account/profile /search?q=blue+shoes /cart /checkout /category/shoes?page=2 /product/123-some-name.html
/blog/2025/11/24/how-to-use-the-new-version/ /news/article/ /about /contact /help /terms /privacy /feed /rss.xml /index.php?id=12&page=3
/wp-content/themes/site/style.css?ver=6.4 /wp-content/plugins/contact-form/includes/js/index.js /wp-includes/js/jquery/jquery.min.js?ver=3.7.1
/wp-json/wp/v2/posts /wp-admin/admin-ajax.php?action=heartbeat /graphql?operationName=GetProduct&variables=%7B%22id%22%3A12%7D /healthz
/health /status /metrics /v1/events?session=0123456789abcdef0123456789abcdef&ts=1700000000&type=view /oauth2/authorize?client_id=web
&redirect_uri=https%3A%2F%2Fapp.example.com%2Fcallback&response_type=code&scope=openid%20profile%20email&state=xyz /download/file.zip
/2a45eedc-0b77-48a1-9c3e-a85e250c1234/ /0f8fad5b-d9cb-469f-a165-70867728950e utm_source=newsletter&utm_medium=email&utm_campaign=sale
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0
Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15
Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1
Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36
Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0 Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)
Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html) Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)
okhttp/4.12.0 python-requests/2.31.0 Go-http-client/1.1 axios/1.7.2 Dalvik/2.1.0 Java/17.0.1 PostmanRuntime/7.39.0 node-fetch/1.0 Apache-HttpClient
https://www.google.com/ https://www.bing.com/search http://www.example.org/path/page.html https://shop.example.com/catalog https://app.example.net/ `

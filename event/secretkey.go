package event

import "strings"

const maxSecretKey = 64

// secretKey reports whether the word that ends before end names a secret.
func (m *masker) secretKey(end int) bool {
	if end > m.done && m.s[end-1] == ']' {
		end-- // user[password]
	} else if end-3 >= m.done && strings.EqualFold(m.s[end-3:end], "%5d") {
		end -= 3
	}
	start := end
	for start > m.done && end-start < maxSecretKey && (class[m.s[start-1]]&(cDigit|cLower|cUpper|cDash|cDot) != 0 || m.s[start-1] == '%') {
		start--
	}
	var buf [maxSecretKey]byte
	key := buf[:0]
	for i := start; i < end; i++ {
		c := m.s[i]
		if c == '%' && i+2 < end {
			if v, ok := unhex2(m.s[i+1], m.s[i+2]); ok {
				c = v
				i += 2
			}
		}
		switch {
		case c >= 'A' && c <= 'Z':
			key = append(key, c|0x20)
		case class[c]&(cDigit|cLower) != 0:
			key = append(key, c)
		case c == '-' || c == '_':
		default:
			key = key[:0] // only the last word of a dotted or encoded name counts
		}
	}
	whole := key
	key = bareKey(key)
	if m.o != nil && (m.o.names[string(whole)] || m.o.names[string(key)] || m.o.identities && userKey(key)) {
		return true
	}
	switch string(key) {
	case "accesstoken", "refreshtoken", "idtoken", "authtoken", "sessiontoken", "csrftoken", "xsrftoken", "token", "jwt", "assertion",
		"clientassertion", "samlresponse", "securitytoken", "xamzsecuritytoken", "xauthtoken", "xaccesstoken", "xcsrftoken", "xvaulttoken",
		"apikey", "xapikey", "key", "accesskey", "secretkey", "privatekey", "subscriptionkey", "ocpapimsubscriptionkey", "xgoogapikey",
		"password", "passwd", "passphrase", "pass", "pwd", "newpassword", "oldpassword", "currentpassword", "confirmpassword",
		"userpassword", "passwordconfirmation", "pin", "otp", "cvv", "cvc", "cardnumber",
		"secret", "clientsecret", "code", "codeverifier", "sig", "signature", "xamzsignature", "xamzcredential", "xgoogsignature",
		"authorization", "proxyauthorization", "xauthorization", "cookie", "setcookie", "sessionid", "jsessionid", "phpsessid",
		"session", "sessid", "sid", "connectsid", "authheader", "rawrequest":
		return true
	default:
		return false
	}
}

// bareKey drops what nginx's variables put in front of the name of a header,
// a parameter or a cookie: http_authorization, sent_http_set_cookie,
// arg_token, cookie_sid.
func bareKey(key []byte) []byte {
	for _, prefix := range [...]string{"upstream", "sent", "requestheader", "header", "http", "arg", "cookie"} {
		if len(key) > len(prefix) && string(key[:len(prefix)]) == prefix {
			key = key[len(prefix):]
		}
	}
	return key
}

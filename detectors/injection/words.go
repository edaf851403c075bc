package injection

// The second half of the first look: words that attacks without any strange
// byte are made of. All of them are looked for in one pass: the last four bytes
// are hashed at each place, and only where the hash is that of a word's first
// four bytes, the word is compared.

// topic is what a word may belong to.
type topic uint8

const (
	aboutSQL topic = 1 << iota
	aboutFiles
	aboutCode
	aboutHosts
	aboutShell
	aboutAny     // of anyOf
	aboutObjects // serialised, or names of classes in base64
)

var vocabulary = newWords(map[topic][]string{
	aboutSQL: {
		"union", "select", " or ", " and ", "having ", " into @", "insert ", "update ", "delete ", "drop ", "exec ", "execute ", "declare ", "waitfor ", "case when", " order by", " group by",
		"truncate ", " xor ", " like ", " rlike ", "alter ", "create ", " limit ", "procedure ", "between ", "information_schema", "shutdown", "||",
	},
	aboutFiles: {
		"etc/", "proc/", "boot.ini", "win.ini", "passwd", "windows/", "windows\\", "winnt/", "winnt\\", "/var/", "/usr/", "/opt/", "/root/", "/dev/", "/home/", "inetpub", ".ssh/", ".htaccess", ".htpasswd", "web.config",
		"web-inf", "meta-inf", "php:", "file:", "data:", "expect:", "phar:", "zip:", "glob:", "jar:", "netdoc:", "php.ini", "httpd.conf", ".bash_history", "id_rsa", "..", "/private/", "global.asa",
		"system32", "autoexec.bat", "program files", ".git/", ".svn/", "wp-config", "access_log", "access.log", "error_log", "error.log", "etc0x", "0x2e", "0x2f", "0x5c", "/bin/", "{file}",
	},
	aboutCode: {
		"java.", "javax.", "runtime", "processbuilder", "org.apache.", "org.springframework", "org.w3c.", "org.omg.", "com.sun.", "com.mchange.", "sun.misc", "com.opensymphony", "ognl", "classloader", "class.module", "xwork", "freemarker", "beanutils",
		"__proto__", "constructor", "prototype", "process.", "require", "module.exports", "__js_function", "globalthis", "__import__", "__class__", "__globals__", "subprocess", "os.system", "kernel.", "allow_url", "auto_prepend",
		"auto_append", "disable_functions", "open_basedir", "safe_mode", "suhosin", "cgi.", "extension", "include_path", "display_errors", "memory_limit", "session.", "unserialize", "mbstring", "precision", "smtp", "zend", "opcache", "phpinfo",
		"nodejs", "child_process", "_$$nd", "groovy", "jython", "nashorn", "inputstream", "outputstream", "xmldecoder", "unmarshaller", "servletcontext", "closure", "transformer", "invoke", "factory", "mail.", "soap.", "user_ini", "assert.", "pcre.", "xmlrpc",
		"engine", "short_open_tag", "sendmail", "upload_", "docref_", "html_errors", "error_reporting", "max_execution", "max_input", "post_max", "realpath_cache", "sys_temp", "variables_order", "arg_separator", "auto_detect", "auto_globals", "browscap", "default_charset",
	},
	aboutHosts: append([]string{"http:", "https:", "ftp:", "ftps:", "//", "localhost", "metadata", "169.254", "127.0.0.1", "ldap:", "ldaps:", "gopher:", "dict:", "tftp:", "rmi:", "imap:", "smtp:", "telnet:", "sftp:", "ssh:", "smb:", "jndi:", "loopback", ".internal", ".svc.", "lvh.me", "localtest", "nip.io", "mailto:", "script:", "moz-binding", ".oast.", "burpcollaborator"}, listeners[:]...),
	aboutShell: {"whoami", "ifconfig", "ipconfig", "netstat", "uname", "systeminfo", "tasklist", "nslookup", "wget ", "curl ", "ping ", "powershell", "cmd.exe", "bash ", " -c ", "cat /", "ls -", "ls /", "net user", "sysinfo", "python -", "python3 -", "perl -", "sh -c", "reg add", "which ", "exist ", "errorlevel", "defined ", "time curl", "time wget", "netsh ", "invoke-", "sleep ", "nohup ", "ping.exe", "env --", "bin/sh", "net view", "net local", "type c", "dir c", "--upload-pack", "--receive-pack", "--use-compress", "--checkpoint-action", "--to-command", "--open-files", "proxycommand"},
	aboutObjects: {
		// the magic of Java's serialisation, and names of gadgets, in base64 at each alignment
		"ro0abq", "ro0abx", "kztaau", "cs7qaf", "cnvudgltzq", "bydw50aw1l", "j1bnrpbwu", "hj1bnrpbwu", "chjvy2vzc2j1awxkzxi", "bwcm9jzxnzynvpbgrlcg", "hbyb2nlc3nidwlsz", "y2xvbmv0cmfuc2zvcm1lcg", "bjbg9uzxryyw5zzm9ybwvy", "gnsb25ldhjhbnnmb3jtzxi",
		"zm9yy2xvc3vyzq", "bmb3jjbg9zdxjl", "gzvcmnsb3n1cmu", "aw5zdgfudglhdgvmywn0b3j5", "bpbnn0yw50awf0zwzhy3rvcnk", "gluc3rhbnrpyxrlzmfjdg9ye", "aw5zdgfudglhdgv0cmfuc2zvcm1lcg", "bpbnn0yw50awf0zxryyw5zzm9ybwvy", "gluc3rhbnrpyxrldhjhbnnmb3jtzxi",
		"aw52b2tlcnryyw5zzm9ybwvy", "bpbnzva2vydhjhbnnmb3jtzxi", "gludm9rzxj0cmfuc2zvcm1lcg", "chjvdg90exblq2xvbmvmywn0b3j5", "chjvdg90exbly2xvbmvmywn0b3j5", "bwcm90b3r5cgvjbg9uzwzhy3rvcnk", "hbyb3rvdhlwzwnsb25lzmfjdg9ye", "hbyb3rvdhlwzxnlcmlhbgl6yxrpb25mywn0b3j5",
		// telling texts in base64 at each alignment
		"1bmlvbibzzwxly3", "3ag9hbw", "4uly4ul", "8c2nyaxb0", "9iaw4vymfza", "amf2ys5syw5n", "amf2yxnjcmlwdd", "c3lzdgvtk", "d2hvyw1p", "dob2fta", "dw5pb24gc2vszwn0", "fszxj0k", "hbgvydc", "jbwquzxhl", "jhtqbmrpo", "ke2puzgk6", "l2jpbi9iyxno", "ldgmvcgfzc3dk", "li4vli4v", "n5c3rlbs", "ntzc5leg", "phdmeubgfuz", "phdmfzy3jpchq6", "phnjcmlwd", "qyxzhc2nyaxb0o", "qyxzhlmxhbm", "r7am5kat", "uli8uli", "v0yy9wyxnzd2", "vuaw9uihnlbgvjd", "vymlul2jhc2", "xzy3jpch", "y21klmv4z", "ywxlcnqo", "zexn0zw0o", "zxrjl3bhc3n3z",
		"chjvdg90exblc2vyawfsaxphdglvbmzhy3rvcnk", "bwcm90b3r5cgvzzxjpywxpemf0aw9uzmfjdg9yeq", "d2hpbgvjbg9zdxjl", "b3aglszwnsb3n1cmu", "b3agglszwnsb3n1cmu", "b3aaglszwnsb3n1cmu", "dtoawxly2xvc3vyzq", "aced0005",
		// how objects of .NET and of Python begin
		"aaeaaad/////", "aaeaaad_____", "gajj", "ganj", "gaj9", "gan9", "gasv", "gawv",
	},
})

type word struct {
	text  string
	topic topic
}

type words struct {
	bits  [512]uint64 // by hash of the first four bytes; so many that few others have one of them
	table map[uint32][]word
}

func newWords(lists map[topic][]string) *words {
	w := &words{table: map[uint32][]word{}}
	for t, list := range lists {
		for _, s := range list {
			if len(s) < 4 {
				continue // find looks for these by themselves
			}
			k := pack(s)
			w.table[k] = append(w.table[k], word{s, t})
			h := hash4(k)
			w.bits[h>>6] |= 1 << (h & 63)
		}
	}
	return w
}

func pack(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

func hash4(k uint32) uint32 { return k * 0x9E3779B1 >> 17 }

// find returns what the words in s are about. Case does not matter, and + is
// a blank.
func (w *words) find(s []byte) (found topic) {
	var k uint32
	for i, c := range s {
		// words of two bytes
		if last := byte(k); c == last && i > 0 {
			switch c {
			case '.':
				found |= aboutFiles
			case '/':
				found |= aboutHosts
			case '|':
				found |= aboutSQL
			}
		}
		k = k<<8 | uint32(folded[c])
		if h := hash4(k); w.bits[h>>6]&(1<<(h&63)) != 0 && i >= 3 {
			for _, x := range w.table[k] {
				if at := i - 3; len(s)-at >= len(x.text) && equalFolded(s[at:at+len(x.text)], x.text) {
					found |= x.topic
				}
			}
		}
	}
	return found
}

func equalFolded(s []byte, w string) bool {
	for i := range len(w) {
		if folded[s[i]] != w[i] {
			return false
		}
	}
	return true
}

// folded are bytes in lower case, with + as a blank.
var folded = func() (t [256]byte) {
	for i := range t {
		t[i] = lower(byte(i))
	}
	t['+'] = ' '
	return t
}()

// gadgets are names of Java classes in base64, in lower case.
var gadgets = []string{
	"ro0abq", "kztaau", "cs7qaf", "cnvudgltzq", "bydw50aw1l",
	"j1bnrpbwu", "hj1bnrpbwu", "chjvy2vzc2j1awxkzxi", "bwcm9jzxnzynvpbgrlcg", "hbyb2nlc3nidwlsz",
	"y2xvbmv0cmfuc2zvcm1lcg", "bjbg9uzxryyw5zzm9ybwvy", "gnsb25ldhjhbnnmb3jtzxi", "zm9yy2xvc3vyzq", "bmb3jjbg9zdxjl",
	"gzvcmnsb3n1cmu", "aw5zdgfudglhdgvmywn0b3j5", "bpbnn0yw50awf0zwzhy3rvcnk", "gluc3rhbnrpyxrlzmfjdg9ye", "aw5zdgfudglhdgv0cmfuc2zvcm1lcg",
	"bpbnn0yw50awf0zxryyw5zzm9ybwvy", "gluc3rhbnrpyxrldhjhbnnmb3jtzxi", "aw52b2tlcnryyw5zzm9ybwvy", "bpbnzva2vydhjhbnnmb3jtzxi", "gludm9rzxj0cmfuc2zvcm1lcg",
	"chjvdg90exblq2xvbmvmywn0b3j5", "chjvdg90exbly2xvbmvmywn0b3j5", "bwcm90b3r5cgvjbg9uzwzhy3rvcnk", "hbyb3rvdhlwzwnsb25lzmfjdg9ye", "hbyb3rvdhlwzxnlcmlhbgl6yxrpb25mywn0b3j5",
	"chjvdg90exblc2vyawfsaxphdglvbmzhy3rvcnk", "bwcm90b3r5cgvzzxjpywxpemf0aw9uzmfjdg9yeq", "d2hpbgvjbg9zdxjl", "b3aglszwnsb3n1cmu", "b3agglszwnsb3n1cmu",
	"b3aaglszwnsb3n1cmu", "dtoawxly2xvc3vyzq",
}

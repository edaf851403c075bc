package injection

import "bytes"

// Commands of an operating system. A command is run where a shell begins a new
// one: behind a separator, a substitution, a pipe or a line break, or at the
// start of a value. The word there has to be a command, or the argument has to
// be what only a shell has. Quotes, backslashes, empty variables and $IFS,
// which a shell drops, are dropped first.

func (a *Analyzer) command(s *subject) {
	t := s.low
	if has(t, "(") && shellshock(t) {
		a.hit(Shellshock, s.full)
		a.hit(Command, s.full)
		return
	}
	if len(t) > 4096 {
		t = t[:4096]
	}
	if s.where == InAgent && s.mask&(dollar|quote|pipe|control) == 0 {
		// Brackets and semicolons are those of browsers; what is left is an agent
		// that is a command from its first byte on.
		if t[0] == ';' && begins(t, len(t)-len(bytes.TrimLeft(t, "; ")), true) || begins(t, 0, false) {
			a.hit(Command, s.full)
		}
		return
	}
	where := s.where
	if where == InReferer && s.name != "" {
		where = InPath // what somebody searched for elsewhere
	}
	if shell(t, where) {
		a.hit(Command, s.full)
		return
	}
	if s.mask&(backslash|dollar|quote|curly|angle|bang) == 0 && bytes.IndexByte(t, '+') < 0 {
		return
	}
	a.flat = unquoteShell(a.flat[:0], t)
	if !bytes.Equal(a.flat, t) && shell(a.flat, where) {
		a.hit(Command, s.full)
	}
}

// shellshock finds a function at the start of a variable of bash.
func shellshock(t []byte) bool {
	i := bytes.Index(t, []byte("()"))
	if i < 0 {
		return false
	}
	rest := bytes.TrimLeft(t[i+2:], " \t+")
	if len(rest) < 2 || rest[0] != '{' {
		return false
	}
	body := bytes.TrimLeft(rest[1:], " \t")
	if hasPrefixAny(body, ":;", ":; }", "_;", "ignored;", "test;", "_; }", "a;", "foo;", ";") || hasPrefixAny(body, "_;} >_[$($())]") {
		return true
	}
	k := bytes.IndexByte(rest, '}')
	return i == 0 && k > 0 && bytes.IndexByte(rest[k:], ';') >= 0
}

// unquoteShell drops what a shell drops.
func unquoteShell(dst, t []byte) []byte {
	plus := bytes.IndexByte(t, ' ') < 0 // a blank that was encoded twice
	for i := 0; i < len(t); i++ {
		switch c := t[i]; {
		case c == '\'' || c == '"':
			if i > 0 && i+1 < len(t) && (wordByte(t[i-1]) || t[i-1] == '/' || t[i-1] == c) && (wordByte(t[i+1]) || t[i+1] == c || t[i+1] == '/') {
				continue // c'a't
			}
			dst = append(dst, c)
		case c == '\\' && i+1 < len(t) && (letter(t[i+1]) || t[i+1] == '\n'):
			if t[i+1] == '\n' {
				i++
			}
			continue
		case c == '^' && i+1 < len(t) && letter(t[i+1]):
			continue // of cmd.exe
		case c == '$' && i+1 < len(t):
			rest := t[i:]
			switch {
			case hasPrefixAny(rest, "${ifs%??}", "${ifs}", "$ifs$9", "$ifs"):
				for _, w := range [...]string{"${ifs%??}", "${ifs}", "$ifs$9", "$ifs"} {
					if bytes.HasPrefix(rest, []byte(w)) {
						i += len(w) - 1
						break
					}
				}
				dst = append(dst, ' ')
			case hasPrefixAny(rest, "${ifs"):
				k := bytes.IndexByte(rest, '}')
				if k < 0 {
					k = len(rest) - 1
				}
				i += k
				dst = append(dst, ' ')
			case t[i+1] == '$' && i > 0 && letter(t[i-1]):
				i++ // lists of payloads have a number of a process in words as well
			case t[i+1] == '@' || t[i+1] == '*' || t[i+1] == '!' || (t[i+1] == '-' || t[i+1] == '?') && i > 0 && wordByte(t[i-1]):
				i++
			case t[i+1] == '\'' || t[i+1] == '"':
				// $'...' : the quotes go as well
			case i > 0 && letter(t[i-1]) && decimal(t[i+1]):
				i++ // a variable that is empty
			case letter(t[i+1]) && !hasPrefixAny(t[i+1:], "path", "home", "shell", "env", "pwd", "user"):
				for i+1 < len(t) && wordByte(t[i+1]) {
					i++
				}
			case i > 0 && bytes.HasPrefix(rest, []byte("$()")):
				i += 2
			default:
				dst = append(dst, c)
			}
		case c == '`' && i+1 < len(t) && t[i+1] == '`':
			i++
		case c == '{' && i+1 < len(t) && (letter(t[i+1]) || t[i+1] == ',') && bytes.IndexByte(t[i:], ',') > 0 && bytes.IndexByte(t[i:], '}') > bytes.IndexByte(t[i:], ','):
			// {cat,/etc/passwd}
			k := i + bytes.IndexByte(t[i:], '}')
			dst = append(dst, bytes.ReplaceAll(t[i+1:k], []byte(","), []byte(" "))...)
			i = k
		case c == '+' && plus:
			dst = append(dst, ' ')
		case (c == '<' || c == '>') && i > 0 && wordByte(t[i-1]) && bytes.HasPrefix(t[i+1:], []byte("()")):
			i += 2 // pi<()ng
		case c == '?' && i > 0 && (t[i-1] == '/' || letter(t[i-1])) && has(t, "/b"):
			dst = append(dst, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

var shellWords = newAnyOf(
	"/dev/tcp/", "|sh|", "bash -i", " sh -i", "/sh -i", "-e /bin/", "/bin/sh -", "/bin/bash", "/bin/cat", "nc -e", "ncat -e", "powershell -", "powershell.exe", "cmd /c", "cmd.exe /c", "cmd.exe?/c", "mkfifo ", ">/dev/null", "2>&1", "<(curl", "<(wget",
	"<<<'", "<<<\"", "<<<$", "$(cat", "$(id", "$(whoami", "`whoami", "$(curl", "$(wget", "$(sleep", "`sleep", "$(nslookup", "`nslookup", "<!--#exec", "%comspec%", "%programfiles", "%systemroot%", "/usr/bin/id", "/bin/id", "/bin/ls", "/bin/uname", "$path", "${path:", "$((", "${path}", "${home", "$shell", "${shell", "/???/", "/b?n/", "/bi?/", "/?in/", "/???t /",
)

var dosWords = newAnyOf(
	"&&dir", "& dir", "&dir&", "|dir", "ping -n ", "ping -c ", "ping -i ", "type c:", "type %", "dir c:", "net user ", "net localgroup", "net view", "reg query", "reg add ", "netsh firewall", "netsh advfirewall", "netsh int", "sh -c ", "dd if=", "copy c:", "echo off", "set /a ", "for /f ", "/c dir", "/c+dir", "/c ping", "c:\\windows\\system32\\cmd",
)

// shell looks at each place where a command can begin.
func shell(t []byte, where Where) bool {
	if len(t) == 0 {
		return false
	}
	if where != InPath && begins(t, len(t)-len(bytes.TrimLeft(t, " \t")), false) || cmdlet(t) {
		return true
	}
	if t[0] == ';' || t[0] == '|' || t[0] == '&' {
		// A separator and a command, and nothing else.
		v := bytes.TrimRight(bytes.TrimLeft(t, ";|& "), ";|& \t\r\n")
		if len(v) > 1 && bytes.IndexByte(v, ' ') < 0 && (inList(weakCommands, v) || inList(strongCommands, v)) {
			return true
		}
	}
	if tool, ok := bytes.CutPrefix(t, []byte("which ")); ok && inList([]string{"curl", "wget", "nc", "ncat", "netcat", "gcc", "cc", "perl", "python", "python3", "php", "ruby", "socat", "nmap", "tftp"}, bytes.TrimSpace(tool)) {
		return true
	}
	if t[0] == '"' || t[0] == '\'' {
		// the quote that the value stood in is closed
		if v := bytes.TrimLeft(t[1:], " "); lone(v) || len(v) < len(t)-1 && begins(v, 0, false) {
			return true
		}
	}
	if columns(t) {
		return shellWords.in(t)
	}
	tried := 0 // up to where what follows a separator was looked at
	quoted, opens := outside(t), false
	for i := range t {
		c := t[i]
		sep := false
		switch c {
		case ';', '|', '\n', '\r':
			sep = true
		case '`':
			opens = !opens
			sep = quoted < 0 || opens && !quotedName(t, i) && !quotedWords(t, i, quoted)
		case '&':
			sep = true
		case 0x1b:
			// what hides a line from a terminal stands before the command in it
			j := i + 1
			for j < len(t) && (t[j] == '[' || decimal(t[j]) || t[j] == ';') {
				j++
			}
			if begins(t, j+1, true) {
				return true
			}
		case '\\':
			// a line break that was written as it is in a program
			if i+1 < len(t) && t[i+1] == 'n' && (i == 0 || !wordByte(t[i-1])) {
				if begins(t, i+2, true) {
					return true
				}
			}
		case '(':
			sep = i > 0 && (t[i-1] == '$' || t[i-1] == '<' || t[i-1] == '>')
			if !sep && i > 0 && (t[i-1] == ';' || t[i-1] == '|' || t[i-1] == '&' || t[i-1] == '`') {
				sep = true
			}
		case '{':
			sep = i > 0 && (t[i-1] == ';' || t[i-1] == '$' || t[i-1] == '|')
		}
		if !sep || i+1 < tried {
			continue // the same command stands behind the whole run of separators
		}
		j := i + 1
		if j+2 < len(t) && t[j] == '$' && letter(t[j+1]) && (blank(t[j+2]) || j+3 < len(t) && letter(t[j+2]) && blank(t[j+3])) {
			j += 3 // a variable that is empty
		}
		for j < len(t) && (t[j] == '&' || t[j] == '|' || t[j] == ';' || blank(t[j]) || t[j] == '\'' || t[j] == '"' || t[j] == '(' || t[j] == '{' || t[j] == '`' || t[j] == '!' || t[j] == '@' || t[j] == '<' && j+1 < len(t) && t[j+1] != '/' || t[j] == '$' && j+1 < len(t) && t[j+1] == '(') {
			j++
		}
		tried = j
		if begins(t, j, true) {
			return true
		}
	}
	return where == InQuery && runningOption(t) || formula(t) || joined(t) || selfCall(t) || assigned(t) || bracedCommand(t) || dosStyle(t) || where == InQuery && batch(t) || lone(t) || shellWords.in(t)
}

// outside counts the words of a text that stand outside of backticks; -1 says that
// there are none, or one without its other half, or signs of a shell, or no word before
// the first of them.
func outside(t []byte) (words int) {
	first := bytes.IndexByte(t, '`')
	if first < 0 || bytes.Count(t, []byte("`"))%2 != 0 {
		return -1
	}
	inside := false
	for i := range t {
		switch c := t[i]; {
		case c == '`':
			inside = !inside
		case !inside && bytes.IndexByte([]byte(";|&$<>\\"), c) >= 0:
			return -1
		case !inside && letter(c) && (i == 0 || !wordByte(t[i-1])):
			words++
		}
	}
	if !bytes.ContainsAny(t[:first], "abcdefghijklmnopqrstuvwxyz") {
		return -1
	}
	return words
}

// quotedName reports whether the backtick at i begins a name of MySQL in a
// statement that stands there from its first word on.
func quotedName(t []byte, i int) bool {
	if !hasPrefixAny(bytes.TrimLeft(t, " \t\r\n("), "select ", "insert ", "update ", "delete ", "show ", "describe ", "explain ", "alter ", "create ", "replace ", "truncate ", "drop ") {
		return false
	}
	end := bytes.IndexByte(t[i+1:], '`')
	for _, c := range t[i+1 : i+1+max(end, 0)] {
		if !wordByte(c) {
			return false
		}
	}
	return end > 0
}

// quotedWords reports whether the backtick at i begins code in a sentence, as
// Markdown has it: words before and around it, and in it the name of a command
// that tells nothing, fetches nothing and ends nothing, with plain words behind it.
func quotedWords(t []byte, i, outside int) bool {
	if outside < 2 {
		return false
	}
	inner := t[i+1:]
	inner = inner[:max(bytes.IndexByte(inner, '`'), 0)]
	if len(inner) == 0 || look(inner)&^(space|digit) != 0 {
		return false
	}
	name, _, _ := bytes.Cut(inner, []byte(" "))
	return !inList(tellingCommands, name)
}

// tellingCommands are those that are worth running even where their answer is not seen
// or that nobody names in a sentence by chance.
var tellingCommands = []string{
	"id", "whoami", "uname", "hostname", "ifconfig", "ipconfig", "netstat", "wget", "curl", "nc", "ncat", "netcat", "ping", "ping6", "nslookup", "dig", "sleep", "usleep", "reboot", "halt", "shutdown", "poweroff", "env", "printenv", "ps", "pwd",
	"sh", "bash", "telnet", "ssh", "dir", "systeminfo", "tasklist", "rm", "kill", "killall", "ip", "date", "ftp", "tftp", "python", "perl", "php", "ruby", "node", "eval", "exec", "sudo",
}

// columns reports whether t is nothing but words between bars, the head of a table
// or a list of names. As a pipe it would come to nothing: what a command says goes
// to the word behind it, which is none, and an end that is a command would be seen.
func columns(t []byte) bool {
	bars, words, last := 0, 0, 0
	for i := 0; i < len(t); {
		switch c := t[i]; {
		case c == '|':
			bars++
			i++
		case c == ' ' || c == '\t':
			i++
		case wordByte(c):
			from := i
			for i < len(t) && wordByte(t[i]) {
				i++
			}
			if words > 0 && bars == last || bars > last+1 && words > 0 {
				return false // two words, or an or
			}
			words, last = words+1, bars
			if k := bytes.TrimRight(t[i:], "| \t"); len(k) == 0 && inList(strongCommands, t[from:i]) {
				return false
			}
		default:
			return false
		}
	}
	return words > 1 && bars > 1
}

// Commands by how much they prove. A strong one is enough behind a separator;
// a weak one is also an English word and needs an argument of a shell.
var (
	strongCommands = []string{
		"awk", "base64", "bash", "busybox", "cacls", "cat", "chmod", "chown", "cmd", "cscript", "csh", "curl", "dig", "dmesg", "egrep", "env", "fgrep", "gawk", "gcc", "getent", "grep", "gzip",
		"gunzip", "icacls", "ifconfig", "ipconfig", "iptables", "ksh", "ls", "lsb_release", "lscpu", "lsmod", "lsof", "lwp-request", "lynx", "mkdir", "mkfifo", "mknod", "msiexec",
		"nawk", "nc", "ncat", "net1", "netcat", "netstat", "nohup", "nslookup", "perl", "php", "ping", "ping6", "pkill", "powershell", "printenv", "ps", "pwd", "python", "python2", "python3",
		"regsvr32", "rm", "rmdir", "rsync", "ruby", "rundll32", "sed", "sh", "socat", "ssh", "sudo", "systeminfo", "tac", "tasklist", "taskkill", "tcsh", "telnet", "tftp", "tracert", "traceroute", "uname", "uptime",
		"wget", "whoami", "wmic", "wscript", "xargs", "xterm", "xxd", "zsh", "lynx", "cp", "mv", "dir", "id", "ifs", "ls-l", "del", "netsh", "findstr", "certutil", "bitsadmin", "mshta", "hostid", "tar",
		"sleep", "usleep",
		"7z", "agetty", "ansible", "ansible-playbook", "ansible-pull", "ansible-galaxy", "ansible-vault", "apt-get", "aria2c", "arp", "ash", "bzip2", "capsh", "chef-vault", "chroot", "cpio", "crontab", "cscli", "dmidecode", "dnf", "dpkg", "exiftool", "fallocate", "fping",
		"gdb", "hexdump", "hping3", "iconv", "ionice", "irb", "journalctl", "jq", "kubectl", "ldconfig", "lftp", "ltrace", "mawk", "mtr", "mysql", "mysqldump", "nasm", "nm", "nmap", "npm", "nsenter", "openssl", "pidof", "pip", "pip3", "pkexec", "psftp", "psql", "readelf", "rlogin", "rpm", "scp",
		"setarch", "setfacl", "sftp", "shuf", "smbclient", "sqlite3", "ssh-keygen", "ssh-keyscan", "sshpass", "stdbuf", "strace", "sysctl", "sysinfo", "systemctl", "tclsh", "tcpdump", "terraform", "tmux", "tshark", "uconv", "uniq", "unshare", "useradd", "usermod", "uudecode", "uuencode", "visudo", "w3m", "xz", "ll", "rmt", "lastlog", "yarn", "yum", "zypper", "rmt-tar",
		"iex", "iwr", "get-help", "get-process", "get-content", "get-childitem", "get-service", "get-computerinfo", "get-localuser",
		"phpinfo()", "system(", "exec(", "eval(", "nslookup.exe", "ping.exe", "cmd.exe", "wc", "du", "df",
	}
	weakCommands = []string{
		"aws", "composer", "cut", "dash", "dd", "docker", "fetch", "finger", "flock", "git", "hostname", "install", "ip", "jobs", "ll", "ln", "locate", "lua", "mail", "make", "mount", "nice", "nl", "od", "passwd", "pr", "reg", "rev", "route", "ss", "strings", "su", "tee", "ver", "vol", "wall",
		"alias", "at", "bg", "cd", "clear", "cut", "date", "diff", "echo", "edit", "exec", "exit", "export", "expr", "fg", "file", "find", "finger", "free", "ftp", "groups", "halt", "head", "help", "history", "host", "kill", "last",
		"less", "login", "mail", "man", "md", "more", "move", "nano", "net", "node", "paste", "print", "printf", "read", "reboot", "ren", "repeat", "reset", "route", "run", "screen", "set", "shutdown", "sort", "source", "start", "stat",
		"split", "strings", "tail", "tar", "test", "time", "timeout", "top", "touch", "tr", "tree", "type", "unset", "unzip", "users", "vi", "vim", "w", "wait", "watch", "where", "which", "who", "xcopy", "yes", "true", "false", "zip", "copy", "rename",
	}
)

// runners run the command that follows them.
var runners = []string{"time", "nohup", "env", "sudo", "nice", "timeout", "busybox", "watch", "flock", "exec", "command", "cpulimit", "stdbuf", "setsid", "xargs", "eval", "builtin", "doas", "strace", "ltrace"}

// begins reports whether a command stands at i.
func begins(t []byte, i int, behind bool) bool {
	if i >= len(t) {
		return false
	}
	// a path before the name
	j := i
	for j < len(t) && (wordByte(t[j]) || t[j] == '/' || t[j] == '.' || t[j] == '-' || t[j] == '~' || t[j] == '?' || t[j] == '*' && j > i) {
		j++
	}
	word := t[i:j]
	path := bytes.LastIndexByte(word, '/')
	name := word[path+1:]
	if path >= 0 && hasPrefixAny(word, "/bin/", "/usr/bin/", "/usr/local/bin/", "/sbin/", "/usr/sbin/", "./") {
		return behind || j < len(t) && blank(t[j]) || inList(strongCommands, name)
	}
	if path >= 0 || len(name) == 0 {
		return false
	}
	name = bytes.TrimSuffix(bytes.TrimRight(name, ".-"), []byte(".exe"))
	if base := bytes.TrimRight(name, "0123456789."); len(base) > 2 && len(base) < len(name) && !inList(strongCommands, name) {
		name = base // gcc10.1
	}
	rest := t[j:]
	var next byte
	if len(rest) > 0 {
		next = rest[0]
	}
	arg := bytes.TrimLeft(rest, " \t+")
	spaced := len(arg) < len(rest)
	if spaced && inList(runners, name) {
		k := j + len(rest) - len(arg)
		for k < len(t) && (t[k] == '-' || decimal(t[k])) {
			n := bytes.IndexByte(t[k:], ' ')
			if n < 0 {
				break
			}
			k += n + 1
		}
		if v := t[k:]; lone(v) || begins(t, k, false) || behind && begins(t, k, true) {
			return true
		}
	}
	if behind && i > 0 && len(name) > 1 && letter(name[0]) && spaced && (t[i-1] == ';' || t[i-1] == '`' || t[i-1] == '(' && i > 1 && t[i-2] == '$') {
		// Whatever it is called, it is given an option.
		if len(arg) > 4 && arg[0] == '-' && (arg[1] == '-' && letter(arg[2]) && letter(arg[3]) || letter(arg[1]) && blank(arg[2])) {
			return true
		}
	}
	if inList(strongCommands, name) {
		switch {
		case !behind:
			// At the start of a value it has to have arguments that only a shell has.
			return spaced && string(name) != "iex" && startArguments(name, arg) // iex (...) is how programs are installed
		case len(bytes.TrimSpace(rest)) == 0 && (inList(needArguments, name) || i > 0 && t[i-1] != '|' && inList(needInput, name) && phrase(t, i)):
			return false // does nothing by itself
		case next == 0 || next == '`' || next == ')' || next == ';' || next == '|' || next == '&' || next == '\n' || next == '\r' || next == '<' || next == '>' || next == '"' || next == '\'' || next == '#' || next == '}':
			return true
		case next == '(' && string(name) == "iex":
			return true
		case next == '$' || next == '{' || len(rest) > 1 && next == '\\' && rest[1] == 'n':
			return true
		case spaced && len(arg) == 0:
			return true
		case spaced && (decimal(arg[0]) || price(arg) || heart(arg)):
			return numbered(name, arg)
		case spaced:
			return shellArgument(arg, true) || !prose(arg) || inList([]string{"wget", "curl", "nslookup", "netcat", "ncat"}, name)
		}
		return false
	}
	if behind && inList(weakCommands, name) {
		switch {
		case next == '`' || next == ')' && bytes.IndexByte(t[:i], '(') >= 0:
			return true
		case spaced && len(arg) > 0 && (arg[0] == '\'' || arg[0] == '"') && !inList(talkers, name):
			return shellArgument(bytes.TrimLeft(arg, "'\""), false) || hasAny(arg, " /", " ~/", " >") // touch 'n' go
		case spaced && len(arg) > 0:
			return shellArgument(arg, false) && !price(arg) || i > 1 && t[i-1] == '(' && t[i-2] == '$'
		}
	}
	return false
}

// startArguments reports whether arg makes a command of the name at the start
// of a value, where no separator speaks for it: a path, an address, an option
// that no sentence follows.
func startArguments(name, arg []byte) bool {
	if k := bytes.IndexAny(arg, ";|&`\n"); k >= 0 {
		arg = arg[:k] // what is behind is looked at by itself
	}
	words, options, targets, quoted := 0, 0, 0, 0
	for f := range bytes.FieldsSeq(arg) {
		c := f[0]
		switch {
		case c == '-' && len(f) > 1 && (letter(f[1]) || f[1] == '-'), c == '/' && len(f) == 2 && letter(f[1]):
			options++
		case c == '/' && len(f) > 2, c == '~' && len(f) > 1, hasPrefixAny(f, "./", "../", "c:\\", "\\\\", "${", "$(", "$ifs", ">", "<", "%", "http:", "https:", "ftp:", "'http", "\"http", "'/", "\"/"), knownFile(f):
			targets++
		case c == '\'' || c == '"':
			quoted++
			if hasAny(f, "system", "exec", "/etc", "import") {
				targets++
			}
		case decimal(c) && bytes.IndexByte(f, '.') > 0, bytes.IndexByte(f, '/') > 0 && string(name) != "curl", bytes.IndexByte(f, '.') > 0 && letter(f[len(f)-1]):
			targets++ // a host, a file
		case letter(c):
			words++
		}
	}
	switch string(name) {
	case "curl", "wget", "ping", "ping6", "nc", "ncat", "netcat", "telnet", "ssh", "scp", "nslookup", "dig", "lynx", "tftp":
		if has(arg, "localhost") {
			targets++
		}
		if targets == 0 {
			return false // nowhere to go
		}
	case "sleep", "usleep":
		return words == 0 && len(arg) > 0 && decimal(arg[0])
	}
	if quoted > 0 && hasAny(arg, "-c ", "-e ") && inList([]string{"sh", "bash", "zsh", "ksh", "dash", "ash", "csh", "busybox", "python", "python2", "python3", "perl", "ruby", "php", "node", "lua"}, name) {
		return true
	}
	return targets > 0 && words < 3 || options > 0 && words == 0 && quoted == 0 || options > 1 && words < 2
}

// shellArgument reports whether arg begins like the argument of a command.
func shellArgument(arg []byte, strong bool) bool {
	if len(arg) == 0 {
		return false
	}
	switch c := arg[0]; {
	case c == '-' && len(arg) > 1 && (letter(arg[1]) || arg[1] == '-'):
		n := 1
		for n < len(arg) && letter(arg[n]) {
			n++
		}
		if arg[1] == '-' {
			return strong || len(arg) > 2 && letter(arg[2]) // and no dash of a sentence
		}
		return strong || n < 5 // sort -count is a language of queries
	case c == '/' && len(arg) > 1 && wordByte(arg[1]):
		return true
	case heart(arg):
		return false
	case c == '|' && !strong:
		return false // what is behind it is looked at by itself
	case c == '$' || c == '`' || c == '<' || c == '>' || c == '|' || c == '~' || c == '%' && len(arg) > 2 && letter(arg[1]):
		return true
	case c == '.' && len(arg) > 1 && (arg[1] == '/' || arg[1] == '.'):
		return true
	case c == '\'' || c == '"':
		return strong || bytes.Count(arg, []byte{c}) > 1
	case hasPrefixAny(arg, "http:", "https:", "ftp:", "c:\\", "\\\\", "*"):
		return true
	case decimal(c):
		return strong
	}
	end := bytes.IndexAny(arg, " \t;|&`<>\n")
	word := arg
	if end >= 0 {
		word = arg[:end]
	}
	if knownFile(word) || bytes.IndexByte(word, '.') > 0 && strong || bytes.IndexByte(word, '/') > 0 && strong {
		return true
	}
	// echo WORD; or echo WORD | : what follows is a shell again
	return end > 0 && wordByte(arg[end-1]) && (arg[end] == ';' || arg[end] == '|' || arg[end] == '`' || arg[end] == '>') || bytes.HasSuffix(arg, []byte("`")) || hasAny(word, "$(", "$((", "`")
}

// needArguments are commands that do nothing when they are called with nothing.
var needArguments = []string{"awk", "cat", "chmod", "chown", "cp", "egrep", "fgrep", "gawk", "grep", "mkdir", "mv", "nawk", "rm", "rmdir", "sed", "tar"}

// needInput are commands that do nothing without arguments and without input. People
// join their names to others: Java & PHP.
var needInput = []string{"perl", "php", "python", "ruby", "mysql", "bash", "zsh", "npm", "yarn", "pip", "kubectl", "terraform", "ansible"}

// talkers are words with an argument in quotes.
var talkers = []string{"echo", "printf", "exec", "expr", "find", "alias", "mail", "ftp", "git", "docker", "source", "start", "export", "set", "help", "passwd", "net", "node", "lua", "kill", "time", "w"}

// phrase reports whether the command at i is joined to a word before it by an
// ampersand between blanks.
func phrase(t []byte, i int) bool {
	return i > 3 && t[i-1] == ' ' && t[i-2] == '&' && t[i-3] == ' ' && (letter(t[i-4]) || t[i-4] >= 0x80)
}

// price reports whether arg begins with a sum of dollars, or with dollars for
// dear. A shell has parameters of that name; they are empty, so what follows is
// what counts.
func price(arg []byte) bool {
	if len(arg) < 2 || arg[0] != '$' {
		return false
	}
	n := 1
	for n < len(arg) && (decimal(arg[n]) || n > 1 && (arg[n] == '.' || arg[n] == ',')) {
		n++
	}
	if n == 1 {
		return bytes.HasPrefix(arg, []byte("$$$"))
	}
	return n == len(arg) || blank(arg[n]) && !shellArgument(bytes.TrimLeft(arg[n:], " \t"), true)
}

// heart reports whether arg begins with a heart of signs, <3.
func heart(arg []byte) bool {
	return len(arg) > 1 && arg[0] == '<' && arg[1] == '3' && (len(arg) == 2 || !wordByte(arg[2]))
}

// numbered reports whether a command has a use for the number that arg begins with:
// a time to wait, an address, a file whose name begins so. Versions of the Bible,
// of cables and of consoles, rooms and codes of places have the names of commands
// before a number, too.
func numbered(name, arg []byte) bool {
	n := 0
	for n < len(arg) && !blank(arg[n]) && bytes.IndexByte([]byte(";|&`<>)\"'"), arg[n]) < 0 {
		n++
	}
	if n == 0 {
		return false
	}
	word, after := arg[:n], bytes.TrimLeft(arg[n:], " \t")
	switch {
	case string(name) == "sleep" || string(name) == "usleep":
		return word[len(word)-1] != 'h' && word[len(word)-1] != 'd' && !hasPrefixAny(after, "h", "min") // who waits for an attack waits seconds
	case len(after) > 1 && (after[0] == '-' || after[0] == '/') && letter(after[1]):
		return true // another argument is one of a shell
	case len(after) > 0 && (after[0] == '>' || after[0] == '<' && (len(after) == 1 || !decimal(after[1]))):
		return true
	}
	dot := bytes.LastIndexByte(word, '.')
	return dot > 0 && dot+1 < len(word) && (letter(word[dot+1]) || bytes.Count(word, []byte(".")) == 3) || bytes.IndexByte(word, '/') > 0 || n > 8 || inList([]string{"wget", "curl", "nslookup", "netcat", "ncat", "chmod", "kill"}, name) || dot > 0 && inList([]string{"ping", "ping6", "nc", "dig", "telnet", "ssh", "traceroute", "tracert"}, name)
}

// prose reports whether what follows reads like a sentence: words and blanks.
func prose(arg []byte) bool {
	words := 0
	for i := 0; i < len(arg); {
		from := i
		for i < len(arg) && (letter(arg[i]) || arg[i] == '\'' || arg[i] == ',' || arg[i] >= 0x80) {
			i++
		}
		if i < len(arg) && !blank(arg[i]) && arg[i] != '.' && arg[i] != '!' && arg[i] != '?' {
			return false
		}
		if i > from {
			words++
		}
		i++
	}
	return words > 0
}

// formula finds what a spreadsheet runs when it opens a table with this value in
// it: a command by DDE, or a function that asks another host.
func formula(t []byte) bool {
	if hasAny(t, "cmd|'", "cmd|\"", "msexcel|'", "dde (\"cmd\"", "dde(\"cmd\"", "rundll32|'") {
		return true
	}
	v := bytes.TrimLeft(t, " \t\r\n\"'")
	if len(v) < 10 || v[0] != '=' && v[0] != '+' && v[0] != '-' && v[0] != '@' {
		return false
	}
	return hasPrefixAny(bytes.TrimLeft(v, "=+-@ "), "importxml(", "importdata(", "importfeed(", "importhtml(", "importrange(", "image(", "webservice(", "hyperlink(") && has(v, "http")
}

// joined reports whether t is one word joined to itself by different separators,
// set|set&set, which runs it whichever of them is let through.
func joined(t []byte) bool {
	n := 0
	for n < len(t) && wordByte(t[n]) {
		n++
	}
	if n < 2 || len(t) != 3*n+2 || t[n] == t[2*n+1] {
		return false
	}
	for _, i := range [...]int{n, 2*n + 1} {
		if t[i] != '|' && t[i] != '&' && t[i] != ';' {
			return false
		}
	}
	return bytes.Equal(t[:n], t[n+1:2*n+1]) && bytes.Equal(t[:n], t[2*n+2:])
}

// selfCall finds a function that runs itself: f(){ f|f& };f
func selfCall(t []byte) bool {
	i := bytes.Index(t, []byte("()"))
	if i <= 0 {
		return false
	}
	k := i
	for k > 0 && (wordByte(t[k-1]) || t[k-1] == ':') {
		k--
	}
	body := bytes.TrimLeft(t[i+2:], " ")
	if k == i || len(body) < 3 || body[0] != '{' {
		return false
	}
	end := bytes.IndexByte(body, '}')
	return end > 0 && bytes.Contains(body[:end], t[k:i]) && bytes.ContainsAny(body[:end], "|&") && bytes.Contains(body[end:], t[k:i])
}

// assigned finds a variable that is set and then run: a=nc&&$a
func assigned(t []byte) bool {
	for from := 0; ; {
		i := bytes.IndexByte(t[from:], '$')
		if i < 0 {
			return false
		}
		i += from
		from = i + 1
		j := i + 1
		for j < len(t) && letter(t[j]) {
			j++
		}
		if j == i+1 || i == 0 || t[i-1] != '&' && t[i-1] != ';' && t[i-1] != '|' {
			continue
		}
		if k := bytes.Index(t[:i], t[i+1:j]); k >= 0 && k+j-i-1 < i && t[k+j-i-1] == '=' && (k == 0 || !wordByte(t[k-1])) {
			return true
		}
	}
}

// bracedCommand finds a command whose blanks are written as an expansion of braces,
// {,cat,/etc/passwd}, and arithmetic of bash.
func bracedCommand(t []byte) bool {
	if i := bytes.Index(t, []byte("{,")); i >= 0 && i+2 < len(t) && (letter(t[i+2]) || t[i+2] == '$') {
		return true
	}
	i := bytes.Index(t, []byte("$["))
	return i >= 0 && bytes.IndexByte(t[i:], ']') > 2 && arithmetic(t[i+2:i+bytes.IndexByte(t[i:], ']')])
}

// verbs of PowerShell's commands.
var verbs = []string{"add", "clear", "compress", "convertfrom", "convertto", "copy", "enable", "disable", "enter", "export", "expand", "find", "get", "import", "install", "invoke", "move", "new", "out", "read", "register", "remove", "rename", "resolve", "restart", "select", "set", "start", "stop", "test", "unblock", "update", "write"}

// cmdlet finds a command of PowerShell, Verb-Noun with an option, an address, a
// path or a pipe behind it.
func cmdlet(t []byte) bool {
	for from := 0; ; {
		i := bytes.IndexByte(t[from:], '-')
		if i < 0 {
			return false
		}
		i += from
		from = i + 1
		k := i
		for k > 0 && letter(t[k-1]) {
			k--
		}
		if k > 0 && (wordByte(t[k-1]) || t[k-1] == '-' || t[k-1] == '/') || !inList(verbs, t[k:i]) {
			continue
		}
		j := i + 1
		for j < len(t) && letter(t[j]) {
			j++
		}
		arg := bytes.TrimLeft(t[j:], " ")
		if j-i > 3 && len(arg) > 2 && len(arg) < len(t)-j && (arg[0] == '-' && letter(arg[1]) || hasPrefixAny(arg, "http:", "https:", "c:\\", "$", "'", "\"http", "(", "| ", "\\\\")) {
			return true
		}
	}
}

// lone reports whether a value is a command that is no word of any language.
func lone(t []byte) bool {
	return inList([]string{"whoami", "ifconfig", "ipconfig", "netstat", "uname", "systeminfo", "tasklist", "sysinfo", "lsb_release", "id;", "ls;", "/usr/bin/id", "nslookup"}, bytes.TrimSpace(t))
}

// batch finds IF and FOR of cmd.exe with a command behind them.
func batch(t []byte) bool {
	t = bytes.TrimLeft(t, " &|;\"'")
	if !hasPrefixAny(t, "if", "for") {
		return false
	}
	t = bytes.Join(bytes.Fields(t), []byte(" "))
	switch {
	case hasPrefixAny(t, "if (", "if(") && closes(t, bytes.IndexByte(t, '(')) >= len(t)-3:
		return false // of another language, whose whole condition stands in brackets
	case hasPrefixAny(t, "if ", "if/i", "if/"):
		if i := bytes.Index(t, []byte("==")); i > 3 && i+2 < len(t) && !blank(t[i-1]) && !blank(t[i+2]) && bytes.IndexByte(t[i:], ' ') > 0 && bytes.Count(t, []byte(" ")) < 6 && t[len(t)-1] != ':' && bytes.IndexByte(t, '(') < 0 {
			return true // if a==b command
		}
		return hasAny(t, "==", " equ ", " neq ", " leq ", " lss ", " geq ", " gtr ", "exist ", "defined ", "errorlevel", "cmdextversion") && hasAny(t, " echo", "exit", " cmd", "set ", "goto", "call", "del ", "%", "(", "cmd")
	case hasPrefixAny(t, "for ", "for/"):
		return hasAny(t, " in (", " in(", " in  (") && hasAny(t, ") do", ")do")
	}
	return false
}

// closes returns the place of the bracket that closes the one at i, or the length of t.
func closes(t []byte, i int) int {
	depth := 0
	for ; i < len(t); i++ {
		switch t[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(t)
}

// dosStyle finds the variables and separators of cmd.exe.
func dosStyle(t []byte) bool {
	return dosWords.in(t) || slicedVariable(t)
}

// slicedVariable finds some characters of a variable of cmd.exe, %name:~1,2%, which no
// other language has and which spells what it likes.
func slicedVariable(t []byte) bool {
	i := bytes.Index(t, []byte(":~"))
	if i < 2 || i+2 >= len(t) || !decimal(t[i+2]) && t[i+2] != '-' {
		return false
	}
	k := i
	for k > 0 && (wordByte(t[k-1]) || t[k-1] == '(' || t[k-1] == ')') {
		k--
	}
	return k < i && k > 0 && t[k-1] == '%' && bytes.IndexByte(t[i:], '%') > 0
}

// runningOption reports whether a value begins with an option by which a program that is
// handed the value as a name runs another: tar, git, ssh and rsync have such.
func runningOption(t []byte) bool {
	return hasPrefixAny(t, "--upload-pack=", "--receive-pack=", "--use-compress-program=", "--checkpoint-action=exec", "--to-command=", "--rsh-command=", "--open-files-in-pager=", "-oproxycommand=", "--proxycommand=")
}

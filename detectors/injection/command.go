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
	if s.where == InAgent && s.mask&(dollar|quote|pipe|control) == 0 || s.where == InReferer && s.mask&(dollar|quote|pipe|control|semicolon) == 0 {
		return
	}
	if len(t) > 4096 {
		t = t[:4096]
	}
	if shell(t, s.where) {
		a.hit(Command, s.full)
		return
	}
	if s.mask&(backslash|dollar|quote) == 0 {
		return
	}
	a.flat = unquoteShell(a.flat[:0], t)
	if !bytes.Equal(a.flat, t) && shell(a.flat, s.where) {
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
			case t[i+1] == '@' || t[i+1] == '*' || t[i+1] == '!':
				i++
			case t[i+1] == '\'' || t[i+1] == '"':
				// $'...' : the quotes go as well
			case i > 0 && letter(t[i-1]) && (decimal(t[i+1]) || t[i+1] == 'u'):
				i++ // a variable that is empty
				for i+1 < len(t) && wordByte(t[i+1]) && t[i] == 'u' {
					i++
				}
			case i > 0 && bytes.HasPrefix(rest, []byte("$()")):
				i += 2
			default:
				dst = append(dst, c)
			}
		case c == '`' && i+1 < len(t) && t[i+1] == '`':
			i++
		case c == '{' && i+1 < len(t) && letter(t[i+1]) && bytes.IndexByte(t[i:], ',') > 0 && bytes.IndexByte(t[i:], '}') > bytes.IndexByte(t[i:], ','):
			// {cat,/etc/passwd}
			k := i + bytes.IndexByte(t[i:], '}')
			dst = append(dst, bytes.ReplaceAll(t[i+1:k], []byte(","), []byte(" "))...)
			i = k
		case c == '?' && i > 0 && (t[i-1] == '/' || letter(t[i-1])) && has(t, "/b"):
			dst = append(dst, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// shell looks at each place where a command can begin.
func shell(t []byte, where Where) bool {
	if where == InQuery && begins(t, len(t)-len(bytes.TrimLeft(t, " \t")), false) {
		return true
	}
	for i := range t {
		c := t[i]
		sep := false
		switch c {
		case ';', '|', '\n', '\r', '`':
			sep = true
		case '&':
			sep = true
		case '(':
			sep = i > 0 && (t[i-1] == '$' || t[i-1] == '<' || t[i-1] == '>')
			if !sep && i > 0 && (t[i-1] == ';' || t[i-1] == '|' || t[i-1] == '&' || t[i-1] == '`') {
				sep = true
			}
		case '{':
			sep = i > 0 && (t[i-1] == ';' || t[i-1] == '$' || t[i-1] == '|')
		}
		if !sep {
			continue
		}
		j := i + 1
		for j < len(t) && (t[j] == '&' || t[j] == '|' || t[j] == ';' || blank(t[j]) || t[j] == '\'' || t[j] == '"' || t[j] == '(' || t[j] == '{' || t[j] == '`' || t[j] == '!' || t[j] == '@' || t[j] == '<' && j+1 < len(t) && t[j+1] != '/' || t[j] == '$' && j+1 < len(t) && t[j+1] == '(') {
			j++
		}
		if begins(t, j, true) {
			return true
		}
	}
	return dosStyle(t) || where == InQuery && batch(t) || lone(t) || hasAny(t, "/dev/tcp/", "|sh|", "bash -i", "sh -i", "-e /bin/", "/bin/sh -", "/bin/bash", "/bin/cat", "nc -e", "ncat -e", "powershell -", "powershell.exe", "cmd /c", "cmd.exe /c", "cmd.exe?/c", "mkfifo ", ">/dev/null", "2>&1", "<(curl", "<(wget",
		"$(cat", "$(id", "$(whoami", "`id`", "`whoami", "$(curl", "$(wget", "$(sleep", "`sleep", "$(nslookup", "`nslookup", "<!--#exec", "%comspec%", "%programfiles", "%systemroot%", "/usr/bin/id", "/bin/id", "/bin/ls", "/bin/uname", "$path", "${path:", "$((", "${path}", "${home", "$shell", "/???/", "/b?n/", "/bi?/", "/?in/", "/???t /")
}

// Commands by how much they prove. A strong one is enough behind a separator;
// a weak one is also an English word and needs an argument of a shell.
var (
	strongCommands = []string{
		"awk", "base64", "bash", "busybox", "cacls", "cat", "chmod", "chown", "cmd", "cscript", "csh", "curl", "dash", "dig", "dmesg", "egrep", "env", "fgrep", "gawk", "gcc", "getent", "grep", "gzip",
		"gunzip", "hostname", "icacls", "ifconfig", "ipconfig", "iptables", "jobs", "ksh", "ln", "locate", "ls", "lsb_release", "lscpu", "lsmod", "lsof", "lwp-request", "lynx", "mkdir", "mkfifo", "mknod", "mount", "msiexec",
		"nawk", "nc", "ncat", "net1", "netcat", "netstat", "nohup", "nslookup", "passwd", "perl", "php", "ping", "ping6", "pkill", "powershell", "printenv", "ps", "pwd", "python", "python2", "python3", "reg",
		"regsvr32", "rm", "rmdir", "route", "rsync", "ruby", "rundll32", "sed", "sh", "socat", "ssh", "su", "sudo", "systeminfo", "tac", "tasklist", "taskkill", "tcsh", "telnet", "tftp", "tracert", "traceroute", "uname", "uptime",
		"wget", "whoami", "wmic", "wscript", "xargs", "xterm", "xxd", "zsh", "fetch", "lynx", "cp", "mv", "dd", "dir", "id", "ifs", "ls-l", "del", "netsh", "findstr", "certutil", "bitsadmin", "mshta", "hostid", "rev", "ver", "vol", "tee", "tar",
		"sleep", "usleep",
		"7z", "agetty", "ansible", "ansible-playbook", "ansible-pull", "ansible-galaxy", "ansible-vault", "apt-get", "aria2c", "arp", "ash", "aws", "bzip2", "capsh", "chef-vault", "chroot", "composer", "cpio", "crontab", "cscli", "dmidecode", "dnf", "docker", "dpkg", "exiftool", "fallocate", "flock", "fping",
		"gdb", "git", "hexdump", "hping3", "iconv", "install", "ionice", "irb", "journalctl", "jq", "kubectl", "ldconfig", "lftp", "ll", "ltrace", "lua", "make", "mawk", "mtr", "mysql", "mysqldump", "nasm", "nice", "nm", "nmap", "npm", "nsenter", "openssl", "pidof", "pip", "pip3", "pkexec", "psftp", "psql", "readelf", "rlogin", "rpm", "scp",
		"setarch", "setfacl", "sftp", "shuf", "smbclient", "sqlite3", "ss", "ssh-keygen", "ssh-keyscan", "sshpass", "stdbuf", "strace", "sysctl", "sysinfo", "systemctl", "tclsh", "tcpdump", "terraform", "tmux", "tshark", "uconv", "uniq", "unshare", "useradd", "usermod", "uudecode", "uuencode", "visudo", "w3m", "wall", "xz", "yarn", "yum", "zypper", "rmt-tar",
		"phpinfo()", "system(", "exec(", "eval(", "nslookup.exe", "ping.exe", "cmd.exe", "od", "nl", "pr", "wc", "du", "df", "ip", "cut", "mail", "finger",
	}
	weakCommands = []string{
		"alias", "at", "bg", "cd", "clear", "cut", "date", "diff", "echo", "edit", "exec", "exit", "export", "expr", "fg", "file", "find", "finger", "free", "ftp", "groups", "halt", "head", "help", "history", "host", "kill", "last",
		"less", "login", "mail", "man", "md", "more", "move", "nano", "net", "node", "paste", "print", "printf", "read", "reboot", "ren", "repeat", "reset", "route", "run", "screen", "set", "shutdown", "sort", "source", "start", "stat",
		"split", "strings", "tail", "tar", "test", "time", "timeout", "top", "touch", "tr", "tree", "type", "unset", "unzip", "users", "vi", "vim", "w", "wait", "watch", "where", "which", "who", "xcopy", "yes", "zip", "copy", "rename", "select",
	}
)

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
	name = bytes.TrimRight(name, ".-")
	rest := t[j:]
	var next byte
	if len(rest) > 0 {
		next = rest[0]
	}
	arg := bytes.TrimLeft(rest, " \t+")
	spaced := len(arg) < len(rest)
	if inList(strongCommands, name) {
		switch {
		case !behind:
			// At the start of a value it has to have an argument of a shell.
			return spaced && shellArgument(arg, true) && !prose(arg)
		case next == 0 || next == '`' || next == ')' || next == ';' || next == '|' || next == '&' || next == '\n' || next == '\r' || next == '<' || next == '>' || next == '"' || next == '\'' || next == '#' || next == '}':
			return true
		case next == '$' || next == '{':
			return true
		case spaced && len(arg) == 0:
			return true
		case spaced:
			return shellArgument(arg, true) || !prose(arg)
		}
		return false
	}
	if behind && inList(weakCommands, name) {
		switch {
		case next == '`' || next == ')' && bytes.IndexByte(t[:i], '(') >= 0:
			return true
		case spaced && len(arg) > 0:
			return shellArgument(arg, false)
		}
	}
	return false
}

// shellArgument reports whether arg begins like the argument of a command.
func shellArgument(arg []byte, strong bool) bool {
	if len(arg) == 0 {
		return false
	}
	switch c := arg[0]; {
	case c == '-' && len(arg) > 1 && (letter(arg[1]) || arg[1] == '-'):
		return true
	case c == '/' && len(arg) > 1 && wordByte(arg[1]):
		return true
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
	return end > 0 && (arg[end] == ';' || arg[end] == '|' || arg[end] == '`' || arg[end] == '>') || bytes.HasSuffix(arg, []byte("`")) || hasAny(word, "$(", "$((", "`")
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

// lone reports whether a value is a command that is no word of any language.
func lone(t []byte) bool {
	return inList([]string{"whoami", "ifconfig", "ipconfig", "netstat", "uname", "systeminfo", "tasklist", "sysinfo", "lsb_release", "id;", "ls;", "/usr/bin/id", "nslookup"}, bytes.TrimSpace(t))
}

// batch finds IF and FOR of cmd.exe with a command behind them.
func batch(t []byte) bool {
	t = bytes.TrimLeft(t, " &|;\"'")
	switch {
	case hasPrefixAny(t, "if ", "if/i", "if/"):
		return hasAny(t, "==", " equ ", " neq ", " leq ", " lss ", " geq ", " gtr ", "exist ", "defined ", "errorlevel", "cmdextversion") && hasAny(t, " echo", "exit", " cmd", "set ", "goto", "call", "del ", "%", "(")
	case hasPrefixAny(t, "for ", "for/"):
		return hasAny(t, " in (", " in(", " in  (") && hasAny(t, ") do", ")do")
	}
	return false
}

// dosStyle finds the variables and separators of cmd.exe.
func dosStyle(t []byte) bool {
	return hasAny(t, "&&dir", "& dir", "&dir&", "|dir", "ping -n ", "ping -c ", "ping -i ", "type c:", "type %", "dir c:", "net user", "net localgroup", "net view", "reg query", "copy c:", "| type ", "&type ", "echo off", "set /a ", "for /f ", "/c dir", "/c+dir", "/c ping", "c:\\windows\\system32\\cmd")
}

package injection

import "bytes"

// Files: climbing out of the folder that a name is put behind, names of files
// that nobody hands to an application honestly, and wrappers that read or run.

func (a *Analyzer) files(s *subject) {
	t := s.low
	if s.where == InAgent && s.mask&percent == 0 && !has(t, "../") && !has(t, "/etc/") {
		return
	}
	if climbs(s) {
		a.hit(Traversal, s.full)
	} else if s.where != InAgent {
		a.flat = appendLower(a.flat[:0], s.once)
		if mangled(a.flat) || mangled(t) {
			a.hit(Traversal, s.full)
		}
	}
	if s.where == InReferer {
		return
	}
	if included(t, s.where) && (!pageOfDisk(t) || !a.reports(s.name)) {
		a.hit(Inclusion, s.full)
	}
}

// pageOfDisk reports whether t is the address of a page that somebody opened from a
// disk of their own.
func pageOfDisk(t []byte) bool {
	return hasPrefixAny(t, "file:///") && hasAny(t, ".htm", ".html", ".mht") && !knownFile(t)
}

// climbs counts the steps upwards. One may be a relative link; two, one to a
// known file, or one that was disguised are an attack.
func climbs(s *subject) bool {
	t := s.low
	steps, strange := 0, false
	for i := 0; i+1 < len(t); i++ {
		if t[i] != '.' {
			continue
		}
		// a run of dots, perhaps with something in it that a filter or a decoder drops
		j, dots := i, 0
		for j < len(t) {
			switch {
			case t[j] == '.':
				dots++
			case dots > 0 && dots < 2 && (t[j] == '\\' || t[j] == '%' || t[j] == '?' || t[j] == '*' || t[j] == ';') && j+1 < len(t) && t[j+1] == '.':
				strange = true
			default:
				goto end
			}
			j++
		}
	end:
		if dots < 2 {
			i = max(i, j-1)
			continue
		}
		k := j
		if (bytes.HasPrefix(t[k:], []byte("2f")) || bytes.HasPrefix(t[k:], []byte("5c"))) && len(t) > k+2 && (t[k+2] == '.' || letter(t[k+2])) {
			steps++ // the percent signs were lost
			strange = true
			i = k + 1
			continue
		}
		// ..;/ is a step for some servers; so is ..%00/ and .. with blanks
		for k < len(t) && (t[k] == ';' || t[k] == ' ' || t[k] == '%' || t[k] == '?' || t[k] == 0xc0 || t[k] == 0xc1 || t[k] == 0xef || t[k] == 0xbc) && k-j < 6 {
			k++
		}
		if k < len(t) && (t[k] == '/' || t[k] == '\\') {
			// text before: x.../ is an ellipsis, a/../ a step
			if i > 0 && wordByte(t[i-1]) && dots > 2 {
				i = k
				continue
			}
			steps++
			if dots > 2 || k > j || t[k] == '\\' {
				strange = true
			}
			for k < len(t) && (t[k] == '/' || t[k] == '\\') {
				k++
			}
			i = k - 1
			continue
		}
		if k == len(t) && i > 0 && (t[i-1] == '/' || t[i-1] == '\\') {
			steps++
		}
		i = j - 1
	}
	switch {
	case steps >= 2, has(t, "..:..:"):
		return true
	case steps == 1:
		return s.where == InQuery && len(t) == 3 || strange || s.how&(twice|overlong|zero|unicoded) != 0 || knownFile(t) || s.where == InPath && (!bytes.Equal(s.once, s.full) || encodedStep(s.raw))
	default:
		return s.how&overlong != 0 && hasAny(t, "..", "/", "\\") && has(t, "..")
	}
}

// encodedStep reports whether a path has a step upwards whose slash is encoded. Clients
// take steps out of a path before they send it.
func encodedStep(raw []byte) bool {
	for from := 0; ; {
		i := bytes.Index(raw[from:], []byte("..%"))
		if i < 0 {
			return false
		}
		from += i + 3
		if r := raw[from:]; len(r) > 1 && (r[0] == '2' && r[1]|0x20 == 'f' || r[0] == '5' && r[1]|0x20 == 'c') {
			return true
		}
	}
}

// targets are files that lists of payloads end in, in the two parts between
// which a separator stands.
var targets = [...][2]string{
	{"etc", "passwd"},
	{"etc", "issue"},
	{"etc", "shadow"},
	{"etc", "hosts"},
	{"etc", "group"},
	{"windows", "system32"},
	{"winnt", "system32"},
	{"windows", "win.ini"},
	{"boot.ini", ""},
	{"win.ini", ""},
	{"{file}", ""},
	{"{knownfile}", ""},
}

// mangled finds climbing whose dots and separators nobody can read any more: a
// unit that is repeated before a known file, or a known file whose separator is
// no separator.
func mangled(t []byte) bool {
	for _, f := range targets {
		i := bytes.Index(t, []byte(f[0]))
		if i < 0 {
			continue
		}
		if i >= 4 && repeats(t[:i]) {
			return true
		}
		if f[1] == "" {
			continue
		}
		rest := t[i+len(f[0]):]
		k := bytes.Index(rest[:min(len(rest), 16+len(f[1]))], []byte(f[1]))
		if k > 1 && bytes.IndexByte(rest[:k], ' ') < 0 && look(rest[:k])&(percent|high|control|backslash|dot) != 0 || k == 1 && rest[0] != '/' && rest[0] != '-' && rest[0] != ' ' && rest[0] != '_' {
			return true
		}
	}
	return false
}

// repeats reports whether t ends in a unit of strange bytes twice over.
func repeats(t []byte) bool {
	for n := 2; n <= 30 && 2*n <= len(t); n++ {
		unit := t[len(t)-n:]
		if bytes.Equal(unit, t[len(t)-2*n:len(t)-n]) && look(unit)&(percent|high|control|backslash|dot|slash) != 0 {
			return true
		}
	}
	return false
}

// known are files and folders of systems and servers that payloads ask for. An
// entry is looked for where a path can begin or go on.
var known = [...]string{
	"etc/passwd", "etc/shadow", "etc/group", "etc/hosts", "etc/issue", "etc/motd", "etc/fstab", "etc/crontab", "etc/resolv.conf", "etc/hostname", "etc/ssh/",
	"etc/apache", "etc/nginx", "etc/httpd", "etc/mysql", "etc/php", "etc/samba", "etc/sudoers", "etc/profile", "etc/bashrc", "etc/my.cnf", "etc/my.ini", "etc/init.d",
	"etc/environment", "etc/security", "etc/network", "etc/sysconfig", "etc/redhat-release", "etc/debian_version", "etc/lsb-release", "etc/os-release", "etc/inetd.conf",
	"etc/proftpd", "etc/vsftpd", "etc/pure-ftpd", "etc/exports", "etc/inittab", "etc/ld.so", "etc/syslog", "etc/logrotate", "etc/aliases", "etc/services", "etc/mtab",
	"etc/modules", "etc/kubernetes", "etc/cron", "etc/pam", "etc/dhcp", "etc/lighttpd", "etc/mail", "etc/pki", "etc/ssl/",
	"proc/self", "proc/version", "proc/cmdline", "proc/mounts", "proc/net", "proc/cpuinfo", "proc/meminfo", "proc/sched", "proc/1/", "proc/stat", "proc/interrupts", "proc/",
	"var/log/", "var/www/", "var/lib/", "var/run/", "var/spool/", "var/mail/", "var/adm/", "var/apache", "var/cpanel", "var/webmin", "var/htmp", "var/nm2", "var/local",
	"usr/local/", "usr/lib/", "usr/share/", "usr/etc/", "usr/pkg/", "usr/home/", "usr/bin/", "usr/sbin/", "opt/lampp", "opt/apache", "opt/xampp", "opt/nginx", "opt/tomcat", "opt/httpd",
	"private/etc", "private/var", "library/webserver", "applications/mamp", "applications/xampp", "volumes/", "system32/", "system32\\", "windows/win.ini", "windows\\win.ini",
	"win.ini", "boot.ini", "winnt/", "winnt\\", "system.ini", "php.ini", "httpd.conf", "apache2.conf", "nginx.conf", "my.cnf", "my.ini", "access.log", "access_log", "error.log", "error_log",
	".bash_history", ".bashrc", ".ssh/", "id_rsa", "id_dsa", "authorized_keys", ".htpasswd", ".htaccess", ".git/config", ".git/head", ".svn/entries", ".env", ".aws/credentials",
	"web.config", "web-inf/", "meta-inf/", "wp-config", "global.asa", "autoexec.bat", "config.sys", "ntuser.dat", "ntds.dit", "repair/sam", "config/sam", "config\\sam", "pagefile.sys",
	"xampp/", "xampp\\", "apache group", "apache software foundation", "inetpub", "program files", "documents and settings", "windows/system", "windows\\system", "windows/repair", "windows/php",
	"root/.", "root/anaconda", "dev/null", "dev/tcp", "dev/random", "dev/zero", "dev/urandom", "dev/fd", "boot/grub", "tmp/sess", "sess_", "bin/sh", "bin/bash", "cmd.exe", "phpinfo.php", "known_hosts",
	"localhost_access_log", "catalina.out", "tomcat-users.xml", "server.xml", "logs/", "minint", "mysql/bin", "mysql\\bin", "ftpusers", "wtmp", "utmp", "lastlog",
}

// knownFile reports whether a known file is named anywhere in t.
func knownFile(t []byte) bool { return knownWords.in(t) }

var knownWords = newAnyOf(known[:]...)

// wrappers read files, or run what they read, in PHP, Java and libraries of
// transfer.
var wrappers = [...]string{
	"php://", "php:/", "file:/", "expect://", "phar://", "zip://", "zip:/", "data://", "data:;base64", "data:text/plain", "glob://", "ogg://", "rar://", "compress.zlib:", "compress.bzip2:",
	"ssh2.", "netdoc:", "jar:", "local_file:", "view-source:", "gopher:", "dict:", "tftp:", "ldap://", "ldaps://", "sftp://", "smb://", "php:filter", "input://", "zlib:", "convert.iconv.", "convert.base64-", "string.rot13", "string.toupper", "ftp://", "ftps",
}

// included judges a value that is the name of a file.
func included(t []byte, where Where) bool {
	if bytes.HasSuffix(t, []byte("::$data")) || has(t, "::$index_allocation") {
		return true // another name of the same file in NTFS, which gives the text of a script
	}
	if i := bytes.IndexByte(t, '\\'); i >= 0 && bytes.HasPrefix(t[max(0, i-7):], []byte("web-inf\\")) {
		return true
	}
	v := bytes.TrimLeft(t, " \t\r\n'\"(;|&`=./\\")
	lead := t[:len(t)-len(v)]
	climbed := len(lead) > 1 && string(lead) != "/."
	if where != InPath {
		for _, w := range wrappers {
			i := bytes.Index(t, []byte(w))
			if i < 0 || i > 0 && (wordByte(t[i-1]) || t[i-1] == '.') {
				continue
			}
			switch w {
			case "ftp://", "ftps", "sftp://", "smb://", "ldap://", "ldaps://", "gopher:", "dict:", "tftp:", "netdoc:":
				continue // addresses, see there
			}
			return true
		}
		if k := bytes.IndexByte(t, ' '); k > 0 && sentence(t[k:]) {
			return false // "/etc/hosts file location"
		}
		// A whole path of the system: it begins at the root, a drive or after climbing.
		rooted := len(t) > 1 && (t[0] == '/' || t[0] == '\\' || climbed || len(t) > 3 && letter(t[0]) && t[1] == ':' && (t[2] == '\\' || t[2] == '/'))
		if rooted && hasPrefixAny(v, "etc/", "etc\\", "proc/", "proc\\", "var/log", "var/www", "var/lib", "var/run", "var/adm", "var/mail", "var/spool", "var/cpanel", "root/", "boot.ini", "windows/", "windows\\", "winnt", "usr/local/", "usr/lib/", "usr/share", "usr/etc", "usr/pkg", "usr/ports", "usr/bin/", "usr/sbin/", "sys/", "opt/lampp", "opt/xampp", "private/etc", "dev/", "sys/", "autoexec.bat", "inetpub", "program files", "boot/", "{file}", "{knownfile}") {
			return true
		}
		if len(t) > 3 && letter(t[0]) && t[1] == ':' && (t[2] == '\\' || t[2] == '/') && knownFile(t) {
			return true
		}
		if slash := bytes.LastIndexByte(t, '/'); slash >= 0 && hasPrefixAny(t[slash+1:], "access_log", "access.log", "error_log", "error.log", "master.passwd", "httpd.conf", "php.ini") {
			return true
		}
		if rooted && (climbed || bytes.Count(t, []byte("/")) > 1) && hasAny(t, "/.ssh/", ".bash_history", "/.aws/", "id_rsa", "/.git/", "/.env", ".htpasswd", ".htaccess") {
			return true
		}
	}
	if !knownFile(t) {
		return false
	}
	if where == InQuery && bytes.HasSuffix(t, []byte("/web.config")) && bytes.IndexByte(t, ' ') < 0 {
		return true
	}
	for _, f := range [...]string{
		"etc/passwd", "etc/shadow", "etc/group", "etc/hosts", "etc/issue", "proc/self/", "boot.ini", "win.ini", "windows/system32", "windows\\system32", "winnt/system32", "winnt\\system32", "cmd.exe", "web-inf/", ".ssh/id_", "etc/sudoers",
		".bash_history", ".htpasswd", "wp-config.php", "global.asa", "etc/crontab", "var/log/", "repair/sam", "config/sam", "system32/config", ".git/config", "etc/php", "httpd.conf", "php.ini", "my.cnf", "etc/apache",
	} {
		i := bytes.Index(t, []byte(f))
		if i < 0 {
			continue
		}
		if where == InPath && !climbed && f != "etc/passwd" && f != "etc/shadow" && f != "boot.ini" && f != "win.ini" && f != "cmd.exe" && f != "etc/hosts" && f != "proc/self/" {
			continue // exposure rules know whether it was served
		}
		if i == 0 || !wordByte(t[i-1]) && (t[i-1] != ' ' || bytes.IndexByte(t, '/') >= 0) {
			return true
		}
	}
	return false
}

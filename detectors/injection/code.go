package injection

import (
	"bytes"
	"encoding/base64"
	"slices"
)

// Code of languages that servers run: what it names, calls and unpacks.

func (a *Analyzer) code(s *subject) {
	t := s.low
	if s.where == InReferer && s.mask&(round|angle|quote|curly) == 0 {
		return
	}
	if php(s) {
		a.hit(PHP, s.full)
	}
	if java(t) {
		a.hit(Java, s.full)
	}
	if (s.where != InAgent || has(t, "__import__")) && otherCode(t) {
		a.hit(Code, s.full)
	}
	if s.mask&(curly|round) != 0 && graphql(t) {
		a.hit(GraphQL, s.full)
	}
}

// phpCalls are functions whose call in a value means PHP.
var phpCalls = []string{
	"array_diff_uassoc", "array_diff_ukey", "array_filter", "array_map", "array_walk", "assert", "assert_options", "base64_decode", "bzopen", "call_user_func", "call_user_func_array", "chgrp", "chr", "constant",
	"convert_uudecode", "create_function", "curl_exec", "curl_init", "curl_file_create", "dl", "error_log", "error_reporting", "escapeshellcmd", "eval", "exec", "expect_popen", "extract", "file_get_contents", "file_put_contents", "fopen",
	"fputs", "fwrite", "fsockopen", "ftp_connect", "ftp_exec", "ftp_get", "func_get_args", "function_exists", "get_cfg_var", "get_current_user", "get_defined_vars", "getcwd", "getenv", "getmygid", "getmypid", "getmyuid", "gzdecode", "gzinflate", "gzopen",
	"gzuncompress", "header_register_callback", "highlight_file", "highlight_string", "include", "include_once", "ini_get", "ini_get_all", "ini_set", "is_dir", "is_file", "iterator_apply", "json_decode", "md5_file", "mkdir", "move_uploaded_file", "mysqli_query",
	"ob_start", "opcache_compile_file", "opendir", "parse_ini_file", "passthru", "pcntl_exec", "pfsockopen", "php_uname", "phpinfo", "phpversion", "popen", "posix_getlogin", "posix_kill", "posix_mkfifo", "posix_setuid", "posix_ttyname", "preg_match", "preg_replace",
	"preg_replace_callback", "preg_grep", "print_r", "proc_close", "proc_get_status", "proc_nice", "proc_open", "proc_terminate", "putenv", "readfile", "readgzfile", "readlink", "realpath", "register_shutdown_function", "register_tick_function", "require", "require_once", "runkit_function_rename",
	"scandir", "session_start", "set_error_handler", "set_exception_handler", "shell_exec", "show_source", "simplexml_load_file", "simplexml_load_string", "socket_connect", "socket_create", "spl_autoload_register", "sqlite_open", "str_rot13", "str_shuffle", "stream_context_create", "stream_socket_client",
	"strrev", "symlink", "syslog", "system", "tempnam", "tmpfile", "uasort", "uksort", "unlink", "unserialize", "usort", "uuencode", "var_dump", "var_export", "wp_remote_get", "xpath_eval", "yaml_parse", "zlib_decode", "die", "exit", "is_callable", "rawurldecode", "hex2bin", "bin2hex", "die",
	"glob", "touch", "rename", "copy", "rmdir", "chmod", "chown", "fileperms", "fileowner", "filemtime", "finfo_open", "fread", "fgets", "imagecreatefromjpeg", "imagecreatefrompng", "fgetc", "ftok", "lchgrp", "mb_send_mail", "mail", "parse_str", "array_intersect_uassoc", "date_default_timezone_set",
}

// strongCalls leave no doubt with any argument.
var strongCalls = []string{
	"base64_decode", "call_user_func", "call_user_func_array", "create_function", "file_get_contents", "file_put_contents", "gzinflate", "gzuncompress", "passthru", "pcntl_exec", "php_uname", "phpinfo", "phpversion", "popen", "preg_replace", "proc_open", "shell_exec",
	"str_rot13", "unserialize", "var_dump", "print_r", "show_source", "highlight_file", "readfile", "fsockopen", "pfsockopen", "ini_set", "array_map", "func_get_args", "system", "eval", "exec", "assert", "move_uploaded_file", "scandir", "getcwd", "error_reporting", "set_error_handler",
	"get_defined_vars", "ob_start", "curl_exec", "curl_init", "str_shuffle", "strrev", "hex2bin", "array_filter", "usort", "register_shutdown_function", "spl_autoload_register", "die", "fopen", "fwrite", "putenv", "getenv",
}

// phpSettings are directives that an attack sets.
var phpSettings = [...]string{
	"allow_url_include", "allow_url_fopen", "auto_prepend_file", "auto_append_file", "disable_functions", "open_basedir", "safe_mode", "suhosin.", "cgi.force_redirect", "cgi.redirect_status_env", "extension", "extension_dir", "include_path", "display_errors", "error_log", "sendmail_path", "session.save_path",
	"session.upload_progress", "magic_quotes", "register_globals", "zend_extension", "file_uploads", "upload_tmp_dir", "unserialize_callback_func", "mail.log", "user_ini.filename", "opcache.", "phar.readonly", "enable_dl", "expose_php", "html_errors", "docref_root", "arg_separator", "output_handler", "short_open_tag", "asp_tags",
	"precision", "smtp", "memory_limit", "mbstring.", "unserialize_max_depth", "max_execution_time", "post_max_size", "upload_max_filesize", "auto_globals_jit", "serialise_precision", "default_charset", "variables_order", "error_reporting", "pcre.",
	"session.", "browscap", "sys_temp_dir", "user_agent", "soap.", "mysqli.", "odbc.", "realpath_cache", "report_memleaks", "log_errors", "ignore_repeated", "hard_timeout", "highlight.", "zlib.", "ldap.", "curl.", "openssl.", "ffi.", "com.", "fastcgi.", "phpdbg.", "syslog.", "windows.", "xbithack", "engine", "filter.default", "assert.", "date.timezone", "xmlrpc_errors",
}

func php(s *subject) bool {
	t := s.low
	if has(t, "<?") {
		_, after, _ := bytes.Cut(t, []byte("<?"))
		r := bytes.TrimLeft(after, " \t\r\n")
		if len(r) == 0 || hasPrefixAny(r, "php", "=") || !hasPrefixAny(r, "xml", "import", "mso") {
			return true
		}
	}
	if hasAny(t, "[php]", "[/php]", "{/php}", "[\\php]", "<%php", "<script language=\"php", "<script language=php", "?>") && !has(t, "<?xml") {
		return true
	}
	if i := bytes.IndexByte(t, '$'); i >= 0 {
		if hasAny(t, "$_get[", "$_post[", "$_request[", "$_server[", "$_cookie[", "$_files[", "$_session[", "$_env[", "$_get{", "$_post{", "$_request{", "=$_", "($_", "$globals", "$http_raw_post_data", "$http_post", "$http_server_vars", "$php_self", "$argv", "$argc", "$php_errormsg", "$this->", "$_[", "$_=", "${_get", "${_") {
			return true
		}
		if variableVariable(t) {
			return true
		}
		if k := bytes.Index(t, []byte("$__")); k >= 0 && k+3 < len(t) && !letter(t[k+3]) {
			return true // names of nothing but underscores; $__interval is one of Grafana
		}
		if w := bytes.TrimSpace(t); inList([]string{"$_get", "$_post", "$_request", "$_server", "$_cookie", "$_files", "$_session", "$_env"}, w) {
			return true
		}
		if variableCall(t[i:]) || looseCall(t[i:]) {
			return true
		}
	}
	if serialised(t) || s.where == InQuery && hasPrefixAny(t, "globals[", "_session[", "_server[", "_request[", "_get[", "_post[", "_cookie[", "_files[", "_env[") {
		return true // a variable of PHP's own, set by its name
	}
	if i := bytes.IndexByte(t, '='); i > 0 && s.where == InQuery {
		name := bytes.TrimSpace(bytes.TrimLeft(t[:i], " \t-d;&"))
		for _, d := range phpSettings {
			if bytes.HasPrefix(name, []byte(d)) && (len(d) > 12 || len(name) == len(d) || d[len(d)-1] == '.') {
				return true
			}
		}
	}
	if s.mask&round != 0 {
		return phpCall(t, s) || s.where != InAgent && (dynamicCall(t) || splitCall(t))
	}
	return false
}

// phpCall finds a call: a name, perhaps a comment, and an opening bracket.
func phpCall(t []byte, s *subject) bool {
	for i := range t {
		if t[i] != '(' {
			continue
		}
		j, commented := i, false
		for j > 0 && (blank(t[j-1]) || t[j-1] == '"' || t[j-1] == '\'' || t[j-1] == ')' || t[j-1] == ']') {
			j--
		}
		if h := bytes.LastIndexAny(t[:j], "#\n"); h > 0 && (t[h] == '#' || i > j) {
			// a comment up to the end of its line, between the name and the bracket
			if k := bytes.IndexByte(t[:i], '#'); k > 0 && bytes.IndexByte(t[k:i], '\n') > 0 {
				j = k
				for j > 0 && blank(t[j-1]) {
					j--
				}
			}
		}
		if j > 1 && t[j-1] == '/' && t[j-2] == '*' { // system/**/(
			k := bytes.LastIndex(t[:j-2], []byte("/*"))
			if k < 0 {
				continue
			}
			j = k
			for j > 0 && blank(t[j-1]) {
				j--
			}
			commented = true
		}
		k := j
		for k > 0 && wordByte(t[k-1]) {
			k--
		}
		name := t[k:j]
		if len(name) < 2 || k > 0 && (t[k-1] == '.' || t[k-1] == '-') {
			continue
		}
		if commented && (inList(phpCalls, name) || phpFamily(name) || inList(strongCalls, name)) {
			return true
		}
		if i > j && !inList(strongCalls, name) && (bytes.IndexByte(name, '_') < 0 || !phpFamily(name)) {
			continue // name (x) is prose
		}
		if hasPrefixAny(t[i:], "(eval at <") {
			continue // a line of a stack
		}
		if inList(strongCalls, name) && len(t) > i+1 {
			if name[0] == 'e' && (string(name) == "eval" || string(name) == "exec") || string(name) == "system" || string(name) == "assert" || string(name) == "die" || string(name) == "popen" {
				if i != j && t[i+1] == ' ' || t[i+1] == ')' {
					continue // named, not called
				}
				return true
			}
			return true
		}
		if phpFamily(name) || len(name) > 8 && longCall(name) {
			return true
		}
		if k == 0 && t[len(t)-1] == ')' && inList([]string{"intval", "checkdate", "crypt", "serialize", "filegroup", "substr", "strval", "floatval", "doubleval", "settype", "gettype"}, name) {
			return true // the value is a call and nothing else
		}
		if inList(phpCalls, name) {
			rest := t[i+1:]
			if len(rest) > 0 && (rest[0] == '$' || rest[0] == '\'' || rest[0] == '"' || rest[0] == ')' && bytes.IndexByte(name, '_') > 0) || bytes.IndexByte(name, '_') > 0 || bytes.HasSuffix(bytes.TrimSpace(t), []byte(";")) || k == 0 && bytes.IndexByte(rest, ')') >= 0 && len(name) > 3 {
				return true
			}
		}
	}
	return false
}

// splitCall finds a call with a comment or a control character between the name
// and the bracket, which no formatter and no person puts there.
func splitCall(t []byte) bool {
	for i := range t {
		if t[i] != '(' {
			continue
		}
		j := gapBefore(t, i)
		if j == i {
			continue
		}
		k := j
		for k > 0 && wordByte(t[k-1]) {
			k--
		}
		gap := t[j:i]
		if j-k > 1 && letter(t[k]) && (k == 0 || t[k-1] != ' ') && (hasAny(gap, "/*", "//", "#") || bytes.ContainsAny(gap, "\r\v\f")) && bytes.IndexByte(t[i:], ')') > 0 {
			return true
		}
	}
	return false
}

// gapBefore returns where the blanks and comments before i begin.
func gapBefore(t []byte, i int) int {
	for range 8 {
		j := i
		for j > 0 && (blank(t[j-1]) || t[j-1] == '\v' || t[j-1] == '\f') {
			j--
		}
		if j > 3 && t[j-1] == '/' && t[j-2] == '*' {
			if k := bytes.LastIndex(t[max(0, j-64):j-2], []byte("/*")); k >= 0 {
				j = max(0, j-64) + k
			}
		} else if j < i && bytes.IndexByte(t[j:i], '\n') >= 0 {
			// a comment up to the end of the line
			line := t[:j]
			from := max(bytes.LastIndexByte(line, '\n')+1, j-64)
			if k := bytes.IndexByte(line[from:], '#'); k > 0 {
				j = from + k
			} else if k := bytes.Index(line[from:], []byte("//")); k > 0 {
				j = from + k
			}
		}
		if j == i {
			break
		}
		i = j
	}
	return i
}

// looseCall finds the call of a variable with blanks or comments before the
// bracket and a value of code in it: $f /*x*/ (17).
func looseCall(t []byte) bool {
	for i := 0; i+3 < len(t); i++ {
		if t[i] != '$' || !letter(t[i+1]) && t[i+1] != '_' && t[i+1] != '{' {
			continue
		}
		k := bytes.IndexByte(t[i:min(len(t), i+128)], '(')
		if k < 0 {
			return false
		}
		k += i
		j := gapBefore(t, k)
		if j == k && t[k-1] != '}' && t[k-1] != ']' {
			continue
		}
		arg := t[k+1:]
		if len(arg) == 0 || arg[0] != ')' && !decimal(arg[0]) && arg[0] != '\'' && arg[0] != '"' && arg[0] != '$' {
			continue
		}
		name := t[i+1 : j]
		ok := true
		for _, c := range name {
			ok = ok && (wordByte(c) || bytes.IndexByte([]byte("[]{}'\"@/*# \r\n\t"), c) >= 0)
		}
		if ok && (bytes.IndexByte(name, ' ') < 0 || hasAny(name, "[", "#", "/*")) && (j == k || hasAny(t[j:k], "/*", "//", "#", "\n") || decimal(arg[0])) {
			return true
		}
	}
	return false
}

// phpFamilies are beginnings of names that no other language gives its functions.
var phpFamilies = [...]string{
	"array_", "apache_", "apc_", "base64_", "bzcompress", "bzdecompress", "bzread", "call_user_", "cli_", "class_", "ctype_", "curl_", "date_add", "date_sub", "date_create", "dba_", "dbase_", "dir_", "disk_", "enchant_", "escapeshell", "exif_",
	"fdf_", "file_", "fileatime", "filectime", "filegroup", "fileinode", "filesize", "filter_var", "finfo_", "forward_static", "ftp_", "func_", "gc_", "get_defined", "get_object", "get_class", "get_parent", "get_resource", "get_loaded", "get_extension", "get_include",
	"get_magic", "get_html", "get_headers", "get_browser", "get_meta", "getallheaders", "getmypid", "getmyinode", "getopt", "getrusage", "gethostby", "getservby", "getprotoby", "getmxrr", "gmp_", "gnupg_", "gzdecode", "gzinflate", "gzencode", "gzdeflate", "gzfile", "gzread", "hash_",
	"highlight_", "html_entity", "htmlspecialchars", "htmlentities", "http_build", "iconv_", "image_type", "imagecreate", "imap_", "include_", "ini_", "is_array", "is_bool", "is_callable", "is_dir", "is_executable", "is_file", "is_link", "is_null", "is_numeric", "is_object", "is_readable", "is_resource", "is_string", "is_writ", "is_a(", "iterator_",
	"json_encode", "json_decode", "ldap_", "libxml_", "lcg_", "localeconv", "mailparse_", "mb_", "mcrypt_", "mhash", "money_format", "move_uploaded", "msg_", "mt_rand", "mysql_", "mysqli_", "nl_langinfo", "ob_", "oci_", "odbc_", "opcache_", "openssl_", "parse_ini", "parse_str", "parse_url", "pcntl_", "pg_connect",
	"php_", "posix_", "preg_", "print_r", "proc_", "pspell_", "readline_", "realpath_", "register_", "restore_", "runkit_", "scandir", "session_", "set_error", "set_include", "set_time", "shell_", "shm_", "shmop_", "show_source", "simplexml_", "snmp", "socket_", "sodium_", "spl_", "sqlite_", "str_contains", "str_getcsv", "str_ireplace", "str_pad",
	"str_repeat", "str_replace", "str_rot13", "str_split", "str_word", "stream_", "strip_tags", "stripslashes", "strrev", "substr_", "symlink", "sys_get", "syslog", "tempnam", "tidy_", "token_", "trigger_error", "uksort", "unpack", "unserialize", "urldecode", "user_error", "utf8_", "var_", "variant_", "version_compare", "vfprintf", "vprintf", "vsprintf",
	"wincache_", "wordwrap", "xml_", "xmlrpc_", "xmlwriter_", "yaml_", "zend_", "zip_open", "zlib_", "symlink",
}

// longCall reports whether a name ends in that of a function.
func longCall(name []byte) bool {
	for _, f := range phpCalls {
		if len(f) > 7 && bytes.HasSuffix(name, []byte(f)) {
			return true
		}
	}
	return false
}

func phpFamily(name []byte) bool {
	for _, f := range phpFamilies {
		if bytes.HasPrefix(name, []byte(f)) && (f[len(f)-1] == '_' || len(name) == len(f) || len(f) > 6) {
			return true
		}
	}
	return false
}

// dynamicCall finds a call of what another expression gives: (...)('id'), [...](ls).
func dynamicCall(t []byte) bool {
	for i := 1; i+1 < len(t); i++ {
		if t[i] != '(' {
			continue
		}
		j := i
		for j > 0 && blank(t[j-1]) {
			j--
		}
		if j >= 2 && t[j-1] == '/' && t[j-2] == '*' {
			if k := bytes.LastIndex(t[:j-2], []byte("/*")); k > 0 {
				j = k
			}
		}
		if j > 1 && (t[j-1] == '"' || t[j-1] == '\'') && hasAny(t[:j], "\".\"", "'.'") {
			return true // a name put together of strings
		}
		if j == 0 || t[j-1] != ')' && t[j-1] != ']' && t[j-1] != '}' {
			continue
		}
		next := bytes.TrimLeft(t[i+1:], " \t\r\n@")
		if len(next) == 0 {
			continue
		}
		if next[0] == '\'' || next[0] == '"' || t[i+1] == '@' || bytes.HasSuffix(bytes.TrimSpace(t), []byte(");")) {
			return true
		}
	}
	return false
}

// variableVariable finds a variable whose name another one gives, $$a or $${...},
// with something done to it. A name alone is one of a query language, two signs
// around formulas are those of TeX, and more of them are a price.
func variableVariable(t []byte) bool {
	for i := 0; i+2 < len(t); i++ {
		if t[i] != '$' || t[i+1] != '$' {
			continue
		}
		j := i + 2
		if t[j] == '{' {
			return true
		}
		for j < len(t) && wordByte(t[j]) {
			j++
		}
		if j > i+2 && !decimal(t[i+2]) && j < len(t) && bytes.IndexByte([]byte("=([;-"), t[j]) >= 0 && bytes.Count(t, []byte("$$")) == 1 {
			return true
		}
		for j < len(t) && t[j] == '$' {
			j++
		}
		i = j - 1
	}
	return false
}

// variableCall finds $a(...) and $a->b and $a[...](...).
func variableCall(t []byte) bool {
	for i := 0; i+2 < len(t); i++ {
		if t[i] != '$' {
			continue
		}
		j := i + 1
		for j < len(t) && (wordByte(t[j]) || t[j] == '{' || t[j] == '}' || t[j] == '$') {
			j++
		}
		if dateOf(t[i+1:]) {
			continue
		}
		if j == i+1 || decimal(t[i+1]) || j > i+3 && t[i+1] == '_' && t[i+2] == '_' && letter(t[i+3]) {
			continue
		}
		for j < len(t) && (t[j] == '[' || blank(t[j])) {
			k := bytes.IndexByte(t[j:], ']')
			if blank(t[j]) || k < 0 {
				break
			}
			j += k + 1
		}
		rest := t[j:]
		if hasPrefixAny(rest, "(", "->", "::", "/**/(", "=chr", "=\"", "='", "[\"", "[0]") && bytes.ContainsAny(rest, ")(;\"'") && t[i+1] != '{' && t[i+1] != '(' {
			return true
		}
	}
	return false
}

// dateOf reports whether t begins with a date that a filter works out, now(-7 days). What
// stands in the brackets is nothing that PHP reads.
func dateOf(t []byte) bool {
	rest, ok := bytes.CutPrefix(t, []byte("now("))
	end := bytes.IndexByte(rest, ')')
	return ok && (end == 0 || end > 3 && look(rest[:end])&^(dash|digit|space) == 0 && (rest[0] == '-' || rest[0] == '+') && letter(rest[end-1]))
}

// serialised finds objects of PHP: O:8:"stdClass":1:{...}
func serialised(t []byte) bool {
	for i := 0; i+4 < len(t); i++ {
		if (t[i] == 'o' || t[i] == 'c') && t[i+1] == ':' && (decimal(t[i+2]) || t[i+2] == '+') && (i == 0 || !wordByte(t[i-1])) {
			j := i + 3
			for j < len(t) && decimal(t[j]) {
				j++
			}
			if j+1 < len(t) && t[j] == ':' && t[j+1] == '"' {
				return true
			}
		}
	}
	return false
}

// javaNames are classes and members that gadgets need.
var javaNames = [...]string{
	"java.lang.", "java.io.", "java.net.", "java.util.", "java.beans.", "java.nio", "javax.", "java.rmi", "java.sql.", "org.apache.", "org.springframework.", "com.opensymphony.", "com.sun.", "sun.misc.", "sun.reflect.", "org.omg.corba", "getruntime", "processbuilder", "runtime.exec", "freemarker.template", "ognl.", "#context[",
	"classloader", "class.module", "class['", "class[\"", "#_memberaccess", "xwork.", "#rt", "getdeclaredmethod", "getmethod(", "forname(", "invokertransformer", "invokefactory", "instantiatefactory", "instantiatetransformer", "chainedtransformer", "constanttransformer", "templatesimpl", "nashorn", "scriptenginemanager", "unmarshaller", "xmldecoder",
	"${t(", "t(java", "new java.", "actioncontext", "multipart_form_data", "servletactioncontext", "org.w3c.", "runtime.", "prototypeclonefactory", "prototypeserializationfactory", "whileclosure", "forclosure", "javassist", "cloneto", "groovy", "jython", "beanutils", "hashmap(", "inputstream", "outputstream", "servletcontext", "system.setproperty", "com.mchange.", "environment.getproperty(",
}

var javaWords = newAnyOf(javaNames[:]...)

func java(t []byte) bool {
	if bytes.HasSuffix(t, []byte("exception")) || bytes.HasSuffix(t, []byte("error")) || coordinates(t) {
		return false // what people search for
	}
	if bytes.HasPrefix(t, []byte("java.")) && len(t) > 8 && letter(t[5]) && bytes.IndexByte(t, ' ') < 0 || bytes.HasPrefix(t, []byte("processbuilder.")) {
		return true
	}
	if !javaWords.in(t) {
		return hasAny(t, "aced0005", "\xac\xed\x00\x05", "yv66vg") || gadget(t)
	}
	for _, n := range javaNames {
		i := notThrown(t, n)
		if i < 0 || i > 0 && wordByte(t[i-1]) && n[0] != '#' {
			continue
		}
		switch n {
		case "runtime.", "groovy", "jython", "javax.", "ognl.", "javassist", "inputstream", "outputstream", "beanutils", "java.util.", "java.io.", "java.net.", "java.lang.", "java.nio", "java.sql.", "java.beans.", "java.rmi", "com.sun.", "org.apache.", "org.springframework.", "classloader", "xwork.", "xmldecoder", "unmarshaller", "servletcontext", "org.w3c.", "nashorn", "class.module":
			// A class that is only named stands in a search, too; with something done it does not.
			if hasAny(t, "(", "=", "{", "[", "$", "#", "%", ";", "'", "\"") || n == "class.module" || n == "com.sun." || n == "java.rmi" || n == "xwork." || n == "runtime." && hasAny(t, "closure", "exec") {
				return true
			}
			if (n == "runtime." || hasPrefixAny(n2b(n), "java.", "org.apache.", "org.spring", "org.w3c", "javax.", "ognl.")) && i == 0 && bytes.IndexByte(t, ' ') < 0 {
				return true
			}
			if inList([]string{"beanutils", "classloader", "xmldecoder", "inputstream", "outputstream"}, n2b(n)) && hasAny(t, ".", "java") {
				return true
			}
		default:
			return true
		}
	}
	return hasAny(t, "aced0005", "\xac\xed\x00\x05", "yv66vg") || gadget(t)
}

// thrown returns the length of the name of an exception or an error that t begins with, 0
// for none. Logs and people who ask about them have such names; nobody calls one.
func thrown(t []byte) int {
	n := 0
	for n < len(t) && (wordByte(t[n]) || t[n] == '.' || t[n] == '$') {
		n++
	}
	if (bytes.HasSuffix(t[:n], []byte("exception")) || bytes.HasSuffix(t[:n], []byte("error"))) && (n == len(t) || t[n] != '(') {
		return n
	}
	return 0
}

// notThrown returns where a name is in t other than as the beginning of an exception's,
// -1 for nowhere.
func notThrown(t []byte, name string) int {
	for from := 0; ; {
		i := bytes.Index(t[from:], []byte(name))
		if i < 0 {
			return -1
		}
		i += from
		n := thrown(t[i:])
		if n == 0 {
			return i
		}
		from = i + n
	}
}

// coordinates reports whether t names a library as Maven does, group:name:version.
func coordinates(t []byte) bool {
	return look(t)&^(dot|dash|colon|digit) == 0 && bytes.IndexByte(t, ':') > 0
}

// gadget finds names of classes and the magic of serialisation in base64, at
// each of the three alignments.
func gadget(t []byte) bool {
	return hasAny(t, "ro0ab", "kztaau", "cs7qaf") || vocabulary.find(t)&aboutObjects != 0 && hasAny(t, gadgets...)
}

func n2b(s string) []byte { return []byte(s) }

var scriptWords = newAnyOf(
	"console[", "process[", "require[", "function() {", "process.env", "module.exports", "this.constructor", "console.info.", "console.log.", "child_process", "process.mainmodule", "process.binding", "global.process", "process.env", "process.exit", "process.kill", "process.spawn", "require('", "require(\"", "require(`", "_$$nd_func$$_", "__proto__", "constructor.prototype", "constructor[prototype]", "__js_function",
	"process.cwd", "global.root", "module.constructor", "process.version", "execsync", "spawnsync", ".spawn(", "fs.read", "fs.write", "globalthis.", "object.assign", "object.create", "object.defineprop", "object.setproto", "reflect.construct",
	"__import__", "__class__", "__globals__", "__subclasses__", "__builtins__", "__mro__", "os.system", "os.popen", "subprocess.", "exec(compile", "process.start", "kernel.", "%x{", "%x(", "io.popen", "io.read", "file.open", "file.read", "erb.new", "binding.eval", "instance_eval", "class_eval", "method(:", ".send(", "open3.",
	"process.detach", "dir.entries", "dir.glob", "`#{", "system(\"", "system('", "exec(\"", "exec('", "open(\"|", "open('|", "activesupport", "marshal.load", "yaml.load", "pty.spawn", "process.fork", "process.daemon", "@{[", "core::", "while(this)", "while(1)", "while(true)", "for(;;)", "new function", "function(){", "res.end(", "response.end(", "res.write", "!function", "(function", "=>{", "->{", "this.constructor", "sandbox", "vm.run",
	"@grabresolver(", "@grab(", "send(:", "\".execute()", "'.execute()", "!ruby/object:", "[constructor]", "[__proto__]", "[prototype]", "new buffer", "buffer.from(", "string.prototype", "settimeout(", "setinterval(", "console.debug",
)

// otherCode finds code of JavaScript on a server, Ruby, Python and Perl.
func otherCode(t []byte) bool {
	if hasPrefixAny(t, "while(", "for(", "while (", "do{") && (t[len(t)-1] == ')' || t[len(t)-1] == ';' || t[len(t)-1] == '}') {
		return true // a loop that does not end
	}
	if insertedCall(t) {
		return true
	}
	return scriptWords.in(t) || called(t, "response.write(", "eval(", "console.log(", "console.error(", "console.info(", "console.warn(", "console.trace(")
}

// insertedCall reports whether t ends what it is put behind, calls something, and
// hides what follows: ;print(1);// or '.print(1).' or a;print(1);#
func insertedCall(t []byte) bool {
	hidden := false
	v := bytes.TrimRight(t, " ")
	if len(v) < 4 {
		return false
	}
	for _, end := range [...]string{");//", ");#", "); //", "); #", ");/*"} {
		hidden = hidden || bytes.HasSuffix(v, []byte(end))
	}
	if n := len(v); (v[0] == '\'' || v[0] == '"') && v[1] == '.' && v[n-1] == v[0] && v[n-2] == '.' && v[n-3] == ')' {
		return wordsThenBracket(v[2:]) // between two halves of a string
	}
	if bytes.HasSuffix(v, []byte(");")) && hasPrefixAny(v, "print(", "echo(", "printf(", "die(") && arithmetic(v) {
		return true
	}
	if v[0] == ';' && (hidden || bytes.HasSuffix(v, []byte(");"))) {
		return wordsThenBracket(v[1:])
	}
	if !hidden {
		return false
	}
	for i := 0; i+2 < len(v) && i < 64; i++ {
		if v[i] == ';' && wordsThenBracket(v[i+1:]) || v[i] == '.' && i > 0 && (v[i-1] == '\'' || v[i-1] == '"') && wordsThenBracket(v[i+1:]) {
			return true
		}
	}
	return false
}

// wordsThenBracket reports whether t begins with the name of a function and its bracket.
func wordsThenBracket(t []byte) bool {
	t = bytes.TrimLeft(t, " ")
	n := 0
	for n < len(t) && (wordByte(t[n]) || t[n] == '.' || t[n] == ':') {
		n++
	}
	return n > 1 && n < len(t) && t[n] == '('
}

// called reports whether a call has something in its brackets.
func called(t []byte, calls ...string) bool {
	for _, c := range calls {
		if i := bytes.Index(t, []byte(c)); i >= 0 && i+len(c) < len(t) && t[i+len(c)] != ')' && (c[0] != 'c' || !onlyText(t[i+len(c):])) {
			return true
		}
	}
	return false
}

// onlyText reports whether the argument that t begins with is a string and nothing else:
// the first example of every book.
func onlyText(t []byte) bool {
	if len(t) < 3 || t[0] != '\'' && t[0] != '"' {
		return false
	}
	end := bytes.IndexByte(t[1:], t[0]) + 1
	return end > 0 && end+1 < len(t) && t[end+1] == ')' && look(t[1:end])&^(space|dash|comma|dot|bang|digit) == 0
}

// base64 unpacks a value that is text in base64 and judges what is inside.
// Fragments may begin anywhere, so three alignments are tried for names of
// classes.
func (a *Analyzer) base64(s *subject) {
	if s.depth >= maxDepth || s.where != InQuery && s.where != InPath {
		return
	}
	l := &a.layers[s.depth]
	v := s.once
	if s.how&twice != 0 {
		v = s.full
	}
	v = bytes.TrimSpace(v)
	if k := bytes.LastIndexByte(v, ','); k >= 0 && has(v[:k], "base64") {
		v = v[k+1:]
	}
	if s.where == InPath {
		v = v[bytes.LastIndexByte(v, '/')+1:]
	}
	v = bytes.TrimRight(v, "=")
	if len(v) < 10 || len(v) > 8192 {
		return
	}
	lowers, uppers, digits := 0, 0, 0
	plus := bytes.IndexByte(s.raw, '+') >= 0 // became a blank, though it is a sign of base64
	for i, c := range v {
		switch {
		case c == ' ' && plus && i > 0 && v[i-1] != ' ':
			digits++
		case 'a' <= c && c <= 'z':
			lowers++
		case 'A' <= c && c <= 'Z':
			uppers++
		case decimal(c) || c == '+' || c == '/' || c == '-' || c == '_':
			digits++
		default:
			return
		}
	}
	if lowers == 0 || uppers == 0 {
		return
	}
	clean := append(l.packed[:0], v...)
	l.packed = clean
	for i, c := range clean {
		switch c {
		case '-', ' ':
			clean[i] = '+'
		case '_':
			clean[i] = '/'
		}
	}
	for shift := range 4 {
		if shift >= len(clean) {
			return
		}
		c := clean[shift:]
		if len(c)%4 == 1 {
			c = c[:len(c)-1]
		}
		l.raw = slices.Grow(l.raw[:0], base64.RawStdEncoding.DecodedLen(len(c)))
		out := l.raw[:base64.RawStdEncoding.DecodedLen(len(c))]
		n, err := base64.RawStdEncoding.Decode(out, c)
		if err != nil && n == 0 {
			continue
		}
		out = out[:n]
		if shift > 0 {
			a.low = appendLower(a.low[:0], out)
			low := a.low
			if hasAny(low, "runtime", "processbuilder", "transformer", "closure", "clonefactory", "serializationfactory", "invoke", "<script", "etc/passwd", "union select", "<?php") && text(out) {
				if hasAny(low, "runtime", "processbuilder", "transformer", "closure", "factory") {
					a.hit(Java, s.full)
				} else {
					a.hit(Code, s.full)
				}
				return
			}
			continue
		}
		if hasPrefixAny(out, "\xac\xed\x00\x05") {
			a.hit(Java, s.full)
			return
		}
		if packedObject(out) {
			a.hit(Code, s.full)
			return
		}
		if !text(out) {
			continue
		}
		a.low = appendLower(a.low[:0], out)
		low := a.low
		if hasAny(low, "runtime", "processbuilder", "transformer", "closure", "clonefactory", "serializationfactory") {
			a.hit(Java, s.full)
		}
		a.unpacked(out, s)
	}
}

// packedObject reports whether bytes are an object of .NET, perhaps in the state of a
// page, or of Python, whose protocols from the second on begin with their number and
// end with a full stop.
func packedObject(b []byte) bool {
	if bytes.Contains(b[:min(len(b), 24)], []byte("\x00\x01\x00\x00\x00\xff\xff\xff\xff")) {
		return true
	}
	return len(b) > 8 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5 && b[len(b)-1] == '.' && (b[2] == 0x95 || bytes.IndexByte([]byte("c}](X"), b[2]) >= 0)
}

// text reports whether nearly all of s is printable.
func text(s []byte) bool {
	odd := 0
	for _, c := range s {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f {
			odd++
		}
	}
	return odd*12 <= len(s)
}

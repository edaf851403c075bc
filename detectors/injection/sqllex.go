package injection

import (
	"bytes"
	"slices"
)

// The words of SQL: how a text is cut into tokens, and what they may be. sql.go says what they make.

// kind is what a token is.
type kind uint8

const (
	tokNumber kind = iota + 1
	tokString      // quoted, or the rest of a string that was open
	tokOpen        // a quoted string that does not end
	tokWord
	tokCall // a word and its opening bracket
	tokOp
	tokLeft
	tokRight
	tokComma
	tokEnd // ;
	tokComment
	tokVar // @x, @@x
)

// token is a piece of the text, in lower case as that is.
type token struct {
	kind kind
	text []byte
}

const maxTokens = 256

// sqlContext is where the text begins.
type sqlContext byte

const (
	plainSQL  sqlContext = 0
	insideOne sqlContext = '\''
	insideTwo sqlContext = '"'
)

// lexSQL cuts t into tokens. Comments of the form /*! are read as what they hide.
func lexSQL(dst []token, t []byte, c sqlContext) []token {
	i := 0
	if c != plainSQL {
		end := stringEnd(t, 0, byte(c))
		for c == insideOne && apostrophe(t, end) {
			end = stringEnd(t, end+1, byte(c))
		}
		dst = append(dst, token{tokString, t[:min(end, len(t))]})
		i = end + 1
	}
	for i < len(t) && len(dst) < maxTokens {
		b := t[i]
		switch {
		case blank(b), b == 0xa0 && (i == 0 || t[i-1] < 0xc0):
			i++
		case b == '-' && i+1 < len(t) && t[i+1] == '>', b == ':' && i+1 < len(t) && t[i+1] == ':', b == '@' && i+1 < len(t) && t[i+1] == '>', b == '#' && i+1 < len(t) && t[i+1] == '>':
			j := i + 2
			for j < len(t) && t[j] == '>' {
				j++
			}
			dst = append(dst, token{tokOp, t[i:j]})
			i = j
		case b == '\'' || b == '"':
			end := stringEnd(t, i+1, b)
			k := tokString
			if end >= len(t) {
				k = tokOpen
			}
			dst = append(dst, token{k, t[min(i+1, len(t)):min(end, len(t))]})
			i = end + 1
		case b == '`' || b == '[' && i+1 < len(t) && letter(t[i+1]):
			closing := byte('`')
			if b == '[' {
				closing = ']'
			}
			end := bytes.IndexByte(t[i+1:], closing)
			if end < 0 {
				i++
				continue
			}
			dst = append(dst, token{tokWord, t[i+1 : i+1+end]})
			i += end + 2
		case b == '-' && i+1 < len(t) && t[i+1] == '-':
			dst, i = comment(dst, t, i)
		case b == '#':
			dst, i = comment(dst, t, i)
		case b == '/' && i+1 < len(t) && t[i+1] == '*':
			if i+2 < len(t) && t[i+2] == '!' { // MySQL runs what is inside
				i += 3
				for i < len(t) && decimal(t[i]) {
					i++
				}
				continue
			}
			end := bytes.Index(t[i+2:], []byte("*/"))
			if end < 0 {
				dst = append(dst, token{tokComment, t[i:]})
				return dst
			}
			i += end + 4
		case b == '*' && i+1 < len(t) && t[i+1] == '/':
			i += 2
		case decimal(b) || b == '.' && i+1 < len(t) && decimal(t[i+1]):
			j := i + 1
			if b == '0' && j < len(t) && t[j] == 'x' {
				j++
				for j < len(t) && hexDigit(t[j]) >= 0 {
					j++
				}
			} else {
				for j < len(t) && (decimal(t[j]) || t[j] == '.') {
					j++
				}
				if j+1 < len(t) && t[j] == 'e' && (decimal(t[j+1]) || j+2 < len(t) && decimal(t[j+2])) {
					j += 2
					for j < len(t) && decimal(t[j]) {
						j++
					}
				}
			}
			dst = append(dst, token{tokNumber, t[i:j]})
			i = j
		case wordByte(b) || b >= 0x80:
			j := i + 1
			for j < len(t) && (wordByte(t[j]) || t[j] == '$' || t[j] >= 0x80 && (t[j] != 0xa0 || t[j-1] >= 0xc0) || t[j] == '.' && j+1 < len(t) && (wordByte(t[j+1]) || t[j+1] == '.')) {
				j++
			}
			k, next := tokWord, j
			for next < len(t) && blank(t[next]) {
				next++
			}
			if next < len(t) && t[next] == '(' {
				k = tokCall
			}
			w := token{k, t[i:j]}
			if k == tokCall && sqlKeyword(w.text) {
				w.kind = tokWord // or (, in (, union (: the bracket stays a token
			} else if k == tokCall {
				j = next + 1
			}
			dst = append(dst, w)
			i = j
		case b == '@':
			j := i + 1
			for j < len(t) && (t[j] == '@' || wordByte(t[j])) {
				j++
			}
			dst = append(dst, token{tokVar, t[i:j]})
			i = j
		case b == '(':
			dst = append(dst, token{tokLeft, t[i : i+1]})
			i++
		case b == ')':
			dst = append(dst, token{tokRight, t[i : i+1]})
			i++
		case b == ',':
			dst = append(dst, token{tokComma, t[i : i+1]})
			i++
		case b == ';':
			dst = append(dst, token{tokEnd, t[i : i+1]})
			i++
		default:
			j := i + 1
			if j < len(t) && bytes.IndexByte([]byte("=<>|&!:"), t[j]) >= 0 && b != '+' && b != '-' {
				j++
				if j < len(t) && t[j] == '>' && b == '<' {
					j++
				}
			}
			dst = append(dst, token{tokOp, t[i:j]})
			i = j
		}
	}
	return dst
}

// comment reads a comment up to the end of its line. Between two words of a statement
// it is no more than a blank.
func comment(dst []token, t []byte, i int) ([]token, int) {
	end := endOfLine(t, i)
	if len(bytes.TrimSpace(t[end:])) > 0 && len(dst) > 0 && end-i < 32 && bytes.IndexByte(t[i:end], ' ') < 0 {
		return dst, end
	}
	return append(dst, token{tokComment, t[i:]}), end
}

func endOfLine(t []byte, i int) int {
	if n := bytes.IndexByte(t[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(t)
}

// apostrophe reports whether the quote at i stands inside a word, as in O'Brien
// and don't, and not before a keyword.
func apostrophe(t []byte, i int) bool {
	if i <= 0 || i+1 >= len(t) || !letter(t[i-1]) && t[i-1] < 0x80 || !letter(t[i+1]) && t[i+1] < 0x80 {
		return false
	}
	j := i + 1
	for j < len(t) && (wordByte(t[j]) || t[j] >= 0x80) {
		j++
	}
	return !sqlKeyword(t[i+1 : j])
}

// stringEnd returns the place of the quote that ends a string, len(t) for none.
func stringEnd(t []byte, i int, q byte) int {
	for ; i < len(t); i++ {
		switch {
		case t[i] == '\\':
			i++
		case t[i] == q && i+1 < len(t) && t[i+1] == q && i+2 < len(t) && wordByte(t[i+2]):
			i++ // a doubled quote inside a string
		case t[i] == q:
			return i
		}
	}
	return len(t)
}

var (
	sqlKeywords = []string{
		"all", "alter", "and", "as", "asc", "between", "by", "call", "case", "create", "declare", "delete", "desc", "distinct", "div", "drop", "else",
		"end", "exec", "execute", "exists", "from", "group", "having", "in", "insert", "intersect", "into", "is", "like", "limit", "minus", "not",
		"null", "offset", "on", "or", "order", "procedure", "regexp", "rlike", "select", "set", "shutdown", "then", "top", "truncate", "union",
		"update", "using", "values", "waitfor", "when", "where", "xor",
	}
	// sqlCalls are functions that only attacks put into a value.
	sqlCalls = []string{
		"analyse", "benchmark", "ctxsys.drithsx.sn", "dbms_ldap.init", "dbms_lock.sleep", "dbms_pipe.receive_message", "dbms_utility.sqlid_to_sqlhash",
		"dbms_xmlgen.getxml", "dbms_java.runjava", "extractvalue", "fn_xe_file_target_read_file", "gtid_subset", "load_file", "make_set", "name_const",
		"openrowset", "ordsys.ord_dicom.getmappingxpath", "pg_read_file", "pg_sleep", "query_to_xml", "randomblob", "sys_eval", "sys_exec",
		"to_timestamp_tz", "updatexml", "utl_http.request", "utl_inaddr.get_host_address", "utl_inaddr.get_host_name", "xmltype", "load_extension",
		"pg_ls_dir", "lo_import", "database_to_xml", "json_keys", "st_latfromgeohash", "gtid_subtract", "polygon", "multipoint", "geometrycollection", "multipolygon", "linestring", "multilinestring", "lo_get", "lo_export", "lo_from_bytea", "query_to_xml", "xp_cmdshell",
	}
	// sqlTables are catalogues that tell an attacker what there is.
	sqlTables = []string{
		"information_schema", "sysobjects", "syscolumns", "sysusers", "sqlite_master", "pg_catalog", "pg_user", "pg_shadow", "mysql.user", "mysql.db",
		"all_tables", "user_tables", "all_tab_columns", "user_tab_columns", "v$version", "rdb$", "msysobjects", "master..", "sys.databases",
		"sys.tables", "pg_tables", "dba_users", "all_users", "sys.objects", "master.dbo", "syscat.", "sysibm.", "dual",
	}
	// sqlInfo are functions that tell who and where one is.
	sqlInfo = []string{
		"user", "database", "version", "current_user", "session_user", "system_user", "schema", "char", "chr", "ascii", "substring", "substr", "mid",
		"concat", "concat_ws", "group_concat", "hex", "unhex", "cast", "convert", "count", "length", "len", "sleep", "ord", "left", "right", "lower",
		"upper", "if", "iif", "ifnull", "isnull", "nvl", "coalesce", "conv", "md5", "elt", "floor", "rand", "exp", "row", "decode", "encode", "bin",
		"locate", "instr", "position", "db_name", "host_name", "suser_name", "is_srvrolemember", "pow", "power", "row_count", "last_insert_id", "strcmp",
		"string_agg", "array_agg", "regexp_substring", "crypt_key", "replicate", "space", "rpad", "lpad", "repeat", "reverse", "least", "greatest",
		"generate_series", "nullif", "xmlagg", "listagg", "wm_concat", "sqlite_version", "typeof", "likelihood", "load_extension", "case",
	}
)

func sqlKeyword(w []byte) bool { return inList(sqlKeywords, w) }

// inList searches a sorted or unsorted short list.
func inList(list []string, w []byte) bool {
	return slices.ContainsFunc(list, func(x string) bool { return string(w) == x })
}

package format

// unescape undoes, once, what nginx (\xHH) and Apache (\xhh, \", \\, \n, ...)
// do to bytes that could end a field. An escape that neither writes stays.
func (d *Decoder) unescape(s string) string {
	n := len(d.scratch)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '\\' || i+1 == len(s) {
			d.scratch = append(d.scratch, c)
			continue
		}
		i++
		switch e := s[i]; e {
		case '"', '\\':
			d.scratch = append(d.scratch, e)
		case 'x':
			if i+2 < len(s) {
				if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi < 16 && lo < 16 {
					d.scratch = append(d.scratch, hi<<4|lo)
					i += 2
					continue
				}
			}
			d.scratch = append(d.scratch, '\\', 'x')
		case 'n':
			d.scratch = append(d.scratch, '\n')
		case 't':
			d.scratch = append(d.scratch, '\t')
		case 'r':
			d.scratch = append(d.scratch, '\r')
		case 'b':
			d.scratch = append(d.scratch, '\b')
		case 'v':
			d.scratch = append(d.scratch, '\v')
		case 'f':
			d.scratch = append(d.scratch, '\f')
		default:
			d.scratch = append(d.scratch, '\\', e)
		}
	}
	return d.keep(n)
}

func unhex(c byte) byte {
	switch {
	case c-'0' <= 9:
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	default:
		return 0xff
	}
}

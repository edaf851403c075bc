package file

import (
	"io/fs"
	"syscall"
	"time"
)

// changed returns when a file was last written or renamed.
func changed(fi fs.FileInfo) time.Time {
	t := fi.ModTime()
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		if c := time.Unix(int64(st.Ctim.Sec), int64(st.Ctim.Nsec)); c.After(t) { //nolint:unconvert // the types differ between systems
			return c
		}
	}
	return t
}

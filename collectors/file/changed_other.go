//go:build !linux

package file

import (
	"io/fs"
	"time"
)

// changed returns when a file was last written.
func changed(fi fs.FileInfo) time.Time { return fi.ModTime() }

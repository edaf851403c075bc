//go:build unix

package file

import (
	"errors"
	"os"
	"syscall"
)

// openPipe opens a pipe for reading. It is opened for writing as well, so that
// it neither waits for a writer nor ends with the last one.
func openPipe(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrPermission) {
		return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
	return f, err
}

//go:build !unix

package file

import (
	"errors"
	"os"
)

func openPipe(string) (*os.File, error) {
	return nil, errors.New("named pipes cannot be read on this system")
}

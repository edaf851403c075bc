//go:build !unix

package file

import "io/fs"

// identify has no inodes to go by: fingerprints alone tell files apart.
func identify(fs.FileInfo) identity { return identity{} }

// links takes every file for one that has a name.
func links(fs.FileInfo) uint64 { return 1 }

package file

// The keys of log attributes.
const (
	keyBytes  = "bytes"
	keyCopy   = "copy_found"
	keyError  = "error"
	keyOther  = "other"
	keyPath   = "path"
	keyReason = "reason"
)

package file

// The keys of log attributes.
const (
	keyPath  = "path"
	keyOther = "other"
	keyError = "error"
)

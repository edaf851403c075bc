package wire

// Understands makes c behave as with a broker that has only versions up to
// most of the requests that depend on ids of topics.
func (c *Conn) Understands(fetch, metadata int16) {
	c.versions[apiFetch] = [2]int16{0, fetch}
	c.versions[apiMetadata] = [2]int16{0, metadata}
}

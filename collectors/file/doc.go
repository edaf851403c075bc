// Package file reads log files: [New] follows live files through their
// rotations, [Replay] reads finished ones at full speed.
//
// A source is one path through all its generations. A generation is the
// content of one inode from its creation or truncation to its end; it is known
// again by device, inode and a fingerprint of its first bytes, so it is found
// under another name, copied or compressed. Offsets and line numbers are
// logical: they go on growing from one generation to the next. Every block
// carries an Origin, which holds the identity of its generation and where in
// the logical stream it begins; with that and an offset a later run finds the
// place again.
//
// What no reader can have is counted, never passed over in silence: see the
// reasons named Skipped… below.
package file

// The reasons in Item.Skipped.
const (
	// SkippedTooLong counts lines longer than the limit.
	SkippedTooLong = "too_long"
	// SkippedTruncated counts how often a file was cut short in place. What was
	// written between the last look and the cut is gone, unless it is in a
	// copy beside the file; how many lines that was cannot be known. It is
	// seen after the fact too, where the copies are not compressed yet.
	SkippedTruncated = "truncated"
	// SkippedLost counts how often the generation that a saved position points
	// into was found nowhere any more.
	SkippedLost = "lost_generation"
	// SkippedDamaged counts compressed files that broke off in the middle.
	SkippedDamaged = "damaged"
)

package file

import (
	"bytes"
	"context"
	"io"

	"github.com/nxadm/tail"
)

// edgeBytes is how much unread content still counts as the live edge. More is
// catching up and read in blocks: that costs a hundredth a line.
const edgeBytes = 64 << 10

// follow lets nxadm/tail read the lines of want, which is what our own
// descriptor holds at offset from of the file at path: whole lines of bounded
// length. It returns how many bytes of want tail delivered, line after line
// without a jump. The rest, if any, is for the caller to take from its own
// descriptor: the path may have been rotated away, and tail opens by name.
//
// tail is used without following and without reopening: then it starts no
// watcher, never skips to the end, and never ends the process.
func follow(ctx context.Context, path string, from int64, want []byte) (int, error) {
	t, err := tail.TailFile(path, tail.Config{
		Location:  &tail.SeekInfo{Offset: from, Whence: io.SeekStart},
		MustExist: true,
		Poll:      true,
		Logger:    tail.DiscardingLogger,
	})
	if err != nil {
		return 0, err
	}
	done := 0
	for done < len(want) {
		var l *tail.Line
		select {
		case <-ctx.Done():
		case l = <-t.Lines:
		}
		if l == nil || l.Err != nil {
			break
		}
		end := bytes.IndexByte(want[done:], '\n')
		if end != len(l.Text) || l.SeekInfo.Offset != from+int64(done+end+1) || string(want[done:done+end]) != l.Text {
			break
		}
		done += end + 1
	}
	// What tail says of its end does not matter: what it delivered was checked.
	_ = t.Stop()
	return done, ctx.Err()
}

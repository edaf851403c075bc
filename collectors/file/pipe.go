package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"time"

	"gatewatch/collectors"
	"gatewatch/collectors/stdin"
)

// A named pipe can be read only once: it is read like standard input, and what
// was taken from it and not committed is lost with the process, at most what
// came since the last checkpoint. It ends when the path is no longer a pipe.

// pipeLook is how often a pipe without input is looked for under its path.
const (
	pipeLook  = time.Second
	pipePause = 50 * time.Millisecond // after a look at one that nobody writes to
)

// fromPipe reports whether g stands for what was read from a pipe.
func (g *generation) fromPipe() bool {
	return g.id == identity{} && g.print.n == 0 && g.since == math.MaxInt64 && g.path != ""
}

// isPipe reports whether path is a named pipe.
func isPipe(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode()&fs.ModeNamedPipe != 0
}

// runPipe reads the pipe at the path of s until it is another file, and
// returns where to go on. Its error is that of ctx or emit.
func (s *source) runPipe(ctx context.Context, from collectors.Position, emit func(collectors.Item) error) (collectors.Position, error) {
	f, err := openPipe(s.name)
	if err != nil {
		return from, s.brokenPipe(ctx, err, emit)
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return from, s.brokenPipe(ctx, err, emit)
	}
	g := generation{base: from.Offset, baseLine: from.Line, from: from.Offset, since: math.MaxInt64, path: s.name, lineHidden: true}
	at := collectors.Position{Offset: from.Offset, Line: from.Line, Origin: g.appendOrigin(nil, nil)}
	in := stdin.New(&pipe{path: s.name, f: f, fi: fi}, stdin.Options{
		Name: s.name, Origin: at.Origin,
		MaxLineBytes: s.c.opts.MaxLineBytes, BlockBytes: s.c.opts.BlockBytes, Now: s.c.opts.Now,
	})
	s.pipe.Store(in)
	var refused error // of emit
	err = in.Run(ctx, from, func(it collectors.Item) error {
		if b := it.Block; b != nil {
			at.Offset, at.Line = b.Offset+int64(len(b.Data)), b.Line-1+lineFeeds(b.Data)
		}
		refused = emit(it)
		return refused
	})
	if err == nil || refused != nil || ctx.Err() != nil {
		return at, err
	}
	return at, s.brokenPipe(ctx, err, emit)
}

// brokenPipe says what is wrong with the pipe and waits before the next try.
func (s *source) brokenPipe(ctx context.Context, err error, emit func(collectors.Item) error) error {
	s.c.opts.Logger.Warn("pipe cannot be read, trying again", keyPath, s.name, keyError, err)
	if err := emit(collectors.Item{State: collectors.Failing, At: s.c.opts.Now(), Err: err}); err != nil {
		return err
	}
	t := time.NewTimer(maxBackoff)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// lineFeeds counts the lines of a block, the last of which may lack its end.
func lineFeeds(data []byte) int64 {
	var n int64
	for _, c := range data {
		if c == '\n' {
			n++
		}
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		n++
	}
	return n
}

// pipe reads from a pipe until its path leads elsewhere.
type pipe struct {
	path string
	f    *os.File
	fi   os.FileInfo
}

// Read waits for input.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		if err := p.f.SetReadDeadline(time.Now().Add(pipeLook)); err != nil {
			return 0, err
		}
		n, err := p.f.Read(b)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, os.ErrClosed):
			return 0, io.EOF
		case errors.Is(err, io.EOF): // opened for reading alone, and nobody writes
			time.Sleep(pipePause)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		}
		if fi, err := os.Stat(p.path); err != nil && errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(fi, p.fi) {
			return 0, io.EOF
		}
	}
}

package traffictest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Writer writes lines to the files of a folder as a server would: a line may
// arrive in two pieces, and files are rotated by rename and create.
type Writer struct {
	Dir string
	// RotateEvery is about how many lines are written between two rotations; 600 if 0.
	RotateEvery int
	// Sizes are the bytes written to each file through all its rotations.
	Sizes []int64

	r     *rand.Rand
	files []*os.File
	turns []int
}

// NewWriter creates the files.
func NewWriter(dir string, seed uint64, files int) (*Writer, error) {
	w := &Writer{Dir: dir, RotateEvery: 600, r: rand.New(rand.NewPCG(seed, 3)), files: make([]*os.File, files), Sizes: make([]int64, files), turns: make([]int, files)}
	for i := range files {
		if err := w.create(i); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Path returns the path of a file.
func (w *Writer) Path(i int) string { return filepath.Join(w.Dir, fmt.Sprintf("access-%c.log", 'a'+i)) }

func (w *Writer) create(i int) (err error) {
	w.files[i], err = os.Create(w.Path(i))
	return err
}

// Rotate moves x.log to x.log.1, that one to x.log.2 and so on, and begins a new x.log.
func (w *Writer) Rotate(i int) error {
	w.turns[i]++
	for n := w.turns[i]; n > 1; n-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", w.Path(i), n-1), fmt.Sprintf("%s.%d", w.Path(i), n)); err != nil {
			return err
		}
	}
	return errors.Join(os.Rename(w.Path(i), w.Path(i)+".1"), w.files[i].Close(), w.create(i))
}

// Write writes a line to its file.
func (w *Writer) Write(l Line) error {
	text := l.Text + "\n"
	cut := len(text)
	if w.r.IntN(20) == 0 {
		cut = 1 + w.r.IntN(len(text)-1)
	}
	for _, piece := range []string{text[:cut], text[cut:]} {
		if _, err := w.files[l.File].WriteString(piece); err != nil {
			return err
		}
	}
	w.Sizes[l.File] += int64(len(text))
	if w.r.IntN(w.RotateEvery) == 0 {
		return w.Rotate(l.File)
	}
	return nil
}

// Finish rotates every file once more and takes the live one away: what was
// written is all there will be.
func (w *Writer) Finish() error {
	var all error
	for i := range w.files {
		all = errors.Join(all, w.Rotate(i), w.files[i].Close(), os.Remove(w.Path(i)))
	}
	return all
}

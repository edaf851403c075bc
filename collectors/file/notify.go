package file

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime is how long a source waits after it was woken, so that a writer
// of single lines costs a look in a while and not one a line.
const settleTime = 5 * time.Millisecond

// notifier wakes sources when the system says that something happened to
// their files. It watches folders: one a folder, however many files are in it.
// Looks at every poll go on beside it, so what it misses comes a little later.
type notifier struct {
	mu    sync.Mutex
	w     *fsnotify.Watcher // while a source runs
	users int
	err   error
	done  chan struct{}
	wake  map[string]chan struct{} // by path
	dirs  map[string]int           // how many paths of each are in wake
}

// join returns the channel that has an element after something happened to
// path, or a nil one where the system tells nothing, and why.
func (n *notifier) join(path string) (<-chan struct{}, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users++; n.users == 1 {
		n.w, n.err = fsnotify.NewWatcher()
		n.wake, n.dirs = map[string]chan struct{}{}, map[string]int{}
		if n.err == nil {
			n.done = make(chan struct{})
			go n.relay(n.w, n.done)
		}
	}
	if n.err != nil {
		return nil, n.err
	}
	ch := make(chan struct{}, 1)
	if err := n.add(path, ch); err != nil {
		return nil, err
	}
	return ch, nil
}

// also makes events of another path wake who joined with path.
func (n *notifier) also(path, other string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := n.wake[path]
	if ch == nil || n.wake[other] != nil {
		return nil
	}
	return n.add(other, ch)
}

func (n *notifier) add(path string, ch chan struct{}) error {
	n.wake[path] = ch
	dir := filepath.Dir(path)
	if n.dirs[dir]++; n.dirs[dir] > 1 {
		return nil
	}
	if err := n.w.Add(dir); err != nil {
		n.dirs[dir]-- // the next one tries again
		delete(n.wake, path)
		return err
	}
	return nil
}

// leave is the end of what join and also began.
func (n *notifier) leave(path string, others []string) {
	n.mu.Lock()
	for _, p := range append([]string{path}, others...) {
		if n.wake[p] == nil {
			continue
		}
		delete(n.wake, p)
		dir := filepath.Dir(p)
		if n.dirs[dir]--; n.dirs[dir] == 0 && n.w != nil {
			_ = n.w.Remove(dir) // gone already, then
		}
	}
	n.users--
	w, done := n.w, n.done
	last := n.users == 0
	if last {
		n.w = nil
	}
	n.mu.Unlock()
	if last && w != nil {
		_ = w.Close()
		<-done
	}
}

func (n *notifier) relay(w *fsnotify.Watcher, done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			n.event(e.Name)
		case _, ok := <-w.Errors: // events were lost: the next looks make up for them
			if !ok {
				return
			}
		}
	}
}

func (n *notifier) event(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := n.wake[path]
	if ch == nil {
		base, _, ok := splitRotation(path)
		if ch = n.wake[base]; !ok || ch == nil {
			return
		}
	}
	select {
	case ch <- struct{}{}:
	default:
	}
}

// notify asks to be woken, if the options say so.
func (r *runner) notify() {
	if !r.opts.Notify {
		return
	}
	ch, err := r.source.c.events.join(r.source.name)
	if err != nil {
		r.log.Warn("the system tells of no changes, looking at every poll instead", keyError, err)
	}
	r.woken = ch
}

// notifyAlso asks for the same when something happens to where a symbolic link leads.
func (r *runner) notifyAlso(path string) {
	if r.woken == nil {
		return
	}
	if err := r.source.c.events.also(r.source.name, path); err != nil {
		r.log.Debug("the system tells of no changes behind the link", keyOther, path, keyError, err)
	}
	r.wokenAlso = append(r.wokenAlso, path)
}

func (r *runner) unnotify() {
	if r.opts.Notify {
		r.source.c.events.leave(r.source.name, r.wokenAlso)
	}
}

package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

// openTest opens a state file and checks the whole of it when the test ends.
func openTest(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(path, Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Check(context.Background()); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("check: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func all(t *testing.T, db *DB, bucket, prefix string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := db.Scan(bucket, []byte(prefix), func(k, v []byte) error {
		out[string(k)] = string(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCommitAndScan(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	db := openTest(t, path)
	if !db.Fresh() {
		t.Error("want a new file to be fresh")
	}
	err := db.Commit([]Op{
		{Incidents, []byte("a1"), []byte("one")},
		{Incidents, []byte("a2"), []byte{}},
		{Incidents, []byte("b1"), []byte("gone")},
		{Outbox, []byte("a1"), []byte("other")},
		{Incidents, []byte("b1"), nil},
		{Incidents, []byte("never"), nil},
		{Meta, []byte("x"), []byte("y")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Commit([]Op{{Meta, []byte("k"), nil}}); !errors.Is(err, ErrClosed) {
		t.Errorf("want ErrClosed, got %v", err)
	}
	db = openTest(t, path)
	if db.Fresh() {
		t.Error("want a file with state not to be fresh")
	}
	if diff := cmp.Diff(map[string]string{"a1": "one", "a2": ""}, all(t, db, Incidents, "")); diff != "" {
		t.Errorf("incidents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a2": ""}, all(t, db, Incidents, "a2")); diff != "" {
		t.Errorf("prefix (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"x": "y"}, all(t, db, Meta, "")); diff != "" {
		t.Errorf("meta (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || db.Size() != info.Size() {
		t.Errorf("want mode 0600 and size %d, got %v and %d", info.Size(), info.Mode(), db.Size())
	}
}

func TestCommitIsAllOrNothing(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "state.db"))
	for name, bad := range map[string]Op{
		"unknown bucket": {"nope", []byte("k"), []byte("v")},
		"empty key":      {Meta, nil, []byte("v")},
		"long key":       {Meta, make([]byte, bolt.MaxKeySize+1), []byte("v")},
		"reserved key":   {Meta, []byte("schema"), []byte{9}},
	} {
		if err := db.Commit([]Op{{Outbox, []byte("k"), []byte("v")}, bad}); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	if got := all(t, db, Outbox, ""); len(got) != 0 {
		t.Errorf("want nothing committed, got %v", got)
	}
}

func TestScanChunks(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "state.db"))
	want := map[string]string{}
	var ops []Op
	for i := range 60 {
		k := fmt.Sprintf("k%03d", i)
		v := strings.Repeat(strconv.Itoa(i%10), 100_000)
		want[k] = v
		ops = append(ops, Op{Slots, []byte(k), []byte(v)})
	}
	ops = append(ops, Op{Slots, []byte("l"), []byte("other prefix")})
	if err := db.Commit(ops); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err := db.Scan(Slots, []byte("k"), func(k, v []byte) error {
		got[string(k)] = string(v)
		// A commit that grows the file must not wait for the scan.
		return db.Commit([]Op{{Slots, k, v}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("scan does not give what was put")
	}
	stop := errors.New("stop")
	if err := db.Scan(Slots, nil, func(_, _ []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("want the error of the function, got %v", err)
	}
}

func TestSecondInstanceIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	openTest(t, path)
	if _, err := Open(path, Options{Timeout: 20 * time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("want ErrLocked, got %v", err)
	}
}

func TestSchema(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, f func(tx *bolt.Tx) error) string {
		t.Helper()
		path := filepath.Join(dir, name)
		b, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Update(f); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	newer := write("newer", func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucket([]byte(Meta))
		if err != nil {
			return err
		}
		return meta.Put([]byte(schemaKey), seal(nil, Meta, []byte(schemaKey), []byte{Schema + 1}))
	})
	if _, err := Open(newer, Options{}); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("want ErrNewerSchema, got %v", err)
	}
	foreign := write("foreign", func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("users"))
		return err
	})
	if _, err := Open(foreign, Options{}); !errors.Is(err, ErrForeign) {
		t.Errorf("want ErrForeign, got %v", err)
	}
	if _, err := Open(filepath.Join(dir, "no", "such", "dir"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want a file system error, got %v", err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("want an error for a directory")
	}
}

// filled returns the path of a closed state file with some content.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var ops []Op
		for range 50 {
			v := make([]byte, 2000)
			for j := range v {
				v[j] = byte(r.Uint32())
			}
			ops = append(ops, Op{Incidents, fmt.Appendf(nil, "%05d", r.IntN(5000)), v})
		}
		if err := db.Commit(ops); err != nil {
			t.Fatal(err)
		}
	}
	var used int64
	if err := db.bolt.View(func(tx *bolt.Tx) error { used = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// What is allocated ahead of use is no loss: cut it off.
	if err := os.Truncate(path, used); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnusedEndMayBeMissing(t *testing.T) {
	if err := readAndWriteAll(t, filled(t)); err != nil {
		t.Error(err)
	}
}

func TestDamagedFiles(t *testing.T) {
	// hurt damages a file; wantOpen says whether it is found at open already.
	f := func(name string, hurt func(b []byte) []byte) {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, hurt(b), 0o600); err != nil {
				t.Fatal(err)
			}
			err = readAndWriteAll(t, path)
			if damaged := (*DamagedError)(nil); !errors.As(err, &damaged) {
				t.Fatalf("want a DamagedError, got %v", err)
			} else if !strings.Contains(err.Error(), path) {
				t.Errorf("want the path in %q", err)
			}
			moved, err := SetAside(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(moved, path+".damaged-") {
				t.Errorf("moved to %s", moved)
			}
			db := openTest(t, path)
			if !db.Fresh() {
				t.Error("want a fresh file")
			}
			if err := db.Commit([]Op{{Meta, []byte("k"), []byte("v")}}); err != nil {
				t.Error(err)
			}
		})
	}
	zero := func(b []byte, from, to int) []byte { clear(b[from:to]); return b }
	f("text", func([]byte) []byte { return []byte(strings.Repeat("GET / HTTP/1.1\n", 1000)) })
	f("100 bytes", func(b []byte) []byte { return b[:100] })
	f("one page", func(b []byte) []byte { return b[:4096] })
	f("two pages", func(b []byte) []byte { return b[:8192] })
	f("half", func(b []byte) []byte { return b[:len(b)/2] })
	f("half and a bit", func(b []byte) []byte { return b[:len(b)/2+77] })
	f("one byte missing", func(b []byte) []byte { return b[:len(b)-1] })
	f("an eighth", func(b []byte) []byte { return b[:len(b)/8] })
	f("both metas zeroed", func(b []byte) []byte { return zero(b, 0, 8192) })
	f("all but metas zeroed", func(b []byte) []byte { return zero(b, 8192, len(b)) })
	f("middle zeroed", func(b []byte) []byte { return zero(b, len(b)/4, len(b)*3/4) })
	f("noise", func(b []byte) []byte {
		r := rand.New(rand.NewPCG(3, 4))
		for i := 8192; i < len(b); i++ {
			b[i] = byte(r.Uint32())
		}
		return b
	})
	f("one bit of every page", func(b []byte) []byte {
		for p := 2 * 4096; p+2000 < len(b); p += 4096 {
			b[p+2000] ^= 4
		}
		return b
	})
}

// readAndWriteAll opens, reads and rewrites everything, as a start does, and
// returns the first error. It must not panic and not hang.
func readAndWriteAll(t *testing.T, path string) error {
	t.Helper()
	db, err := Open(path, Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	var ops []Op
	for _, bucket := range Buckets() {
		err := db.Scan(bucket, nil, func(k, v []byte) error {
			ops = append(ops, Op{bucket, k, v})
			return nil
		})
		if err != nil {
			// Whatever is asked next must give an error too, and no panic.
			if db.Commit([]Op{{Meta, []byte("k"), []byte("v")}}) == nil {
				t.Error("want no commit after damage was seen")
			}
			return err
		}
	}
	return db.Commit(ops)
}

func TestEmptyFileIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if db := openTest(t, path); !db.Fresh() {
		t.Error("want an empty file to be fresh")
	}
}

func TestSetAsideTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	names := map[string]bool{}
	for range 3 {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		moved, err := SetAside(path)
		if err != nil {
			t.Fatal(err)
		}
		names[moved] = true
	}
	if len(names) != 3 {
		t.Errorf("want three names, got %v", names)
	}
}

func TestReplacedValuesDoNotGrowTheFile(t *testing.T) {
	db := openTest(t, filepath.Join(t.TempDir(), "state.db"))
	commit := func(round int) {
		var ops []Op
		for i := range 16 {
			ops = append(ops, Op{Slots, []byte{byte(i)}, []byte(strings.Repeat(strconv.Itoa(round%10), 64<<10))})
		}
		if err := db.Commit(ops); err != nil {
			t.Fatal(err)
		}
	}
	const state = 16 * 64 << 10
	for round := range 60 {
		commit(round)
	}
	if size := db.Size(); size > 3*state+growBytes {
		t.Errorf("want at most four times the state and a bit, got %d bytes for %d", size, state)
	}
	if db.FreeBytes() == 0 {
		t.Error("want some free bytes")
	}
}

// TestCommitter is no test: it is the child that TestKill kills.
func TestCommitter(t *testing.T) {
	path := os.Getenv("STORAGE_TEST_CHILD")
	if path == "" {
		t.Skip("runs only as a child of TestKill")
	}
	db, err := Open(path, Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	_ = db.Scan(Positions, nil, func(_, v []byte) error {
		n, err = strconv.Atoi(string(v))
		return err
	})
	for {
		n++
		value := []byte(strconv.Itoa(n))
		ops := []Op{{Positions, []byte("n"), value}}
		for i := range 30 {
			ops = append(ops, Op{Slots, fmt.Appendf(nil, "%d", (n*7+i)%500), []byte(strings.Repeat("x", n%3000))})
		}
		ops = append(ops, Op{Incidents, []byte("n"), value})
		if err := db.Commit(ops); err != nil {
			t.Fatal(err)
		}
		fmt.Println("committed", n)
	}
}

func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	r := rand.New(rand.NewPCG(5, 6))
	for range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCommitter$")
		cmd.Env = append(os.Environ(), "STORAGE_TEST_CHILD="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last, commits := 0, 1+r.IntN(30)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscanf(lines.Text(), "committed %d", &last); err != nil {
				t.Fatalf("child says %q", lines.Text())
			}
			if commits--; commits == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		db, err := Open(path, Options{Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		first, second := all(t, db, Positions, "")["n"], all(t, db, Incidents, "")["n"]
		if n, err := strconv.Atoi(first); err != nil || n < last || first != second {
			t.Fatalf("want both at %d or more, got %q and %q", last, first, second)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	db, err := Open(filepath.Join(b.TempDir(), "state.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	value := make([]byte, 64<<10)
	b.ReportAllocs()
	b.SetBytes(int64(8 * len(value)))
	for i := 0; b.Loop(); i++ {
		var ops []Op
		for j := range 8 {
			ops = append(ops, Op{Slots, []byte{byte((i*8 + j) % 256), 1}, value})
		}
		if err := db.Commit(ops); err != nil {
			b.Fatal(err)
		}
	}
}

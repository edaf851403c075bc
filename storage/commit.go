package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Op is one change: Value is put, or with a nil Value the key is deleted.
type Op struct {
	Bucket     string
	Key, Value []byte
}

// checksumBytes is what a stored value is longer than its bytes.
const checksumBytes = 4

// chunkBytes bounds what Scan copies out under one read transaction.
const chunkBytes = 1 << 20

// Commit makes all changes, in order, in one transaction, and returns once
// they are on disk. After an error none of them is made. Ops may be reused as
// soon as it returns. No ops, no transaction.
func (db *DB) Commit(ops []Op) error {
	if len(ops) == 0 {
		return nil
	}
	size, known := 0, Buckets()
	for i := range ops {
		op := &ops[i]
		if !slices.Contains(known, op.Bucket) {
			return fmt.Errorf("commit: there is no bucket %q", op.Bucket)
		}
		if len(op.Key) == 0 || len(op.Key) > bolt.MaxKeySize {
			return fmt.Errorf("commit to bucket %s: key of %d bytes", op.Bucket, len(op.Key))
		}
		if op.Bucket == Meta && string(op.Key) == schemaKey {
			return fmt.Errorf("commit to bucket %s: key %q is reserved", op.Bucket, schemaKey)
		}
		if op.Value != nil {
			size += checksumBytes + len(op.Value)
		}
	}
	sealed := make([]byte, 0, size) // bolt needs the values until the end
	err := db.use(func() error {
		return db.bolt.Update(func(tx *bolt.Tx) error {
			for i := range ops {
				op := &ops[i]
				bucket := tx.Bucket([]byte(op.Bucket))
				if op.Value == nil {
					if err := bucket.Delete(op.Key); err != nil {
						return err
					}
					continue
				}
				start := len(sealed)
				sealed = seal(sealed, op.Bucket, op.Key, op.Value)
				if err := bucket.Put(op.Key, sealed[start:]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("commit %d changes: %w", len(ops), err)
	}
	return nil
}

// Scan calls f with each key that begins with prefix and its value, in the
// order of keys. Both are copies that f may keep. No read transaction is open
// while f runs, so f may commit; what others commit meanwhile to keys further
// on is seen. It ends with the first error of f.
func (db *DB) Scan(bucket string, prefix []byte, f func(key, value []byte) error) error {
	if !slices.Contains(Buckets(), bucket) {
		return fmt.Errorf("scan: there is no bucket %q", bucket)
	}
	from, done := prefix, false
	for !done {
		var chunk []Op
		err := db.use(func() error {
			var err error
			chunk, done, err = db.read(bucket, prefix, from)
			return err
		})
		if err != nil {
			return fmt.Errorf("scan bucket %s: %w", bucket, err)
		}
		for _, op := range chunk {
			if err := f(op.Key, op.Value); err != nil {
				return err
			}
		}
		if n := len(chunk); n > 0 {
			from = append(slices.Clone(chunk[n-1].Key), 0) // the least key behind it
		}
	}
	return nil
}

// read copies out about a chunk; done says that nothing follows it.
func (db *DB) read(bucket string, prefix, from []byte) (chunk []Op, done bool, err error) {
	err = db.bolt.View(func(tx *bolt.Tx) error {
		size := 0
		c := tx.Bucket([]byte(bucket)).Cursor()
		for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if size >= chunkBytes {
				return nil
			}
			if bucket == Meta && string(k) == schemaKey {
				continue
			}
			value, err := open(bucket, k, v)
			if err != nil {
				return err
			}
			chunk = append(chunk, Op{bucket, bytes.Clone(k), append(make([]byte, 0, len(value)), value...)})
			size += len(k) + len(v)
		}
		done = true
		return nil
	})
	return chunk, done, err
}

// seal appends the checksum and the value to dst.
func seal(dst []byte, bucket string, key, value []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, checksum(bucket, key, value))
	return append(dst, value...)
}

// open checks a sealed value and returns a view of its bytes.
func open(bucket string, key, sealed []byte) ([]byte, error) {
	if len(sealed) < checksumBytes {
		return nil, errDamaged{fmt.Sprintf("a value in bucket %s is too short", bucket)}
	}
	value := sealed[checksumBytes:]
	if binary.LittleEndian.Uint32(sealed) != checksum(bucket, key, value) {
		return nil, errDamaged{fmt.Sprintf("a value in bucket %s does not match its checksum", bucket)}
	}
	return value, nil
}

func checksum(bucket string, key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the library
	sum := crc32.Update(0, table, []byte(bucket))
	sum = crc32.Update(sum, table, key)
	return crc32.Update(sum, table, value)
}

package kafkatest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Codec is a compression.
type Codec string

// The codecs.
const (
	None   Codec = "none"
	Gzip   Codec = "gzip"
	Snappy Codec = "snappy"
	LZ4    Codec = "lz4"
	Zstd   Codec = "zstd"
)

// Codecs lists all of them.
func Codecs() []Codec { return []Codec{None, Gzip, Snappy, LZ4, Zstd} }

func (c Codec) option() kgo.Opt {
	switch c {
	case Gzip:
		return kgo.ProducerBatchCompression(kgo.GzipCompression())
	case Snappy:
		return kgo.ProducerBatchCompression(kgo.SnappyCompression())
	case LZ4:
		return kgo.ProducerBatchCompression(kgo.Lz4Compression())
	case Zstd:
		return kgo.ProducerBatchCompression(kgo.ZstdCompression())
	default:
		return kgo.ProducerBatchCompression(kgo.NoCompression())
	}
}

// Record is one message. A nil Value is a tombstone. Offset is only read. The
// zero Time is the moment of sending.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Time      time.Time
}

// Header is a header of a message.
type Header struct {
	Key   string
	Value []byte
}

// Lines makes records of texts for one partition.
func Lines(topic string, partition int, texts ...string) []Record {
	out := make([]Record, 0, len(texts))
	for _, text := range texts {
		out = append(out, Record{Topic: topic, Partition: partition, Value: []byte(text)})
	}
	return out
}

// Header returns the value of the first header of that name, "" without one.
func (r *Record) Header(name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// Produce writes records, uncompressed, in order within each partition, and
// returns when all replicas have them.
func (c *Cluster) Produce(records ...Record) {
	c.t.Helper()
	c.ProduceWith(None, records...)
}

// ProduceWith writes records in compressed batches. Batches hold as many records
// as come at once: those of one call, up to about 1 MB.
func (c *Cluster) ProduceWith(codec Codec, records ...Record) {
	c.t.Helper()
	cl := c.client(codec.option(), kgo.MaxBufferedRecords(1<<20), kgo.ProducerLinger(5*time.Millisecond))
	defer cl.Close()
	c.send(cl, records)
}

// Transaction writes records in one transaction and ends that: its control
// records take one offset in each partition. Without commit the records stay in
// the log, for nobody who reads only what is committed.
func (c *Cluster) Transaction(commit bool, records ...Record) {
	c.t.Helper()
	c.OpenTransaction(records...)(commit)
}

// OpenTransaction writes records in a transaction that is open until end is called,
// which is at the end of the test at the latest.
func (c *Cluster) OpenTransaction(records ...Record) (end func(commit bool)) {
	c.t.Helper()
	cl := c.client(None.option(), kgo.TransactionalID(c.t.Name()+time.Now().String()), kgo.ProducerLinger(5*time.Millisecond))
	c.t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		c.t.Fatalf("kafkatest: begin a transaction: %v", err)
	}
	c.send(cl, records)
	return func(commit bool) {
		c.t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			c.t.Fatalf("kafkatest: end a transaction: %v", err)
		}
		cl.Close()
	}
}

func (c *Cluster) send(cl *kgo.Client, records []Record) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	batch := make([]*kgo.Record, 0, len(records))
	for i := range records {
		r := &records[i]
		out := &kgo.Record{Topic: r.Topic, Partition: int32(r.Partition), Key: r.Key, Value: r.Value, Timestamp: r.Time}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader(h))
		}
		batch = append(batch, out)
	}
	if err := cl.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		c.t.Fatalf("kafkatest: produce: %v", err)
	}
}

// Records returns everything that a topic holds now, by partition and offset,
// with what aborted transactions left.
func (c *Cluster) Records(topic string) []Record {
	c.t.Helper()
	ends, starts := c.Ends(topic), c.Starts(topic)
	from := map[int32]kgo.Offset{}
	for p, end := range ends {
		if end > starts[p] {
			from[int32(p)] = kgo.NewOffset().At(starts[p])
		}
	}
	if len(from) == 0 {
		return nil
	}
	cl := c.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.KeepControlRecords(),
		kgo.FetchMaxWait(50*time.Millisecond))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out []Record
	for len(from) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			c.t.Fatalf("kafkatest: read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			p := int(r.Partition)
			if r.Offset >= ends[p]-1 {
				delete(from, r.Partition)
			}
			if r.Offset >= ends[p] || r.Attrs.IsControl() {
				return
			}
			rec := Record{Topic: topic, Partition: p, Offset: r.Offset, Key: r.Key, Value: r.Value, Time: r.Timestamp}
			for _, h := range r.Headers {
				rec.Headers = append(rec.Headers, Header(h))
			}
			out = append(out, rec)
		})
	}
	slices.SortFunc(out, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return out
}

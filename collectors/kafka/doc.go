// Package kafka reads topics of Kafka. Each partition is a source: its
// records come in the order of its offsets and end where it does.
//
// A [Collector] is a member of a consumer group. The group says which partitions
// it reads; where it goes on in them is a matter of gatewatch's own state, into which
// the offset of a partition goes together with all that was made of the records
// before it. After each checkpoint, and never before, the offsets in it are committed to
// Kafka, for other members and for tools that show lag.
//
// So two offsets are kept with a position: its own and the one whose commit
// Kafka last acknowledged. What Kafka has at an assignment lies between them,
// whatever crashed when. If it does not, somebody else has moved it, and they are
// followed; see begin in start.go.
//
// When the group rebalances all partitions are taken back: what was read and not
// judged is forgotten, what was judged is made durable and committed, and only then the
// member joins the next generation. Whoever gets the partition goes on exactly there.
//
// [Replay] reads stretches of partitions without a group.
package kafka

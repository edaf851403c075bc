package detectors

// forest keeps numbers in order, a tree for each window: how many are at or
// below one, and which one is at a place, cost the logarithm of how many
// different ones there are. The trees are treaps whose priorities nobody
// outside can foresee, so no choice of numbers makes one deep.
type forest struct {
	nodes arena[sample]
	seed  uint64
	last  uint32 // what add added to
}

// sample is a number with how often it is there.
type sample struct {
	number      float64
	left, right uint32
	weight      uint32
	total       uint32 // weight of all below it and its own
}

func (f *forest) priority(id uint32) uint64 {
	x := (uint64(id) ^ f.seed) * 0x9E3779B97F4A7C15
	x = (x ^ x>>32) * 0xD6E8FEB86659FD93
	return x ^ x>>29
}

func (f *forest) totalOf(id uint32) uint32 {
	if id == 0 {
		return 0
	}
	return f.nodes.at(id).total
}

// add adds a number with a weight to the tree with this root and returns the
// new root; f.last is the number's sample, which stays the same while its
// weight is not 0.
func (f *forest) add(root uint32, number float64, weight uint32) uint32 {
	if root == 0 {
		id := f.nodes.alloc()
		*f.nodes.at(id) = sample{number: number, weight: weight, total: weight}
		f.last = id
		return id
	}
	n := f.nodes.at(root)
	n.total += weight
	switch {
	case number < n.number:
		n.left = f.add(n.left, number, weight)
		if up := n.left; f.priority(up) > f.priority(root) {
			u := f.nodes.at(up)
			n.left, u.right = u.right, root
			u.total, n.total = n.total, n.total-u.total+f.totalOf(n.left)
			return up
		}
	case number > n.number:
		n.right = f.add(n.right, number, weight)
		if up := n.right; f.priority(up) > f.priority(root) {
			u := f.nodes.at(up)
			n.right, u.left = u.left, root
			u.total, n.total = n.total, n.total-u.total+f.totalOf(n.right)
			return up
		}
	default:
		n.weight += weight
		f.last = root
	}
	return root
}

// remove takes away weight of a number that is there and returns the new root.
func (f *forest) remove(root uint32, number float64, weight uint32) uint32 {
	n := f.nodes.at(root)
	n.total -= weight
	switch {
	case number < n.number:
		n.left = f.remove(n.left, number, weight)
	case number > n.number:
		n.right = f.remove(n.right, number, weight)
	default:
		if n.weight -= weight; n.weight == 0 {
			left, right := n.left, n.right
			f.nodes.release(root)
			return f.merge(left, right)
		}
	}
	return root
}

// merge makes one tree of two, all of the first below the second.
func (f *forest) merge(a, b uint32) uint32 {
	if a == 0 {
		return b
	}
	if b == 0 {
		return a
	}
	x, y := f.nodes.at(a), f.nodes.at(b)
	if f.priority(a) > f.priority(b) {
		x.total += y.total
		x.right = f.merge(x.right, b)
		return a
	}
	y.total += x.total
	y.left = f.merge(a, y.left)
	return b
}

// at returns the number at a place in order, counting weights from 1.
func (f *forest) at(root, place uint32) float64 {
	for {
		n := f.nodes.at(root)
		left := f.totalOf(n.left)
		switch {
		case place <= left:
			root = n.left
		case place <= left+n.weight:
			return n.number
		default:
			place -= left + n.weight
			root = n.right
		}
	}
}

// upTo returns the weight of all numbers at or below one.
func (f *forest) upTo(root uint32, number float64) (weight uint32) {
	for root != 0 {
		n := f.nodes.at(root)
		if number < n.number {
			root = n.left
			continue
		}
		weight += f.totalOf(n.left) + n.weight
		root = n.right
	}
	return weight
}

// drop forgets a tree.
func (f *forest) drop(root uint32) {
	if root == 0 {
		return
	}
	n := *f.nodes.at(root)
	f.nodes.release(root)
	f.drop(n.left)
	f.drop(n.right)
}

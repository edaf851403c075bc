package detectors

import "gatewatch/detectors/observation"

// valueRarity is value_percentile of a text: it compares the share in percent
// of the events whose value occurs at most as often in the window as that of
// the newest event. node.what is the value's index in Engine.values,
// Engine.occurs how often a window has it, and window.side the root of a tree
// in which each number of occurrences weighs the events that have it.
type valueRarity struct{}

func (valueRarity) takes(*rule, *observation.Hit) bool { return true }

func (r valueRarity) add(e *Engine, v view, t *touch, h *observation.Hit, _ uint32) uint32 {
	e.room(v)
	id := e.newNode(t)
	r.enter(e, v, id, h)
	e.append(v.w, id)
	return id
}

func (r valueRarity) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	e.value = counted{h.Hash, h.Value}
	value := e.values.acquire(&e.value)
	e.nodes.at(id).what = value
	v.w.total++
	key := valueKey{v.id, value}
	n := e.occurs[key]
	r.weigh(e, v, n, n+1)
	e.occurs[key] = n + 1
}

func (r valueRarity) leave(e *Engine, v view, id uint32) {
	value := e.nodes.at(id).what
	key := valueKey{v.id, value}
	n := e.occurs[key]
	r.weigh(e, v, n, n-1)
	if n == 1 {
		delete(e.occurs, key)
	} else {
		e.occurs[key] = n - 1
	}
	e.values.release(value)
}

// weigh moves the events of a value from one number of occurrences to another.
func (valueRarity) weigh(e *Engine, v view, from, to uint32) {
	if from > 0 {
		v.w.side = e.forest.remove(v.w.side, float64(from), from)
	}
	if to > 0 {
		v.w.side = e.forest.add(v.w.side, float64(to), to)
	}
}

func (valueRarity) clear(e *Engine, v view) {
	e.forest.drop(v.w.side)
	v.w.side = 0
}

func (valueRarity) number(e *Engine, v view, _ int64) (float64, bool) {
	if v.w.total == 0 {
		return 0, false
	}
	n := e.occurs[valueKey{v.id, e.nodes.at(v.w.tail).what}]
	return 100 * float64(e.forest.upTo(v.w.side, float64(n))) / float64(v.w.total), true
}

func (r valueRarity) about(e *Engine, v view, _ uint32) float64 {
	n, _ := r.number(e, v, v.s.now)
	return n
}

func (valueRarity) size(*node) uint32 { return 1 }

func (valueRarity) tell(e *Engine, nd *node, it *observation.Item) { valueCount{}.tell(e, nd, it) }

func (valueRarity) shape() shape { return shapeValues }

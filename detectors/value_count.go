package detectors

import "gatewatch/detectors/observation"

// valueCount counts different values. A window keeps the latest entry of each:
// node.what is the value's index in Engine.values.
type valueCount struct{}

func (valueCount) takes(*rule, *observation.Hit) bool { return true }

// manyValues is how many values a window has to keep before they are found
// through Engine.byValue instead of one after another.
const manyValues = 32

// valueKey is a value in a window.
type valueKey struct{ window, value uint32 }

func (c valueCount) add(e *Engine, v view, t *touch, h *observation.Hit, _ uint32) uint32 {
	e.value = counted{h.Hash, h.Value}
	value := e.values.acquire(&e.value)
	if id := c.find(e, v, value); id != 0 {
		e.renewed(v.w, id)
		v.w.total--
		e.dropNode(v, id)
	}
	id := e.newNode(t)
	c.set(e, v, id, value)
	e.append(v.w, id)
	return id
}

func (valueCount) find(e *Engine, v view, value uint32) uint32 {
	if v.r.byValue {
		return e.byValue.get(pairKey(v.id, value))
	}
	for id := v.w.tail; id != 0; id = e.nodes.at(id).prev {
		if e.nodes.at(id).what == value {
			return id
		}
	}
	return 0
}

// set gives an entry its value, of which a reference is held.
func (valueCount) set(e *Engine, v view, id, value uint32) {
	e.nodes.at(id).what = value
	v.w.total++
	if v.r.byValue {
		e.byValue.put(pairKey(v.id, value), id)
	}
}

func (c valueCount) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	c.set(e, v, id, e.values.acquire(&counted{h.Hash, h.Value}))
}

func (valueCount) leave(e *Engine, v view, id uint32) {
	value := e.nodes.at(id).what
	if v.r.byValue {
		e.byValue.remove(pairKey(v.id, value))
	}
	e.values.release(value)
}

func (valueCount) clear(e *Engine, v view) { e.dropSeries(v.w) }

func (valueCount) number(_ *Engine, v view, _ int64) (float64, bool) { return float64(v.w.total), true }

func (valueCount) about(_ *Engine, _ view, n uint32) float64 { return float64(n) }

func (valueCount) size(*node) uint32 { return 1 }

func (valueCount) tell(e *Engine, nd *node, it *observation.Item) {
	it.Value = e.values.entries[nd.what].value.text
}

func (valueCount) shape() shape { return shapeValues }

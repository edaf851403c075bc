package detectors

import "gatewatch/detectors/observation"

// eventCount counts events. Events of one second that look alike share an
// entry: node.what is how many they are.
type eventCount struct{}

func (eventCount) takes(*rule, *observation.Hit) bool { return true }

func (eventCount) add(e *Engine, v view, t *touch, h *observation.Hit, counted uint32) uint32 {
	v.w.total += h.N
	if id := v.w.tail; id != 0 && int64(v.w.tailTime) == t.rec.Window {
		nd := e.nodes.at(id)
		if nd.counted == counted && nd.card == e.cardOf(t) && nd.client == e.clientIn(t) {
			nd.what += h.N
			return id
		}
	}
	id := e.newNode(t)
	e.nodes.at(id).what = h.N
	e.append(v.w, id)
	return id
}

func (eventCount) enter(e *Engine, v view, id uint32, h *observation.Hit) {
	e.nodes.at(id).what = h.N
	v.w.total += h.N
}

func (eventCount) leave(*Engine, view, uint32) {}

func (eventCount) clear(e *Engine, v view) { e.dropSeries(v.w) }

func (eventCount) number(_ *Engine, v view, _ int64) (float64, bool) { return float64(v.w.total), true }

func (eventCount) about(_ *Engine, _ view, n uint32) float64 { return float64(n) }

func (eventCount) size(nd *node) uint32 { return nd.what }

func (eventCount) tell(*Engine, *node, *observation.Item) {}

func (eventCount) shape() shape { return shapeEvents }

package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"gatewatch/config"
	"gatewatch/detectors/observation"
	"gatewatch/event"
)

// sharing knows of which topics other instances read a part, and says which
// rules do not count exactly then. It is safe for concurrent use.
type sharing struct {
	logger *slog.Logger

	mu     sync.Mutex
	topics map[string]sharedTopic // by cluster and name
}

type sharedTopic struct {
	name      string
	keyedBy   []string
	mine, all int
}

// changed is told of each assignment. plan is that of the rules in force.
func (s *sharing) changed(plan *observation.Plan, k *config.KafkaSource, topic string, mine, all int) {
	key := k.Name + "/" + topic
	s.mu.Lock()
	defer s.mu.Unlock()
	before, was := s.topics[key]
	if mine >= all {
		delete(s.topics, key)
		if was {
			s.logger.Info("this instance reads all partitions of a topic again", "topic", topic)
		}
		return
	}
	if s.topics == nil {
		s.topics = map[string]sharedTopic{}
	}
	t := sharedTopic{topic, k.KeyedBy, mine, all}
	s.topics[key] = t
	if !was || before.mine != mine || before.all != all {
		s.warn(plan, &t)
	}
}

// reloaded is told of new rules.
func (s *sharing) reloaded(plan *observation.Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.topics {
		s.warn(plan, &t)
	}
}

func (s *sharing) warn(plan *observation.Plan, t *sharedTopic) {
	rules := inexact(plan, t.keyedBy)
	if len(rules) == 0 {
		return
	}
	s.logger.Warn("other instances read a part of the topic, and it is not keyed by what these rules group by: each instance counts its part alone",
		"topic", t.name, "partitions", fmt.Sprintf("%d of %d", t.mine, t.all), "keyed_by", strings.Join(t.keyedBy, ","),
		"rules", len(rules), "titles", shorten(rules))
}

// inexact returns the titles of rules over several records whose groups may be spread
// over the partitions of a topic that is keyed by these fields. All records of a group are
// in one partition where the group's values say what the key is.
func inexact(plan *observation.Plan, keyedBy []string) []string {
	var out []string
	for i := range plan.Rules {
		r := &plan.Rules[i]
		fields := plan.Kinds[r.Kind].Fields
		apart := len(keyedBy) == 0 || slices.ContainsFunc(keyedBy, func(f string) bool { return !slices.Contains(fields, f) })
		if apart && !r.Plain && !slices.Contains(fields, event.FieldMessageKey.String()) {
			out = append(out, r.Title)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// shorten names the first of many.
func shorten(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(names[:most], "; "), len(names)-most)
}

// sharingAdvice says for each source that names its key what would not be exact
// with several instances.
func sharingAdvice(c *config.Config, plan *observation.Plan) []string {
	var out []string
	for i := range c.Sources {
		k := c.Sources[i].Kafka
		if k == nil || len(k.KeyedBy) == 0 {
			continue
		}
		if rules := inexact(plan, k.KeyedBy); len(rules) > 0 {
			out = append(out, fmt.Sprintf("sources[%d].kafka.keyed_by: with more than one instance each would count its part alone for %s that group by something else than %s: %s",
				i, count(len(rules), "rule", "rules"), strings.Join(k.KeyedBy, ", "), shorten(rules)))
		}
	}
	return out
}

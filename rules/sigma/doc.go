// Package sigma is the rule language of gatewatch: Sigma detection,
// correlation and filter documents, parsed, checked and compiled to one
// [Index] that finds the rules an event matches and makes observations of
// them.
//
// [Parse] reads documents into a [Set] and reports every fault as a [Problem]
// with its place; what is faulty is refused whole and the rest still loads.
// [Set.Compile] makes an immutable [Index] that any number of goroutines
// share, each through a [Matcher] of its own.
//
// docs/rules.md describes the language and what it means where Sigma is silent.
package sigma

package sigma

import "go.yaml.in/yaml/v4"

// Trees returns the root nodes of the documents of a file as Parse reads
// them: aliases are written out, so the trees have none. What Parse refuses to
// read as YAML is left out. Nobody may change the nodes.
func Trees(doc Document) []*yaml.Node {
	return yamlDocs(doc.File, doc.Data, &problems{})
}

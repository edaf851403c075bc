package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/alerting"
	"gatewatch/config"
	"gatewatch/rules/sigma"

	"github.com/spf13/cobra"
)

func newFalsePositive(a *app) *cobra.Command {
	cl := &client{app: a}
	var (
		by, comment, file string
		rulePaths         []string
		dry               bool
	)
	c := &cobra.Command{
		Use:   "false-positive ID",
		Short: "Say that an incident was no attack, and propose a filter",
		Long: "False-positive says that an incident was no attack, which resolves it, and prints a Sigma filter that would\n" +
			"have left it out, made of its rules, its group and its routes. With --add-filter the filter is checked together\n" +
			"with all other rules, written to a file of rules.paths, and the running gatewatch reloads.",
		Example: "  gatewatch incidents false-positive 4f2a --dry-run\n" +
			"  gatewatch incidents false-positive 4f2a --comment \"our scanner\" --add-filter /etc/gatewatch/rules/scanner.yml",
		Args: needID("incidents", false),
		RunE: func(c *cobra.Command, ids []string) error {
			return failed(cl.falsePositive(c.Context(), ids[0], fpOptions{by, comment, file, rulePaths, dry}))
		},
	}
	cl.flags(c)
	cl.byFlag(c, &by)
	rulesFlag(c, &rulePaths)
	c.Flags().StringVar(&comment, "comment", "", "`why`, for the others; it becomes part of the filter")
	c.Flags().StringVar(&file, "add-filter", "", "`file` to write the filter to, or a folder of rules.paths")
	c.Flags().BoolVar(&dry, "dry-run", false, "print the filter and change nothing")
	_ = c.MarkFlagFilename("add-filter", "yml", "yaml") // fails only for a flag that does not exist
	return c
}

type fpOptions struct {
	by, comment, file string
	rules             []string
	dry               bool
}

// falsePositive proposes, and writes if asked to, before it marks: what cannot
// be done leaves everything as it was.
func (cl *client) falsePositive(ctx context.Context, id string, o fpOptions) error {
	raw, err := cl.find(ctx, id, false)
	if err != nil {
		return err
	}
	list, err := decodeIncidents([]json.RawMessage{raw})
	if err != nil {
		return err
	}
	i := list[0]
	c, err := cl.app.readConfig(cl.path, o.rules)
	if err != nil {
		return err
	}
	proposal, proposeErr := propose(i, c, o, cl.app.now())
	if proposeErr != nil && o.file != "" {
		return proposeErr
	}
	if proposeErr == nil {
		proposeErr = checkFilter(c, proposal)
	}
	if proposeErr != nil && (o.file != "" || o.dry) {
		return proposeErr
	}
	if o.dry {
		_, err := cl.app.stdout.Write(proposal)
		return err
	}
	target := ""
	if o.file != "" {
		if target, err = filterTarget(c, o.file, i.ID); err != nil {
			return err
		}
	}
	if !i.FalsePositive {
		if i, raw, err = cl.act(ctx, i.ID, alerting.ActionFalsePositive, o.by, o.comment); err != nil {
			return err
		}
	}
	if err := cl.say(raw, "incident %s is marked as a false positive: %s", i.ID, i.Rule.Title); err != nil {
		return err
	}
	switch {
	case proposeErr != nil:
		_, err = fmt.Fprintf(cl.app.stderr, "no filter is proposed: %s\n", escapeLines(proposeErr.Error()))
		return err
	case target == "":
		if cl.out == formatJSONL {
			return nil
		}
		_, err = fmt.Fprintf(cl.app.stdout, "A filter that leaves out the like; --add-filter FILE adds it to the configuration:\n\n%s", proposal)
		return err
	}
	if err := writeNew(target, proposal); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(cl.app.stderr, "filter written to %s\n", escape(target)) // nowhere else to say it
	var answer struct{ Status string }
	if err := cl.post(ctx, "/-/reload", nil, &answer); err != nil {
		return fmt.Errorf("the filter is in %s, but the running gatewatch did not reload: %w", target, err)
	}
	_, _ = fmt.Fprintln(cl.app.stderr, "the running gatewatch has reloaded")
	return nil
}

// propose returns a Sigma filter document that leaves out what made the
// incident, as narrow as the incident allows: its subject, on its routes, for
// the detections behind its rules. Values come from requests and stand in
// quotes, with Sigma's wildcards escaped.
func propose(i *alerting.Incident, c *config.Config, o fpOptions, now time.Time) ([]byte, error) {
	if i.Subject == alerting.SubjectOverflow.String() || i.Subject == alerting.SubjectGatewatch.String() {
		return nil, fmt.Errorf("incident %s is about no requests of its own (%s), so there is nothing to leave out", i.ID, i.Subject)
	}
	set, err := loadRules(c)
	if err != nil {
		return nil, err
	}
	detections := detectionsOf(set.all, i)
	if len(detections) == 0 {
		return nil, fmt.Errorf("the rules of incident %s are not in this configuration; name the one of the running gatewatch with --config or --rules", i.ID)
	}
	items := selection(i)
	if len(items) == 0 {
		return nil, fmt.Errorf("incident %s has no group and too many routes: a filter for it would leave out everything", i.ID)
	}
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("title: %s", yamlText(fmt.Sprintf("No attack: %s (incident %.8s)", i.Rule.Title, i.ID)))
	line("id: %s", filterID(i.ID))
	line("description: %s", yamlText(cmp.Or(o.comment, "Proposed from an incident that was marked as a false positive.")))
	line("author: %s", yamlText(o.by))
	line("date: %s", now.UTC().Format(time.DateOnly))
	line("# %d requests from %s to %s. Some of them:", i.Count, moment(i.FirstSeen), moment(i.LastSeen))
	for _, e := range i.Evidence {
		if e.Text != "" {
			line("#   %s", yamlText(clip(e.Text, 160)))
		}
	}
	line("filter:")
	line("  rules:")
	for _, r := range detections {
		line("    - %s # %s", yamlText(r.ID), yamlText(clip(r.Title, 80)))
	}
	line("  known:")
	for _, item := range items {
		if len(item.values) == 1 {
			line("    %s: %s", item.field, yamlText(item.values[0]))
			continue
		}
		line("    %s:", item.field)
		for _, v := range item.values {
			line("      - %s", yamlText(v))
		}
	}
	line("  condition: not known")
	return b.Bytes(), nil
}

// detectionsOf returns the detections behind the rules of an incident.
func detectionsOf(all []*sigma.Rule, i *alerting.Incident) []*sigma.Rule {
	named := map[string]bool{}
	for _, r := range i.Rules {
		named[r.ID] = true
	}
	found := map[*sigma.Rule]bool{}
	var walk func(r *sigma.Rule)
	walk = func(r *sigma.Rule) {
		if found[r] {
			return
		}
		found[r] = true
		if counted, ok := r.Counted(); ok {
			for _, in := range counted.Inputs {
				walk(in)
			}
		}
	}
	for _, r := range all {
		if named[r.ID] {
			walk(r)
		}
	}
	var out []*sigma.Rule
	for _, r := range all {
		if found[r] && r.Kind == sigma.Detection {
			out = append(out, r)
		}
	}
	return out
}

// filterItem is one field of a filter with its values, any of which may be there.
type filterItem struct {
	field  string
	values []string
}

// maxFilterRoutes bounds the routes of a proposal: what went to more of them
// is not told apart by routes.
const maxFilterRoutes = 10

// selection is what the requests of an incident have in common.
func selection(i *alerting.Incident) []filterItem {
	var out []filterItem
	for _, name := range slices.Sorted(maps.Keys(i.Group)) {
		if _, _, ok := sigma.LookupField(name, false); !ok {
			continue // a name that a rule gave to several fields
		}
		value := i.Group[name]
		field := name
		if p, err := netip.ParsePrefix(value); err == nil && name == "client.address" {
			field, value = name+"|cidr", p.String()
		} else {
			value = sigmaText(value)
		}
		out = append(out, filterItem{field, []string{value}})
	}
	if _, grouped := i.Group["http.route"]; !grouped && len(i.Routes) > 0 && len(i.Routes) <= maxFilterRoutes && i.RoutesTotal == int64(len(i.Routes)) {
		var routes []string
		for _, r := range slices.Sorted(slices.Values(i.Routes)) {
			routes = append(routes, sigmaText(r))
		}
		out = append(out, filterItem{"http.route", routes})
	}
	return out
}

// sigmaText escapes what means something in a Sigma value.
func sigmaText(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s)
}

// yamlText writes a text as a double-quoted scalar of printable ASCII. Every
// escape that Go uses is one of YAML's with the same meaning.
func yamlText(s string) string { return strconv.QuoteToASCII(strings.ToValidUTF8(s, "\uFFFD")) }

// filterID is the same for every proposal from one incident.
func filterID(incident string) string {
	h := sha256.Sum256([]byte("filter\x00" + incident))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // a UUID of version 8
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// checkFilter loads all rules of the configuration with the filter among them.
func checkFilter(c *config.Config, filter []byte) error {
	const name = "the proposed filter"
	with := *c
	with.Rules.Filters = append(slices.Clip(c.Rules.Filters), sigma.Document{File: name, Data: filter})
	set, err := loadRules(&with)
	if err != nil {
		return err
	}
	for _, p := range set.problems {
		if p.File == name && p.Severity == sigma.Refused {
			return fmt.Errorf("the filter does not load beside the other rules: %w", p)
		}
	}
	return nil
}

// filterTarget returns the path of the file to write. It has to be one that
// the configuration reads.
func filterTarget(c *config.Config, file, incident string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", file, err)
	}
	if isFolder(abs) {
		abs = filepath.Join(abs, "filter-"+incident+".yml")
	}
	ext := filepath.Ext(abs)
	if ext != ".yml" && ext != ".yaml" || strings.HasSuffix(strings.TrimSuffix(abs, ext), ".test") {
		return "", usage("--add-filter is %q; write a file that ends in .yml and not in .test.yml", file)
	}
	if _, err := os.Lstat(abs); err == nil {
		return "", thereAlready(abs)
	}
	for _, p := range c.Rules.Paths {
		if inside, err := filepath.Rel(p, abs); isFolder(p) && err == nil && filepath.IsLocal(inside) {
			return abs, nil
		}
	}
	var folders []string
	for _, p := range c.Rules.Paths {
		if isFolder(p) {
			folders = append(folders, p)
		}
	}
	if len(folders) == 0 {
		return "", usage("the configuration reads no folder of rules; add one to rules.paths, or put the filter under rules.filters by hand")
	}
	return "", usage("--add-filter is %q, which the configuration does not read; write a file in %s", file, strings.Join(folders, " or "))
}

func thereAlready(path string) error {
	return usage("%s is there already; name another file, or edit that one", path)
}

// writeNew writes a file that is there as a whole or not at all. One that is
// there already stays as it is.
func writeNew(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".gatewatch-*.tmp") // no ending that rules have
	if err != nil {
		return fmt.Errorf("write the filter: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write the filter: %w", err)
	}
	// A link does not replace a file, as a rename would.
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return thereAlready(path)
	} else if err != nil {
		return fmt.Errorf("write the filter: %w", err)
	}
	return nil
}

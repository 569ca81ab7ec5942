package dpvsconf

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"weir/internal/config/block"
)

// Bounds of what a file may say, so that messages and tables stay small.
const (
	maxErrors = 20 // lines of errors reported
	maxShown  = 40 // bytes of a user's word repeated in a message
)

// reader turns nodes into a Config.
type reader struct {
	cfg      Config
	whole    block.Pos // where errors about the file as a whole are placed
	warnings []Warning
	errors   []*block.Error

	// Where things were said, for the checks across blocks.
	secret  *block.Pos // stable_secret; nil: nowhere
	pool6   *block.Pos // conn_pool_ipv6; nil: nowhere
	nice    *block.Pos // nice; nil: nowhere
	rt      *block.Pos // rt_priority likewise
	devices map[string]place
	bonds   map[string]bondPlace
	workers map[string]place
	ports   [][]block.Pos // of each worker's ports, in the order of Boot.Workers
}

// place is an index into Boot's list and where the block stands.
type place struct {
	index int
	pos   block.Pos
}

// rule does what a keyword asks for.
type rule func(n *block.Node)

// rules are the keywords of one block.
type rules map[string]rule

// read applies the rules to the nodes of a block. A keyword said twice counts
// as last said, which is worth a warning: one of the lines does nothing.
func (r *reader) read(where string, nodes []block.Node, rs rules) {
	said := make(map[string]block.Pos)
	for i := range nodes {
		n := &nodes[i]
		rule, known := rs[n.Keyword]
		if !known {
			r.unknown(n, slices.Collect(maps.Keys(rs)), where)
			continue
		}
		if before, again := said[n.Keyword]; again && !n.IsBlock() {
			r.warnf(n.Pos, "%s is said again in %s: this line counts, not %s", n.Keyword, where, before)
		}
		said[n.Keyword] = n.Pos
		rule(n)
	}
}

// unknown warns of a keyword that is not in the grammar.
func (r *reader) unknown(n *block.Node, words []string, where string) {
	if near := block.Nearest(n.Keyword, words); near != "" {
		r.warnf(n.Pos, "unknown keyword %s in %s is ignored: did you mean %s?", shown(n.Keyword), where, near)
		return
	}
	r.warnf(n.Pos, "unknown keyword %s in %s is ignored", shown(n.Keyword), where)
}

func (r *reader) warnf(at block.Pos, format string, args ...any) {
	e := at.Errorf(format, args...)
	r.warnings = append(r.warnings, Warning{Pos: e.Pos, Text: e.Text})
}

func (r *reader) errorf(at block.Pos, format string, args ...any) {
	r.errors = append(r.errors, at.Errorf(format, args...))
}

// err joins what is wrong, file by file in the order of the lines.
func (r *reader) err() error {
	if len(r.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errors, func(a, b *block.Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	var all []error
	for i, e := range r.errors {
		if i == maxErrors {
			all = append(all, r.whole.Errorf("%d more errors follow: correct these first", len(r.errors)-maxErrors))
			break
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

// shown is a user's word, cut to what fits a message.
func shown(word string) string {
	if len(word) > maxShown {
		return strings.ToValidUTF8(word[:maxShown], "") + "..."
	}
	if word == "" {
		return `""`
	}
	return word
}

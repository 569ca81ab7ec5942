package keepalivedconf

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"weir/internal/config/block"
)

// reader turns nodes into a Config.
type reader struct {
	cfg      Config
	warnings []Warning
	errors   []*block.Error

	// Where things were said, for the checks across blocks.
	named   map[string]block.Pos // by keyword and name
	servers []serverPlace        // in the order of cfg.Servers
	stock   []node               // what is handed to stock keepalived
	fifos   [2]block.Pos         // of notify_fifo and vrrp_notify_fifo
}

// serverPlace is where a virtual server stands, and its groups are named.
type serverPlace struct {
	pos, local, deny, allow block.Pos
	reals                   map[netip.AddrPort]block.Pos
}

// rule does what a keyword asks for.
type rule func(n *node)

// rules are the keywords of one block.
type rules map[string]rule

// compile turns what a loader read into a Config.
func compile(name string, l *loader) (*Config, []Warning, error) {
	r, err := read(name, l)
	switch {
	case r == nil:
		return nil, nil, err
	case err != nil:
		return nil, r.warnings, err
	}
	return &r.cfg, r.warnings, nil
}

// read is compile with all that the reader knows; it is nil if there is not even a
// tree of words.
func read(name string, l *loader) (*reader, error) {
	whole := block.Pos{File: name, Line: 1}
	nodes := l.tree()
	if len(l.errors) > 0 {
		return nil, sorted(l.errors, whole)
	}
	r := &reader{named: make(map[string]block.Pos)}
	r.cfg.Global.LogAllFailures = logAll(nodes)
	r.read("the file", nodes, r.file())
	r.check()
	r.part()
	slices.SortStableFunc(r.warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Pos.File, b.Pos.File), cmp.Compare(a.Pos.Line, b.Pos.Line))
	})
	if err := sorted(r.errors, whole); err != nil {
		return r, err
	}
	r.cfg.Stock = stockText(name, r.stock)
	return r, nil
}

// logAll finds the default of log_all_failures, which may stand below those who
// inherit it. A value that is wrong is told of when its block is read.
func logAll(nodes []node) (on bool) {
	for _, n := range nodes {
		for i := range n.block {
			if n.keyword == "global_defs" && n.block[i].keyword == "checker_log_all_failures" {
				new(reader).flag(&on)(&n.block[i])
			}
		}
	}
	return on
}

// read applies the rules to the nodes of a block. Of a keyword said twice the
// last counts, which is worth a warning unless it is one of a list.
func (r *reader) read(where string, nodes []node, rs rules) {
	said := make(map[string]block.Pos)
	for i := range nodes {
		n := &nodes[i]
		do, known := rs[n.keyword]
		if !known {
			r.unknown(n, slices.Collect(maps.Keys(rs)), where)
			continue
		}
		if before, again := said[n.keyword]; again && !n.isBlock() {
			r.warnf(n.pos, "%s is said again in %s: this line counts, not %s", n.keyword, where, before)
		}
		said[n.keyword] = n.pos
		do(n)
	}
}

// unknown warns of a keyword that is not in the grammar.
func (r *reader) unknown(n *node, words []string, where string) {
	if near := block.Nearest(n.keyword, words); near != "" {
		r.warnf(n.pos, "unknown keyword %s in %s is ignored: did you mean %s?", shown(n.keyword), where, near)
		return
	}
	r.warnf(n.pos, "unknown keyword %s in %s is ignored", shown(n.keyword), where)
}

func (r *reader) warnf(at block.Pos, format string, args ...any) {
	e := at.Errorf(format, args...)
	r.warnings = append(r.warnings, Warning{Pos: e.Pos, Text: e.Text})
}

func (r *reader) errorf(at block.Pos, format string, args ...any) {
	r.errors = append(r.errors, at.Errorf(format, args...))
}

// file is the grammar of the file itself.
func (r *reader) file() rules {
	rs := rules{
		"global_defs":          r.global,
		"SSL":                  r.block(r.tls()),
		"local_address_group":  r.group(r.localGroup),
		"deny_address_group":   r.group(r.listGroup(&r.cfg.Deny)),
		"allow_address_group":  r.group(r.listGroup(&r.cfg.Allow)),
		"tunnel_group":         r.group(r.tunnelGroup),
		"virtual_server_group": r.group(r.serverGroup),
		"virtual_server":       r.server,
		"vrrp_instance":        r.group(r.instance),
	}
	for word := range stockWords {
		if rs[word] == nil {
			rs[word] = r.hand
		}
	}
	for _, word := range stockLines {
		rs[word] = r.hand
	}
	return rs
}

// block reads the inside of a block that has no name.
func (r *reader) block(rs rules) rule {
	return func(n *node) {
		switch {
		case !n.isBlock():
			r.errorf(n.pos, "%s is a block: write \"%s { ... }\"", n.keyword, n.keyword)
		case len(n.args) > 0:
			r.errorf(n.pos, "block %s takes no name: remove %s", n.keyword, shown(n.args[0]))
		default:
			r.read(n.keyword, n.block, rs)
		}
	}
}

// group reads a block of the file that has a name, and each name once.
func (r *reader) group(read func(n *node, name string)) rule {
	return func(n *node) {
		switch {
		case len(n.args) != 1 || n.args[0] == "":
			r.errorf(n.pos, "%s needs one name: write \"%s NAME { ... }\"", n.keyword, n.keyword)
		case !n.isBlock():
			r.errorf(n.pos, "%s %s needs a block: write \"%s %s { ... }\"", n.keyword, shown(n.args[0]), n.keyword, shown(n.args[0]))
		default:
			key := n.keyword + " " + n.args[0]
			if before, again := r.named[key]; again {
				r.errorf(n.pos, "%s is there already at %s: give each a name of its own", shown(key), before)
				return
			}
			r.named[key] = n.pos
			read(n, n.args[0])
		}
	}
}

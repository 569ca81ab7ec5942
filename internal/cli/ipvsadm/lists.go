package ipvsadm

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// Black- and whitelists.

// listKinds tells which list a command is about.
var listKinds = map[verb]weirv1.AccessKind{
	cmdAddBlklst: weirv1.AccessKind_ACCESS_KIND_BLACKLIST,
	cmdDelBlklst: weirv1.AccessKind_ACCESS_KIND_BLACKLIST,
	cmdGetBlklst: weirv1.AccessKind_ACCESS_KIND_BLACKLIST,
	cmdAddWhtlst: weirv1.AccessKind_ACCESS_KIND_WHITELIST,
	cmdDelWhtlst: weirv1.AccessKind_ACCESS_KIND_WHITELIST,
	cmdGetWhtlst: weirv1.AccessKind_ACCESS_KIND_WHITELIST,
}

// setEntry reads an entry of a list, named as messages name it.
func (l *line) setEntry(list, arg string) error {
	if set, ok := strings.CutPrefix(arg, "ipset:"); ok && set != "" {
		l.needs("an ipset in a " + list)
		return nil
	}
	a, err := netip.ParseAddr(arg)
	if err != nil || a.Zone() != "" {
		return wrong("illegal %s entry format, require [ IP | ipset:NAME ]", list)
	}
	l.entry = a.String()
	return nil
}

func (l *line) setBlklst(arg string, _ bool) error { return l.setEntry("blacklist", arg) }

func (l *line) setWhtlst(arg string, _ bool) error { return l.setEntry("whitelist", arg) }

// access is the list that the line changes.
func (l *line) access() *weirv1.AccessList {
	return &weirv1.AccessList{Key: l.key(), Kind: listKinds[l.verb], Entries: []string{l.entry}}
}

// listAccess prints the blacklists or the whitelists of the services, or of one, in
// numbers.
func (env *Env) listAccess(ctx context.Context, l *line) error {
	answer, err := env.Client.ListAccess(ctx, connect.NewRequest(&weirv1.ListAccessRequest{Key: l.key(), Kind: listKinds[l.verb]}))
	if err != nil {
		return err
	}
	lists := answer.Msg.GetLists()
	slices.SortStableFunc(lists, func(a, b *weirv1.AccessList) int { return compareKeys(a.GetKey(), b.GetKey()) })
	numbers := namer{}
	title := "BLACKLIST"
	if listKinds[l.verb] == weirv1.AccessKind_ACCESS_KIND_WHITELIST {
		title = "WHITELIST"
	}
	var out sheet
	out.line("%-8s %-30s %-30s", "PROTO", "VIP:VPORT", title)
	for _, list := range lists {
		key := list.GetKey()
		for _, entry := range list.GetEntries() {
			out.line("%-8s %-30s %-30s", protoTitle(key.GetProtocol()), numbers.virtual(key), entry)
		}
	}
	return env.print(out.String())
}

// accessLines returns the lines that fill the lists of a service.
func accessLines(lists []*weirv1.AccessList) []string {
	var lines []string
	numbers := namer{}
	for _, list := range lists {
		key := list.GetKey()
		words := []string{"-U", serviceOption[key.GetProtocol()], numbers.endpoint(key.GetAddress(), key.GetPort(), ""), "-k"}
		if list.GetKind() == weirv1.AccessKind_ACCESS_KIND_WHITELIST {
			words[0], words[3] = "-O", "-2"
		}
		for _, entry := range list.GetEntries() {
			lines = append(lines, join(append(slices.Clip(words), entry)...))
		}
	}
	return lines
}

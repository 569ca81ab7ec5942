package dpip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

var addrCommands = []command{
	{names: []string{"show", "list"}, parse: parseAddrShow},
	{names: []string{"add"}, parse: parseAddrAdd},
	{names: []string{"set", "change", "replace"}, parse: parseAddrSet},
	{names: []string{"del", "delete"}, parse: parseAddrDel},
	{names: []string{"flush"}, parse: parseAddrFlush},
}

func parseAddrAdd(of family, words []string) (action, error) {
	return parseAddrPut("addr add", of, words, false)
}

func parseAddrSet(of family, words []string) (action, error) {
	return parseAddrPut("addr set", of, words, true)
}

func parseAddrPut(command string, of family, words []string, replace bool) (action, error) {
	a, _, err := parseAddress(command, of, words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.AddAddress(ctx, connect.NewRequest(&weirv1.AddAddressRequest{Address: a, Replace: replace}))
		return err
	}, nil
}

// parseAddrDel takes the same words as add, so that a script may turn one into
// the other; address and device name what is deleted, and the length if it is said.
func parseAddrDel(of family, words []string) (action, error) {
	a, said, err := parseAddress("addr del", of, words)
	if err != nil {
		return nil, err
	}
	if !said {
		a.Prefix, _, _ = strings.Cut(a.Prefix, "/")
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.DeleteAddress(ctx, connect.NewRequest(&weirv1.DeleteAddressRequest{Prefix: a.Prefix, Device: a.Device}))
		return err
	}, nil
}

// parseAddress reads
//
//	ADDR[/PLEN] dev D [broadcast A] [valid_lft LFT] [preferred_lft LFT] [scope S] [sapool]
//
// and reports whether PLEN was said. DPVS's own tool knows the lifetime only as
// "prefered_lft": both are taken.
func parseAddress(command string, of family, words []string) (_ *weirv1.Address, said bool, _ error) {
	var (
		a         weirv1.Address
		pfx       netip.Prefix
		broadcast netip.Addr
		scoped    bool
	)
	err := grammar{
		form: command + " ADDR[/PLEN] dev D [broadcast A] [valid_lft LFT] [preferred_lft LFT] [scope S] [sapool]",
		operand: func(arg string) (err error) {
			if pfx, said, err = prefix(arg); err != nil {
				return err
			}
			return unicast("ipaddress", pfx.Addr())
		},
		keywords: []keyword{
			key("dev", take(&a.Device, device)),
			key("broadcast", take(&broadcast, address)),
			key("valid_lft", takeLifetime(&a.ValidLft, "valid_lft")),
			{names: []string{"preferred_lft", "prefered_lft"}, value: takeLifetime(&a.PreferredLft, "preferred_lft")},
			key("scope", take(&a.Scope, func(arg string) (weirv1.Scope, error) {
				scoped = true
				return scope(arg, "host", "link", "global", "site")
			})),
			{names: []string{"sapool"}, flag: &a.Sapool},
		},
	}.parse(words)
	if err != nil {
		return nil, false, err
	}
	if !pfx.IsValid() {
		return nil, false, errors.New("missing IFADDR: give the address as ADDR[/PLEN]")
	}
	if err := of.check(pfx.Addr()); err != nil {
		return nil, false, err
	}
	if err := requireDevice(a.Device); err != nil {
		return nil, false, err
	}
	if !scoped && pfx.Addr().Is6() && pfx.Addr().IsLinkLocalUnicast() {
		a.Scope = weirv1.Scope_SCOPE_LINK
	}
	if err := checkBroadcast(pfx, broadcast); err != nil {
		return nil, false, err
	}
	if a.ValidLft != forever && (a.PreferredLft == forever || a.PreferredLft > a.ValidLft) {
		return nil, false, fmt.Errorf("preferred_lft %s is longer than valid_lft %d: give a shorter one",
			lifetime(a.PreferredLft), a.ValidLft)
	}
	a.Prefix = pfx.String()
	if broadcast.IsValid() {
		a.Broadcast = broadcast.String()
	}
	return &a, said, nil
}

// takeLifetime makes a keyword's parser of `forever` or seconds.
func takeLifetime(into *uint32, name string) func(string) error {
	return func(arg string) error {
		if arg == "forever" {
			*into = forever
			return nil
		}
		n, err := strconv.ParseUint(arg, 10, 32)
		if err != nil || n == 0 {
			return fmt.Errorf("invalid %s %q: give `forever' or seconds from 1 to 4294967295", name, arg)
		}
		*into = uint32(n)
		return nil
	}
}

// checkBroadcast refuses a broadcast address that is not that of pfx. A zero
// broadcast is none and always right.
func checkBroadcast(pfx netip.Prefix, broadcast netip.Addr) error {
	if !broadcast.IsValid() {
		return nil
	}
	if pfx.Addr().Is6() {
		return fmt.Errorf("invalid broadcast %s: IPv6 has none; leave it out", broadcast)
	}
	if pfx.Bits() > 30 {
		return fmt.Errorf("invalid broadcast %s: a /%d has no broadcast address; leave it out", broadcast, pfx.Bits())
	}
	if last := lastAddr(pfx); broadcast != last && broadcast != limitedBroadcast {
		return fmt.Errorf("invalid broadcast %s: that of %s is %s", broadcast, pfx.Masked(), last)
	}
	return nil
}

// lastAddr returns the last address of an IPv4 prefix: its broadcast address.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

func parseAddrFlush(of family, words []string) (action, error) {
	dev, err := parseFlush("addr flush dev D", words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.FlushAddresses(ctx, connect.NewRequest(&weirv1.FlushAddressesRequest{Device: dev, Family: uint32(of)}))
		return err
	}, nil
}

// parseFlush reads `dev D`, which must be there.
func parseFlush(form string, words []string) (dev string, err error) {
	g := grammar{form: form, keywords: []keyword{key("dev", take(&dev, device))}}
	if err := g.parse(words); err != nil {
		return "", err
	}
	return dev, requireDevice(dev)
}

// parseShow reads [dev D]; as in iproute2 the word dev may be left out.
func parseShow(form string, words []string) (dev string, err error) {
	only := func(arg string) (err error) {
		if dev != "" {
			return fmt.Errorf("two devices are given, %s and %q: leave one out", dev, arg)
		}
		dev, err = device(arg)
		return err
	}
	err = grammar{form: form, operand: only, keywords: []keyword{key("dev", only)}}.parse(words)
	return dev, err
}

func parseAddrShow(of family, words []string) (action, error) {
	dev, err := parseShow("addr show [dev D]", words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		addrs, err := s.dir.ListAddresses(ctx, connect.NewRequest(&weirv1.ListAddressesRequest{Device: dev, Kni: s.opts.verbose}))
		if err != nil {
			return err
		}
		links, err := s.dir.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{}))
		if err != nil {
			return err
		}
		for _, a := range inListingOrder(addrs.Msg.Addresses, links.Msg.Links) {
			// The link-local addresses that ports have by themselves would stand in every
			// listing.
			if of.shows(a.Prefix) && (!a.Automatic || of == inet6 || s.opts.verbose) {
				s.printAddress(a)
			}
		}
		return nil
	}, nil
}

// inListingOrder sorts addresses, which come in order of insertion, into that of
// the tutorial's listings: the port with the highest number first, and of a port
// the newest address first.
func inListingOrder(addrs []*weirv1.Address, links []*weirv1.Link) []*weirv1.Address {
	port := make(map[string]uint32, len(links))
	for _, l := range links {
		port[l.Name] = l.Number
	}
	sorted := slices.Clone(addrs)
	slices.Reverse(sorted)
	slices.SortStableFunc(sorted, func(a, b *weirv1.Address) int {
		return cmp.Or(cmp.Compare(port[b.Device], port[a.Device]), cmp.Compare(a.Device, b.Device))
	})
	return sorted
}

// printAddress prints an address in two lines:
//
//	inet 192.168.100.200/32 scope global dpdk0
//	     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0
//
// The word is inet6 for IPv6. An address that Linux has on the port's twin is marked
// (+kni), as groups are in DPVS.
func (s *session) printAddress(a *weirv1.Address) {
	mark := ""
	if a.Kni != "" {
		mark = " (+kni)"
	}
	s.printf("%s %s scope %s %s%s\n    ", familyWord(a.Prefix), a.Prefix, scopeName(a.Scope), a.Device, mark)
	if a.Broadcast != "" {
		s.printf("broadcast %s", a.Broadcast)
	}
	s.printf(" valid_lft %s preferred_lft %s", lifetime(a.ValidLft), lifetime(a.PreferredLft))
	if a.Sapool {
		s.printf(" sa_used %d sa_free %d sa_miss %d", a.SaUsed, a.SaFree, a.SaMiss)
	}
	s.printf("\n")
}

// lifetime returns a lifetime as it is written.
func lifetime(seconds uint32) string {
	if seconds == forever {
		return "forever"
	}
	return strconv.FormatUint(uint64(seconds), 10)
}

package rsagent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

// ErrNoTrust is what somebody hears who trusts nobody.
var ErrNoTrust = errors.New("say whose options are believed: --trust CIDR[,CIDR...], the directors' local addresses (`ipvsadm -G' lists them)")

// ParseTrust reads a list of prefixes, each with commas between them, in any number
// of arguments. An address alone means itself. The warnings are sentences about
// prefixes that are allowed and hardly meant.
func ParseTrust(args []string) (trust []netip.Prefix, warnings []string, err error) {
	for _, arg := range args {
		for s := range strings.SplitSeq(arg, ",") {
			p, err := parsePrefix(s)
			if err != nil {
				return nil, nil, fmt.Errorf("--trust: %w", err)
			}
			if p.Bits() == 0 {
				warnings = append(warnings, fmt.Sprintf(
					"--trust %s believes everybody: any host that reaches this server can say that it is any client", p))
			}
			if !slices.Contains(trust, p) {
				trust = append(trust, p)
			}
		}
	}
	if len(trust) == 0 {
		return nil, nil, ErrNoTrust
	}
	return trust, warnings, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, errors.New("an empty prefix: write CIDR[,CIDR...]")
	}
	if s == "any" || s == "all" {
		return netip.Prefix{}, fmt.Errorf("%q would believe everybody; whoever means that writes 0.0.0.0/0 and ::/0", s)
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%s has a zone: write the address alone", s)
		}
		if a.Is4In6() {
			return netip.Prefix{}, fmt.Errorf("%s is an IPv4 address in IPv6 clothes: write %s", s, a.Unmap())
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s is neither an address nor a prefix like 192.168.100.0/24 or fd00:100::/64", s)
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%s mixes the families: write the IPv4 prefix", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits set behind its length: write %s, or %s for the one address", s, p.Masked(), p.Addr())
	}
	return p, nil
}

// trustKey is the map's key of a prefix; see bpf/rs/trust.h.
func trustKey(p netip.Prefix) (k bpf.RSPrefix) {
	if p.Addr().Is4() {
		a := p.Addr().As4()
		k.Family, k.Length = unix.AF_INET, uint32(32+p.Bits())
		k.Addr.W[0] = binary.NativeEndian.Uint32(a[:])
		return k
	}
	a := p.Addr().As16()
	k.Family, k.Length = unix.AF_INET6, uint32(32+p.Bits())
	for i := range k.Addr.W {
		k.Addr.W[i] = binary.NativeEndian.Uint32(a[i*4:])
	}
	return k
}

// prefixOf is trustKey's way back.
func prefixOf(k bpf.RSPrefix) netip.Prefix {
	var a [16]byte
	for i, w := range k.Addr.W {
		binary.NativeEndian.PutUint32(a[i*4:], w)
	}
	if k.Family == unix.AF_INET {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(a[:4])), int(k.Length)-32)
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), int(k.Length)-32)
}

// readTrust lists who is trusted.
func readTrust(m *ebpf.Map) (trust []netip.Prefix, err error) {
	var k bpf.RSPrefix
	var v uint32
	entries := m.Iterate()
	for entries.Next(&k, &v) {
		trust = append(trust, prefixOf(k))
	}
	slices.SortFunc(trust, netip.Prefix.Compare)
	return trust, entries.Err()
}

// syncTrust makes the map's prefixes those wanted: first come the new, then the
// others go, so that who is trusted before and after is trusted all the time. It
// returns how many went.
func syncTrust(m *ebpf.Map, wanted []netip.Prefix) (gone int, err error) {
	have, err := readTrust(m)
	if err != nil {
		return 0, fmt.Errorf("read who is trusted: %w", err)
	}
	for _, p := range wanted {
		if err := m.Put(trustKey(p), uint32(1)); err != nil {
			return 0, fmt.Errorf("trust %s: %w", p, err)
		}
	}
	for _, p := range have {
		if slices.Contains(wanted, p) {
			continue
		}
		if err := m.Delete(trustKey(p)); err != nil {
			return gone, fmt.Errorf("trust %s no more: %w", p, err)
		}
		gone++
	}
	return gone, nil
}

// forgetUntrusted removes UDP flows of sources that are not trusted any more.
func forgetUntrusted(maps map[string]*ebpf.Map, trust []netip.Prefix) error {
	trusted := func(words [4]uint32) bool {
		a := addrOf(words)
		return slices.ContainsFunc(trust, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	var errs []error
	if m := maps[bpf.RSMapUoaClients]; m != nil {
		errs = append(errs, remove(m, func(k *bpf.RSFlowKey, _ *bpf.RSEntry) bool { return !trusted(k.Peer.W) }))
	}
	if m := maps[bpf.RSMapUoaReturns]; m != nil {
		errs = append(errs, remove(m, func(_ *bpf.RSClientKey, e *bpf.RSEntry) bool { return !trusted(e.Station.Addr.W) }))
	}
	return errors.Join(errs...)
}

// addrOf is an address of the programs' maps.
func addrOf(words [4]uint32) netip.Addr {
	var a [16]byte
	for i, w := range words {
		binary.NativeEndian.PutUint32(a[i*4:], w)
	}
	return netip.AddrFrom16(a).Unmap()
}

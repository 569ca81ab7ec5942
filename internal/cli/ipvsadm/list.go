package ipvsadm

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// ipvsVersion is what listings call the version of IPVS, as DPVS's do.
const ipvsVersion = "0.0.0"

// sheet collects lines; what a column's width leaves blank at the end is cut off.
type sheet struct{ strings.Builder }

func (s *sheet) line(format string, args ...any) {
	s.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " "))
	s.WriteByte('\n')
}

// listServices prints the services, or one of them, in one of the formats.
func (env *Env) listServices(ctx context.Context, l *line) error {
	answer, err := env.Client.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{Key: l.key()}))
	if err != nil {
		return err
	}
	services := answer.Msg.GetServices()
	if !l.given.has(optNosort) {
		sortServices(services)
	}
	names := namer{}
	if !l.given.has(optNumeric) {
		names.names = env.Names
		names.ask(ctx, addressesOf(services))
	}
	f := formatOf(l.given)
	var out sheet
	if l.key() == nil {
		out.line("IP Virtual Server version %s (size=0)", ipvsVersion)
	}
	f.title(&out)
	for _, s := range services {
		proto := protoWord(s.GetKey().GetProtocol())
		name := serviceName(s, &names)
		f.service(&out, name, s)
		for _, d := range s.GetDests() {
			f.dest(&out, names.endpoint(d.GetAddress(), d.GetPort(), proto), d)
		}
	}
	return env.print(out.String())
}

// serviceName is "TCP  10.0.0.100:80".
func serviceName(s *weirv1.Service, names *namer) string {
	key := s.GetKey()
	if key.GetMatch() != nil {
		return "MATCH " + matchName(key)
	}
	proto := protoWord(key.GetProtocol())
	return protoTitle(key.GetProtocol()) + "  " + names.endpoint(key.GetAddress(), key.GetPort(), proto)
}

// protoTitle is the protocol as listings of services write it.
func protoTitle(p weirv1.Protocol) string {
	if p == weirv1.Protocol_PROTOCOL_ICMPV6 {
		return "ICMPv6"
	}
	return strings.ToUpper(protoWord(p))
}

// addressesOf returns every address that a listing of services shows.
func addressesOf(services []*weirv1.Service) map[netip.Addr]bool {
	found := map[netip.Addr]bool{}
	note := func(text string) {
		if addr, err := netip.ParseAddr(text); err == nil {
			found[addr] = true
		}
	}
	for _, s := range services {
		note(s.GetKey().GetAddress())
		for _, d := range s.GetDests() {
			note(d.GetAddress())
		}
	}
	return found
}

// sortServices orders services by family, protocol, address and port, and their
// real servers by address and port.
func sortServices(services []*weirv1.Service) {
	slices.SortStableFunc(services, func(a, b *weirv1.Service) int {
		return compareKeys(a.GetKey(), b.GetKey())
	})
	for _, s := range services {
		slices.SortStableFunc(s.GetDests(), func(a, b *weirv1.Dest) int {
			return cmp.Or(
				addr(a.GetAddress()).Compare(addr(b.GetAddress())),
				cmp.Compare(a.GetPort(), b.GetPort()),
			)
		})
	}
}

// compareKeys orders services by family, protocol, address and port.
func compareKeys(a, b *weirv1.ServiceKey) int {
	x, y := addr(a.GetAddress()), addr(b.GetAddress())
	return cmp.Or(
		cmp.Compare(x.BitLen(), y.BitLen()),
		cmp.Compare(a.GetProtocol(), b.GetProtocol()),
		x.Compare(y),
		cmp.Compare(a.GetPort(), b.GetPort()),
	)
}

// addr is the address of text for sorting: the zero one, first of all, if it is none.
func addr(text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// forwardNames are the words of the Forward column.
var forwardNames = map[weirv1.Forward]string{
	weirv1.Forward_FORWARD_MASQ:    "Masq",
	weirv1.Forward_FORWARD_LOCAL:   "Local",
	weirv1.Forward_FORWARD_TUNNEL:  "Tunnel",
	weirv1.Forward_FORWARD_ROUTE:   "Route",
	weirv1.Forward_FORWARD_FULLNAT: "FullNat",
	weirv1.Forward_FORWARD_SNAT:    "SNAT",
}

// flags are what a service's line says behind its scheduler.
func flags(s *weirv1.Service) string {
	var b strings.Builder
	word := func(on bool, format string, args ...any) {
		if on {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	word(s.GetHashTarget() != "", "%s", s.GetHashTarget())
	word(s.GetPersistent() != 0, "persistent %d", s.GetPersistent())
	word(s.GetPersistent() != 0 && masked(s), "mask %s", s.GetPersistentMask())
	word(s.GetPe() != "", "pe %s", s.GetPe())
	word(s.GetOnePacket(), "ops")
	word(s.GetSynProxy(), "synproxy")
	word(s.GetConnTimeout() != 0, "conn-timeout %d", s.GetConnTimeout())
	word(s.GetProxyProtocol() != "", "pp%s", s.GetProxyProtocol())
	word(s.GetNoToa(), "notoa")
	word(s.GetUoa() != "", "uoa-%s", s.GetUoa())
	word(s.GetEndpointIndependent(), endpointIndependent)
	word(s.GetExpireQuiescent(), "expire-quiescent")
	word(s.GetQuic(), "quic")
	if len(s.GetDestCheck()) > 0 {
		var internal, external []string
		for _, check := range s.GetDestCheck() {
			if check == "default" || destCheckTimes.MatchString(check) {
				internal = append(internal, check)
			} else {
				external = append(external, check)
			}
		}
		word(true, "dest-check")
		word(len(internal) > 0, "internal:%s", strings.Join(internal, ","))
		word(len(external) > 0, "external:%s", strings.Join(external, ","))
	}
	return b.String()
}

// masked reports whether the service's persistence is by network rather than by address.
func masked(s *weirv1.Service) bool {
	mask := s.GetPersistentMask()
	return mask != "" && mask != "255.255.255.255" && mask != "128"
}

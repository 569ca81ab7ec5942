package service

import (
	"net/netip"
	"testing"

	"weir/internal/flow"
	"weir/internal/lb/sched"
	"weir/internal/spec"
)

// TestMatch: which service an outward packet is for; both families at once.
func TestMatch(t *testing.T) {
	at := func(s string) sched.Addr { return sched.AddrOf(netip.MustParseAddr(s)) }
	service := func(proto spec.Proto, srcFirst, srcLast, dstFirst, dstLast string, out uint16) *Service {
		return &Service{
			Key: spec.ServiceKey{Proto: proto, Match: spec.Match{Family: 4, Out: "x"}},
			Match: Matcher{
				Proto: uint8(proto), SrcFirst: at(srcFirst), SrcLast: at(srcLast), DstFirst: at(dstFirst), DstLast: at(dstLast),
				SrcPortLast: 65535, DstPortFirst: 0, DstPortLast: 1023, In: AnyPort, Out: out,
			},
		}
	}
	four := service(spec.TCP, "192.168.0.0", "192.168.0.255", "0.0.0.0", "255.255.255.255", 1)
	six := service(spec.TCP, "2001:db8:64::", "2001:db8:64::ffff", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1)
	echo := service(spec.ICMPv6, "2001:db8:64::", "2001:db8:64:0:ffff:ffff:ffff:ffff", "2001:db8:9::", "2001:db8:9:ffff:ffff:ffff:ffff:ffff", AnyPort)
	table := NewTable([]*Service{four, six, echo})
	if !table.Matching() {
		t.Fatal("there are no match services")
	}
	for _, row := range []struct {
		name     string
		proto    spec.Proto
		src, dst string
		dport    uint16
		out      uint16
		want     *Service
	}{
		{"IPv4", spec.TCP, "192.168.0.9", "8.8.8.8", 80, 1, four},
		{"IPv6", spec.TCP, "2001:db8:64::9", "2001:db8:8::8", 80, 1, six},
		{"IPv6, the last", spec.TCP, "2001:db8:64::ffff", "2001:db8:8::8", 80, 1, six},
		{"IPv6, behind the last", spec.TCP, "2001:db8:64::1:0", "2001:db8:8::8", 80, 1, nil},
		{"IPv6, before the first", spec.TCP, "2001:db8:63:ffff:ffff:ffff:ffff:ffff", "2001:db8:8::8", 80, 1, nil},
		{"IPv6, another port out", spec.TCP, "2001:db8:64::9", "2001:db8:8::8", 80, 2, nil},
		{"IPv6, a high port", spec.TCP, "2001:db8:64::9", "2001:db8:8::8", 1024, 1, nil},
		{"IPv6, UDP", spec.UDP, "2001:db8:64::9", "2001:db8:8::8", 80, 1, nil},
		{"echo", spec.ICMPv6, "2001:db8:64::1:0", "2001:db8:9::1", 0, 7, echo},
		{"echo elsewhere", spec.ICMPv6, "2001:db8:64::1:0", "2001:db8:a::", 0, 7, nil},
		{"echo of IPv4", spec.ICMP, "192.168.0.9", "8.8.8.8", 0, 1, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := table.Match(&Outward{
				Proto: uint8(row.proto), Src: flow.AddrOf(netip.MustParseAddr(row.src)), Dst: flow.AddrOf(netip.MustParseAddr(row.dst)),
				SrcPort: 7, DstPort: WirePort(row.dport), Out: row.out,
			})
			if got != row.want {
				t.Errorf("it is %v's", got)
			}
		})
	}
}

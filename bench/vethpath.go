package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// path is a way from generator to sink.
type path struct {
	name, text string
	flows      int // most it can carry; 0: no bound of its own
	set        func(context.Context, *course) error
	dst        netip.Addr   // where the generator sends to
	seen       netip.Prefix // source addresses at the sink
	short      bool         // the sink is at the director's end of the first cable
	frames     bool         // frames reach the sink as XDP sends them, not as skbs
}

var (
	clients = netip.MustParsePrefix("10.16.0.0/12")
	locals  = netip.MustParsePrefix("192.168.100.0/24")
	local   = netip.MustParseAddr("192.168.100.200") // the first of them

	lastLocal = netip.MustParseAddr("192.168.100.254")
)

// baseline is the generator and its cable alone.
var baseline = &path{
	name: "generator", text: "generator, cable, and an XDP program that drops",
	set: func(context.Context, *course) error { return nil }, dst: rip, seen: clients, short: true,
}

var allPaths = []*path{
	{name: "afxdp", text: "weir, full-NAT, driver afxdp", set: serving(variant{device: "driver afxdp", global: "offload off"}), dst: vip, seen: locals},
	{name: "afpacket", text: "weir, full-NAT, driver afpacket", set: serving(variant{device: "driver afpacket", global: "offload off"}), dst: vip, seen: locals},
	{name: "xdp", text: "weir, full-NAT, forwarded by XDP", set: serving(variant{device: "driver afxdp", global: "offload on"}), dst: vip, seen: locals, frames: true},
	{name: "forward", text: "Linux, IP forwarding", set: forwarding, dst: rip, seen: clients},
	{name: "nft", text: "Linux, nftables DNAT and masquerade", flows: masqueraded, set: translating, dst: vip, seen: locals},
}

func pathNames() (names []string) {
	for _, p := range allPaths {
		names = append(names, p.name)
	}
	return names
}

// serving has the real director serve a UDP service. All but the variant's lines is as
// it is without being said.
func serving(v variant) func(context.Context, *course) error {
	return func(ctx context.Context, n *course) error {
		if strings.Contains(v.device, "afpacket") {
			if err := n.receive(ctx); err != nil {
				return err
			}
		}
		if err := n.serve(ctx, v); err != nil {
			return err
		}
		service := fmt.Sprintf("-u %s:%d", vip, servicePort)
		script := fmt.Sprintf("dpip addr add %s/32 dev dpdk1\n", vip) +
			"dpip route add 10.0.0.0/16 dev dpdk1\n" +
			fmt.Sprintf("dpip route add default via %s dev dpdk1\n", gateway) +
			fmt.Sprintf("dpip route add %s dev dpdk0\n", locals) +
			fmt.Sprintf("dpip neigh add %s lladdr %s dev dpdk1\n", gateway, n.genMAC) +
			fmt.Sprintf("dpip neigh add %s lladdr %s dev dpdk0\n", rip, n.sinkMAC) +
			fmt.Sprintf("ipvsadm -A %s -s rr\n", service) +
			fmt.Sprintf("ipvsadm -a %s -r %s -b\n", service, rip)
		lip := local
		for range n.flows/masqueraded + 1 {
			script += fmt.Sprintf("ipvsadm --add-laddr -z %s %s -F dpdk0\n", lip, service)
			lip = lip.Next()
		}
		return n.script(ctx, script)
	}
}

// receive makes dpdk1 take frames as a network card hands them to Linux: in
// NAPI, GRO on. Without, veth would take none of the generator's.
func (n *course) receive(ctx context.Context) error {
	return n.linux(ctx, "ethtool", "-K", "dpdk1", "gro", "on")
}

// forwarding has Linux route.
func forwarding(ctx context.Context, n *course) error {
	if err := n.receive(ctx); err != nil {
		return err
	}
	if err := n.weir.Address("dpdk1", netip.PrefixFrom(vip, 16)); err != nil {
		return err
	}
	if err := n.weir.Address("dpdk0", netip.PrefixFrom(local, locals.Bits())); err != nil {
		return err
	}
	if err := n.weir.Route(netip.MustParsePrefix("0.0.0.0/0"), gateway); err != nil {
		return err
	}
	if err := n.neighbour(ctx, "dpdk1", gateway, n.genMAC); err != nil {
		return err
	}
	if err := n.neighbour(ctx, "dpdk0", rip, n.sinkMAC); err != nil {
		return err
	}
	return n.weir.WriteSysctl("ipv4/ip_forward", "1")
}

// translating has Linux do by connection tracking what the director does.
func translating(ctx context.Context, n *course) error {
	if err := forwarding(ctx, n); err != nil {
		return err
	}
	// As the director's: 300 s. After Linux's 30 s without an answer the flows would be gone
	// while others are measured.
	if err := n.weir.WriteSysctl("netfilter/nf_conntrack_udp_timeout", "300"); err != nil {
		return err
	}
	return n.translate(ctx, "udp dport "+strconv.Itoa(servicePort))
}

// translate has nftables send what comes to the VIP for some ports to the real server.
// Where one address is not enough for all flows, a range stands in the place of
// masquerade: but for the choice, which a flow's first packet makes, both do the same.
func (n *course) translate(ctx context.Context, ports string) error {
	hide := "masquerade"
	if n.flows > masqueraded {
		hide = "snat to " + local.String() + "-" + lastLocal.String()
	}
	return n.linux(ctx, "nft", "add table ip bench;"+
		"add chain ip bench pre { type nat hook prerouting priority dstnat; };"+
		"add chain ip bench post { type nat hook postrouting priority srcnat; };"+
		"add rule ip bench pre ip daddr "+vip.String()+" "+ports+" dnat to "+rip.String()+";"+
		"add rule ip bench post oifname dpdk0 "+hide)
}

package main

import (
	"context"
	"fmt"
	"net/netip"

	"weir/internal/flow"
)

// peer is a balancer: Weir in one of its variants, or what one would have in its place.
type peer struct {
	name, text string
	udp        *path // the way of datagrams; nil: it is a proxy of TCP
	web        func(context.Context, *webBed) error
	to         netip.Addr   // where the web's clients go
	worker     bool         // packets of open flows need processor 1
	fill       bool         // its memory is that of Weir's table,
	table      flow.Backing // which is in memory of this kind
	conntrack  bool         // its memory is that of the kernel's table, from the datagrams' run
	version    []string     // the command that says its version
	processes  int          // that it has when it is at work, where it is a proxy
}

// variants are the ways to run Weir. What is here is a row of the report.
var variants = []struct {
	name, text string
	variant
	frames bool         // established flows leave as XDP's frames: the sink takes those
	linux  bool         // Linux receives for it, as for who is Linux's own
	table  flow.Backing // what the flow table is in
}{
	{name: "weir-afxdp", text: "Weir, full-NAT, `driver afxdp`: its workers in Go by AF_XDP", variant: variant{device: "driver afxdp", global: "offload off"}},
	{name: "weir-afpacket", text: "Weir, full-NAT, `driver afpacket`: the same by packet sockets", variant: variant{device: "driver afpacket", global: "offload off"}, linux: true},
	{name: "weir-xdp", text: "Weir, full-NAT, `driver afxdp`, `offload on`: established flows by its XDP engine", variant: variant{device: "driver afxdp", global: "offload on"}, frames: true, table: flow.BPFArray},
}

// Those that others are compared with.
const forwardName, nftName, haproxyName, nginxName = "forward", "nft", "haproxy", "nginx"

// peersOf makes the list.
func peersOf() (list []*peer) {
	for _, v := range variants {
		list = append(list, &peer{
			name: v.name, text: v.text, to: vip, worker: !v.frames, fill: true, table: v.table,
			udp: &path{name: v.name, text: v.text, set: serving(v.variant), dst: vip, seen: locals, frames: v.frames},
			web: func(ctx context.Context, b *webBed) error {
				if v.linux {
					if err := b.receiveBoth(ctx); err != nil {
						return err
					}
				}
				return b.weirServes(ctx, v.variant)
			},
		})
	}
	return append(list,
		&peer{
			name: forwardName, text: "Linux, IP forwarding: balances nothing, the least that Linux's own way costs", to: rip,
			udp: &path{name: forwardName, set: forwarding, dst: rip, seen: clients},
			web: func(ctx context.Context, b *webBed) error { return b.linuxForwards(ctx) },
		},
		&peer{
			name: nftName, text: "Linux, nftables: DNAT and masquerade", to: vip, conntrack: true, version: []string{"nft", "--version"},
			udp: &path{name: nftName, set: translating, dst: vip, seen: locals},
			web: func(ctx context.Context, b *webBed) error { return b.linuxTranslates(ctx) },
		},
		&peer{
			name: haproxyName, text: "HAProxy, `mode tcp`, one thread", to: vip, processes: 1, version: []string{"haproxy", "-v"},
			web: func(ctx context.Context, b *webBed) error {
				return b.balancer(ctx, "haproxy.cfg", haproxyConf(), "haproxy", "-q", "-db", "-f")
			},
		},
		&peer{
			name: nginxName, text: "nginx, `stream`, one worker", to: vip, processes: 2, version: []string{"nginx", "-v"},
			web: func(ctx context.Context, b *webBed) error {
				return b.balancer(ctx, "nginx.conf", nginxConf(b.dir), "nginx", "-e", "stderr", "-p", b.dir, "-c")
			},
		},
	)
}

// proxied is how many connections a proxy may have, with two sockets each.
const proxied = heldConns + heldConns/2

func haproxyConf() string {
	text := fmt.Sprintf(`global
    nbthread 1
    cpu-map 1 %d
    maxconn %d
defaults
    mode tcp
    maxconn %[2]d
    timeout connect 5s
    timeout client 1m
    timeout server 1m
`, workerCPU, proxied)
	for _, port := range []int{webPort, iperfPort} {
		text += fmt.Sprintf("listen port%d\n    bind %s:%[1]d backlog 8192\n    server rs %[3]s:%[1]d\n", port, vip, rip)
	}
	return text
}

func nginxConf(dir string) string {
	text := fmt.Sprintf(`user root;
daemon off;
worker_processes 1;
worker_cpu_affinity %b;
worker_rlimit_nofile %d;
pid %s/nginx.pid;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
events {
    worker_connections %[2]d;
    multi_accept on;
}
stream {
`, 1<<workerCPU, 2*proxied, dir)
	for _, port := range []int{webPort, iperfPort} {
		text += fmt.Sprintf("    server { listen %s:%d backlog=8192; proxy_pass %s:%[2]d; }\n", vip, port, rip)
	}
	return text + "}\n"
}

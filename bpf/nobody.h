/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A part of forward.bpf.c: what becomes of a frame that it left to the workers, and for
 * whose queue there is no socket. The program outlives the director (docs/offload.md), so
 * that this may be because no director runs.
 *
 * What is for one of the director's addresses, or of one of its flows, is dropped and
 * counted: Linux knows neither, and would answer with a reset. All else is Linux's, as on
 * an interface that no director drives.
 */
#ifndef WEIR_NOBODY_H
#define WEIR_NOBODY_H

#define MAX_OWNED (1 << 16)

// The director's addresses, of either family (flow.Addr). The director writes it.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_OWNED);
	__type(key, struct weir_addr);
	__type(value, __u32);
} owned SEC(".maps");

// What came while there was no socket. Index: port.
struct nobody {
	__u64 dropped; // it was for the director
	__u64 passed;  // to Linux
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, struct nobody);
} nobody SEC(".maps");

static __always_inline int owned4(__u32 addr)
{
	struct weir_addr a = {.hi = 0, .lo = 0xffff0000ULL | (__u64)addr << 32};
	return bpf_map_lookup_elem(&owned, &a) != 0;
}

// owned6 looks for 16 bytes, of which the caller knows that they are there.
static __always_inline int owned6(void *at)
{
	struct weir_addr a = {
		.hi = *(__u32 *)at | (__u64)*(__u32 *)(at + 4) << 32,
		.lo = *(__u32 *)(at + 8) | (__u64)*(__u32 *)(at + 12) << 32,
	};
	return bpf_map_lookup_elem(&owned, &a) != 0;
}

// has_ports makes the key of what has ports, whatever else its header says.
static __always_inline int has_ports(struct packet *p, int six)
{
	void *l4 = p->l3 + (six ? 40 : 20);
	if ((p->proto != 6 && p->proto != 17 && p->proto != 132) || l4 + 4 > p->end)
		return 0;
	p->key1 = *(__u32 *)l4 | (__u64)p->proto << 32;
	p->hash = weir_hash(seed, p->key0, p->key1);
	return 1;
}

// for_director4 and for_director6 say whose an IP packet is.
static __always_inline int for_director4(struct packet *p)
{
	struct verdict v = {};
	if (p->l3 + 20 > p->end)
		return 0;
	if (owned4(*(__u32 *)(p->l3 + 16)))
		return 1;
	return ipv4(p) == TAKEN && has_ports(p, 0) && find4(p, &v) != NO_FLOW;
}

#define NEXT_ICMP6 58
#define NEIGHBOUR_SOLICITATION 135

static __always_inline int for_director6(struct packet *p)
{
	struct verdict v = {};
	void *ip = p->l3;
	if (ip + 40 > p->end)
		return 0;
	if (owned6(ip + 24))
		return 1;
	// It asks a group who has an address.
	if (*(__u8 *)(ip + 6) == NEXT_ICMP6 && ip + 64 <= p->end && *(__u8 *)(ip + 40) == NEIGHBOUR_SOLICITATION)
		return owned6(ip + 48);
	return ipv6(p) == TAKEN && has_ports(p, 1) && find6(p, &v) != NO_FLOW;
}

// for_director says whether a frame would have been the director's. The tag of a VLAN is
// no matter: it is the director's, whatever device it came by.
static __noinline int for_director(struct xdp_md *frame)
{
	void *data = (void *)(long)frame->data;
	struct packet p = {.end = (void *)(long)frame->data_end, .size = frame->data_end - frame->data, .l2 = ETH_HLEN};
	if (data + ETH_HLEN > p.end)
		return 0;
	p.kind = *(__u16 *)(data + 12);
	p.l3 = data + ETH_HLEN;
	if (p.kind == bpf_htons(ETH_P_8021Q) || p.kind == bpf_htons(ETH_P_8021AD)) {
		if (data + ETH_HLEN + 4 > p.end)
			return 0;
		p.kind = *(__u16 *)(data + 16);
		p.l3 = data + ETH_HLEN + 4;
		p.l2 = ETH_HLEN + 4;
	}
	if (p.kind == bpf_htons(ETH_P_IP))
		return for_director4(&p);
	if (p.kind == bpf_htons(ETH_P_IPV6))
		return for_director6(&p);
	if (p.kind == bpf_htons(ETH_P_ARP)) // it asks who has an address, or tells him
		return p.l3 + 28 <= p.end && owned4(*(__u32 *)(p.l3 + 24));
	return 0;
}

// Set where the program is shown frames on no interface (afxdp.Trial): it has no sockets
// there, and what it leaves is left to workers all the same.
const volatile __u32 trial = 0;

// has_socket says whether somebody takes what comes on the frame's queue.
static __always_inline int has_socket(struct xdp_md *frame)
{
	__u32 queue = frame->rx_queue_index;
	return trial || bpf_map_lookup_elem(&xsks, &queue) != 0;
}

// to_worker takes the frame to its queue's socket, or does what is to be done without.
static __always_inline int to_worker(struct xdp_md *frame)
{
	__u32 queue = frame->rx_queue_index, i = port;
	if (bpf_redirect_map(&xsks, queue, XDP_DROP) == XDP_REDIRECT)
		return XDP_REDIRECT;
	struct nobody *n = bpf_map_lookup_elem(&nobody, &i);
	if (!for_director(frame)) {
		if (n)
			__sync_fetch_and_add(&n->passed, 1);
		return XDP_PASS;
	}
	struct drops *d = bpf_map_lookup_elem(&drops, &queue);
	if (d)
		__sync_fetch_and_add(&d->no_socket, 1);
	if (n)
		__sync_fetch_and_add(&n->dropped, 1);
	return XDP_DROP;
}

#endif

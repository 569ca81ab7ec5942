/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A part of forward.bpf.c: the plain packet of an established flow, from the first byte of its
 * headers to the last in one look, as internal/worker/express.go takes it. Plain is: no tag where
 * it comes and where it goes, no padding, no options but a timestamp, and a packet that stays of
 * its family and as long as it is. Whatever is not so, or can't be done, is left as it came for
 * walk, which begins anew and knows why.
 *
 * What a packet costs is the number of instructions and little else. So all that is the same for
 * all packets lies in one line (struct lane), what can be asked at once is, and where it matters
 * the compiler is kept from what it thinks better.
 */
#ifndef WEIR_EXPRESS_H
#define WEIR_EXPRESS_H

// What the plain packets of a port need on one processor, which alone writes to it, but for what
// the director says. The loader makes one for each processor.
struct lane {
	__u64 jiffies; // the kernel's ticks when now was asked for; 0: never
	__u64 mac;     // as in struct rule, above 16 bits that are 0
	__u64 seed;
	__u32 now;     // our tick
	__u32 flags;   // as in struct rule
	__u32 tail;    // the last 4 bytes of the MAC, as on the wire
	__u32 homes, wide_homes;
	__u32 base;    // of the processor's counters of real servers
	__u64 pad[2];
	struct way_out {
		struct {
			__u64 packets, bytes; // of whole frames, which leave as long as they came
		} was[2];    // of IPv4, of IPv6
		__u32 sends; // one more than the port whose device untagged frames leave by; 0: none does
		__u32 pad[7];
	} to[MAX_PORTS]; // by port
};
_Static_assert(sizeof(struct lane) == 64 * (1 + MAX_PORTS), "size of struct lane");

struct lane lanes[1] SEC(".data.lanes") __attribute__((visibility("hidden")));

// KEEP has the compiler take a value as it is: it would do its arithmetic at each use, or with
// constants of 64 bits, which are instructions of their own.
#define KEEP(x) asm("" : "+r"(x))

// lane_of is a processor's, which is one of cpus.
static __always_inline struct lane *lane_of(__u32 cpu)
{
	struct lane *l = lanes;
	KEEP(l); // there are more than the compiler knows of
	return l + cpu;
}

// What the flags of a key are whose packets are plain: VALID and FAST, and REPLY or not.
#define EXPRESS_FLAGS (WEIR_FLAG_VALID | WEIR_FLAG_FAST)
#define EXPRESS_MASK (WEIR_KEY_MASK | (0xffULL << WEIR_FLAG_SHIFT & ~WEIR_FLAG_REPLY))

// less is moved in fewer steps: one checksum minus the other in ones' complement.
static __always_inline __u16 less(__u16 sum, __u16 delta)
{
	__u32 s = (__u32)sum - delta;
	return s - (s >> 31);
}

// less_never0 is less for what says by 0 that there is no checksum: it says 0xffff instead.
static __always_inline __u16 less_never0(__u16 sum, __u16 delta)
{
	__u32 s = (__u32)sum + (delta ^ 0xffff);
	return s + (s >> 16);
}

// fits4 checks an IPv4 header, whose first two bytes the caller has looked at, in a packet of so
// many bytes.
static __always_inline int fits4(void *ip, __u32 first, __u32 length)
{
	__u32 n = *(__u16 *)(ip + 2), w1 = *(__u32 *)(ip + 4), w2 = *(__u32 *)(ip + 8);
	__u64 sum = (__u64)first + n + w1 + w2 + *(__u32 *)(ip + 12) + *(__u32 *)(ip + 16);
	return bpf_ntohs(n) == length && !(w1 & (__u32)bpf_htons(0x3fff) << 16) && (w2 & 0xfe) && whole(sum);
}

// plain_tcp checks a TCP header: no FIN, SYN or RST, no options or a timestamp alone.
static __always_inline int plain_tcp(void *l4, void *end)
{
	if (l4 + 20 > end)
		return 0;
	__u32 bits = *(__u16 *)(l4 + 12) & 0x07f0; // length and flags
	return bits == 0x50 || (bits == 0x80 && l4 + 32 <= end && *(__u32 *)(l4 + 20) == bpf_htonl(0x0101080a));
}

// is_open reports whether a checksum is the pseudo-header's alone: see PARTIAL. The sum is of
// the addresses.
static __always_inline int is_open(void *l4, void *end, __u64 sum, __u8 proto, __u32 rest)
{
	if (l4 + 20 > end)
		return 1; // it is too short for most: ask walk
	return fold(sum + ((__u32)proto << 8) + bpf_htons(rest)) == (proto == 17 ? *(__u16 *)(l4 + 6) : *(__u16 *)(l4 + 16));
}

// express_out sends the packet of a half-flow on. The last that may fail comes before the first
// that is changed, and what was read of records is read again by then, as in load.
static __always_inline int express_out(void *data, void *end, __u64 size, struct weir_half *h, __u64 key1, struct lane *lane, const int six)
{
	__u32 ref = READ(h->next_hop), i = (__u16)ref;
	struct weir_next_hop *hop = bpf_map_lookup_elem(&hops, &i);
	if (!hop)
		return 0;
	i = lane->base | (READ(h->dest) & (MAX_DESTS - 1));
	struct served *served = bpf_map_lookup_elem(&dests, &i);
	if (!served)
		return 0;
	struct way_out *to = &lane->to[READ(hop->port) & (MAX_PORTS - 1)];
	__u32 sends = READ(to->sends);
	if (!sends || bpf_redirect_map(&devices, sends - 1, XDP_DROP) != XDP_REDIRECT)
		return 0;

	__u32 state = READ(hop->state);
	if ((state ^ ref) >> 16 || !(state & WEIR_HOP_RESOLVED))
		return 0;
	if (size > READ(hop->mtu) + ETH_HLEN) // what has no bound, too
		return 0;
	__u64 dst_src = READ(hop->dst_src);
	__u32 src_rest = READ(hop->src_rest);
	__u64 a, b, c, d;
	__u16 delta_ip;
	if (six) {
		struct weir_wide *w = (struct weir_wide *)h;
		a = READ(w->new_src.hi);
		b = READ(w->new_src.lo);
		c = READ(w->new_dst.hi);
		d = READ(w->new_dst.lo);
	} else {
		a = READ(h->new_addrs);
		delta_ip = READ(h->delta_ip);
	}
	__u32 ports = READ(h->new_ports);
	__u16 delta_l4 = READ(h->delta_l4);
	barrier();
	if (READ(h->key1) != key1 || READ(hop->state) != state)
		return 0;

	void *ip = data + ETH_HLEN, *l4 = ip + (six ? 40 : 20);
	*(__u64 *)data = dst_src;
	*(__u32 *)(data + 8) = src_rest;
	if (six) {
		*(__u8 *)(ip + 7) -= 1;
		*(__u64 *)(ip + 8) = a;
		*(__u64 *)(ip + 16) = b;
		*(__u64 *)(ip + 24) = c;
		*(__u64 *)(ip + 32) = d;
	} else {
		*(__u8 *)(ip + 8) -= 1;
		*(__u16 *)(ip + 10) = less(*(__u16 *)(ip + 10), delta_ip);
		*(__u64 *)(ip + 12) = a;
	}
	*(__u32 *)l4 = ports;
	__u32 bits = key1 >> 32;
	KEEP(bits);
	if ((bits & 0xff) == 17) {
		__u16 was = *(__u16 *)(l4 + 6);
		if (was)
			*(__u16 *)(l4 + 6) = less_never0(was, delta_l4);
	} else if (l4 + 20 <= end) {
		*(__u16 *)(l4 + 16) = less(*(__u16 *)(l4 + 16), delta_l4);
		if (bits & WEIR_FLAG_REPLY >> 32) { // see remember
			__u32 ack = bpf_ntohl(*(__u32 *)(l4 + 8)), n = *(__u8 *)(l4 + 12) >> 4 << 2;
			__u32 seq = bpf_ntohl(*(__u32 *)(l4 + 4)) + size - ETH_HLEN - (six ? 40 : 20) - n;
			if ((__s32)(seq - h->seq) > 0)
				h->seq = seq;
			if ((__s32)(ack - h->ack) > 0)
				h->ack = ack;
		}
	}

	__u32 now = lane->now, used = READ(hop->used);
	h->last = now;
	h->bytes += size - ETH_HLEN;
	if (used != now && (__s32)(now - used) > 0) // once in a tick
		hop->used = now;
	__u32 reply = bits / (WEIR_FLAG_REPLY >> 32) & 1;
	served->way[reply].packets++;
	served->way[reply].bytes += size - ETH_HLEN;
	to->was[six].packets++;
	to->was[six].bytes += size;
	return 1;
}

static __always_inline int express4(void *data, void *end, __u64 size, struct lane *lane, __u32 flags, __u32 kind)
{
	void *ip = data + ETH_HLEN, *l4 = ip + 20;
	if (!fits4(ip, kind >> 16, size - ETH_HLEN))
		return 0;
	__u64 proto = *(__u8 *)(ip + 9);
	if (proto == 17) {
		if (bpf_ntohs(*(__u16 *)(l4 + 4)) != (__u32)size - ETH_HLEN - 20)
			return 0;
	} else if (proto != 6 || !plain_tcp(l4, end)) {
		return 0;
	}
	if (flags & OPEN_SUM && is_open(l4, end, (__u64)*(__u32 *)(ip + 12) + *(__u32 *)(ip + 16), proto, size - ETH_HLEN - 20))
		return 0;
	__u64 key0 = *(__u64 *)(ip + 12), key1 = *(__u32 *)l4 | proto << 32;
	__u32 slot = weir_home(weir_hash(lane->seed, key0, key1), lane->homes);
	key1 |= EXPRESS_FLAGS;
#pragma unroll
	for (int n = 0; n < WEIR_PROBE_FAST; n++, slot++) {
		struct weir_half *h = bpf_map_lookup_elem(&halves, &slot);
		if (!h)
			return 0;
		__u64 found = READ(h->key1);
		if (!(((found ^ key1) & EXPRESS_MASK) | (READ(h->key0) ^ key0)))
			return express_out(data, end, size, h, found, lane, 0);
		if (found == 0)
			return 0;
	}
	return 0;
}

// express6 is express4 for IPv6. It is a function of its own, so that what it needs costs
// express4 no registers.
static __noinline int express6(struct xdp_md *frame, struct lane *lane, __u32 flags)
{
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	void *ip = data + ETH_HLEN, *l4 = ip + 40;
	if (l4 + 8 > end || *(__u8 *)(ip + 7) <= 1)
		return 0;
	__u64 size = end - data;
	KEEP(size);
	__u32 rest = size - ETH_HLEN - 40;
	if (bpf_ntohs(*(__u16 *)(ip + 4)) != rest)
		return 0;
	__u64 proto = *(__u8 *)(ip + 6);
	if (proto == 17) {
		if (bpf_ntohs(*(__u16 *)(l4 + 4)) != rest || *(__u16 *)(l4 + 6) == 0)
			return 0;
	} else if (proto != 6 || !plain_tcp(l4, end)) {
		return 0;
	}
	__u64 a = *(__u64 *)(ip + 8), b = *(__u64 *)(ip + 16), c = *(__u64 *)(ip + 24), d = *(__u64 *)(ip + 32);
	if (flags & OPEN_SUM) {
		__u64 sum = (a >> 32) + (b >> 32) + (c >> 32) + (d >> 32) + (__u32)a + (__u32)b + (__u32)c + (__u32)d;
		if (is_open(l4, end, sum, proto, rest))
			return 0;
	}
	__u64 key1 = *(__u32 *)l4 | proto << 32;
	__u32 slot = weir_home(weir_hash(lane->seed, weir_fold_words(lane->seed, a, b, c, d), key1), lane->wide_homes);
	key1 |= EXPRESS_FLAGS;
#pragma unroll
	for (int n = 0; n < WEIR_PROBE_FAST; n++, slot++) {
		struct weir_wide *w = bpf_map_lookup_elem(&wides, &slot);
		if (!w)
			return 0;
		__u64 found = READ(w->half.key1);
		if (!((found ^ key1) & EXPRESS_MASK) && READ(w->src.hi) == READ(*(__u64 *)(ip + 8)) && READ(w->src.lo) == READ(*(__u64 *)(ip + 16)) &&
		    READ(w->dst.hi) == READ(*(__u64 *)(ip + 24)) && READ(w->dst.lo) == READ(*(__u64 *)(ip + 32)))
			return express_out(data, end, size, &w->half, found, lane, 1);
		if (found == 0)
			return 0;
	}
	return 0;
}

// express forwards the frame if it is a plain packet, and returns whether it did.
static __always_inline int express(struct xdp_md *frame, struct lane *lane, __u32 flags)
{
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	if (data + ETH_HLEN + 20 + 8 > end)
		return 0;
	if (*(__u64 *)data << 16 != lane->mac || *(__u32 *)(data + 8) == lane->tail) // of our own the bytes before need no look
		return 0;
	__u64 size = end - data;
	KEEP(size); // a number from here on, and no pointers
	__u64 jiffies = bpf_jiffies64();
	if (lane->jiffies != jiffies) {
		lane->now = bpf_ktime_get_coarse_ns() >> 20;
		lane->jiffies = jiffies;
	}
	__u32 kind = *(__u32 *)(data + 12);
	if (size > room) // see fits_socket
		return 0;
	if ((kind & 0xffffff) == (bpf_htons(ETH_P_IP) | 0x45 << 16))
		return express4(data, end, size, lane, flags, kind);
	if ((kind & 0xf0ffff) == (bpf_htons(ETH_P_IPV6) | 0x60 << 16))
		return express6(frame, lane, flags);
	return 0;
}

#endif

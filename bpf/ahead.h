/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * A part of forward.bpf.c as it is for veth: frames that wait in the driver's ring are looked
 * at ahead of their turn.
 *
 * With more flows than a cache holds each packet waits for its half-flow's line, some hundreds
 * of ns, and XDP shows a program one frame at a time. But on veth the frames that come next lie
 * in a ring of pointers, which a program may read. So with one frame in LOOK the program reads
 * the headers of the next LOOK, and then one word of each one's half-flow, on which nothing
 * depends: the processor waits for all of them at once.
 *
 * It decides nothing and changes nothing, and whoever does not run it forwards the same. What it
 * reads of the ring may be anything, if another processor or another kernel does with it what
 * is not foreseen: then it calls in a line that nobody needs. Reads through bpf_rdonly_cast
 * can't fault.
 *
 * Frames alone are looked at. Among them are all that another XDP program sent; what a socket or
 * Linux's own forwarding sent comes as sk_buffs, one at a time for the most part.
 *
 * Needs Linux 6.2 (the kfuncs) with its types and veth's (CONFIG_DEBUG_INFO_BTF): afxdp/ahead.go.
 */
#ifndef WEIR_AHEAD_H
#define WEIR_AHEAD_H

#include <bpf/bpf_core_read.h>

void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
void *bpf_rdonly_cast(const void *at, __u32 type) __ksym;

// How far struct veth_rq has its xdp_ring behind its xdp_rxq, in bytes. The loader knows: veth
// may be a module, with types of its own.
const volatile __s32 ring_behind = 0;

#define LOOK 8
#define MAX_CPUS 256

// What is read of the kernel's own records. Where it lies, the kernel says.
struct xdp_rxq_info {
	__u32 queue_index;
} __attribute__((preserve_access_index));
struct xdp_buff {
	struct xdp_rxq_info *rxq;
} __attribute__((preserve_access_index));
struct xdp_frame {
	void *data;
} __attribute__((preserve_access_index));
struct ptr_ring {
	int consumer_head, size;
	void **queue;
} __attribute__((preserve_access_index));

#define AS(type, at) ((struct type *)bpf_rdonly_cast((void *)(at), bpf_core_type_id_kernel(struct type)))

// bpf_rdonly_cast wants a record of the kernel, and this one is bytes and nothing else.
struct new_utsname {
	__u8 bytes[65];
};

static __always_inline __u64 word(const struct new_utsname *at, __u32 offset) { return *(__u64 *)&at->bytes[offset]; }

// In a pointer of the ring: it is one to an xdp_frame (VETH_XDP_FLAG).
#define IS_FRAME 1

// A slot that is none.
#define NO_SLOT (~0U)

static __always_inline __u32 home4(const struct new_utsname *at, __u32 l3)
{
	__u64 key0 = word(at, l3 + 12);
	__u64 key1 = (word(at, l3 + 20) & 0xffffffff) | (word(at, l3 + 8) >> 8 & 0xff) << 32;
	return weir_home(weir_hash(seed, key0, key1), homes);
}

static __always_inline __u32 home6(const struct new_utsname *at, __u32 l3)
{
	__u64 key0 = weir_fold_words(seed, word(at, l3 + 8), word(at, l3 + 16), word(at, l3 + 24), word(at, l3 + 32));
	__u64 key1 = (word(at, l3 + 40) & 0xffffffff) | (word(at, l3 + 6) & 0xff) << 32;
	return weir_home(weir_hash(seed, key0, key1), wide_homes) | WEIR_WIDE_BIT;
}

// home_of is where the search for a frame's half-flow begins, with WEIR_WIDE_BIT if it is of
// IPv6. Whether it is a packet at all, and how long, is asked when its turn comes: a line for
// nothing costs less.
static __always_inline __u32 home_of(__u64 frame)
{
	const struct new_utsname *at = AS(new_utsname, (__u64)AS(xdp_frame, frame)->data + 12);
	__u64 kinds = word(at, 0);
	__u16 kind = kinds, tagged = kinds >> 32;
	if (kind == bpf_htons(ETH_P_IP))
		return home4(at, 2);
	if (kind == bpf_htons(ETH_P_IPV6))
		return home6(at, 2);
	if (kind != bpf_htons(ETH_P_8021Q) && kind != bpf_htons(ETH_P_8021AD))
		return NO_SLOT;
	if (tagged == bpf_htons(ETH_P_IP))
		return home4(at, 6);
	if (tagged == bpf_htons(ETH_P_IPV6))
		return home6(at, 6);
	return NO_SLOT;
}

// call_in reads a word of each line of a half-flow, and returns 1 if one lives there.
static __always_inline int call_in(__u32 slot)
{
	if (slot & WEIR_WIDE_BIT) {
		slot &= ~WEIR_WIDE_BIT;
		struct weir_wide *w = bpf_map_lookup_elem(&wides, &slot);
		if (!w) // NO_SLOT
			return 0;
		READ(w->new_src.hi);
		return READ(w->half.key1) / WEIR_FLAG_VALID & 1;
	}
	struct weir_half *h = bpf_map_lookup_elem(&halves, &slot);
	return h ? READ(h->key1) / WEIR_FLAG_VALID & 1 : 0;
}

// Where the next look is due in the ring, by processor: what was looked at ends there. One that
// serves more than one of the port's queues looks too often or too seldom.
static struct {
	__u32 place;
	__u32 pad[15]; // a line of its own
} due[MAX_CPUS];

// look_at looks at the frames that lie in the ring from a place on, LOOK of them at most. It
// returns how many they are, and above that, from bit 16 on, for how many there is a half-flow
// where the search for theirs begins. Lines are called in when all slots are known: what is
// between two of them would keep the processor from coming to the second while it waits for
// the first.
static __noinline __u32 look_at(__u64 queue, __u32 place, __u32 size)
{
	__u32 slots[LOOK];
	__u32 n, found = 0;
#pragma nounroll
	for (n = 0; n < LOOK; n++) {
		__u64 frame = word(AS(new_utsname, queue + 8 * (__u64)place), 0);
		if (!frame)
			break;
		slots[n] = frame & IS_FRAME ? home_of(frame - IS_FRAME) : NO_SLOT;
		if (++place >= size)
			place = 0;
	}
#pragma nounroll
	for (__u32 i = 0; i < LOOK; i++) {
		if (i >= n)
			break;
		found += call_in(slots[i]);
	}
	return n | found << 16;
}

// look_ahead looks at what comes after this frame, if nobody did. The ring's consumer stands
// behind this frame already; what it took is behind it, and places in which nothing lies are 0.
static __always_inline void look_ahead(struct xdp_md *frame, __u32 flags, __u32 cpu)
{
	if (!(flags & AHEAD))
		return;
	struct xdp_buff *x = bpf_cast_to_kern_ctx(frame);
	struct ptr_ring *ring = AS(ptr_ring, (void *)x->rxq + ring_behind);
	__u32 head = ring->consumer_head, size = ring->size;
	__u32 *place = &due[cpu & (MAX_CPUS - 1)].place;
	__u32 looked = *place - head; // how many from here on were looked at
	if ((__s32)looked < 0)
		looked += size;
	if (looked - 1 < LOOK) // were it more, the place would be of another time
		return;
	__u32 said = look_at((__u64)ring->queue, head, size), n = (__u16)said;
	head += n ? n : 1; // what comes next is not there yet
	*place = head < size ? head : head - size;
	__u32 i = cpu << 6 | port;
	struct passed *p = bpf_map_lookup_elem(&passed, &i);
	if (p)
		p->ahead += said >> 16;
}

#endif

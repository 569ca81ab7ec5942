//go:build ignore

// What a benchmark runs in front of the forwarding program (forward.bpf.c), by
// BPF_PROG_RUN, which keeps one packet: it makes that the next flow's, as it was, and
// goes on with the program in next[0]. No part of the director.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "Dual MIT/GPL";

#define FRAME 60 // bytes

// Orders, and where it is.
__u64 model[8];      // the frame; what changes from flow to flow is made anew
__u32 flows = 1;     // a power of two if they are to come in a random order
__u32 random = 0;    // visit them in a random order
__u32 flow = 0;      // the next one
__u32 bare_ip = 0;   // complements of the checksums without source address and port
__u32 bare_l4 = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

static __always_inline __u16 folded(__u32 s)
{
	s = (s & 0xffff) + (s >> 16);
	return ~(s + (s >> 16));
}

SEC("xdp")
int cycle(struct xdp_md *frame)
{
	void *data = (void *)(long)frame->data, *end = (void *)(long)frame->data_end;
	if (data + FRAME > end)
		return XDP_ABORTED;
	__u32 i = flow;
	if (random)
		flow = (i * 1664525 + 1013904223) & (flows - 1); // of full period (Hull and Dobell)
	else
		flow = i + 1 == flows ? 0 : i + 1;
	// In the pieces in which the program reads them: a load from two stores that are on
	// their way waits for both, which no frame of a driver makes anybody do.
	__u8 *m = (__u8 *)model;
	__u32 src = bpf_htonl(0x0a100000 | (i & 0xfffff)); // 10.16.0.0/12
	__u16 sport = bpf_htons(1024 + (i >> 20));
	__u32 s = (src & 0xffff) + (src >> 16);
	*(__u64 *)data = *(__u64 *)m;
	*(__u32 *)(data + 8) = *(__u32 *)(m + 8);
	*(__u32 *)(data + 12) = *(__u32 *)(m + 12);
	*(__u16 *)(data + 16) = *(__u16 *)(m + 16);
	*(__u32 *)(data + 18) = *(__u32 *)(m + 18);
	*(__u32 *)(data + 22) = *(__u16 *)(m + 22) | (__u32)folded(bare_ip + s) << 16;
	*(__u64 *)(data + 26) = src | (__u64)*(__u32 *)(m + 30) << 32;
	*(__u32 *)(data + 34) = sport | (__u32)*(__u16 *)(m + 36) << 16;
	*(__u16 *)(data + 38) = *(__u16 *)(m + 38);
	*(__u16 *)(data + 40) = folded(bare_l4 + s + sport);
	bpf_tail_call(frame, &next, 0);
	return XDP_ABORTED;
}

// nothing stands for the forwarding program: what is left is the harness.
SEC("xdp")
int nothing(struct xdp_md *frame)
{
	return XDP_REDIRECT;
}

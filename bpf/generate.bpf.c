//go:build ignore

// The two ends of a benchmark on veth: `generate` makes datagrams, `sink` counts
// and drops what became of them. No part of the director.
//
// generate is run by BPF_PROG_RUN in live-frame mode, which gives it the same few
// pages over and over, with whatever the last receiver wrote into them. So it writes
// the whole header each time. Its frames are like those of a driver with XDP.
//
// With a window, it holds back while that many frames are on their way, so that
// nothing overflows; the time it spends waiting is counted, to be taken off its
// processor time.
//
// With an interval it sends one frame in so many ns, whatever becomes of them, and
// writes the time into each; the sink counts how long they were on their way. Where it was away
// for longer than it catches up with, as when another program had the processor, it counts for how
// long: frames that were due then would have waited until it was back, whoever's they are.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "Dual MIT/GPL";

// The verdict is not in the headers of older distributions.
#define TCX_DROP 2

#define FRAME 60               // bytes, without the wire's checksum
#define CHUNK 64               // frames between two looks at the window
#define SPINS 64               // looks in one run: softirqs wait until we leave
#define FORGET 50000000      // ns without progress after which what is on its way is lost
#define PROBE 1024             // one frame in so many has its checksums verified
#define CLIENTS 0x0a100000     // 10.16.0.0/12
#define CLIENT_MASK 0xfffff
#define CLIENT_PORT 1024
#define STAMP 44               // where the time lies in a frame, in two halves
#define LATE 64                // intervals that the generator catches up with at most
#define DELAYS 1024            // classes of delays: 16 to a power of two

// Orders.
__u8 model[64];   // the frame, with source address and port 0
__u32 out = 0;    // interface index
__u32 flows = 1;
__u32 window = 0; // frames; 0: none, send as fast as can be
__u32 stop = 1;
__u64 interval = 0; // ns between two frames; 0: no such pace
__u32 anew = 0;     // until the next frame: what was due before is not late
__u32 want_dst = 0; // as on the wire: what the sink counts
__u32 want_src = 0; // and want_src of its source under src_mask
__u32 src_mask = 0;
__u16 want_port = 0;

// What the generator did. Each side has cache lines of its own.
struct sent {
	__u64 frames;
	__u64 waited;    // ns
	__u64 forgotten; // frames that the window waits for no more
	__u64 since;     // ns: waiting since then; 0: not
	__u64 next;      // ns: when the next frame is due, with an interval
	__u32 flow;      // of the next frame
	__u8 pad[84];
} __attribute__((aligned(128))) sent;

// What the sink saw.
struct sunk {
	__u64 frames;
	__u64 others; // not what was wanted
	__u64 bad;    // wrong checksum
	__u8 pad[104];
} __attribute__((aligned(128))) sunk;

// How many frames were on their way how long, and how often the generator was away for how
// long; see class.
__u64 delays[DELAYS];
__u64 away[DELAYS];

// class tells the class of a delay in ns: below 16 they are themselves, above it
// each power of two has 16.
static __always_inline __u32 class(__u64 ns)
{
	__u32 power = 4;

	if (ns >> 40)
		return DELAYS - 1;
	if (ns < 16)
		return ns;
	if (ns >> (power + 16))
		power += 16;
	if (ns >> (power + 8))
		power += 8;
	if (ns >> (power + 4))
		power += 4;
	if (ns >> (power + 2))
		power += 2;
	if (ns >> (power + 1))
		power += 1;
	return (power - 3) * 16 + ((ns >> (power - 4)) & 15);
}

// early reports whether the next frame is not due yet.
static __always_inline int early(__u64 now)
{
	if (now < sent.next)
		return 1;
	if (anew || now - sent.next > LATE * interval) {
		if (!anew)
			away[class(now - sent.next) % DELAYS]++;
		sent.next = now;
		anew = 0;
	}
	sent.next += interval;
	return 0;
}

// full reports whether the window has no room for another chunk.
static __always_inline int full(void)
{
	__u64 away = sent.frames - *(volatile __u64 *)&sunk.frames;

	if (sent.forgotten > away)
		sent.forgotten = away; // they were late, not lost
	return away - sent.forgotten + CHUNK > window;
}

// held waits for room in the window, a little; it reports whether there is none.
static __always_inline int held(void)
{
	__u64 begun, now;
	int i;

	if (*(volatile __u32 *)&stop)
		return 1;
	if (!window || !full())
		return 0;
	begun = now = bpf_ktime_get_ns();
	if (!sent.since)
		sent.since = begun;
	for (i = 0; i < SPINS && full(); i++)
		now = bpf_ktime_get_ns();
	sent.waited += now - begun;
	if (full()) {
		if (now - sent.since < FORGET)
			return 1;
		sent.forgotten = sent.frames - sunk.frames;
	}
	sent.since = 0;
	return 0;
}

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u8 *d = (void *)(long)ctx->data;
	__u64 *to = (void *)d, *from = (void *)model;
	__u32 address, flow, sum;
	__u16 port, check;
	__u64 now = 0;

	if (d + FRAME > (__u8 *)(long)ctx->data_end)
		return XDP_DROP;
	if (sent.frames % CHUNK == 0 && held())
		return XDP_DROP;
	if (interval) {
		now = bpf_ktime_get_ns();
		if (*(volatile __u32 *)&stop || early(now))
			return XDP_DROP;
	}
	flow = sent.flow;
	sent.flow = flow + 1 < flows ? flow + 1 : 0;
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
	to[4] = from[4];
	address = bpf_htonl(CLIENTS + (flow & CLIENT_MASK));
	port = bpf_htons(CLIENT_PORT + flow / (CLIENT_MASK + 1));
	*(__u32 *)(d + 26) = address;
	*(__u16 *)(d + 34) = port;
	sum = (address & 0xffff) + (address >> 16);
	*(__u16 *)(d + 24) = ~folded((__u16) ~*(__u16 *)(model + 24) + sum);
	if (now) {
		*(__u32 *)(d + STAMP) = now;
		*(__u32 *)(d + STAMP + 4) = now >> 32;
		sum += (now & 0xffff) + (now >> 16 & 0xffff) + (now >> 32 & 0xffff) + (now >> 48);
	}
	check = ~folded((__u16) ~*(__u16 *)(model + 40) + sum + port);
	*(__u16 *)(d + 40) = check ? check : 0xffff; // 0 would say: none
	sent.frames++;
	return bpf_redirect(out, 0);
}

// sound verifies both checksums.
static __always_inline int sound(__u8 *d)
{
	__u16 *ip = (void *)(d + 14), *udp = (void *)(d + 26);
	__u32 header = 0, datagram = bpf_htons(17) + *(__u16 *)(d + 38);
	int i;

#pragma unroll
	for (i = 0; i < 10; i++)
		header += ip[i];
#pragma unroll
	for (i = 0; i < (FRAME - 26) / 2; i++)
		datagram += udp[i];
	return folded(header) == 0xffff && folded(datagram) == 0xffff;
}

// count counts a frame that is about to be dropped.
static __always_inline void count(__u8 *d, __u8 *end)
{
	if (d + FRAME > end || *(__u16 *)(d + 12) != bpf_htons(0x0800) || d[23] != 17 ||
	    *(__u32 *)(d + 30) != want_dst || (*(__u32 *)(d + 26) & src_mask) != want_src || *(__u16 *)(d + 36) != want_port) {
		sunk.others++;
		return;
	}
	// One queue, so one processor at a time.
	if (sunk.frames % PROBE == 0 && !sound(d))
		sunk.bad++;
	sunk.frames++;
	if (interval) {
		__u64 then = *(__u32 *)(d + STAMP) | (__u64) * (__u32 *)(d + STAMP + 4) << 32;

		delays[class(bpf_ktime_get_ns() - then) % DELAYS]++;
	}
}

// sink ends frames behind a cable whose other end sends skbs: XDP would first copy
// each into a page.
SEC("tcx/ingress")
int sink(struct __sk_buff *frame)
{
	count((void *)(long)frame->data, (void *)(long)frame->data_end);
	return TCX_DROP;
}

// swallow ends frames behind the generator's own cable.
SEC("xdp")
int swallow(struct xdp_md *frame)
{
	count((void *)(long)frame->data, (void *)(long)frame->data_end);
	return XDP_DROP;
}

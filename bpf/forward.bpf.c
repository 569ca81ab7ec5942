//go:build ignore

// The second engine: forwards, in the driver, the plain packets of established
// half-flows, out of the table that the workers write (flow.h, docs/flow-table.md).
// All else goes to the director's sockets, unchanged, as if this were not here
// (socket.h); nobody.h says what becomes of it while there are none.
//
// It inserts nothing, decides nothing and waits for nobody. What it forwards leaves
// byte for byte as the workers would have sent it: internal/ether, internal/ip and
// internal/lb say the same in Go, and a test compares the two.
//
// The file is in the order in which a frame meets its functions. Each of them returns
// why the frame is not this engine's, TAKEN to go on.
//
// Needs Linux 5.11 (bpf_ktime_get_coarse_ns) and a little-endian machine on which
// loads stay in order (amd64): see load.

#include "socket.h"

#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include "flow.h"

char _license[] SEC("license") = "Dual MIT/GPL";

#define READ(x) (*(const volatile typeof(x) *)&(x))
#define barrier() asm volatile("" ::: "memory")

// Why a frame went to the workers. afxdp/engine.go has their names and what an
// operator should know of them.
enum why {
	TAKEN,
	LINK,     // no IPv4 or IPv6 for the port's own MAC, or a tag nobody has a device for
	HEADER,   // IP options, extension headers, a fragment, malformed
	PROTO,    // neither TCP nor UDP
	FLAGS,    // a SYN, FIN or RST, or TCP options that ask for a look
	PARTIAL,  // a checksum that its sender left open
	NO_FLOW,  // of no flow: a first packet, or none of ours
	SLOW,     // its flow's packets are for the workers: not FAST
	MODE,     // its flow's way of forwarding is for the workers
	CHANGED,  // its record changed while it was read
	NEXT_HOP, // the route is to be looked up anew, or the neighbour is not known
	PORT,     // its way out takes no frames from here
	HOPS,     // TTL or hop limit ran out
	SIZE,     // longer than its way takes
	ROOM,     // no room in front of it for a longer header
	REASONS,
};

// What the loader knows when it loads: the table's, and the port this is attached to.
const volatile __u32 homes = 0;      // weir_header.homes
const volatile __u32 wide_homes = 0; // weir_header.wide_homes
const volatile __u64 seed = 0;  // of the hash
const volatile __u32 port = 0;  // the number of the port
const volatile __u32 cpus = 1;  // how many have counters

#define MAX_PORTS 64
#define MAX_DESTS (1 << 16)
#define MAX_HOPS (1 << 16)

// The flow table. The loader puts the director's maps in the place of these.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_header);
} header SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_half);
} halves SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weir_wide);
} wides SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_HOPS);
	__type(key, __u32);
	__type(value, struct weir_next_hop);
} hops SEC(".maps");

// What is known of a port. The director writes it, and may at any time.
#define TAKES 1    // its frames are looked at
#define SENDS 2    // frames may leave by it
#define OPEN_SUM 4 // frames may come whose checksum their sender left open
#define AHEAD 8    // flows are more than a cache holds: see ahead.h
struct rule {
	__u64 mac;   // its own, the first byte lowest
	__u32 flags; // TAKES, SENDS, OPEN_SUM, AHEAD
	__u32 link;  // the port whose device its frames leave by: a VLAN's link, or itself
	__u32 tag;   // of a VLAN: what stands in its frames after the MACs, as on the wire; else 0
	__u32 pad[11];
};

// By port. One value of a map, which costs no lookup. The loader puts the engine's in its place.
struct rule rules[MAX_PORTS] SEC(".data.rules") __attribute__((visibility("hidden")));

// The ports of VLANs by link and tag: link << 32 | the tag as it lies on the wire,
// priority bits 0.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u64);
	__type(value, __u32);
} vlans SEC(".maps");

// The interfaces of the ports that have one.
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, MAX_PORTS);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

// What was forwarded from one port to another, by processor: nobody else writes
// there. Index: cpu << 14 | family << 12 | in << 6 | out; family is 1 of what came as
// IPv6, and 2 of what left as IPv6. The loader sets the size.
struct way {
	__u64 packets;
	__u64 rx_bytes, tx_bytes; // of whole frames
	__u64 clock;              // of the latest: the kernel's tick (jiffies) << 32 | ours
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

// What real servers got, and what came from them. Index: cpu << 16 | real server.
struct served {
	struct {
		__u64 packets, bytes; // bytes from the IP header on
	} way[2]; // toward the real server, from it
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct served);
} dests SEC(".maps");

// Why frames went to the workers. Index: cpu << 6 | port.
struct passed {
	__u64 why[REASONS];
	__u64 ahead; // and for how many frames a half-flow was called in ahead of their turn (ahead.h)
};
_Static_assert(sizeof(struct passed) == 128, "size of struct passed");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct passed);
} passed SEC(".maps");

// What becomes of a packet (forward.How).
enum how {
	SAME4, // IPv4 stays IPv4
	SAME6, // IPv6 stays IPv6
	TO4,   // IPv6 becomes IPv4
	TO6,   // IPv4 becomes IPv6
	IN4,   // goes as it is into an IPv4 packet: IPv4,
	IN4OF6, // or IPv6
	IN6,   // IPv6 goes as it is into an IPv6 packet
};

#define FROM6(how) ((how) == SAME6 || (how) == TO4 || (how) == IN4OF6 || (how) == IN6)
#define LEAVES6(how) ((how) == SAME6 || (how) == TO6 || (how) == IN6)

// GROWS is by how many bytes it gets longer.
#define GROWS(how) ((how) == TO4 ? -20 : (how) == TO6 || (how) == IN4 || (how) == IN4OF6 ? 20 : (how) == IN6 ? 40 : 0)

// The least that an IPv4 path is believed to take (leastPath of internal/lb).
#define LEAST_PATH 552

// Up to this length an IPv6 packet may become IPv4 fragments on its way (RFC 7915, 5.1).
#define MAY_CUT 1280

// A packet on its way through. What its headers say is read again where it is needed:
// helpers leave four registers alone, and what was read once would have to be kept in memory.
struct packet {
	volatile __u32 why; // it was left to the workers
	void *end;     // of the frame
	void *l3;      // network header; there is a transport header's first 8 bytes behind it
	__u32 size;    // of the frame as it came, in bytes
	__u32 length;  // of the IP packet
	__u32 l2;      // length of the link header
	__u32 in;      // the port it came in on
	__u32 flags;   // of that port
	__u16 kind;    // ethertype, as on the wire
	__u8 proto;
	__u64 key0, key1, hash;
	__u64 addr[4]; // of IPv6: source and destination
	__u64 pseudo;  // the sum of the pseudo-header's addresses
};

// What the IP header of a packet said that gets another one.
struct was {
	__u64 first; // its first 8 bytes, read little-endian
	__u8 ttl;
	__u64 hash; // of its flow
};

// What becomes of it.
struct verdict {
	struct weir_half *half;
	__u64 key1;             // as it was when the half-flow was found; the protocol is in it
	struct weir_wide *wide; // where IPv6 addresses lie: the half-flow itself, or the other direction's
	struct weir_next_hop *hop;
	__u32 state; // of the next hop, as it was when its port was read
	__u32 out, link, tag;
	struct served *served;
	struct way *way;
	__u32 now;
	// What it gets.
	__u64 addrs, src_hi, src_lo, dst_hi, dst_lo;
	__u32 ports;
	__u16 delta_ip, delta_l4;
	__u64 dst_src; // MACs
	__u32 src_rest;
};

// proto is the IP protocol of the flow, and of the packet.
static __always_inline __u8 proto(struct verdict *v) { return v->key1 >> 32; }

// left says why a frame is left to the workers. It is written to memory here and nowhere
// else, which is what volatile says: the compiler would write it down ahead of each test,
// for the case that it fails.
static __always_inline enum why left(struct packet *p, enum why why)
{
	p->why = why;
	return why;
}

static __always_inline __u32 fold(__u64 s)
{
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return s;
}

// whole reports whether what adds up to s, which is below 2^35 and not 0, has a right
// checksum in it: whether 65535 divides it. The product is the quotient if it does, and else
// above all quotients (exact division: Granlund and Montgomery, 1994, section 9): the factor
// is the inverse of 65535 modulo 2^64.
static __always_inline int whole(__u64 s) { return s * 0xfffefffefffeffffULL < 1 << 20; }

// link_layer reads the Ethernet header: is it for us, and of which port (ether.Input)?
static __always_inline enum why link_layer(struct xdp_md *frame, struct packet *p, struct rule *r)
{
	void *data = (void *)(long)frame->data;
	p->end = (void *)(long)frame->data_end;
	p->size = frame->data_end - frame->data;
	p->in = port;
	p->l2 = ETH_HLEN;
	if (data + ETH_HLEN > p->end)
		return left(p, LINK);
	const __u64 mac_mask = (1ULL << 48) - 1;
	__u64 first = *(__u64 *)data;
	__u64 mac = READ(r->mac);
	__u64 src = first >> 48 | (__u64)*(__u32 *)(data + 8) << 16;
	if ((first & mac_mask) != mac || src == mac)
		return left(p, LINK);
	p->kind = *(__u16 *)(data + 12);
	p->l3 = data + ETH_HLEN;
	if (p->kind != bpf_htons(ETH_P_8021Q) && p->kind != bpf_htons(ETH_P_8021AD))
		return TAKEN;

	if (data + ETH_HLEN + 4 > p->end)
		return left(p, LINK);
	__u64 key = (__u64)port << 32 | (*(__u32 *)(data + 12) & bpf_htonl(0xffff0fff));
	__u32 *id = bpf_map_lookup_elem(&vlans, &key);
	if (!id)
		return left(p, LINK);
	__u32 in = *id;
	r = &rules[in & (MAX_PORTS - 1)];
	if (!(READ(r->flags) & TAKES))
		return left(p, LINK);
	p->in = in;
	p->flags &= READ(r->flags);
	p->kind = *(__u16 *)(data + 16);
	p->l3 = data + ETH_HLEN + 4;
	p->l2 = ETH_HLEN + 4;
	return TAKEN;
}

// ipv4 reads the header (ip.Input4). Addresses need no look: what has impossible ones
// never became a flow.
static __always_inline enum why ipv4(struct packet *p)
{
	void *ip = p->l3;
	if (ip + 20 + 8 > p->end)
		return left(p, HEADER);
	__u32 w0 = *(__u32 *)ip, w1 = *(__u32 *)(ip + 4), w2 = *(__u32 *)(ip + 8);
	__u64 src = *(__u32 *)(ip + 12), dst = *(__u32 *)(ip + 16);
	if ((w0 & 0xff) != 0x45)
		return left(p, HEADER);
	p->pseudo = src + dst;
	if (!whole(p->pseudo + w0 + w1 + w2))
		return left(p, HEADER);
	p->length = bpf_ntohs(w0 >> 16);
	if (p->length - (20 + 8) > p->size - p->l2 - (20 + 8)) // shorter than both headers, too
		return left(p, HEADER);
	if (w1 & (__u32)bpf_htons(0x3fff) << 16) // a fragment
		return left(p, HEADER);
	p->proto = w2 >> 8;
	p->key0 = src | dst << 32;
	return TAKEN;
}

// ipv6 reads the header (ip.Input6).
static __always_inline enum why ipv6(struct packet *p)
{
	void *ip = p->l3;
	if (ip + 40 + 8 > p->end)
		return left(p, HEADER);
	if (*(__u8 *)ip >> 4 != 6)
		return left(p, HEADER);
	p->length = 40 + bpf_ntohs(*(__u16 *)(ip + 4));
	if (p->length > p->size - p->l2)
		return left(p, HEADER);
	p->proto = *(__u8 *)(ip + 6);
	p->pseudo = 0;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u32 low = *(__u32 *)(ip + 8 + 8 * i), high = *(__u32 *)(ip + 12 + 8 * i);
		p->addr[i] = low | (__u64)high << 32;
		p->pseudo += (__u64)low + high;
	}
	p->key0 = weir_fold_words(seed, p->addr[0], p->addr[1], p->addr[2], p->addr[3]);
	return TAKEN;
}

// usual reports whether a TCP header of n bytes has only the options that established
// connections use: a timestamp, then SACK blocks (usual of internal/ip).
static __always_inline int usual(void *t, void *end, __u32 n)
{
	if (n < 32 || t + 32 > end || *(__u32 *)(t + 20) != bpf_htonl(0x0101080a))
		return 0;
	if (n == 32)
		return 1;
	if (t + 36 > end)
		return 0;
	__u32 sack = *(__u32 *)(t + 32);
	return (sack & bpf_htonl(0xffffff00)) == bpf_htonl(0x01010500) && (sack >> 24) == n - 34;
}

// transport checks the transport header and makes the key (key4 and key6 of internal/ip).
static __always_inline enum why transport(struct packet *p, int six)
{
	void *l4 = p->l3 + (six ? 40 : 20);
	__u32 rest = p->length - (six ? 40 : 20);
	__u16 sum;
	if (p->proto == 17) {
		__u32 n = bpf_ntohs(*(__u16 *)(l4 + 4));
		sum = *(__u16 *)(l4 + 6);
		if (n < 8 || n > rest || (six && sum == 0))
			return left(p, HEADER);
		rest = n;
	} else if (p->proto == 6) {
		if (l4 + 20 > p->end)
			return left(p, HEADER);
		__u32 n = (*(__u8 *)(l4 + 12) >> 4) << 2;
		if (n < 20 || n > rest)
			return left(p, HEADER);
		if (*(__u8 *)(l4 + 13) & 7) // FIN, SYN, RST
			return left(p, FLAGS);
		if (n != 20 && !usual(l4, p->end, n))
			return left(p, FLAGS);
		sum = *(__u16 *)(l4 + 16);
	} else {
		return left(p, PROTO);
	}
	if (p->flags & OPEN_SUM) {
		__u64 pseudo = p->pseudo + ((__u32)p->proto << 8) + bpf_htons(rest);
		if (fold(pseudo) == sum)
			return left(p, PARTIAL);
	}
	p->key1 = *(__u32 *)l4 | (__u64)p->proto << 32;
	p->hash = weir_hash(seed, p->key0, p->key1);
	return TAKEN;
}

// find4 finds the half-flow (Find of internal/flow). What it says is copied when all that
// can be asked was asked (load).
static __always_inline enum why find4(struct packet *p, struct verdict *v)
{
	__u64 want = p->key1 | WEIR_FLAG_VALID;
	__u32 home = weir_home(p->hash, homes);
	for (__u32 n = 0; n < WEIR_PROBE_FAST; n++) {
		__u32 slot = home + n;
		struct weir_half *h = bpf_map_lookup_elem(&halves, &slot);
		if (!h)
			return left(p, NO_FLOW);
		__u64 key1 = READ(h->key1);
		if (!(((key1 ^ want) & WEIR_MATCH_MASK) | (READ(h->key0) ^ p->key0))) {
			if (!(key1 & WEIR_FLAG_FAST))
				return left(p, SLOW);
			v->key1 = key1;
			v->half = h;
			return TAKEN;
		}
		if (key1 == 0)
			return left(p, NO_FLOW);
	}
	return left(p, NO_FLOW);
}

// find6 is find4 for IPv6.
static __always_inline enum why find6(struct packet *p, struct verdict *v)
{
	__u64 want = p->key1 | WEIR_FLAG_VALID;
	__u32 home = weir_home(p->hash, wide_homes);
	for (__u32 n = 0; n < WEIR_PROBE_FAST; n++) {
		__u32 slot = home + n;
		struct weir_wide *w = bpf_map_lookup_elem(&wides, &slot);
		if (!w)
			return left(p, NO_FLOW);
		struct weir_half *h = &w->half;
		__u64 key1 = READ(h->key1);
		if (((key1 ^ want) & WEIR_MATCH_MASK) == 0 &&
		    READ(w->src.hi) == p->addr[0] && READ(w->src.lo) == p->addr[1] &&
		    READ(w->dst.hi) == p->addr[2] && READ(w->dst.lo) == p->addr[3]) {
			if (!(key1 & WEIR_FLAG_FAST))
				return left(p, SLOW);
			v->key1 = key1;
			v->half = h;
			v->wide = w;
			return TAKEN;
		}
		if (key1 == 0)
			return left(p, NO_FLOW);
	}
	return left(p, NO_FLOW);
}

// other finds the half-flow whose addresses, turned round, the packets of an IPv4 one get
// that become IPv6.
static __always_inline enum why other(struct packet *p, struct verdict *v)
{
	__u32 slot = READ(v->half->new_addrs);
	v->wide = bpf_map_lookup_elem(&wides, &slot);
	return v->wide ? TAKEN : left(p, CHANGED);
}

// leave finds the way out: a neighbour that is known, on a port that takes frames from
// here, for a packet that may go on (Current of internal/flow, fast of internal/lb,
// neigh.Output).
static __always_inline enum why leave(struct packet *p, struct verdict *v, enum how how)
{
	__u32 ref = READ(v->half->next_hop);
	__u32 i = ref & (MAX_HOPS - 1);
	struct weir_next_hop *h = bpf_map_lookup_elem(&hops, &i);
	if (!h || ref == 0)
		return left(p, NEXT_HOP);
	__u32 state = READ(h->state);
	if ((state ^ ref) >> 16 || !(state & WEIR_HOP_RESOLVED))
		return left(p, NEXT_HOP);
	v->hop = h;
	v->state = state;
	v->out = READ(h->port);
	__u32 mtu = READ(h->mtu);
	__u32 length = p->length + GROWS(how);
	if (length > mtu && mtu != 0)
		return left(p, SIZE);
	if (how == IN4 || how == IN4OF6 || how == IN6) {
		// What routers told of a tunnel's path, the workers know.
		__u32 zero = 0;
		struct weir_header *t = bpf_map_lookup_elem(&header, &zero);
		if (!t || (READ(t->paths_known) && (how == IN6 || length > LEAST_PATH)))
			return left(p, SIZE);
	}
	struct rule *r = &rules[v->out & (MAX_PORTS - 1)];
	if (!(READ(r->flags) & SENDS))
		return left(p, PORT);
	v->link = READ(r->link);
	v->tag = READ(r->tag);
	if (bpf_redirect_map(&devices, v->link, XDP_DROP) != XDP_REDIRECT)
		return left(p, PORT);
	return TAKEN;
}

// tick is the time. The kernel's coarse clock goes on with jiffies, which cost less to read.
static __always_inline __u32 tick(struct way *w)
{
	__u64 jiffies = bpf_jiffies64() << 32, clock = w->clock;
	if ((clock ^ jiffies) >> 32 || !clock)
		w->clock = clock = jiffies | (__u32)(bpf_ktime_get_coarse_ns() >> 20);
	return clock;
}

// counters finds what will be counted. The counters of ports and real servers are this
// processor's own.
static __always_inline enum why counters(struct packet *p, struct verdict *v, __u32 cpu, enum how how)
{
	__u32 i = cpu << 16 | (READ(v->half->dest) & (MAX_DESTS - 1));
	v->served = bpf_map_lookup_elem(&dests, &i);
	i = cpu << 14 | FROM6(how) << 12 | LEAVES6(how) << 13 | (p->in & (MAX_PORTS - 1)) << 6 | (v->out & (MAX_PORTS - 1));
	v->way = bpf_map_lookup_elem(&ways, &i);
	if (!v->served || !v->way) // never: the maps have room for all
		return left(p, PORT);
	v->now = tick(v->way);
	return TAKEN;
}

// load copies what half-flow and next hop say (Load and Same of internal/flow), the last
// thing that may fail. What was copied is of one tenant if key1 is still the same
// afterwards: the loads stay in order on amd64, where nothing but the compiler could move
// them. The next hop may get another neighbour meanwhile.
static __always_inline enum why load(struct packet *p, struct verdict *v, enum how how)
{
	struct weir_half *h = v->half;
	struct weir_wide *w = v->wide;
	if (how == SAME4 || how == TO4 || how == IN4 || how == IN4OF6)
		v->addrs = READ(h->new_addrs);
	if (how == SAME6 || how == IN6) {
		v->src_hi = READ(w->new_src.hi);
		v->src_lo = READ(w->new_src.lo);
		v->dst_hi = READ(w->new_dst.hi);
		v->dst_lo = READ(w->new_dst.lo);
	}
	if (how == TO6) {
		v->src_hi = READ(w->dst.hi);
		v->src_lo = READ(w->dst.lo);
		v->dst_hi = READ(w->src.hi);
		v->dst_lo = READ(w->src.lo);
	}
	__u64 word = READ(*(__u64 *)&h->new_ports);
	v->ports = word;
	v->delta_ip = word >> 32;
	v->delta_l4 = word >> 48;
	v->dst_src = READ(v->hop->dst_src);
	v->src_rest = READ(v->hop->src_rest);
	barrier();
	if (READ(h->key1) != v->key1)
		return left(p, CHANGED);
	if (READ(v->hop->state) != v->state)
		return left(p, NEXT_HOP);
	return TAKEN;
}

// remember notes the sequence number that a real server will use next, and what it expects
// (remember of internal/lb).
static __always_inline void remember(struct packet *p, struct verdict *v, void *l4, void *end, enum how how)
{
	if (proto(v) != 6 || !(v->key1 & WEIR_FLAG_REPLY) || l4 + 20 > end)
		return;
	struct weir_half *h = v->half;
	__u32 n = (*(__u8 *)(l4 + 12) >> 4) << 2;
	__u32 seq = bpf_ntohl(*(__u32 *)(l4 + 4)) + p->length - (FROM6(how) ? 40 : 20) - n;
	__u32 ack = bpf_ntohl(*(__u32 *)(l4 + 8));
	if ((__s32)(seq - h->seq) > 0)
		h->seq = seq;
	if ((__s32)(ack - h->ack) > 0)
		h->ack = ack;
}

// count notes a packet that is about to leave (count of internal/lb), and returns its
// number on its way here. A half-flow's counters are of its packets' processor, too, but
// for the few that a worker forwards: those may cost a packet's bytes in the sum, which
// nobody adds up.
static __always_inline __u16 count(struct packet *p, struct verdict *v, __u32 tx)
{
	struct weir_half *h = v->half;
	h->last = v->now;
	h->bytes += p->length;
	if ((__s32)(v->now - READ(v->hop->used)) > 0) // once in a tick
		v->hop->used = v->now;
	__u64 reply = v->key1 / WEIR_FLAG_REPLY & 1;
	v->served->way[reply].packets++;
	v->served->way[reply].bytes += p->length;
	struct way *w = v->way;
	w->packets++;
	w->rx_bytes += p->size;
	w->tx_bytes += tx;
	return w->packets;
}

// moved is a checksum after what it covers changed by delta (RFC 1624).
static __always_inline __u16 moved(__u16 sum, __u16 delta)
{
	__u32 s = (__u16)~sum + (__u32)delta;
	s = (s & 0xffff) + (s >> 16);
	return ~(s + (s >> 16));
}

// rewrite_l4 gives a transport header its ports and checksum (Apply of internal/lb/forward).
// An open UDP checksum stays 0 (RFC 768); what became 0 is written as what means the same.
static __always_inline void rewrite_l4(void *l4, void *end, struct packet *p, struct verdict *v, int never0)
{
	if (proto(v) == 6) {
		if (l4 + 20 > end)
			return;
		__u16 sum = moved(*(__u16 *)(l4 + 16), v->delta_l4);
		*(__u32 *)l4 = v->ports;
		*(__u16 *)(l4 + 16) = sum || !never0 ? sum : 0xffff;
		return;
	}
	if (l4 + 8 > end)
		return;
	__u16 was = *(__u16 *)(l4 + 6), sum = moved(was, v->delta_l4);
	*(__u32 *)l4 = v->ports;
	if (was)
		*(__u16 *)(l4 + 6) = sum ? sum : 0xffff;
}

static __always_inline void put(void *at, __u64 word)
{
	*(__u32 *)at = word;
	*(__u32 *)(at + 4) = word >> 32;
}

static __always_inline void put_addresses6(void *l3, struct verdict *v)
{
	put(l3 + 8, v->src_hi);
	put(l3 + 16, v->src_lo);
	put(l3 + 24, v->dst_hi);
	put(l3 + 32, v->dst_lo);
}

// class6 is the traffic class in the first bytes of an IPv6 header, read little-endian.
static __always_inline __u8 class6(__u64 first) { return first << 4 | (first >> 12 & 0xf); }

// to4 writes the IPv4 header of a packet that was IPv6 (fast64 and toIPv4 of internal/lb).
static __always_inline void to4(void *l3, void *end, struct packet *p, struct was *was, struct verdict *v, __u16 ident)
{
	if (l3 + 20 > end)
		return;
	int may_cut = p->length <= MAY_CUT;
	__u32 w0 = 0x45 | (__u32)class6(was->first) << 8 | (__u32)bpf_htons(p->length - 20) << 16;
	__u32 w1 = may_cut ? bpf_htons(ident) : (__u32)bpf_htons(0x4000) << 16;
	__u32 ttl = was->ttl - 1;
	// delta_ip is the sum of version and length, protocol, addresses.
	__u32 s = v->delta_ip + ttl + (w0 & 0xff00) + (w0 >> 16) + (w1 & 0xffff) + (w1 >> 16);
	*(__u32 *)l3 = w0;
	*(__u32 *)(l3 + 4) = w1;
	*(__u32 *)(l3 + 8) = ttl | (__u32)proto(v) << 8 | (__u32)(__u16)~fold(s) << 16;
	put(l3 + 12, v->addrs);
	rewrite_l4(l3 + 20, end, p, v, may_cut);
}

// to6 writes the IPv6 header of a packet that was IPv4 (fast46 of internal/lb).
static __always_inline void to6(void *l3, void *end, struct packet *p, struct was *was, struct verdict *v)
{
	if (l3 + 40 > end)
		return;
	*(__u32 *)l3 = bpf_htonl(6U << 28 | (__u32)(__u8)(was->first >> 8) << 20);
	*(__u32 *)(l3 + 4) = bpf_htonl((p->length - 20) << 16 | (__u32)proto(v) << 8 | (was->ttl - 1));
	put_addresses6(l3, v);
	rewrite_l4(l3 + 40, end, p, v, 1);
}

// inside lowers the TTL of what goes into another packet (carried of internal/lb).
static __always_inline void inside(void *ip, void *end, int six)
{
	if (six) {
		if (ip + 40 <= end)
			*(__u8 *)(ip + 7) -= 1;
		return;
	}
	if (ip + 20 > end)
		return;
	*(__u8 *)(ip + 8) -= 1;
	*(__u16 *)(ip + 10) = 0;
	__u64 s = 0;
#pragma unroll
	for (int i = 0; i < 20; i += 4)
		s += *(__u32 *)(ip + i);
	*(__u16 *)(ip + 10) = ~fold(s);
}

// in4 puts an IPv4 header in front (encapsulate of internal/lb).
static __always_inline void in4(void *l3, void *end, struct packet *p, struct was *was, struct verdict *v, int six)
{
	if (l3 + 20 > end)
		return;
	__u8 class = six ? class6(was->first) : was->first >> 8;
	__u16 id = six ? 0 : was->first >> 32;
	__u16 df = six ? bpf_htons(0x4000) : (was->first >> 48) & bpf_htons(0x4000);
	__u32 w0 = 0x45 | (__u32)class << 8 | (__u32)bpf_htons(p->length + 20) << 16;
	__u32 w1 = id | (__u32)df << 16;
	__u32 w2 = (__u32)(was->ttl - 1) | (six ? 41U : 4U) << 8;
	__u16 sum = ~fold((__u64)w0 + w1 + w2 + (v->addrs & 0xffffffff) + (v->addrs >> 32));
	*(__u32 *)l3 = w0;
	*(__u32 *)(l3 + 4) = w1;
	*(__u32 *)(l3 + 8) = w2 | (__u32)sum << 16;
	put(l3 + 12, v->addrs);
	inside(l3 + 20, end, six);
}

// in6 puts an IPv6 header in front of an IPv6 packet. Its flow label keeps a connection on
// one way (RFC 6438).
static __always_inline void in6(void *l3, void *end, struct packet *p, struct was *was, struct verdict *v)
{
	if (l3 + 40 > end)
		return;
	*(__u32 *)l3 = bpf_htonl(6U << 28 | (__u32)class6(was->first) << 20 | (was->hash >> 32 & 0xfffff));
	*(__u32 *)(l3 + 4) = bpf_htonl(p->length << 16 | 41U << 8 | (was->ttl - 1));
	put_addresses6(l3, v);
	inside(l3 + 40, end, 1);
}

// rewrite makes of the packet, whose IP header begins, or is to begin, at l3, what its
// half-flow says.
static __always_inline void rewrite(void *l3, void *end, struct packet *p, struct was *was, struct verdict *v, enum how how, __u16 ident)
{
	switch (how) {
	case SAME4:
		if (l3 + 20 > end)
			return;
		*(__u8 *)(l3 + 8) -= 1;
		*(__u16 *)(l3 + 10) = moved(*(__u16 *)(l3 + 10), v->delta_ip);
		put(l3 + 12, v->addrs);
		rewrite_l4(l3 + 20, end, p, v, 0);
		return;
	case SAME6:
		if (l3 + 40 > end)
			return;
		*(__u8 *)(l3 + 7) -= 1;
		put_addresses6(l3, v);
		rewrite_l4(l3 + 40, end, p, v, 0);
		return;
	case TO4:
		to4(l3, end, p, was, v, ident);
		return;
	case TO6:
		to6(l3, end, p, was, v);
		return;
	case IN6:
		in6(l3, end, p, was, v);
		return;
	default:
		in4(l3, end, p, was, v, how == IN4OF6);
	}
}

// trim takes what stands behind the packet off: nothing is forwarded that no header
// speaks of. It can't fail: what stays is no shorter than a link header.
static __always_inline void trim(struct xdp_md *frame, struct packet *p)
{
	__u32 padding = p->size - p->l2 - p->length;
	if (padding)
		bpf_xdp_adjust_tail(frame, -(int)padding);
}

// send rewrites a packet that keeps the length of its headers and has no tag, where it is.
static __always_inline enum why send(struct xdp_md *frame, struct packet *p, struct verdict *v, enum how how)
{
	void *l3 = p->l3, *l4 = l3 + (how == SAME6 ? 40 : 20);
	if (*(__u8 *)(l3 + (how == SAME6 ? 7 : 8)) <= 1)
		return left(p, HOPS);
	enum why why = load(p, v, how);
	if (why)
		return why;
	void *end = (void *)(long)frame->data_end;
	remember(p, v, l4, end, how);
	count(p, v, ETH_HLEN + p->length);
	put(l3 - ETH_HLEN, v->dst_src);
	*(__u32 *)(l3 - ETH_HLEN + 8) = v->src_rest;
	rewrite(l3, end, p, 0, v, how, 0);
	trim(frame, p);
	return TAKEN;
}

// send_moved is send for all others: it moves the beginning of the frame and puts a link
// header in front. Nothing was changed so far, and once there is room for a longer
// header nothing fails.
static __always_inline enum why send_moved(struct xdp_md *frame, struct packet *p, struct verdict *v, enum how how)
{
	void *l3 = p->l3;
	struct was was = {
		.first = *(__u32 *)l3 | (__u64)*(__u32 *)(l3 + 4) << 32,
		.ttl = *(__u8 *)(l3 + (FROM6(how) ? 7 : 8)),
		.hash = p->hash,
	};
	if (was.ttl <= 1)
		return left(p, HOPS);
	enum why why = load(p, v, how);
	if (why)
		return why;
	remember(p, v, l3 + (FROM6(how) ? 40 : 20), (void *)(long)frame->data_end, how);
	__u32 l2 = v->tag ? ETH_HLEN + 4 : ETH_HLEN;
	int longer = (int)l2 - (int)p->l2 + GROWS(how);
	if (longer && bpf_xdp_adjust_head(frame, -longer))
		return left(p, ROOM);
	__u16 ident = count(p, v, l2 + p->length + GROWS(how));

	void *data = (void *)(long)frame->data;
	void *end = (void *)(long)frame->data_end;
	if (data + ETH_HLEN + 4 > end)
		return TAKEN;
	put(data, v->dst_src);
	*(__u32 *)(data + 8) = v->src_rest;
	__u16 kind = LEAVES6(how) ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	if (v->tag) {
		*(__u32 *)(data + 12) = v->tag;
		*(__u16 *)(data + 16) = kind;
		rewrite(data + ETH_HLEN + 4, end, p, &was, v, how, ident);
	} else {
		*(__u16 *)(data + 12) = kind;
		rewrite(data + ETH_HLEN, end, p, &was, v, how, ident);
	}
	trim(frame, p);
	return TAKEN;
}

// go_on takes a packet from its half-flow to its way out.
static __always_inline enum why go_on(struct xdp_md *frame, struct packet *p, struct verdict *v, __u32 cpu, enum how how)
{
	enum why why;
	if ((why = leave(p, v, how)) || (why = counters(p, v, cpu, how)))
		return why;
	if ((how == SAME4 || how == SAME6) && v->tag == 0 && p->l2 == ETH_HLEN)
		return send(frame, p, v, how);
	return send_moved(frame, p, v, how);
}

// walk4 takes an IPv4 packet from its header on.
static __always_inline enum why walk4(struct xdp_md *frame, struct packet *p, __u32 cpu)
{
	struct verdict v = {};
	enum why why;
	if ((why = ipv4(p)) || (why = transport(p, 0)) || (why = find4(p, &v)))
		return why;
	if (!(v.key1 & (WEIR_FLAG_CROSS | WEIR_FLAG_TUNNEL)))
		return go_on(frame, p, &v, cpu, SAME4);
	switch (v.key1 & (WEIR_FLAG_CROSS | WEIR_FLAG_TUNNEL)) {
	case WEIR_FLAG_TUNNEL:
		return go_on(frame, p, &v, cpu, IN4);
	case WEIR_FLAG_CROSS:
		if (proto(&v) == 17 && *(__u16 *)(p->l3 + 20 + 6) == 0) // over IPv6 there has to be a checksum
			return left(p, MODE);
		if ((why = other(p, &v)))
			return why;
		return go_on(frame, p, &v, cpu, TO6);
	}
	return left(p, MODE); // into IPv6: its record has no room for the addresses
}

// walk6 takes an IPv6 packet from its header on.
static __always_inline enum why walk6(struct xdp_md *frame, struct packet *p, __u32 cpu)
{
	struct verdict v = {};
	enum why why;
	if ((why = ipv6(p)) || (why = transport(p, 1)) || (why = find6(p, &v)))
		return why;
	if (!(v.key1 & (WEIR_FLAG_CROSS | WEIR_FLAG_TUNNEL)))
		return go_on(frame, p, &v, cpu, SAME6);
	switch (v.key1 & (WEIR_FLAG_CROSS | WEIR_FLAG_TUNNEL)) {
	case WEIR_FLAG_CROSS:
		return go_on(frame, p, &v, cpu, TO4);
	case WEIR_FLAG_CROSS | WEIR_FLAG_TUNNEL:
		return go_on(frame, p, &v, cpu, IN4OF6);
	}
	if (!(READ(v.wide->new_src.hi) | READ(v.wide->new_src.lo))) // there was no address to send from
		return left(p, MODE);
	return go_on(frame, p, &v, cpu, IN6);
}

static __always_inline enum why walk_any(struct xdp_md *frame, struct packet *p, struct rule *r, __u32 cpu)
{
	enum why why = link_layer(frame, p, r);
	if (why)
		return why;
	if (p->kind == bpf_htons(ETH_P_IP))
		return walk4(frame, p, cpu);
	if (p->kind == bpf_htons(ETH_P_IPV6))
		return walk6(frame, p, cpu);
	return left(p, LINK);
}

static __always_inline enum why walk(struct xdp_md *frame, struct rule *r, __u32 flags, __u32 cpu)
{
	struct packet p = {.flags = flags};
	return walk_any(frame, &p, r, cpu) ? p.why : TAKEN;
}

#include "nobody.h"
#include "express.h"

#ifdef WEIR_ON_VETH
#include "ahead.h"
#else
static __always_inline void look_ahead(struct xdp_md *frame, __u32 flags, __u32 cpu) {}
#endif

SEC("xdp")
int forward(struct xdp_md *frame)
{
	__u32 cpu = bpf_get_smp_processor_id();
	if (cpu >= cpus)
		return fits_socket(frame) ? to_worker(frame) : XDP_DROP;
	struct lane *lane = lane_of(cpu);
	__u32 flags = READ(lane->flags);
	if (flags & TAKES) {
		look_ahead(frame, flags, cpu);
		if (express(frame, lane, flags))
			return XDP_REDIRECT;
	}
	if (!fits_socket(frame))
		return XDP_DROP;
	struct rule *r = &rules[port & (MAX_PORTS - 1)];
	flags = READ(r->flags);
	if (!(flags & TAKES))
		return to_worker(frame);
	enum why why;
	// One checksum in 65,536 looks open and is not: a worker would find out, if there is one.
#pragma nounroll
	for (int n = 0; n < 2; n++) {
		why = walk(frame, r, flags, cpu);
		if (why != PARTIAL || has_socket(frame))
			break;
		flags &= ~OPEN_SUM;
	}
	if (why == TAKEN)
		return XDP_REDIRECT;
	__u32 i = cpu << 6 | port;
	struct passed *n = bpf_map_lookup_elem(&passed, &i);
	if (n && why < REASONS)
		n->why[why]++;
	return to_worker(frame);
}

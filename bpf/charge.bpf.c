//go:build ignore

// Says whose the time is that the kernel spends receiving, for the benchmark of the
// peers. On veth a frame is received on the processor of who sent it, in a softirq that
// interrupts whatever runs there, and Linux charges that process with it: a balancer with
// the TCP of those it sends to, those with what the balancer's interfaces do. Here each
// piece of such a softirq is known by the interface that it receives from.
//
// Needs Linux with its types (CONFIG_DEBUG_INFO_BTF).

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "Dual MIT/GPL";

#define NET_RX 3 // of enum NET_TX_SOFTIRQ ...: include/linux/interrupt.h

// What is read of the kernel's own records. Where it lies, the kernel says.
struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));
struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));
typedef struct {
	struct net *net;
} possible_net_t;
struct net_device {
	possible_net_t nd_net;
} __attribute__((preserve_access_index));
struct sk_buff {
	struct net_device *dev;
} __attribute__((preserve_access_index));
struct napi_struct {
	struct net_device *dev;
} __attribute__((preserve_access_index));

const volatile __u32 netns; // the balancer's network namespace, by its inode

// The balancer's processes; 0: none. No map: this is asked several times for each frame,
// and what asking takes is in what it finds.
#define MAX_PROCESSES 4
const volatile __u32 processes[MAX_PROCESSES];

enum whose {
	nobody,  // not known yet
	others,  // the balancer's interfaces have nothing to do with it
	balancer,
};

// The most that a piece of a softirq takes, of 64 frames and less. What takes longer was not
// at work: a virtual machine's processor was another's, and no process is charged with that.
#define MOST 1000000 // ns

// A processor's softirq.
struct receiving {
	__u64 since; // the time up to which all is charged; 0: it does not receive
	__u32 whose; // the frame is that was received last
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct receiving);
} now SEC(".maps");

// Times in ns, of each processor.
struct charged {
	__u64 lent;     // others' receiving, that the balancer's processes were charged with
	__u64 borrowed; // the balancer's receiving, that they were not charged with
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct charged);
} charged SEC(".maps");

static __always_inline struct receiving *receiving(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&now, &zero);
}

static __always_inline __u32 whose(const struct net_device *dev)
{
	return dev->nd_net.net->ns.inum == netns ? balancer : others;
}

static __always_inline bool own(void)
{
	__u32 process = bpf_get_current_pid_tgid() >> 32;

	// The idle task is no process, and has the number of none.
	return process && (process == processes[0] || process == processes[1] || process == processes[2] || process == processes[3]);
}

// Charges the time that has gone by since the last call.
static __always_inline void charge(struct receiving *r, __u32 to)
{
	__u64 at = bpf_ktime_get_ns(), spent = at - r->since;
	__u32 zero = 0;
	struct charged *c;

	r->since = at;
	if (to == nobody || spent > MOST || own() == (to == balancer))
		return;
	c = bpf_map_lookup_elem(&charged, &zero);
	if (!c)
		return;
	if (to == others)
		c->lent += spent;
	else
		c->borrowed += spent;
}

SEC("tp_btf/softirq_entry")
int enter(unsigned long long *args)
{
	struct receiving *r = receiving();

	if (r && args[0] == NET_RX) {
		r->since = bpf_ktime_get_ns();
		r->whose = nobody;
	}
	return 0;
}

// A frame begins to be received; the one before has been. What was done before the first
// was done for it.
SEC("tp_btf/netif_receive_skb")
int receive(unsigned long long *args)
{
	const struct sk_buff *skb = (void *)args[0];
	struct receiving *r = receiving();

	if (!r || !r->since)
		return 0;
	__u32 next = whose(skb->dev);
	if (r->whose != next)
		charge(r, r->whose == nobody ? next : r->whose);
	r->whose = next;
	return 0;
}

// One interface's frames have been received, or some of those that several have in one
// queue of the processor.
SEC("tp_btf/napi_poll")
int polled(unsigned long long *args)
{
	const struct napi_struct *napi = (void *)args[0];
	struct receiving *r = receiving();

	if (!r || !r->since)
		return 0;
	const struct net_device *dev = napi->dev;
	charge(r, dev ? whose(dev) : r->whose);
	r->whose = nobody;
	return 0;
}

SEC("tp_btf/softirq_exit")
int leave(unsigned long long *args)
{
	struct receiving *r = receiving();

	if (r && args[0] == NET_RX)
		r->since = 0;
	return 0;
}

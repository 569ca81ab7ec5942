//go:build ignore

// Counts the frames that the second engine (forward.bpf.c) sent and that the kernel
// lost at the redirect: it tells of them by tracepoints alone.
//
// Needs Linux 5.5 (tracing programs) with its types (CONFIG_DEBUG_INFO_BTF).

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "Dual MIT/GPL";

#define MAX_PORTS 64

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
	int ifindex;
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

// An interface of a network namespace: numbers of interfaces are a namespace's own.
struct place {
	__u32 netns, ifindex;
};

// The ports of the director by interface.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_PORTS);
	__type(key, struct place);
	__type(value, __u32);
} places SEC(".maps");

// What was lost on its way out of a port. Index: cpu << 6 | port.
struct lost {
	__u64 full;    // the driver, or on veth the other end, had no room
	__u64 refused; // the driver would not take it
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lost);
} lost SEC(".maps");

const volatile __u32 cpus = 1;       // how many have counters; the last is of those that have none
const volatile __u32 devices_id = 0; // of the engine's map of devices

static __always_inline __u32 *port_of(const struct net_device *dev)
{
	struct place at = {
		.netns = dev->nd_net.net->ns.inum,
		.ifindex = dev->ifindex,
	};
	return bpf_map_lookup_elem(&places, &at);
}

static __always_inline void add(__u32 port, __u64 full, __u64 refused)
{
	__u32 cpu = bpf_get_smp_processor_id();
	__u32 i = (cpu < cpus ? cpu : cpus - 1) << 6 | (port & (MAX_PORTS - 1));
	struct lost *l = bpf_map_lookup_elem(&lost, &i);
	if (l) {
		// Atomic: a processor that came later shares the last one's.
		if (full)
			__sync_fetch_and_add(&l->full, full);
		if (refused)
			__sync_fetch_and_add(&l->refused, refused);
	}
}

// A batch was given to a driver, which took some of it.
SEC("tp_btf/xdp_devmap_xmit")
int sent(unsigned long long *args)
{
	const struct net_device *from = (void *)args[0], *to = (void *)args[1];
	int drops = args[3], err = args[4];
	if (drops <= 0)
		return 0;
	__u32 *port = port_of(to);
	if (!port || !port_of(from)) // not what we sent
		return 0;
	if (err)
		add(*port, 0, drops);
	else
		add(*port, drops, 0);
	return 0;
}

// A frame was not even put into a batch.
SEC("tp_btf/xdp_redirect_err")
int refused(unsigned long long *args)
{
	__u32 map_id = args[5], port = args[6];
	if (map_id == devices_id)
		add(port, 0, 1);
	return 0;
}

//go:build ignore

// Takes every frame of an interface to the AF_XDP sockets of the director: the
// frame of receive queue q goes to the socket in xsks[q].
//
// What can't go there is counted by queue and dropped, never passed on: an
// interface that the director drives is the director's alone, and a frame
// that Linux answered too would be answered twice.
//
// Needs Linux 5.9 (attaching by a BPF link; the default action of
// bpf_redirect_map is older).

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

// The sockets by receive queue. The loader sets the size.
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

// Drops of one receive queue.
struct drops {
	__u64 too_big;   // longer than a frame buffer takes
	__u64 no_socket; // no socket serves the queue
};

// The drops by receive queue, in memory that the director maps, so that reading
// them costs it no system call. The loader sets the size.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct drops);
} drops SEC(".maps");

// What fits behind the headroom of a frame buffer, in bytes. The loader sets it.
const volatile __u32 room = 0;

SEC("xdp")
int xsk_redirect(struct xdp_md *frame)
{
	__u32 queue = frame->rx_queue_index;
	struct drops *d;

	// The sum is atomic: with generic XDP two cores may bring frames of one queue.
	if (frame->data_end - frame->data > room) {
		d = bpf_map_lookup_elem(&drops, &queue);
		if (d)
			__sync_fetch_and_add(&d->too_big, 1);
		return XDP_DROP;
	}
	int action = bpf_redirect_map(&xsks, queue, XDP_DROP);
	if (action == XDP_DROP) {
		d = bpf_map_lookup_elem(&drops, &queue);
		if (d)
			__sync_fetch_and_add(&d->no_socket, 1);
	}
	return action;
}

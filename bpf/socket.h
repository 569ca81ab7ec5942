/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Takes a frame to the AF_XDP sockets of the director: the frame of receive queue q
 * goes to the socket in xsks[q].
 *
 * What can't go there is counted by queue and dropped, never passed on: an
 * interface that the director drives is the director's alone, and a frame
 * that Linux answered too would be answered twice.
 */
#ifndef WEIR_SOCKET_H
#define WEIR_SOCKET_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

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

// fits_socket reports whether a socket's buffer takes the frame, and counts it if not.
// The sum is atomic: with generic XDP two cores may bring frames of one queue.
static __always_inline int fits_socket(struct xdp_md *frame)
{
	if (frame->data_end - frame->data <= room)
		return 1;
	__u32 queue = frame->rx_queue_index;
	struct drops *d = bpf_map_lookup_elem(&drops, &queue);
	if (d)
		__sync_fetch_and_add(&d->too_big, 1);
	return 0;
}

// to_socket takes the frame to its queue's socket.
static __always_inline int to_socket(struct xdp_md *frame)
{
	__u32 queue = frame->rx_queue_index;
	int action = bpf_redirect_map(&xsks, queue, XDP_DROP);
	if (action == XDP_DROP) {
		struct drops *d = bpf_map_lookup_elem(&drops, &queue);
		if (d)
			__sync_fetch_and_add(&d->no_socket, 1);
	}
	return action;
}

#endif

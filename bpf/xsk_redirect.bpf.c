//go:build ignore

// Takes every frame of an interface to the AF_XDP sockets of the director (socket.h).
// forward.bpf.c stands in its place where the second engine runs.
//
// Needs Linux 5.9 (attaching by a BPF link; the default action of
// bpf_redirect_map is older).

#include "socket.h"

char _license[] SEC("license") = "Dual MIT/GPL";

SEC("xdp")
int xsk_redirect(struct xdp_md *frame)
{
	if (!fits_socket(frame))
		return XDP_DROP;
	return to_socket(frame);
}

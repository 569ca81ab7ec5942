package rsagent

import (
	"github.com/cilium/ebpf"

	"weir/bpf"
)

// hook is a place of the cgroup where a program runs. Its name is that of its pin
// and stays the same whatever the program.
type hook struct {
	name    string
	attach  ebpf.AttachType
	program string
}

// hooks lists what has to be attached to the cgroup.
func hooks(o *Options, f *abilities) []hook {
	transparent := o.UOA == Transparent
	choose := func(cond bool, yes, no string) string {
		if cond {
			return yes
		}
		return no
	}
	h := []hook{
		{"sockops", ebpf.AttachCGroupSockOps, bpf.RSProgToa},
		{"getpeername4", ebpf.AttachCgroupInet4GetPeername, choose(transparent, bpf.RSProgPeer4Tr, bpf.RSProgPeer4)},
		{"getpeername6", ebpf.AttachCgroupInet6GetPeername, choose(transparent, bpf.RSProgPeer6Tr, bpf.RSProgPeer6)},
	}
	if o.UOA != Off {
		h = append(h, hook{"ingress", ebpf.AttachCGroupInetIngress, choose(transparent, bpf.RSProgUoaIngressTr, bpf.RSProgUoaIngress)})
	}
	if o.sockopt() {
		h = append(h, hook{"getsockopt", ebpf.AttachCGroupGetsockopt, choose(answersUOA(o, f), bpf.RSProgSockoptUoa, bpf.RSProgSockoptToa)})
	}
	switch {
	case transparent:
		h = append(h,
			hook{"recvmsg4", ebpf.AttachCGroupUDP4Recvmsg, bpf.RSProgUoaRecvmsg4},
			hook{"recvmsg6", ebpf.AttachCGroupUDP6Recvmsg, bpf.RSProgUoaRecvmsg6},
			hook{"sendmsg4", ebpf.AttachCGroupUDP4Sendmsg, bpf.RSProgUoaSendmsg4},
			hook{"sendmsg6", ebpf.AttachCGroupUDP6Sendmsg, bpf.RSProgUoaSendmsg6},
			hook{"connect4", ebpf.AttachCGroupInet4Connect, bpf.RSProgUoaConnect4},
			hook{"connect6", ebpf.AttachCGroupInet6Connect, bpf.RSProgUoaConnect6})
	case o.UOA == Getsockopt && !f.registers:
		h = append(h,
			hook{"recvmsg4", ebpf.AttachCGroupUDP4Recvmsg, bpf.RSProgLastRecvmsg4},
			hook{"recvmsg6", ebpf.AttachCGroupUDP6Recvmsg, bpf.RSProgLastRecvmsg6})
	}
	return h
}

// answersUOA reports whether getsockopt 2048 is answered. In transparent mode it is for
// the clients that can't be shown (NAT64), and needs a question that can be read: what
// a socket received last is remembered in the other mode only.
func answersUOA(o *Options, f *abilities) bool {
	return o.UOA == Getsockopt || o.UOA == Transparent && o.NAT64 && f.registers
}

// wantedMaps lists the maps that outlive the agent, as far as the options need
// them: a table of UDP flows has its memory from the start.
func wantedMaps(o *Options, f *abilities) []string {
	m := []string{bpf.RSMapCounters, bpf.RSMapTrusted, bpf.RSMapToaClients}
	if o.UOA != Off {
		m = append(m, bpf.RSMapUoaClients)
	}
	if o.UOA == Transparent {
		m = append(m, bpf.RSMapUoaReturns)
	}
	if answersUOA(o, f) {
		m = append(m, bpf.RSMapLastPeers)
	}
	return m
}

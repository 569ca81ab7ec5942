package rsagent

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Feature is something that a kernel gives or not. Text says what it gives, or why
// not and what follows.
type Feature struct {
	Name string `json:"name"`
	Have bool   `json:"have"`
	Text string `json:"text"`
}

// abilities are what programs are loaded for.
type abilities struct {
	release   string
	netns     bool // UDP flows are told apart by network namespace
	mptcp     bool
	registers bool // getsockopt reads what it is asked
	setRetval bool // getsockopt says ENOENT
	tcx       bool
}

// oldest is what everything rests on.
const oldest = "5.10"

// probe asks a kernel for all features. It fails if there is no use in going on.
func probe(k Kernel) (*abilities, error) {
	f := &abilities{release: k.Release()}
	// The helper came with what TOA needs: the TCP header, in sockops.
	if have, err := helper(k, ebpf.SockOps, asm.FnLoadHdrOpt); err != nil {
		return nil, err
	} else if !have {
		return nil, fmt.Errorf("this kernel (%s) is too old: sockops programs see no TCP options; Linux %s or later is needed", f.release, oldest)
	}
	btf := true
	if err := k.BTF(); errors.Is(err, ebpf.ErrNotSupported) {
		btf = false
	} else if err != nil {
		return nil, fmt.Errorf("look for the kernel's BTF: %w", err)
	}
	asks := []struct {
		into     *bool
		needsBTF bool
		calls    []call
	}{
		{&f.netns, false, []call{
			{ebpf.CGroupSKB, asm.FnGetNetnsCookie}, {ebpf.CGroupSockAddr, asm.FnGetNetnsCookie}, {ebpf.CGroupSockopt, asm.FnGetNetnsCookie},
		}},
		{&f.mptcp, true, []call{{ebpf.SockOps, asm.FnSkcToMptcpSock}}},
		{&f.registers, true, []call{
			{ebpf.CGroupSockopt, asm.FnGetCurrentTaskBtf}, {ebpf.CGroupSockopt, asm.FnTaskPtRegs}, {ebpf.CGroupSockopt, asm.FnProbeReadUser},
		}},
		{&f.setRetval, false, []call{{ebpf.CGroupSockopt, asm.FnSetRetval}}},
	}
	for _, a := range asks {
		all := !a.needsBTF || btf
		for _, c := range a.calls {
			if !all {
				break
			}
			var err error
			if all, err = helper(k, c.of, c.name); err != nil {
				return nil, err
			}
		}
		*a.into = all
	}
	if err := k.TCX(); err == nil {
		f.tcx = true
	} else if !errors.Is(err, ebpf.ErrNotSupported) {
		return nil, fmt.Errorf("ask the kernel for tcx: %w", err)
	}
	return f, nil
}

// call is a helper function and the type of program that would call it.
type call struct {
	of   ebpf.ProgramType
	name asm.BuiltinFunc
}

func helper(k Kernel, of ebpf.ProgramType, name asm.BuiltinFunc) (bool, error) {
	err := k.Helper(of, name)
	if errors.Is(err, ebpf.ErrNotSupported) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask the kernel for %v in %v programs: %w", name, of, err)
	}
	return true, nil
}

// list says in sentences what the kernel gives and does not give, as far as the
// options want it.
func (f *abilities) list(o *Options) []Feature {
	l := []Feature{{"toa", true, "accept and getpeername show the client of TCP connections"}}
	add := func(wanted bool, name string, have bool, yes, no string) {
		if !wanted {
			return
		}
		text := yes
		if !have {
			text = fmt.Sprintf("this kernel (%s) %s", f.release, no)
		}
		l = append(l, Feature{name, have, text})
	}
	uoa := o.UOA != Off
	add(true, "mptcp", f.mptcp,
		"connections by MPTCP show the client too",
		"can't lead from a subflow to its MPTCP socket: connections by MPTCP show the director's address; Linux 5.19 with BTF can")
	add(uoa, "netns", f.netns,
		"UDP flows of different network namespaces are told apart",
		"does not tell programs the namespace of a datagram: two namespaces must not have the same director's address and port at the same local port; Linux 6.15 does")
	add(o.UOA == Getsockopt, "registers", f.registers,
		"getsockopt answers for the peer that it is asked for",
		"can't read what getsockopt is asked: it answers for the last datagram received on the socket; Linux 5.15 with BTF can")
	add(o.UOA == Transparent && o.NAT64, "registers", f.registers,
		"getsockopt 2048 answers for NAT64's clients, which transparent mode can't show",
		"can't read what getsockopt is asked: NAT64's clients of UDP are not known in transparent mode; Linux 5.15 with BTF can")
	add(o.sockopt(), "errno", f.setRetval,
		"getsockopt says ENOENT for an unknown client",
		"lets no program choose an errno: getsockopt says ENOPROTOOPT for an unknown client; Linux 5.18 does")
	add(o.opp(), "tcx", f.tcx,
		"the option protocol is translated by tcx",
		"has no tcx: the option protocol is translated by filters of the qdisc clsact, which replace others at their place less gently; Linux 6.6 has it")
	return l
}

// Package rsagent is weir-rs, the agent on a real server: programs there see the
// true client of what came through a director, by TOA (TCP) and UOA (UDP), with
// eBPF instead of DPVS's kernel modules. It loads and attaches the programs of
// bpf/rs.bpf.c, keeps them attached while it is restarted, killed or upgraded, and
// tells what they did.
//
// All state is in the kernel, pinned in one folder of a bpffs:
//
//	record         what is attached and why, as JSON in a map's only value
//	maps/NAME      what programs share: trust, clients, counters
//	links/HOOK     a program's attachment to the cgroup
//	opp/IFINDEX    and to a device (tcx; older kernels keep a filter instead)
//
// Enters: options, the kernel's abilities, network devices that come and go.
// Leaves: attached programs; a status, statistics, log lines.
// Owns: the pin folder with all that is in it, held by a lock; entries of UDP
// clients that nobody used any more, which it sweeps.
// Drops: no packet. Options that are not believed (untrusted, malformed) are
// counted and change nothing; datagrams that carry UOA alone go if asked for.
// See: bpf/rs.bpf.c, docs/real-servers.md, bpf(2), sd_notify(3).
package rsagent

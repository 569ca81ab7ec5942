package e2e

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
	"weir/internal/testkit/uml"
)

// otherKernel is a real server with the kernel of another Linux, older than the
// machine's and without BTF and MPTCP: user-mode Linux.
type otherKernel struct {
	*director
	guest *uml.Guest
}

// in runs a script on it and returns what it says and whether it failed. AGENT is weir-rs.
func (o *otherKernel) in(script string) (string, error) {
	o.t.Helper()
	return o.guest.Run(within(o.t, 2*patience), strings.ReplaceAll(script, "AGENT", program("weir-rs")))
}

// must is in for what can't fail.
func (o *otherKernel) must(script string) string {
	o.t.Helper()
	out, err := o.in(script)
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

// agent ends the agent there, starts another, and returns what it said until it was ready.
func (o *otherKernel) agent(mode string) (said string) {
	o.t.Helper()
	o.must(`if [ -e /run/agent.pid ]; then kill $(cat /run/agent.pid); while kill -0 $(cat /run/agent.pid) 2>/dev/null; do sleep 0.1; done; AGENT stop --pin /run/bpf/weir-rs; fi
AGENT run --trust 192.168.100.200 --pin /run/bpf/weir-rs --uoa ` + mode + ` >/run/agent.log 2>&1 &
echo $! >/run/agent.pid`)
	eventually(o.t, "weir-rs is ready", func() bool {
		said = o.must("cat /run/agent.log; kill -0 $(cat /run/agent.pid)")
		return strings.Contains(said, "weir-rs is ready")
	})
	return said
}

// TestAgentOnAnotherKernel: what a real server lacks is said in one sentence each, and
// what it has works: TOA, and UOA by either carrier and in both modes.
func TestAgentOnAnotherKernel(t *testing.T) {
	t.Parallel() // it waits for the guest, which no other of the parallel tests uses
	guest, err := kernel()
	if err != nil {
		t.Fatal(err)
	}
	s := one
	s.servers = 1
	o := &otherKernel{director: newDirector(t, s), guest: guest}
	const card = 7 // the tunnels have the others
	t.Cleanup(func() { guest.Unplug(card) })
	if err := errors.Join(guest.Plug(card, o.net.LAN, "other"), o.net.LAN.Attach("other", "switch")); err != nil {
		t.Fatal(err)
	}
	o.must("ip link set vec7 up; ip addr add " + netns.ServerAddr(1).String() + "/24 dev vec7; modprobe sch_ingress; modprobe cls_bpf; mkdir /run/cgroup /run/bpf")

	for _, step := range []struct{ before, want string }{
		{"", "cgroup v2 is not mounted, and programs attach to its folders: mount -t cgroup2 "},
		{"mount -t cgroup2 none /run/cgroup", "/run/bpf is no bpffs, which is where programs are pinned: `mount -t bpf bpffs "},
		{"mount -t bpf bpffs /run/bpf", ""},
	} {
		if step.before != "" {
			o.must(step.before)
		}
		if step.want == "" {
			continue
		}
		out, err := o.in("AGENT run --trust 192.168.100.200 --pin /run/bpf/weir-rs")
		if err == nil || !strings.HasPrefix(out, "weir-rs: "+step.want) || strings.Count(out, "\n") != 1 {
			t.Errorf("weir-rs ended with %v and said %q, want one line that begins with %q", err, out, step.want)
		}
	}
	o.must("exec >/run/servers.log 2>&1\n" + o.compiled("tcp_peer") + " 8081 &\n" + o.compiled("udp_peer") + " 5300 &\n" + o.compiled("uoa_server") + " 5301 &\njobs -p >/run/servers.pids")
	defer o.in("kill $(cat /run/agent.pid /run/servers.pids); sleep 0.2; AGENT stop --pin /run/bpf/weir-rs; umount /run/bpf /run/cgroup; ip addr flush dev vec7")
	o.twoArm()
	o.serviceTo("t", 8081, 8081, "", 2)
	for i, carrier := range []string{"ipo", "opp"} {
		o.serviceTo("u", 5300+10*i, 5300, "--uoa "+carrier, 2)
		o.serviceTo("u", 5301+10*i, 5301, "--uoa "+carrier, 2)
	}

	release := strings.TrimSpace(o.must("uname -r"))
	lacks := func(said, feature, text string) {
		t.Helper()
		want := "name=" + feature + ` have=false text="this kernel (` + release + ") " + text
		if strings.Count(said, want) != 1 || strings.Count(said, "name="+feature+" ") != 1 {
			t.Errorf("weir-rs said\n%swant one line with %s", said, want)
		}
	}
	said := o.agent("transparent")
	lacks(said, "mptcp", "can't lead from a subflow to its MPTCP socket")
	for _, feature := range []string{"toa", "netns", "tcx"} {
		if strings.Count(said, "name="+feature+" ") != 1 {
			t.Errorf("weir-rs said\n%swant one line on %s", said, feature)
		}
	}
	o.seenAt(netip.AddrPortFrom(vip, 8081), nil)
	for _, to := range []string{"10.0.0.100:5300", "10.0.0.100:5310"} {
		o.answers(to, func(got string, me netip.AddrPort) bool { return seenClient(got) == me })
	}

	lacks(o.agent("getsockopt"), "registers", "can't read what getsockopt is asked: it answers for the last datagram received on the socket")
	o.seenAt(netip.AddrPortFrom(vip, 8081), nil)
	for _, to := range []string{"10.0.0.100:5301", "10.0.0.100:5311"} {
		o.answers(to, askedRight)
	}
}

// answers has a conversation of UDP in which each datagram must be answered right.
func (o *otherKernel) answers(to string, right func(got string, me netip.AddrPort) bool) {
	o.t.Helper()
	conn, err := o.client().Dial(within(o.t, patience), "udp", to)
	if err != nil {
		o.t.Fatal(err)
	}
	defer conn.Close()
	for i := range 5 {
		if got := o.exchange(conn, "who am I?"); !right(got, localOf(conn)) {
			o.t.Errorf("to datagram %d for %s the server answered %q; the client is %s", i+1, to, got, conn.LocalAddr())
		}
	}
}

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"weir/internal/testkit/netns"
)

// agent is weir-rs on a real server. It covers the programs that are started on
// that server after agentOn, and no other program of the machine.
type agent struct {
	bed  *bed
	rs   *netns.Namespace
	pins string
	args []string
	said *lines
	proc *netns.Process
}

// agentOn makes the place for an agent on a real server: the control group that
// programs start in from here on, and a BPF file system for its pins. It does not
// run yet. args are further ones of `weir-rs run`.
func (b *bed) agentOn(rs *netns.Namespace, args ...string) *agent {
	b.t.Helper()
	group, err := b.net.World.Cgroup(rs.Name())
	if err != nil {
		b.t.Fatal(err)
	}
	pins, err := b.net.World.Pins(rs.Name() + "-pins")
	if err != nil {
		b.t.Fatal(err)
	}
	b.groups[rs] = group
	return &agent{bed: b, rs: rs, pins: filepath.Join(pins, "weir-rs"), args: args}
}

// run starts the agent, or another one over it, and waits until it is ready.
func (a *agent) run() *agent {
	a.bed.t.Helper()
	return a.runProgram(program("weir-rs"))
}

// start starts a program as the agent, which may end at once.
func (a *agent) start(path string) (*netns.Process, *lines) {
	a.bed.t.Helper()
	said := &lines{}
	cmd := exec.Command(path, append([]string{
		"run", "--trust", "192.168.100.200/32,2001:db8:100::200/128",
		"--cgroup", a.bed.groups[a.rs].Dir(), "--pin", a.pins,
	}, a.args...)...)
	cmd.Stdout, cmd.Stderr = said, said
	return a.bed.startCmd(a.rs, cmd), said
}

func (a *agent) runProgram(path string) *agent {
	a.bed.t.Helper()
	a.proc, a.said = a.start(path)
	eventually(a.bed.t, "weir-rs is ready", func() bool {
		if a.proc.Ended() {
			a.bed.t.Fatalf("weir-rs ended: %v: %s", a.proc.Err(), a.said)
		}
		return strings.Contains(a.said.String(), "weir-rs is ready")
	})
	return a
}

// second starts a second agent beside the first: it is refused with a sentence.
func (a *agent) second() {
	a.bed.t.Helper()
	p, said := a.start(program("weir-rs"))
	if err := p.Wait(within(a.bed.t, patience)); err == nil || !strings.Contains(said.String(), "an agent runs already") || a.proc.Ended() {
		a.bed.t.Errorf("a second agent ended with %v and said %q; the first one: ended %v", err, said, a.proc.Ended())
	}
}

// do runs another command of weir-rs on the real server.
func (a *agent) do(words string) string {
	a.bed.t.Helper()
	return a.bed.run(a.rs, program("weir-rs")+" "+words+" --pin "+a.pins)
}

// compiled compiles a C program of testdata and returns its path.
func (b *bed) compiled(name string) string {
	b.t.Helper()
	out := b.path(name)
	if text, err := exec.Command("gcc", "-O2", "-Wall", "-Werror", "-o", out, filepath.Join("testdata", name+".c")).CombinedOutput(); err != nil {
		b.t.Fatalf("gcc: %v\n%s", err, text)
	}
	return out
}

// listeningUDP waits until a datagram socket has a port.
func (b *bed) listeningUDP(in *netns.Namespace, port int) {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("something has UDP port %d in %s", port, in.Name()), func() bool {
		return b.run(in, fmt.Sprintf("ss -Hlun sport = :%d", port)) != ""
	})
}

package rsagent

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const nobody = 65534

// asNobody starts an agent as a user without rights but some capabilities.
func asNobody(caps ...uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: false}, AmbientCaps: caps}
}

// publicBinary is a copy of the test binary where everybody may run it.
func publicBinary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	dir := t.TempDir()
	// Above it is another folder of the test's, and what it was made in is everybody's.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "agent")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// openPins lets everybody into the bpffs, though not write there.
func (b *bed) openPins(t *testing.T) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(b.pin), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestThreeCapabilitiesAreEnough: uid 65534 with BPF, NET_ADMIN and PERFMON does
// everything, takes over and is taken over.
func TestThreeCapabilitiesAreEnough(t *testing.T) {
	b := newBed(t)
	b.binary = publicBinary(t)
	b.openPins(t)
	if err := os.Mkdir(b.pin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(b.pin, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	three := asNobody(unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON)
	tcpServer := b.peerServer(t, 8001, "accept")
	udpServer := b.datagramServer(t, 9000)
	to := netip.AddrPortFrom(rs4.Addr(), 9000)
	flow := b.director(lip4)
	for i, l := range []lacks{{}, {}, {TCX: true}} {
		agent := b.tryAgent(t, b.options(withUOA(Getsockopt)), l, three)
		agent.ready(t)
		if st, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(agent.PID()), "status")); err != nil || !strings.Contains(string(st), "Uid:\t65534\t65534") {
			t.Fatalf("the agent does not run as nobody (%v)", err)
		}
		c := connect(t, b.wire, b.director(lip4), netip.AddrPortFrom(rs4.Addr(), 8001), handshake{third: toaOf(client4)})
		if got := fields(tcpServer.line(t, "peer"))["accept"]; got != client4.String() {
			t.Errorf("start %d: shown %s, want %s", i, got, client4)
		}
		c.reset(t)
		carry := opp
		if i > 0 {
			carry = plain // known from before
		}
		b.wire.send(t, carry(flow, to, client4, []byte("hello")))
		if got := fields(udpServer.line(t, "from"))["client"]; got != client4.String() {
			t.Errorf("start %d: getsockopt says %s, want %s", i, got, client4)
		}
		agent.end(t, syscall.SIGTERM)
	}
	if err := b.rs.Do(func() error { return Stop(b.pin) }); err != nil {
		t.Error(err)
	}
}

// TestTwoCapabilitiesAreNot: any two of the three get a sentence.
func TestTwoCapabilitiesAreNot(t *testing.T) {
	b := newBed(t)
	b.binary = publicBinary(t)
	three := []uintptr{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON}
	for i := range three {
		two := []uintptr{three[(i+1)%3], three[(i+2)%3]}
		p := b.tryAgent(t, b.options(), lacks{}, asNobody(two...))
		want := "agent: weir-rs needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
		if got := p.line(t, "agent:"); got != want {
			t.Errorf("without capability %d the agent says %q, want %q", three[i], got, want)
		}
	}
}

// TestAFolderThatIsNotOurs says whose it has to be.
func TestAFolderThatIsNotOurs(t *testing.T) {
	b := newBed(t)
	b.binary = publicBinary(t)
	b.openPins(t)
	o := b.options()
	p := b.tryAgent(t, o, lacks{}, asNobody(unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON))
	want := "let root make it and give it to the user of weir-rs (mkdir -m 700 " + o.PinDir + " && chown USER " + o.PinDir + "), or name another with --pin"
	if got := p.line(t, "agent:"); !strings.HasSuffix(got, want) {
		t.Errorf("the agent says %q, want it to end in %q", got, want)
	}
}

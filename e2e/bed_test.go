package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// patience bounds every wait of a test: long enough for a busy machine of two
// cores, short enough that a hang is a failure of one test and not of the run.
const patience = 60 * time.Second

// bed is a network of the tutorial with a place for a director in it.
type bed struct {
	t   *testing.T
	net *netns.Network
	dir string
	// groups are the control groups that programs of a namespace start in.
	groups map[*netns.Namespace]*netns.Cgroup
	// iperfs are what the iperf3 of real servers say.
	iperfs map[*netns.Namespace]*lines
}

func newBed(t *testing.T, opt netns.TwoArmOptions) *bed {
	t.Helper()
	return bedOf(t, func(label string) (*netns.Network, error) { return netns.NewTwoArm(label, opt) })
}

// beds counts the beds: those of tests that wait in parallel have names of their own.
var beds atomic.Int32

// bedOf is newBed for any network.
func bedOf(t *testing.T, build func(label string) (*netns.Network, error)) *bed {
	t.Helper()
	net, err := build(fmt.Sprintf("weir-e2e%d", beds.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := net.World.Close(); err != nil {
			t.Error(err)
		}
		if left := net.World.Left(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return &bed{t: t, net: net, dir: t.TempDir(), groups: map[*netns.Namespace]*netns.Cgroup{}, iperfs: map[*netns.Namespace]*lines{}}
}

// as returns the bed for a subtest: what fails there fails the subtest.
func (b *bed) as(t *testing.T) *bed {
	c := *b
	c.t = t
	return &c
}

func (b *bed) client() *netns.Namespace { return b.net.Client }

// rs returns the i-th real server, counted from 1 as its name is.
func (b *bed) rs(i int) *netns.Namespace { return b.net.Servers[i-1] }

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

// within returns a context that ends with the test or after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// run runs a program in a namespace, which must succeed, and returns its output.
func (b *bed) run(in *netns.Namespace, line string) string {
	b.t.Helper()
	words := strings.Fields(line)
	out, err := in.Run(within(b.t, patience), words[0], words[1:]...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// start starts a program that runs until the test ends.
func (b *bed) start(in *netns.Namespace, name string, args ...string) *netns.Process {
	b.t.Helper()
	return b.startCmd(in, exec.Command(name, args...))
}

// startCmd is start for a command that is already made up. What it prints is
// shown when the test fails.
func (b *bed) startCmd(in *netns.Namespace, cmd *exec.Cmd) *netns.Process {
	b.t.Helper()
	said := &lines{}
	if cmd.Stdout == nil {
		cmd.Stdout = said
	}
	if cmd.Stderr == nil {
		cmd.Stderr = said
	}
	if group := b.groups[in]; group != nil {
		group.Take(cmd)
	}
	p, err := in.Start(cmd)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		p.Kill()
		if text := said.String(); b.t.Failed() && text != "" {
			b.t.Logf("%s in %s said:\n%s", filepath.Base(cmd.Path), in.Name(), text)
		}
	})
	return p
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain until %s", patience, what)
		}
		<-poll.C
	}
}

// listening waits until something accepts TCP connections at an address, asked
// from inside the namespace itself.
func (b *bed) listening(in *netns.Namespace, address string) {
	b.t.Helper()
	eventually(b.t, "something listens on "+address+" in "+in.Name(), func() bool {
		c, err := in.Dial(within(b.t, time.Second), "tcp", address)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
}

// exchange sends a datagram and returns the answer.
func (b *bed) exchange(conn net.Conn, text string) string {
	b.t.Helper()
	conn.SetDeadline(time.Now().Add(requestPatience))
	if _, err := io.WriteString(conn, text); err != nil {
		b.t.Fatalf("a datagram of %d bytes to %s: %v", len(text), conn.RemoteAddr(), err)
	}
	return b.hear(conn)
}

// hear returns the next datagram.
func (b *bed) hear(conn net.Conn) string {
	b.t.Helper()
	conn.SetDeadline(time.Now().Add(requestPatience))
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		b.t.Fatalf("an answer of %s: %v", conn.RemoteAddr(), err)
	}
	return string(buf[:n])
}

package rsagent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// The addresses of the tests: what the tutorial has, and IPv6 beside it.
var (
	rs4, rs6   = netip.MustParsePrefix("192.168.100.2/24"), netip.MustParsePrefix("fd00:100::2/64")
	lip4, lip6 = netip.MustParseAddr("192.168.100.200"), netip.MustParseAddr("fd00:100::200")
	// stranger4 and stranger6 are on the same network and not trusted.
	stranger4, stranger6 = netip.MustParseAddr("192.168.100.66"), netip.MustParseAddr("fd00:100::66")
	client4, client6     = netip.MustParseAddrPort("203.0.113.9:5555"), netip.MustParseAddrPort("[2001:db8::9]:6666")
	// client46 is client4 as UOA has it over IPv6.
	client46  = netip.MustParseAddrPort("[::ffff:203.0.113.9]:5555")
	trustLIPs = []netip.Prefix{netip.PrefixFrom(lip4, 32), netip.PrefixFrom(lip6, 128)}
)

// bed is a real server: a namespace with a wire to the director, a folder for pins
// and a cgroup for its programs.
type bed struct {
	world  *netns.World
	rs     *netns.Namespace
	wire   *wire
	pin    string
	group  *netns.Cgroup
	binary string // of the agent; "": this one
	lport  uint16 // the next of the director's local ports
}

func newBed(t *testing.T) *bed { return makeBed(t, false) }

// newTapBed has Ethernet frames on its wire.
func newTapBed(t *testing.T) *bed { return makeBed(t, true) }

func makeBed(t *testing.T, tap bool) *bed {
	t.Helper()
	b := &bed{lport: 20000}
	var err error
	if b.world, err = netns.New("weir-rs"); err != nil {
		t.Fatal(err)
	}
	// Cleanups run backwards: programs end and pins are removed before the world goes.
	t.Cleanup(func() {
		if err := b.world.Close(); err != nil {
			t.Error(err)
		}
		if left := b.world.Left(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	if b.rs, err = b.world.Namespace("rs"); err != nil {
		t.Fatal(err)
	}
	b.group = b.newGroup(t, "programs")
	pins, err := b.world.Pins("pins")
	if err != nil {
		t.Fatal(err)
	}
	b.pin = filepath.Join(pins, "weir-rs")
	t.Cleanup(func() {
		if err := b.rs.Do(func() error { return stopAny(b.pin) }); err != nil {
			t.Error(err)
		}
	})
	// IPv6 addresses are good at once.
	if err := b.rs.WriteSysctl("ipv6/conf/default/accept_dad", "0"); err != nil {
		t.Fatal(err)
	}
	b.wire = newWire(t, b.rs, "lan0", tap)
	for _, p := range []netip.Prefix{rs4, rs6} {
		if err := b.rs.Address("lan0", p); err != nil {
			t.Fatal(err)
		}
	}
	if tap {
		for _, a := range []netip.Addr{lip4, lip6, stranger4} {
			b.run(t, "ip", "neigh", "add", a.String(), "lladdr", "02:00:00:00:00:01", "dev", "lan0")
		}
	}
	return b
}

func (b *bed) newGroup(t *testing.T, name string) *netns.Cgroup {
	t.Helper()
	g, err := b.world.Cgroup(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// stopAny removes what a test left pinned, if it did.
func stopAny(pin string) error {
	err := Stop(pin)
	if errors.Is(err, ErrNothing) {
		return nil
	}
	return err
}

func (b *bed) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	out, err := b.rs.Run(ctx, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// director returns the director's local address with a new port.
func (b *bed) director(a netip.Addr) netip.AddrPort {
	b.lport++
	return netip.AddrPortFrom(a, b.lport)
}

// options are the usual ones, changed by some functions.
func (b *bed) options(change ...func(*Options)) Options {
	o := Options{
		Trust: trustLIPs, UOA: Off, Entries: 1024, Timeout: DefaultTimeout, Cgroup: b.group.Dir(), PinDir: b.pin, Version: "test",
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func withUOA(m Mode) func(*Options) { return func(o *Options) { o.UOA = m } }

// program is a process of the test with its output, line by line.
type program struct {
	*netns.Process
	lines chan string

	mu  sync.Mutex
	all strings.Builder // for the report of a failure
}

// text returns what the program said last.
func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := strings.Split(p.all.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// start starts a program in the real server's namespace.
func (b *bed) start(t *testing.T, cmd *exec.Cmd, lines *os.File, w *os.File) *program {
	t.Helper()
	p := &program{lines: make(chan string, 1024)}
	proc, err := b.rs.Start(cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	p.Process = proc
	go func() {
		defer close(p.lines)
		defer lines.Close()
		s := bufio.NewScanner(lines)
		for s.Scan() {
			p.mu.Lock()
			p.all.WriteString(s.Text() + "\n")
			p.mu.Unlock()
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(p.Kill)
	return p
}

// line waits for a line that begins so.
func (p *program) line(t *testing.T, prefix string) string {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				t.Fatalf("the program ended without a line %q; it said:\n%s", prefix, p.text())
			}
			if strings.HasPrefix(l, prefix) {
				return l
			}
		case <-deadline:
			t.Fatalf("no line %q came; the program said:\n%s", prefix, p.text())
		}
	}
}

// agent starts an agent in a process of its own and waits until it is ready.
func (b *bed) agent(t *testing.T, o Options, l lacks) *program {
	t.Helper()
	p := b.tryAgent(t, o, l, nil)
	p.ready(t)
	return p
}

func (p *program) ready(t *testing.T) {
	t.Helper()
	for {
		if l := p.line(t, ""); strings.Contains(l, `msg="weir-rs is ready"`) {
			return
		}
	}
}

func (b *bed) tryAgent(t *testing.T, o Options, l lacks, attr *syscall.SysProcAttr) *program {
	t.Helper()
	text, err := json.Marshal(order{Options: o, Lacks: l})
	if err != nil {
		t.Fatal(err)
	}
	binary := b.binary
	if binary == "" {
		binary, err = os.Executable()
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleAgent)
	cmd.Stdin = bytes.NewReader(text)
	cmd.SysProcAttr = attr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = w
	return b.start(t, cmd, r, w)
}

// server starts a program in the real server's cgroup and waits until it is ready.
func (b *bed) server(t *testing.T, role, path string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	b.group.Take(cmd)
	p := b.start(t, cmd, r, w)
	p.line(t, "ready")
	return p
}

// peerServer starts testdata/peer.c.
func (b *bed) peerServer(t *testing.T, port int, words ...string) *program {
	return b.server(t, "", compile(t, "peer"), append([]string{fmt.Sprint(port)}, words...)...)
}

// datagramServer starts testdata/datagram.c.
func (b *bed) datagramServer(t *testing.T, port int, words ...string) *program {
	return b.server(t, "", compile(t, "datagram"), append([]string{fmt.Sprint(port)}, words...)...)
}

// goServer starts this binary as a server.
func (b *bed) goServer(t *testing.T, role string, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return b.server(t, role, self, args...)
}

// status reads the status of the pins.
func (b *bed) status(t *testing.T) *Status {
	t.Helper()
	s, err := ReadStatus(b.pin)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// counts returns the counters that are not zero.
func (b *bed) counts(t *testing.T) map[string]uint64 {
	t.Helper()
	m := map[string]uint64{}
	for _, c := range b.status(t).Counters {
		if c.Total > 0 {
			m[c.Name] = c.Total
		}
	}
	return m
}

// since returns what counters grew by.
func since(before, after map[string]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for k, v := range after {
		if d := v - before[k]; d > 0 {
			m[k] = d
		}
	}
	return m
}

// here is what the kernel gives that the tests run on.
func here(t testing.TB) *abilities {
	t.Helper()
	if err := unlimit(); err != nil {
		t.Fatal(err)
	}
	f, err := probe(Running{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// unknown is what getsockopt says of a client that is not known.
func unknown(t *testing.T) string {
	if here(t).setRetval {
		return "ENOENT"
	}
	return "ENOPROTOOPT"
}

// translators are the ways in which this kernel may translate the option protocol.
func translators(t *testing.T) map[string]lacks {
	ways := map[string]lacks{"clsact": {TCX: true}}
	if here(t).tcx {
		ways["tcx"] = lacks{}
	}
	return ways
}

// translatedBy is the way it takes by itself.
func translatedBy(t *testing.T) string {
	if here(t).tcx {
		return "tcx"
	}
	return "clsact"
}

// fields reads "word name=value ..." lines.
func fields(line string) map[string]string {
	m := map[string]string{}
	for f := range strings.FieldsSeq(line) {
		if k, v, ok := strings.Cut(f, "="); ok {
			m[k] = v
		}
	}
	return m
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come true", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks, not instead of one
	}
}

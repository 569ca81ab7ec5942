package netns

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleEnv makes the test binary play a part of its own: see TestKilledMaker.
const roleEnv = "WEIR_NETNS_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "maker" {
		maker()
	}
	os.Exit(m.Run())
}

func newWorld(t *testing.T) *World {
	t.Helper()
	w, err := New("netns-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if left := w.Left(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return w
}

func namespace(t *testing.T, w *World, name string) *Namespace {
	t.Helper()
	n, err := w.Namespace(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestTwoArmIsConnected(t *testing.T) {
	net2, err := NewTwoArm("netns-test", TwoArmOptions{Servers: 3, Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := net2.World.Close(); err != nil {
			t.Error(err)
		}
	}()
	// The director's place is empty: give Linux its addresses and look whether
	// both sides can be reached from there.
	for _, a := range []struct{ link, address string }{
		{"dpdk1", "10.0.0.100/16"},
		{"dpdk1", "2001:db8:10::100/64"},
		{"dpdk0", "192.168.100.200/24"},
		{"dpdk0", "2001:db8:100::200/64"},
	} {
		if err := net2.Director.Address(a.link, netip.MustParsePrefix(a.address)); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []netip.Addr{
		ClientAddr.Addr(), ServerAddr(0), ServerAddr(1), ServerAddr(2),
		ClientAddr6.Addr(), ServerAddr6(0), ServerAddr6(1), ServerAddr6(2),
	} {
		if _, err := net2.Director.Run(soon(t), "ping", "-c1", "-W5", target.String()); err != nil {
			t.Error(err)
		}
	}
	out, err := net2.Director.Run(soon(t), "ip", "-d", "link", "show", "dev", "dpdk0")
	if err != nil || !strings.Contains(out, "numtxqueues 2") || !strings.Contains(out, "numrxqueues 2") {
		t.Errorf("want two queues each way: %v\n%s", err, out)
	}
}

func TestOneArmIsConnected(t *testing.T) {
	one, err := NewOneArm("netns-test", OneArmOptions{
		Client: netip.MustParsePrefix("192.0.2.46/24"), Client6: netip.MustParsePrefix("2001:db8::46/64"),
		Servers:  []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("192.0.2.3/24")},
		Servers6: []netip.Prefix{netip.MustParsePrefix("2001:db8::2/64")},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := one.World.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, target := range []string{"192.0.2.2", "192.0.2.3", "2001:db8::2"} {
		if _, err := one.Client.Run(soon(t), "ping", "-c1", "-W5", target); err != nil {
			t.Error(err)
		}
	}
	out, err := one.Servers[1].Run(soon(t), "ip", "-6", "address", "show", "scope", "global")
	if err != nil || out != "" {
		t.Errorf("the second server has an IPv6 address that nobody gave it: %v\n%s", err, out)
	}
}

func TestSocketsLiveWhereTheyWereMade(t *testing.T) {
	w := newWorld(t)
	a, b := namespace(t, w, "a"), namespace(t, w, "b")
	l, err := a.Listen("tcp", "127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	if c, err := b.Dial(soon(t), "tcp", "127.0.0.1:7"); err == nil {
		c.Close()
		t.Error("a listener of one namespace was reached from another")
	}
	c, err := a.Dial(soon(t), "tcp", "127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, _ := io.ReadAll(c); string(got) != "hello" {
		t.Errorf("read %q, want hello", got)
	}
}

func TestDoLeavesOurThreadsAlone(t *testing.T) {
	w := newWorld(t)
	n := namespace(t, w, "a")
	outside, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := n.Do(func() error {
			if inside, _ := os.Readlink("/proc/thread-self/ns/net"); inside == outside {
				t.Error("Do ran outside")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		seen := make(chan string)
		go func() { s, _ := os.Readlink("/proc/thread-self/ns/net"); seen <- s }()
		if got := <-seen; got != outside {
			t.Fatalf("a thread of ours stayed in %s", got)
		}
	}
	if got, _ := os.Readlink("/proc/self/ns/net"); got != outside {
		t.Error("the main thread changed its namespace")
	}
}

func TestCloseEndsPrograms(t *testing.T) {
	w := newWorld(t)
	n := namespace(t, w, "a")
	p, err := n.Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	default:
		t.Error("a program outlived its namespace")
	}
	if _, err := w.Namespace("b"); err == nil {
		t.Error("a closed world made a namespace")
	}
	if _, err := n.Start(exec.Command("true")); err == nil {
		t.Error("a closed namespace started a program")
	}
}

// A control group holds the programs that were started in it, and goes with them
// and with what they started.
func TestCgroup(t *testing.T) {
	w := newWorld(t)
	n := namespace(t, w, "a")
	c, err := w.Cgroup("group")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "sleep 1000 & exec sleep 1000")
	c.Take(cmd)
	p, err := n.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "two programs are in the group", func() bool {
		procs, _ := os.ReadFile(filepath.Join(c.Dir(), "cgroup.procs"))
		return strings.Count(string(procs), "\n") == 2 && strings.Contains(string(procs), strconv.Itoa(p.PID()))
	})
	if len(w.Left()) != 2 {
		t.Errorf("there are %v, want a namespace and a control group", w.Left())
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Cgroup("late"); err == nil {
		t.Error("a closed world made a control group")
	}
	if _, err := w.Pins("late"); err == nil {
		t.Error("a closed world mounted a BPF file system")
	}
}

func TestRunReportsWhatWentWrong(t *testing.T) {
	w := newWorld(t)
	n := namespace(t, w, "a")
	for name, row := range map[string]struct {
		program string
		args    []string
		want    string
	}{
		"exit code and standard error": {"sh", []string{"-c", "echo sorry >&2; exit 3"}, "exit status 3: sorry"},
		"no such program":              {"weir-no-such-program", nil, "weir-no-such-program"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := n.Run(soon(t), row.program, row.args...)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want one with %q", err, row.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	if _, err := n.Run(ctx, "sleep", "1000"); err == nil {
		t.Error("a cancelled Run gave no error")
	}
}

// maker makes a namespace with a program in it, says so, and waits to be killed.
func maker() {
	w, err := New("netns-test")
	if err != nil {
		panic(err)
	}
	n, err := w.Namespace("orphan")
	if err != nil {
		panic(err)
	}
	c, err := w.Cgroup("group")
	if err != nil {
		panic(err)
	}
	if _, err := w.Pins("pins"); err != nil {
		panic(err)
	}
	cmd := exec.Command("sleep", "1000")
	c.Take(cmd)
	p, err := n.Start(cmd)
	if err != nil {
		panic(err)
	}
	// A namespace on its way: it has a name, which leads nowhere yet.
	if err := os.WriteFile(filepath.Join(namesDir, w.prefix+"unborn"), nil, 0o444); err != nil {
		panic(err)
	}
	os.Stdout.WriteString(w.prefix + " " + strconv.Itoa(p.PID()) + "\n")
	select {}
}

// TestKilledMaker proves that nothing is left of a world whose maker was killed
// without a chance to tidy up.
func TestKilledMaker(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleEnv+"=maker")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	prefix, pid, _ := strings.Cut(strings.TrimSpace(line), " ")
	orphaned := &World{prefix: prefix}
	if left := orphaned.Left(); len(left) != 4 {
		t.Errorf("the maker made %v, want a namespace, the name of another, pins and a control group", left)
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()

	eventually(t, "names, pins and control groups go", func() bool { return len(orphaned.Left()) == 0 })
	eventually(t, "the program goes", func() bool {
		_, err := os.Stat("/proc/" + pid)
		return os.IsNotExist(err)
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s in vain until %s", what)
		}
		<-poll.C
	}
}

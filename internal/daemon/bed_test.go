package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"weir/internal/config/dpvsconf"
	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/testkit/words"
)

// The test's program is the daemon as well, for tests that need one in another
// network namespace.
func TestMain(m *testing.M) {
	if path := os.Getenv("WEIR_TEST_SERVE"); path != "" {
		if err := Serve(context.Background(), Options{Config: path, Socket: path + ".sock", Version: "test"}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("WEIR_TEST_PRECEDE") != "" {
		behind, stay := make(chan int), make(chan struct{})
		go func() {
			runtime.LockOSThread() // for good
			_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 19)
			behind <- unix.Gettid()
			<-stay
		}()
		last := <-behind
		if err := precede(-20); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		text, _ := os.ReadFile(autogroup)
		tasks, _ := os.ReadDir("/proc/self/task")
		for _, task := range tasks {
			id, _ := strconv.Atoi(task.Name())
			kernel, err := unix.Getpriority(unix.PRIO_PROCESS, id) // 20 less the nice value
			if id == last {
				fmt.Print("behind others ")
			}
			fmt.Println(20-kernel, err)
		}
		fmt.Print(string(text))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long anything may take before a test gives up on it.
const patience = 30 * time.Second

// notified listens where systemd would, and puts what is said into a channel.
func notified(t *testing.T) (path string, said <-chan string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	c := make(chan string, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			c <- string(b[:n])
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-ended })
	return path, c
}

// next returns the next thing said that begins with a word.
func next(t *testing.T, said <-chan string, word string) string {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case s := <-said:
			if strings.HasPrefix(s, word) {
				return s
			}
		case <-deadline:
			t.Fatalf("not said within %v: %s", patience, word)
		}
	}
}

// memory is a log to look at.
type memory struct {
	mu   sync.Mutex
	text strings.Builder
}

func (m *memory) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.Write(b)
}

// take returns what was written since the last call.
func (m *memory) take() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.text.Reset()
	return m.text.String()
}

// daemon is what reload works on, with a director in memory.
type daemon struct {
	t    *testing.T
	d    *director.Director
	wan  *pipe.Port
	conf *dpvsconf.Config
	log  *logger
	said *memory // what goes to standard error
	path string
}

func newDaemon(t *testing.T, threads bool, text string) *daemon {
	t.Helper()
	m := &daemon{t: t, path: filepath.Join(t.TempDir(), "dpvs.conf"), said: &memory{}}
	m.write(text)
	var err error
	if m.conf, _, err = dpvsconf.Parse(m.path); err != nil {
		t.Fatal(err)
	}
	if m.log, err = openLog(&m.conf.Tunables); err != nil {
		t.Fatal(err)
	}
	if m.log.out.file == nil {
		m.log.out.w = m.said
	}
	m.log.stderr = m.said
	m.wan = pipe.New(0, "wan", port.MAC{2, 0, 0, 0, 1, 0}, 1500)
	bed := director.Bed{ByHand: !threads, Ports: []director.BedPort{{
		Facts: m.wan.Facts(), Owners: []int{0},
		Open: func(q int, pool *packet.Pool) (port.Queue, error) { return m.wan.Queue(q, pool) },
	}}}
	boot := spec.Boot{ConnPool: 100, PktPool: 256, Workers: []spec.Worker{{Name: "cpu1", Type: "slave", CPU: -1}}}
	if m.d, err = director.NewOn(bed, boot, m.conf.Tunables, slog.New(slog.NewTextHandler(&memory{}, nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.log.close()
		if err := m.d.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *daemon) write(text string) {
	m.t.Helper()
	if err := os.WriteFile(m.path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// ttl returns the TTL of what the director sends: a setting that a reload changes.
func (m *daemon) ttl() string {
	m.t.Helper()
	if m.d.Spec().FindAddress(netip.MustParseAddr("10.0.0.1")) == nil {
		if err := m.d.Change(func(s *spec.Spec) error {
			return s.AddAddress(spec.Address{Port: "wan", Prefix: netip.MustParsePrefix("10.0.0.1/24")}, false)
		}); err != nil {
			m.t.Fatal(err)
		}
	}
	f, err := words.Parse("ip 10.0.0.9 > 10.0.0.1 / icmp echo id=1 seq=1 data=8", nil, words.MAC{2, 0, 0, 0, 1, 9}, words.MAC(m.wan.Facts().MAC))
	if err != nil {
		m.t.Fatal(err)
	}
	g, err := words.Parse("eth to=all / arp request who=10.0.0.1 tell=10.0.0.9", nil, words.MAC{2, 0, 0, 0, 1, 9}, words.All)
	if err != nil {
		m.t.Fatal(err)
	}
	m.wan.Inject(g.Data)
	m.wan.Inject(f.Data)
	for range 10 {
		for _, w := range m.d.Lanes() {
			w.Breathe()
		}
	}
	for _, f := range m.wan.Take() {
		if f[12] == 8 && f[13] == 0 {
			return fmt.Sprint(f[22])
		}
	}
	return "no answer"
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"

	"weir/internal/testkit/netns"
)

// patience is how long the director may take to start or to end, and a command
// to be carried out.
const (
	patience = 20 * time.Second
	// patienceFlow is what each flow may take, besides, to be opened.
	patienceFlow = 40 * time.Microsecond
)

// course is the network of one run:
//
//	gen g0 ───── dpdk1 director dpdk0 ───── s0 sink
//
// Neither generator nor sink has an IP stack: neighbours are set by hand.
type course struct {
	bin, dir        string
	flows           int
	world           *netns.World
	gen, weir, sink *netns.Namespace
	genMAC, sinkMAC net.HardwareAddr
	wanMAC          net.HardwareAddr
	daemon          *netns.Process
	log             bytes.Buffer
}

// courses tells the names of networks apart that this process has at a time.
var courses atomic.Uint32

func newCourse(bin string, o vethOptions) (_ *course, err error) {
	n := &course{bin: bin, flows: o.flows}
	if n.dir, err = os.MkdirTemp(bin, "run-"); err != nil {
		return nil, err
	}
	if n.world, err = netns.New(fmt.Sprintf("weir-bench%d", courses.Add(1))); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	for name, ns := range map[string]**netns.Namespace{"gen": &n.gen, "weir": &n.weir, "sink": &n.sink} {
		if *ns, err = n.world.Namespace(name); err != nil {
			return nil, err
		}
	}
	if err := netns.Veth(netns.End{In: n.gen, Name: "g0"}, netns.End{In: n.weir, Name: "dpdk1"}); err != nil {
		return nil, err
	}
	if err := netns.Veth(netns.End{In: n.sink, Name: "s0"}, netns.End{In: n.weir, Name: "dpdk0"}); err != nil {
		return nil, err
	}
	for _, mac := range []struct {
		in   *netns.Namespace
		link string
		to   *net.HardwareAddr
	}{{n.gen, "g0", &n.genMAC}, {n.sink, "s0", &n.sinkMAC}, {n.weir, "dpdk1", &n.wanMAC}} {
		if *mac.to, err = mac.in.MAC(mac.link); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *course) close() error {
	var errs []error
	if n.daemon != nil && !n.daemon.Ended() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.daemon.Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("the director did not end well: %w\n%s", err, &n.log))
		}
	}
	errs = append(errs, n.world.Close(), os.RemoveAll(n.dir))
	return errors.Join(errs...)
}

// pid is the director's process; 0 where Linux does its work.
func (n *course) pid() int {
	if n.daemon == nil {
		return 0
	}
	return n.daemon.PID()
}

func (n *course) socket() string { return filepath.Join(n.dir, "weir.sock") }

// variant is a way to run the director: what differs in dpvs.conf.
type variant struct {
	device string // lines of each device
	global string // lines of global_defs
	ipvs   string // lines of ipvs_defs
}

// conf is the least configuration there is with a variant's lines.
func (v variant) conf() string {
	text := ""
	if v.global != "" {
		text += "global_defs {\n" + v.global + "\n}\n"
	}
	text += fmt.Sprintf("netif_defs {\n    device dpdk0 {\n%[1]s\n    }\n    device dpdk1 {\n%[1]s\n    }\n}\n", v.device)
	if v.ipvs != "" {
		text += "ipvs_defs {\n" + v.ipvs + "\n}\n"
	}
	return text
}

// serve starts the real daemon, and waits until it says that it is ready.
func (n *course) serve(ctx context.Context, v variant) error {
	conf := filepath.Join(n.dir, "dpvs.conf")
	text := v.conf()
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return err
	}
	name := filepath.Join(n.dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer notify.Close()
	cmd := exec.Command(filepath.Join(n.bin, "weir"), "serve", "-c", conf, "-x", n.socket())
	cmd.Dir = n.dir
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+name)
	cmd.Stdout, cmd.Stderr = &n.log, &n.log
	if n.daemon, err = n.weir.Start(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { notify.Close() })()
	go func() { <-n.daemon.Done(); notify.Close() }()
	buf := make([]byte, 4096)
	for {
		k, err := notify.Read(buf)
		if err != nil {
			n.daemon.Kill()
			return fmt.Errorf("the director is not ready: %w\n%s", err, &n.log)
		}
		if bytes.Contains(buf[:k], []byte("READY=1")) {
			return nil
		}
	}
}

// script runs commands of ours against the director, one a line.
func (n *course) script(ctx context.Context, text string) error {
	for line := range strings.Lines(text) {
		if _, err := n.command(ctx, strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

func (n *course) command(ctx context.Context, words ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(n.bin, words[0]), words[1:]...)
	cmd.Env = append(os.Environ(), "DPVS_IPC_FILE="+n.socket())
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// linux runs a command of the system in the director's namespace.
func (n *course) linux(ctx context.Context, words ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := n.weir.Run(ctx, words[0], words[1:]...)
	return err
}

// neighbour tells Linux in the director's place a neighbour.
func (n *course) neighbour(ctx context.Context, link string, a netip.Addr, mac net.HardwareAddr) error {
	return n.linux(ctx, "ip", "neigh", "replace", a.String(), "lladdr", mac.String(), "dev", link, "nud", "permanent")
}

// losses says where packets were lost, by name of counter.
type losses map[string]uint64

func (l losses) since(before losses) losses {
	d := make(losses)
	for k, v := range l {
		if v > before[k] {
			d[k] = v - before[k]
		}
	}
	return d
}

// losses reads the counters of links and director.
func (n *course) losses(ctx context.Context) (losses, error) {
	l := make(losses)
	for _, at := range []struct {
		in   *netns.Namespace
		link string
	}{{n.gen, "g0"}, {n.weir, "dpdk1"}, {n.weir, "dpdk0"}} {
		if err := at.in.Do(func() error {
			link, err := netlink.LinkByName(at.link)
			if err == nil {
				s := link.Attrs().Statistics
				l[at.link+" rx_dropped"], l[at.link+" tx_dropped"] = s.RxDropped, s.TxDropped
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	if n.daemon == nil {
		return l, nil
	}
	if n.daemon.Ended() {
		return nil, fmt.Errorf("the director died: %w\n%s", n.daemon.Err(), &n.log)
	}
	out, err := n.command(ctx, "weir", "stats", "--json")
	if err != nil {
		return nil, err
	}
	var stats struct {
		Drops []struct {
			Reason string
			Total  uint64
		}
	}
	if err := json.Unmarshal(out, &stats); err != nil {
		return nil, fmt.Errorf("weir stats --json printed %q: %w", out, err)
	}
	for _, d := range stats.Drops {
		l["weir "+d.Reason] = d.Total
	}
	return l, nil
}

// startPart starts a process of ours in a namespace.
func startPart(space *netns.Namespace, cmd *exec.Cmd) (*partProcess, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if _, err := space.Start(cmd); err != nil {
		return nil, err
	}
	return &partProcess{orders: json.NewEncoder(in), answers: json.NewDecoder(bufio.NewReader(out))}, nil
}

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// setup says how to run a director.
type setup struct {
	driver, mode    string // of dpvs.conf: driver and, for afxdp, xdp_mode
	lanDriver       string // of dpdk0 where it differs
	workers, queues int
	apart           bool   // two workers, and each serves one of the two ports only
	oneArm          bool   // a single port, dpdk0; for beds that have both
	renamed         bool   // the Linux interfaces are wan0 and lan0, mapped with `interface`
	servers         int    // real servers; 0 means 2
	bond            string // what the block of bond0, of dpdk0 and dpdk1, says beside its slaves
	// offload of dpvs.conf, or "unsaid"; "" is off: the whole table is taken at the
	// start then, which is a second or more for each of so many directors.
	offload string
	conf    string   // further blocks of dpvs.conf
	env     []string // for the daemon
	urgent  bool     // it goes before what else runs on this machine; see urgent
	keep    bool     // connections and services outlive the daemon
}

func (s setup) String() string {
	name := s.driver
	if s.mode != "" {
		name += " " + s.mode
	}
	if s.lanDriver != "" {
		name += " with " + s.lanDriver
	}
	name += fmt.Sprintf(" %dw %dq", s.workers, s.queues)
	if s.apart {
		name += " apart"
	}
	if s.oneArm {
		name += " one-arm"
	}
	return name
}

// drivers are the three ways to the wire.
var drivers = []setup{
	{driver: "afxdp", mode: "native", workers: 1, queues: 1},
	{driver: "afxdp", mode: "generic", workers: 1, queues: 1},
	{driver: "afpacket", workers: 1, queues: 1},
}

// director is a bed with the real daemon in the director's place.
type director struct {
	*bed
	setup  setup
	ports  []string // of dpvs.conf
	wan    string   // Linux interfaces; one-arm there is no wan
	lan    string
	daemon *netns.Process
	log    *lines
	killed bool // by the test: the end need not be a good one
	// rebooted: before the next start there is nothing left of the last.
	rebooted bool
	pins     string   // folder of what outlives the daemon; "": nothing does
	args     []string // for the next start of the daemon
	binary   string   // of the daemon; "": the one that was built
}

// newDirector builds the network and starts the daemon, without any service.
func newDirector(t *testing.T, s setup) *director {
	t.Helper()
	d := &director{setup: s, ports: []string{"dpdk0", "dpdk1"}, wan: "dpdk1", lan: "dpdk0"}
	if s.renamed {
		d.wan, d.lan = "wan0", "lan0"
	}
	d.bed = newBed(t, netns.TwoArmOptions{Servers: s.servers, Queues: s.queues, WAN: d.wan, LAN: d.lan})
	if s.keep {
		d.pins = d.bed.pins()
	}
	d.serve()
	t.Cleanup(d.end)
	return d
}

// newOneArm is newDirector with a single port, called name, on the switch that
// joins the client and the real servers.
func newOneArm(t *testing.T, s setup, name string, opt netns.OneArmOptions) *director {
	t.Helper()
	d := &director{setup: s, ports: []string{name}, lan: name}
	if s.renamed {
		d.lan = "lan0"
	}
	opt.Queues, opt.Link = s.queues, d.lan
	d.bed = bedOf(t, func(label string) (*netns.Network, error) { return netns.NewOneArm(label, opt) })
	if s.keep {
		d.pins = d.bed.pins()
	}
	d.serve()
	t.Cleanup(d.end)
	return d
}

// linkOf returns the Linux interface of a port.
func (d *director) linkOf(port string) string {
	if d.setup.bond != "" {
		return port
	}
	if port == "dpdk1" {
		return d.wan
	}
	return d.lan
}

// as returns the director for a subtest: what fails there fails the subtest.
func (d *director) as(t *testing.T) *director {
	c := *d
	c.bed = d.bed.as(t)
	return &c
}

// serve starts the daemon and waits until it says that it is ready.
func (d *director) serve() {
	d.t.Helper()
	conf, sock := d.path("dpvs.conf"), d.path("weir.sock")
	if err := os.WriteFile(conf, []byte(d.conf()), 0o644); err != nil {
		d.t.Fatal(err)
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: d.path("notify"), Net: "unixgram"})
	if err != nil {
		d.t.Fatal(err)
	}
	defer os.Remove(d.path("notify"))
	defer notify.Close()
	if d.rebooted {
		d.run(d.net.Director, program("weir")+" purge")
		d.rebooted = false
	}
	d.log = &lines{}
	binary := program("weir")
	if d.binary != "" {
		binary = d.binary
	}
	args := []string{"serve", "-c", conf, "-x", sock}
	if d.pins != "" {
		args = append(args, "--pin", d.pins)
	}
	cmd := exec.Command(binary, append(args, d.args...)...)
	if d.setup.urgent {
		cmd = urgent(cmd)
	}
	cmd.Dir = d.dir
	cmd.Env = append(append(os.Environ(), d.setup.env...), "NOTIFY_SOCKET="+d.path("notify"))
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if d.daemon, err = d.net.Director.Start(cmd); err != nil {
		d.t.Fatal(err)
	}
	ctx := within(d.t, patience)
	defer context.AfterFunc(ctx, func() { notify.Close() })()
	go func() { <-d.daemon.Done(); notify.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := notify.Read(buf)
		if err != nil {
			d.t.Fatalf("the director is not ready: %v\n%s", err, d.log)
		}
		if bytes.Contains(buf[:n], []byte("READY=1")) {
			return
		}
	}
}

// end stops the daemon, which must leave nothing behind and have met no defect.
func (d *director) end() {
	if d.t.Failed() && !d.daemon.Ended() {
		d.t.Logf("weir stats:\n%s\n%s", d.try("./weir stats").stdout, d.try("./ipvsadm -ln --stats").stdout)
	}
	defer func() {
		if d.t.Failed() {
			d.t.Logf("the director logged:\n%s", d.log)
		}
	}()
	if !d.daemon.Ended() {
		if n := d.stat("walk_fault"); n > 0 {
			d.t.Errorf("the walk met %d defects", n)
		}
	} else if !d.killed {
		d.t.Errorf("the director died: %v", d.daemon.Err())
		return
	}
	if err := d.daemon.Stop(within(d.t, patience)); err != nil && !d.killed {
		d.t.Errorf("the director did not end well: %v", err)
	}
	if d.pins != "" { // where its programs go on
		d.run(d.net.Director, program("weir")+" purge --pin "+d.pins)
	}
	d.noXDP()
}

// noXDP waits until no XDP program is on the director's interfaces.
func (d *director) noXDP() {
	d.t.Helper()
	for _, port := range d.ports {
		link := d.linkOf(port)
		eventually(d.t, "no XDP program is left on "+link, func() bool {
			id, err := d.net.Director.XDP(link)
			return err == nil && id == 0
		})
	}
}

// answer is what a command said.
type answer struct {
	stdout, stderr string
	code           int
}

// try runs a command line as the tutorial writes it: ./dpip, ./ipvsadm, ./weir.
func (d *director) try(line string) answer { return d.tryWith("", strings.Fields(line)...) }

// tryWith is try with standard input and ready words.
func (d *director) tryWith(stdin string, words ...string) answer {
	d.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(within(d.t, patience), program(strings.TrimPrefix(words[0], "./")), words[1:]...)
	cmd.Env = append(os.Environ(), "DPVS_IPC_FILE="+d.path("weir.sock"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	return answer{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// do runs a command line that must succeed, and returns what it printed.
func (d *director) do(line string) string {
	d.t.Helper()
	a := d.try(line)
	if a.code != 0 || a.stderr != "" {
		d.t.Fatalf("%s: exit code %d\n%s%s", line, a.code, a.stderr, a.stdout)
	}
	return a.stdout
}

// script runs command lines, one a line; empty lines and # comments are left out.
func (d *director) script(text string) {
	d.t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			d.do(line)
		}
	}
}

// stat returns how many packets were dropped for a reason of `weir stats`.
func (d *director) stat(reason string) int {
	d.t.Helper()
	var stats struct {
		Drops []struct {
			Reason string
			Total  int
		}
	}
	out := d.do("./weir stats --json")
	if err := json.Unmarshal([]byte(out), &stats); err != nil {
		d.t.Fatalf("weir stats --json printed %q: %v", out, err)
	}
	for _, drop := range stats.Drops {
		if drop.Reason == reason {
			return drop.Total
		}
	}
	return 0
}

// counted waits until a counter of `weir stats` is above what it was.
func (d *director) counted(name string, before int) {
	d.t.Helper()
	eventually(d.t, name+" is counted", func() bool { return d.stat(name) > before })
}

// tutorial is the section "Simple Full-NAT (two-arm)", command for command.
const tutorial = `
# add VIP to WAN interface
./dpip addr add 10.0.0.100/32 dev dpdk1

# route for WAN/LAN access
# add routes for other network or default route if needed.
./dpip route add 10.0.0.0/16 dev dpdk1
./dpip route add 192.168.100.0/24 dev dpdk0

# add service <VIP:vport> to forwarding, scheduling mode is RR.
# use ipvsadm --help for more info.
./ipvsadm -A -t 10.0.0.100:80 -s rr

# add two RS for service, forwarding mode is FNAT (-b)
./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.2 -b
./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.3 -b

# add at least one Local-IP (LIP) for FNAT on LAN interface
./ipvsadm --add-laddr -z 192.168.100.200 -t 10.0.0.100:80 -F dpdk0
`

// serviceOn adds a service on a port of the tutorial's VIP with the first real
// server behind it: proto is "t" or "u".
func (d *director) serviceOn(proto string, port int, servers ...int) {
	d.t.Helper()
	d.serviceTo(proto, port, port, "", servers...)
}

// serviceTo is serviceOn with another port on the real servers, and with options.
func (d *director) serviceTo(proto string, port, rport int, options string, servers ...int) {
	d.t.Helper()
	service := fmt.Sprintf("-%s 10.0.0.100:%d", proto, port)
	d.do("./ipvsadm -A " + service + " -s rr " + options)
	for _, i := range servers {
		d.do(fmt.Sprintf("./ipvsadm -a %s -r %s:%d -b", service, netns.ServerAddr(i-1), rport))
	}
	d.do("./ipvsadm --add-laddr -z 192.168.100.200 " + service + " -F dpdk0")
}

// twoArm sets the tutorial's addresses and routes, and no service.
func (d *director) twoArm() {
	d.t.Helper()
	d.do("./dpip addr add 10.0.0.100/32 dev dpdk1")
	d.do("./dpip route add 10.0.0.0/16 dev dpdk1")
	d.do("./dpip route add 192.168.100.0/24 dev dpdk0")
}

// pins mounts a bpffs for the bed's director.
func (b *bed) pins() string {
	b.t.Helper()
	dir, err := b.net.World.Pins("pins")
	if err != nil {
		b.t.Fatal(err)
	}
	return filepath.Join(dir, "weir")
}

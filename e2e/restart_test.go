//go:build long

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// otherBuild is the daemon with another version in it.
func otherBuild(t *testing.T) string {
	t.Helper()
	other := filepath.Join(t.TempDir(), "weir")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=other", "-o", other, "weir/cmd/weir")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return other
}

// Long connections, checked byte by byte, while the daemon is killed and started again, and
// replaced by another build: none is reset, none is lost, and new ones work.
func TestRestartLosesNoFlow(t *testing.T) {
	t.Parallel()
	other := otherBuild(t)
	for _, row := range []struct {
		setup setup
		flows int // of each family
		ways  string
	}{
		{setup{driver: "afxdp", mode: "native", workers: 1, queues: 1, keep: true, conf: smallTable}, 100, "kill kill upgrade kill restart upgrade kill"},
		{setup{driver: "afpacket", workers: 2, queues: 2, keep: true, conf: smallTable}, 20, "kill restart kill"},
	} {
		t.Run(row.setup.String(), func(t *testing.T) {
			t.Parallel()
			d := newDirector(t, row.setup)
			d.echoServices()
			all := []*longFlows{d.longFlows("10.0.0.100:7000", row.flows), d.longFlows("[2001:db8:10::100]:7000", row.flows)}
			gap := d.gapMeter("10.0.0.100:7000")
			move := func(when string) {
				t.Helper()
				for _, f := range all {
					f.move(t, when)
				}
			}
			move("at first")
			gap.take(t)
			before := d.do("./ipvsadm -ln --stats")
			for i, way := range strings.Fields(row.ways) {
				switch way {
				case "restart":
					if err := d.daemon.Stop(within(t, patience)); err != nil {
						t.Fatal(err)
					}
				case "upgrade":
					if d.binary == "" {
						d.binary = other
					} else {
						d.binary = ""
					}
					fallthrough
				default:
					d.kill()
				}
				began := time.Now()
				d.serve()
				ready := time.Since(began)
				for _, address := range []string{"10.0.0.100:7000", "[2001:db8:10::100]:7000"} {
					c, err := d.client().Dial(within(t, patience), "tcp", address)
					if err != nil {
						t.Fatalf("a new connection to %s after %s: %v", address, way, err)
					}
					c.Close()
				}
				fresh := time.Since(began)
				move(fmt.Sprintf("%s %d:", way, i))
				t.Logf("%s: ready after %v, new connections after %v, datagrams had a gap of %v", way, ready, fresh, gap.take(t))
				if want := map[bool]string{false: "dev", true: "other"}[d.binary != ""]; !strings.Contains(d.do("./weir version"), want) {
					t.Errorf("%s: it is not version %s: %s", way, want, d.do("./weir version"))
				}
				if !strings.Contains(d.log.String(), "weir goes on with") {
					t.Errorf("%s: it does not say what it goes on with:\n%s", way, d.log)
				}
				if n := d.stat("lb_no_conn") + d.stat("lb_no_service"); n > 0 {
					t.Errorf("%s: %d packets found no connection", way, n)
				}
			}
			for _, f := range all {
				t.Logf("the slowest line took %v", time.Duration(f.slowest.Load()))
				if failed, err := f.end(); failed > 0 {
					t.Errorf("%d flows of %d failed, the first: %v", failed, row.flows, err)
				}
			}
			after := d.do("./ipvsadm -ln --stats")
			for _, service := range []string{"10.0.0.100:7000", "[2001:db8:10::100]:7000"} {
				if was, is := packets(before, service), packets(after, service); was == 0 || is < 2*was {
					t.Errorf("counters do not go on: before\n%s\nafter\n%s", before, after)
				}
			}
			if out := d.do("./ipvsadm -Sn"); strings.Count(out, "-A ") != 3 {
				t.Errorf("services are\n%s", out)
			}
		})
	}
}

// What can't be gone on with is refused in one sentence, and --fresh begins anew; two don't
// go on with the same; purge takes all of it away; and without --pin nothing is left.
func TestRestartRefused(t *testing.T) {
	t.Parallel()
	d := newDirector(t, setup{driver: "afpacket", workers: 1, queues: 1, keep: true, conf: smallTable})
	d.twoArm()
	d.echoes(1, 7000)
	d.serviceOn("t", 7000, 1)
	flows := d.longFlows("10.0.0.100:7000", 3)
	flows.move(t, "at first")
	// fails starts another daemon, which must end by itself, and returns what it said.
	fails := func(socket string, args ...string) string {
		t.Helper()
		said := &lines{}
		cmd := exec.Command(program("weir"), append([]string{"serve", "-c", d.path("dpvs.conf"), "-x", d.path(socket)}, args...)...)
		cmd.Stdout, cmd.Stderr = said, said
		p := d.startCmd(d.net.Director, cmd)
		if err := p.Wait(within(t, patience)); err == nil || p.ExitCode() != 1 {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
		return said.String()
	}
	purge := func() (string, error) {
		return d.net.Director.Run(within(t, patience), program("weir"), "purge", "--pin", d.pins)
	}
	if out := fails("weir.sock", "--pin", d.pins); !strings.Contains(out, "weir is already running") {
		t.Errorf("a second one: %s", out)
	}
	if out := fails("other.sock", "--pin", d.pins); !strings.Contains(out, "a running weir holds it") {
		t.Errorf("a second one in the same folder: %s", out)
	}
	if out, err := purge(); err == nil || !strings.Contains(out+err.Error(), "a running weir has them; stop that first") {
		t.Errorf("purge while it runs: %v\n%s", err, out)
	}
	flows.move(t, "after all that")
	d.kill()
	conf := d.conf()
	if err := os.WriteFile(d.path("dpvs.conf"), []byte(strings.Replace(conf, "65536", "200000", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := fails("weir.sock", "--pin", d.pins); strings.Count(out, "weir:") != 1 ||
		!strings.Contains(out, "has room for 65536 connections, and conn_pool_size wants 200000: start the former weir again to go on, or begin without its connections and services: weir serve --fresh") {
		t.Errorf("another size: %s", out)
	}
	d.serve() // as it was
	flows.move(t, "after a start that was refused")
	if failed, err := flows.end(); failed > 0 {
		t.Errorf("%d flows failed: %v", failed, err)
	}
	d.kill()
	d.setup.conf, d.args = strings.Replace(smallTable, "65536", "200000", 1), []string{"--fresh"}
	d.serve()
	if out := d.do("./ipvsadm -Sn"); strings.Contains(out, "-A") {
		t.Errorf("--fresh: %s", out)
	}
	d.kill()
	if out, err := purge(); err != nil || !strings.Contains(out, "connections and services, kept in "+d.pins+", are removed") {
		t.Errorf("purge: %v\n%s", err, out)
	}
	if _, err := os.Stat(d.pins); !os.IsNotExist(err) {
		t.Errorf("%s is there: %v", d.pins, err)
	}
	pins := d.pins
	d.pins, d.args = "", nil
	d.serve()
	d.kill()
	if left, err := os.ReadDir(filepath.Dir(pins)); err != nil || len(left) > 2 { // a bpffs has two names of its own
		t.Errorf("without --pin there is left: %v, %v", left, err)
	}
}

// packets reads InPkts of a service of TCP out of ipvsadm's statistics.
func packets(list, service string) (n int) {
	m := regexp.MustCompile(`(?m)^TCP\s+` + regexp.QuoteMeta(service) + `\s+\d+\s+(\d+)`).FindStringSubmatch(list)
	if m != nil {
		_, _ = fmt.Sscan(m[1], &n)
	}
	return n
}

// A director that goes on has keepalived's services and its VIP from the first moment; who
// holds the VIP comes again, and when he goes it goes.
func TestRestartUnderKeepalived(t *testing.T) {
	t.Parallel()
	s := drivers[0]
	s.keep, s.conf = true, smallTable
	d := newKeepalivedBed(t, s)
	for _, rs := range d.net.Servers {
		d.nginx(rs)
	}
	k := d.keepalived(keepalivedTutorial)
	hasVIP := func() bool { return strings.Contains(d.do("./dpip addr show"), "192.168.100.254/32") }
	want := fmt.Sprintf(keepalivedServices, 100, 100)
	d.lists("./ipvsadm -ln --nosort", want)
	eventually(t, "the VIP is there", hasVIP)
	for range 2 {
		d.kill()
		k.says("the director is gone")
		d.serve()
		if !hasVIP() || d.do("./ipvsadm -ln --nosort") != want {
			t.Errorf("at first there is the VIP: %v, and\n%s", hasVIP(), d.do("./ipvsadm -ln --nosort"))
		}
	}
	began := time.Now()
	eventually(t, "addresses that nobody came for have left", func() bool { return time.Since(began) > 7*time.Second })
	if !hasVIP() {
		t.Error("the VIP left, and keepalived holds it")
	}
	d.lists("./ipvsadm -ln --nosort", want)
	for line := range strings.Lines(k.log.String()) {
		// A call that a death interrupts is none that the director refused.
		if strings.Contains(line, "refused") && !strings.Contains(line, "weir.sock: ") {
			t.Errorf("keepalived says %s", line)
		}
	}
	k.process.Kill()
	eventually(t, "the VIP has left with keepalived", func() bool { return !hasVIP() })
}

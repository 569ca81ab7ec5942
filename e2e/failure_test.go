package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// failing is a director of the tutorial's kind with nginx on both servers.
func failing(t *testing.T, s setup) *director {
	t.Helper()
	d := newDirector(t, s)
	d.nginx(d.rs(1))
	d.nginx(d.rs(2))
	d.script(tutorial)
	return d
}

// two has two workers, which share the queues of both ports.
var two = setup{driver: "afxdp", mode: "native", workers: 2, queues: 2}

// one has one worker and one queue.
var one = setup{driver: "afxdp", mode: "native", workers: 1, queues: 1}

// refused runs curl, which must not get an answer, and returns its exit code.
func (d *director) refused(url string, seconds int) int {
	d.t.Helper()
	p := d.start(d.client(), "curl", "-sS", "-o", "/dev/null", "--max-time", fmt.Sprint(seconds), url)
	if err := p.Wait(within(d.t, patience)); err == nil {
		d.t.Fatalf("curl %s was answered", url)
	}
	return p.ExitCode()
}

// answered runs curl, which must get an answer.
func (d *director) answered(url string) {
	d.t.Helper()
	d.run(d.client(), "curl -sS -o /dev/null --max-time 20 "+url)
}

// curl's exit codes.
const (
	curlNoConnection = 7
	curlTimeout      = 28
)

// A real server whose program is gone refuses with RST, and the client hears it.
func TestServerDead(t *testing.T) {
	d := newDirector(t, one)
	d.script(tutorial)
	if code := d.refused("10.0.0.100", 20); code != curlNoConnection {
		t.Errorf("curl ended with %d, want %d: connection refused", code, curlNoConnection)
	}
}

// A real server whose machine is gone answers no ARP: its packets are dropped under
// that reason, and when it comes back it serves.
func TestServerSilent(t *testing.T) {
	d := newDirector(t, one)
	d.nginx(d.rs(1))
	d.script(tutorial)
	d.do("./ipvsadm -d -t 10.0.0.100:80 -r 192.168.100.3")
	if err := d.net.LAN.LinkDown("rs1"); err != nil {
		t.Fatal(err)
	}
	before := d.stat("neigh_failed")
	d.refused("10.0.0.100", 5)
	d.counted("neigh_failed", before)
	if err := d.net.LAN.LinkUp("rs1"); err != nil {
		t.Fatal(err)
	}
	d.answered("10.0.0.100")
}

// What keeps a service from serving is counted under its own name, and ends as soon
// as the operator mends it.
func TestServiceCannotServe(t *testing.T) {
	t.Parallel() // it waits for what is refused
	const service = "-t 10.0.0.100:80"
	for _, row := range []struct{ name, reason, harm, mend string }{
		{"no local address", "lb_no_laddr",
			"./ipvsadm --del-laddr -z 192.168.100.200 " + service + " -F dpdk0",
			"./ipvsadm --add-laddr -z 192.168.100.200 " + service + " -F dpdk0"},
		{"weight 0", "lb_no_dest",
			"./ipvsadm -e " + service + " -r 192.168.100.2 -b -w 0\n./ipvsadm -e " + service + " -r 192.168.100.3 -b -w 0",
			"./ipvsadm -e " + service + " -r 192.168.100.3 -b -w 1"},
		{"no real server", "lb_no_dest",
			"./ipvsadm -d " + service + " -r 192.168.100.2\n./ipvsadm -d " + service + " -r 192.168.100.3",
			"./ipvsadm -a " + service + " -r 192.168.100.3 -b"},
		{"no service on that port", "lb_no_service",
			"./ipvsadm -A -t 10.0.0.100:81 -s rr\n./ipvsadm -D " + service,
			"./ipvsadm -A " + service + " -s rr\n./ipvsadm -a " + service + " -r 192.168.100.3 -b\n" +
				"./ipvsadm -P " + service + " -z 192.168.100.200 -F dpdk0"},
		{"no route to the real server", "lb_no_route_to_dest",
			"./dpip route del 192.168.100.0/24 dev dpdk0",
			"./dpip route add 192.168.100.0/24 dev dpdk0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := failing(t, one)
			d.answered("10.0.0.100")
			before := d.stat(row.reason)
			d.script(row.harm)
			d.refused("10.0.0.100", 2)
			d.counted(row.reason, before)
			d.script(row.mend)
			d.answered("10.0.0.100")
		})
	}
}

// With ten ports for each local address and real server, the eleventh connection
// finds none; when one is given back, the next finds it.
func TestPortsUsedUp(t *testing.T) {
	s := one
	s.conf = "sa_pool {\n    port_range 1025-1034\n}\n"
	d := newDirector(t, s)
	d.nginx(d.rs(1))
	d.script(tutorial)
	d.do("./ipvsadm -d -t 10.0.0.100:80 -r 192.168.100.3")
	if out := d.do("./dpip addr show"); !strings.Contains(out, "sa_used 0 sa_free 160 sa_miss 0") {
		t.Errorf("10 ports in each of 16 pools must be 160 free ones:\n%s", out)
	}
	before := d.stat("lb_no_lport")
	held := d.steady("10.0.0.100:80", 10, "kept")
	if out := d.do("./dpip addr show"); !strings.Contains(out, "sa_used 10 sa_free 150 sa_miss 0") {
		t.Errorf("10 connections must use 10 of 160 ports:\n%s", out)
	}
	d.refused("10.0.0.100", 2)
	d.counted("lb_no_lport", before)
	if out := d.do("./dpip addr show"); strings.Contains(out, "sa_miss 0") {
		t.Errorf("sa_miss must tell that ports were missing:\n%s", out)
	}
	held.unharmed()
	eventually(t, "ports are given back", func() bool {
		return strings.Contains(d.do("./dpip addr show"), "sa_used 0 sa_free 160")
	})
	d.answered("10.0.0.100")
}

// Connections outlive the service and the real server they were made for; new ones
// are refused, or go elsewhere.
func TestDeletedUnderTraffic(t *testing.T) {
	t.Run("service", func(t *testing.T) {
		d := failing(t, two)
		d.serviceOn("t", 81, 1)
		before := d.stat("lb_no_service")
		kept := d.steady("10.0.0.100:80", 32, "kept")
		d.do("./ipvsadm -D -t 10.0.0.100:80")
		kept.more(1000)
		d.refused("10.0.0.100", 2)
		d.counted("lb_no_service", before)
		kept.more(1000)
		kept.unharmed()
	})
	t.Run("real server", func(t *testing.T) {
		d := failing(t, two)
		kept := d.steady("10.0.0.100:80", 32, "kept")
		fresh := d.steady("10.0.0.100:80", 8, "new")
		d.do("./ipvsadm -d -t 10.0.0.100:80 -r 192.168.100.2")
		kept.more(1000)
		fresh.more(1000)
		kept.unharmed()
		fresh.unharmed()
		r := roleOf[loadResult](d.bed, d.client(), "http-load 10.0.0.100:80 100 4 new")
		r.ok(t, 100)
		if r.Servers["rs2"] != 100 {
			t.Errorf("all new connections must go to the server that is left: %v", r.Servers)
		}
	})
	t.Run("weight 0", func(t *testing.T) {
		d := failing(t, two)
		kept := d.steady("10.0.0.100:80", 32, "kept")
		d.do("./ipvsadm -e -t 10.0.0.100:80 -r 192.168.100.2 -b -w 0")
		kept.more(1000)
		r := roleOf[loadResult](d.bed, d.client(), "http-load 10.0.0.100:80 100 4 new")
		if r.ok(t, 100); r.Servers["rs2"] != 100 {
			t.Errorf("all new connections must go to the server that has a weight: %v", r.Servers)
		}
		kept.unharmed()
	})
}

// A worker that is stopped hands its queues to another; no packet is lost on the
// way there and back.
func TestWorkerStoppedUnderTraffic(t *testing.T) {
	for _, s := range []setup{
		two,
		{driver: "afxdp", mode: "native", workers: 2, queues: 1, apart: true},
		{driver: "afpacket", workers: 2, queues: 2},
	} {
		t.Run(s.String(), func(t *testing.T) {
			d := failing(t, s)
			kept := d.steady("10.0.0.100:80", 32, "kept")
			fresh := d.steady("10.0.0.100:80", 8, "new")
			for range 3 {
				for w := range 2 {
					d.do("./weir worker stop " + workerName(w))
					kept.more(500)
					fresh.more(500)
					d.do("./weir worker start " + workerName(w))
					kept.more(500)
					fresh.more(500)
				}
			}
			kept.unharmed()
			fresh.unharmed()
		})
	}
	t.Run("the last one is not stopped", func(t *testing.T) {
		d := failing(t, two)
		d.do("./weir worker stop " + workerName(0))
		if a := d.try("./weir worker stop " + workerName(1)); a.code == 0 || a.stderr == "" {
			t.Errorf("the last running worker was stopped: %+v", a)
		}
		d.answered("10.0.0.100")
	})
}

// After kill -9 the kernel takes the XDP programs off the interfaces, and the next
// daemon starts at once on what was left.
func TestKilled(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := failing(t, s)
			d.answered("10.0.0.100")
			if s.driver == "afxdp" {
				for _, link := range []string{d.wan, d.lan} {
					if id, err := d.net.Director.XDP(link); err != nil || id == 0 {
						t.Errorf("no XDP program on %s while the director runs: %v", link, err)
					}
				}
			}
			d.daemon.Signal(syscall.SIGKILL)
			<-d.daemon.Done()
			d.noXDP()
			if out := d.run(d.net.Director, "ip -d link show"); strings.Contains(out, "prog/xdp") {
				t.Errorf("an XDP program stays:\n%s", out)
			}
			a := d.try("./ipvsadm -ln")
			if a.code != 2 || !strings.Contains(a.stderr, "Are you sure that weir is running?") {
				t.Errorf("ipvsadm without a director: %+v", a)
			}
			d.serve()
			if out := d.do("./ipvsadm -ln"); !strings.Contains(out, "10.0.0.100:80") {
				d.script(tutorial)
			}
			d.answered("10.0.0.100")
		})
	}
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestKeepalivedReload: 5,000 connections are open, some servers come and go in the file, and the
// service that stays loses none; then a file that is refused changes nothing.
func TestKeepalivedReload(t *testing.T) {
	// Not beside others: it is about loss, and two cores carry no more than this.
	d := newKeepalivedBed(t, drivers[0])
	for _, rs := range d.net.Servers {
		d.nginx(rs)
	}
	another := func(port int) string {
		return fmt.Sprintf("virtual_server 192.168.100.254 %d {\n protocol TCP\n lb_algo rr\n lb_kind FNAT\n laddr_group_name laddr_g1\n real_server 192.168.100.2 80 {\n weight 1\n }\n}\n", port)
	}
	k := d.keepalived(keepalivedTutorial)
	d.do("./dpip route add 192.168.100.0/24 dev dpdk0")
	d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
	eventually(t, "the VIP is there", func() bool { return strings.Contains(d.do("./dpip addr show"), "254/32") })
	kept := d.steady("192.168.100.254:80", 5000, "kept")
	for i := range 5 {
		k.write(keepalivedTutorial + another(8000+i))
		n := strings.Count(k.log.String(), "reload: done")
		k.process.Signal(syscall.SIGHUP)
		eventually(t, "the reload is done", func() bool { return strings.Count(k.log.String(), "reload: done") > n })
		eventually(t, "the other service is there", func() bool {
			out := d.do("./ipvsadm -ln")
			return strings.Contains(out, fmt.Sprint("254:", 8000+i)) && (i == 0 || !strings.Contains(out, fmt.Sprint("254:", 7999+i)))
		})
		kept.more(5000)
	}
	before := d.do("./ipvsadm -Sn")
	k.write(strings.Replace(keepalivedTutorial, "lb_algo rr", "lb_algo lifo", 1))
	k.process.Signal(syscall.SIGHUP)
	k.says("keepalived.conf:47: lb_algo lifo is not one of")
	if after := d.do("./ipvsadm -Sn"); after != before {
		t.Errorf("a file that is refused made of\n%s\nthis:\n%s", before, after)
	}
	kept.more(5000)
	kept.unharmed()
}

// TestKeepalivedKilled: kill -9 of keepalived leaves the services, and takes the VIP and the stock
// program; kill -9 of weir leaves keepalived waiting, and all is applied when it is back.
func TestKeepalivedKilled(t *testing.T) {
	t.Parallel() // it waits, most of the time
	d := newKeepalivedBed(t, drivers[0])
	for _, rs := range d.net.Servers {
		d.nginx(rs)
	}
	k := d.keepalived(keepalivedTutorial)
	hasVIP := func() bool { return strings.Contains(d.do("./dpip addr show"), "192.168.100.254/32") }
	all := func(t *testing.T) {
		t.Helper()
		d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
		eventually(t, "the VIP is there", hasVIP)
	}
	all(t)
	stock := stockOf(k)
	if len(stock) != 2 {
		t.Fatalf("%d processes of the stock keepalived run, want 2", len(stock))
	}
	t.Run("keepalived", func(t *testing.T) {
		k.process.Kill()
		eventually(t, "the VIP has left", func() bool { return !hasVIP() })
		eventually(t, "the stock keepalived has ended", func() bool { return len(stockOf(k)) == 0 })
		d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
		k.start()
		all(t)
	})
	t.Run("the stock keepalived", func(t *testing.T) {
		for _, pid := range stockOf(k) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		k.says("vrrp: the stock keepalived ended, and is started again")
		eventually(t, "the VIP has left", func() bool { return !hasVIP() })
		all(t)
	})
	t.Run("weir", func(t *testing.T) {
		d.killed = true
		d.daemon.Kill()
		k.says("the director is gone")
		d.serve()
		d.killed = false
		all(t)
	})
	if err := k.process.Stop(within(t, patience)); err != nil {
		t.Error(err)
	}
	if left := len(stockOf(k)); left != 0 || hasVIP() {
		t.Errorf("left behind are %d processes, and the VIP: %v", left, hasVIP())
	}
	if entries, err := os.ReadDir(d.path("keepalived.vrrp")); err == nil {
		t.Errorf("left behind is %v", entries)
	}
}

// TestKeepalivedParts: -P does VRRP alone, and -C checks and services alone; both can run
// beside each other.
func TestKeepalivedParts(t *testing.T) {
	t.Parallel() // it waits, most of the time
	d := newKeepalivedBed(t, drivers[0])
	for _, rs := range d.net.Servers {
		d.nginx(rs)
	}
	hasVIP := func() bool { return strings.Contains(d.do("./dpip addr show"), "192.168.100.254/32") }
	none := "IP Virtual Server version 0.0.0 (size=0)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
	part := func(name string, args ...string) *keepalived {
		k := &keepalived{director: d, file: d.path("keepalived.conf"), options: append(args, "-p", d.path(name+".pid"), "-r", d.path(name+"-vrrp.pid"), "-c", d.path(name+"-check.pid"))}
		k.write(keepalivedTutorial)
		k.start()
		return k
	}
	stop := func(k *keepalived) {
		t.Helper()
		if err := k.process.Stop(within(t, patience)); err != nil {
			t.Error(err)
		}
	}
	vrrp := part("p", "-P")
	eventually(t, "-P: the VIP is there", hasVIP)
	if out := unpadded(d.do("./ipvsadm -ln --nosort")); out != none {
		t.Errorf("-P made services:\n%s", out)
	}
	checks := part("c", "--check")
	d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
	stop(vrrp)
	if hasVIP() {
		t.Error("-P has ended, and the VIP is there")
	}
	d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
	stop(checks)
	d.lists("./ipvsadm -ln --nosort", none)

	// With -C there is no VRRP, whatever the file says; and no stock program is needed.
	checks = part("c", "-C", "--vrrp-program", "/nowhere")
	d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
	if all, err := filepath.Glob(d.path("c.vrrp/*")); err != nil || len(all) != 0 || hasVIP() {
		t.Errorf("-C: the stock program has %v, the VIP is there: %v", all, hasVIP())
	}
	stop(checks)
}

// stockOf are the processes of the stock keepalived that a keepalived of ours runs.
func stockOf(k *keepalived) (pids []int) {
	k.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		k.t.Fatal(err)
	}
	for _, path := range all {
		line, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(line), "--use-file="+k.path("keepalived.vrrp")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

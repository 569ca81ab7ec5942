package e2e

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// tunnelFile is a director whose real server is beyond tunnels: devices, what lies on them, and
// the service are the file's alone.
const tunnelFile = `
tunnel_group branch {
 tunnel_entry ipip1 {
  kind ipip
  local 192.168.100.1
  remote 192.168.100.50
  if dpdk0
 }
 tunnel_entry t6 {
  kind ipip
  local 2001:db8:100::1
  remote 2001:db8:100::50
 }
}
static_ipaddress {
 192.168.100.1/24 dev dpdk0
 2001:db8:100::1/64 dev dpdk0
 123.1.2.3/24 dev dpdk1
 123.1.2.100/32 dev dpdk1
 10.50.2.1/32 dev ipip1
}
static_routes {
 10.50.2.0/24 dev ipip1 src 10.50.2.1
 10.50.5.0/24 dev t6
}
local_address_group by4 {
 10.50.2.1 ipip1
}
local_address_group wan {
 123.1.2.3 dpdk1
}
virtual_server 123.1.2.100 80 {
 protocol TCP
 lb_algo rr
 lb_kind FNAT
 laddr_group_name by4
 real_server 10.50.2.2 8080 {
  weight 1
 }
}
`

// TestKeepalivedTunnelGroup: keepalived's file alone makes tunnels to a real kernel, and what lies
// on them: a client reaches a real server beyond; again after the director was killed and lost
// all; and nothing is left in the end.
func TestKeepalivedTunnelGroup(t *testing.T) {
	guest, err := branch()
	if err != nil {
		t.Fatal(err)
	}
	d := newDirector(t, drivers[0])
	d.tunnelOutside()
	t.Cleanup(func() { guest.Unplug(6) })
	if err := errors.Join(guest.Plug(6, d.net.LAN, "branch"), d.net.LAN.Attach("branch", "switch")); err != nil {
		t.Fatal(err)
	}
	b := &branchBed{director: d, guest: guest}
	b.in("ip neigh flush all; ip route flush cache; ip -6 route flush cache")
	b.in("ip rule add to 10.50.2.1 table main pref 9")
	t.Cleanup(func() { b.in("ip rule del pref 9") })
	const name = "curl -sS --max-time 20 http://123.1.2.100/name"
	reached := func() {
		t.Helper()
		if out := b.run(b.client(), name); out != "inside\n" {
			t.Errorf("curl printed %q", out)
		}
	}
	const four = "ipip1: ipip remote 192.168.100.50 local 192.168.100.1 dev dpdk0 ttl inherit\n"
	const both = four + "t6: ipip remote 2001:db8:100::50 local 2001:db8:100::1 ttl inherit\n"
	served := func() {
		t.Helper()
		eventually(t, "the service has its real server", func() bool { return strings.Contains(d.do("./ipvsadm -ln"), "10.50.2.2:8080") })
	}
	tunnels := func(want string) {
		t.Helper()
		got := ""
		defer func() {
			if t.Failed() {
				t.Logf("dpip tunnel show prints %q", got)
			}
		}()
		eventually(t, "the tunnels are there", func() bool { got = d.do("./dpip tunnel show"); return got == want })
	}
	k := d.keepalived(tunnelFile)
	tunnels(both)
	served()
	if log := k.log.String(); strings.Contains(log, "refused") || strings.Contains(log, "does not take") {
		t.Errorf("what things need was not there before them:\n%s", log)
	}
	reached()

	d.killed = true
	d.daemon.Kill()
	d.serve()
	d.killed = false
	tunnels(both)
	served()
	reached()

	begin, end := strings.Index(tunnelFile, " tunnel_entry t6"), strings.Index(tunnelFile, "}\nstatic_ipaddress")
	k.write(strings.Replace(tunnelFile[:begin]+tunnelFile[end:], " 10.50.5.0/24 dev t6\n", "", 1))
	k.process.Signal(syscall.SIGHUP)
	tunnels(four)
	reached()

	k.process.Signal(syscall.SIGTERM)
	<-k.process.Done()
	tunnels("")
	d.lists("./dpip -4 addr show", "")
}

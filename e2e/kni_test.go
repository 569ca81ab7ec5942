package e2e

import (
	"strings"
	"syscall"
	"testing"
)

// ospfTutorial is the director's side of the section "Full-NAT with OSPF/ECMP
// (two-arm)", command for command.
const ospfTutorial = `
# routes for LAN access
./dpip route add 192.168.100.0/24 dev dpdk0

# add service <VIP:vport> to forwarding, scheduling mode is RR.
# use ipvsadm --help for more info.
./ipvsadm -A -t 123.1.2.3:80 -s rr

# add two RS-es for service, forwarding mode is FNAT (-b)
./ipvsadm -a -t 123.1.2.3:80 -r 192.168.100.2 -b
./ipvsadm -a -t 123.1.2.3:80 -r 192.168.100.3 -b

# add at Local-IPs (LIPs) for FNAT on LAN interface
./ipvsadm --add-laddr -z 192.168.100.200 -t 123.1.2.3:80 -F dpdk0
./ipvsadm --add-laddr -z 192.168.100.201 -t 123.1.2.3:80 -F dpdk0

# add route to kni device.
./dpip route add 172.10.0.2/32 dev dpdk1 scope kni_host
`

// ospfLinux is what the section has Linux do on the twin.
const ospfLinux = `
ip link set dpdk1.kni up
ip addr add 172.10.0.2/30 dev dpdk1.kni
ip addr add 123.1.2.3/32 dev dpdk1.kni # add VIP to kni for ospfd
ip route add default via 172.10.0.1 dev dpdk1.kni
`

// linux runs command lines in the director's namespace.
func (d *director) linux(text string) {
	d.t.Helper()
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "#")
		if line = strings.TrimSpace(line); line != "" {
			d.run(d.net.Director, line)
		}
	}
}

// switchOf makes the client the section's L3 switch.
func (d *director) beSwitch() {
	d.t.Helper()
	for _, line := range []string{"ip addr add 172.10.0.1/30 dev eth0", "ip route add 123.1.2.3/32 via 172.10.0.2"} {
		d.run(d.client(), line)
	}
}

// The section "Full-NAT with OSPF/ECMP", but for the routing daemon: the twin is
// there, Linux and the switch ping each other over it, and the VIP on the twin serves.
func TestKNI(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.nginx(d.rs(1))
			d.nginx(d.rs(2))
			d.beSwitch()
			d.script(ospfTutorial)
			if out := d.run(d.net.Director, "ip -o link show dev dpdk1.kni"); strings.Contains(out, "UP") {
				t.Errorf("the twin is up before anybody wants it: %s", out)
			}
			d.linux(ospfLinux)
			d.run(d.net.Director, "ping -c 3 -i 0.2 -W 5 172.10.0.1")
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 172.10.0.2")
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 -s 4000 172.10.0.2")
			d.run(d.client(), "ping -c 3 -i 0.2 -W 5 123.1.2.3")
			for i := range 4 {
				if out := d.run(d.client(), "curl -sS --max-time 10 http://123.1.2.3/"); !strings.Contains(out, "Your ip:port : ") {
					t.Errorf("request %d was answered %q", i, out)
				}
			}
		})
	}
}

// However the daemon ends, its twins end with it.
func TestKNIGoes(t *testing.T) {
	d := newDirector(t, one)
	d.linux("ip link set dpdk1.kni up\nip addr add 172.10.0.2/30 dev dpdk1.kni")
	d.killed = true
	d.daemon.Signal(syscall.SIGKILL)
	<-d.daemon.Done()
	eventually(t, "no twin is left", func() bool {
		return !strings.Contains(d.run(d.net.Director, "ip -o link"), ".kni")
	})
	d.serve()
	d.linux("ip link set dpdk1.kni up")
}

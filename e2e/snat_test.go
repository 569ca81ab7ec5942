package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// snatTutorial is the section "SNAT Mode (two-arm)" as written, its variables
// filled in, with the service for UDP beside those for TCP and ICMP.
const snatTutorial = `
# add WAN-side IP with sapool
./dpip addr add 123.1.2.3/24 dev dpdk1 sapool
# add LAN-side IP as well as LAN route (generated)
./dpip addr add 192.168.100.1/24 dev dpdk0
# add default route for WAN interface
./dpip route add default via 123.1.2.1 dev dpdk1
./ipvsadm -A -s rr -H proto=tcp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1
./ipvsadm -a -H proto=tcp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1 -r 123.1.2.3:0 -w 100 -J
./ipvsadm -A -s rr -H proto=icmp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1
./ipvsadm -a -H proto=icmp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1 -r 123.1.2.3:0 -w 100 -J
./ipvsadm -A -s rr -H proto=udp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1
./ipvsadm -a -H proto=udp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1 -r 123.1.2.3:0 -w 100 -J
`

// internet is the address of the machine outside.
const internet = "203.0.113.80"

// outside makes the client's namespace the gateway and what lies behind it; the
// real servers' are the inside hosts.
func (d *director) outside() {
	d.t.Helper()
	for _, line := range []string{"ip addr add 123.1.2.1/24 dev eth0", "ip addr add " + internet + "/32 dev lo"} {
		d.run(d.client(), line)
	}
	d.nginxWith(d.client(), `server {
        listen 80;
        location / { return 200 "Your ip:port : $remote_addr:$remote_port\n"; }
    }`)
	d.listening(d.client(), "127.0.0.1:80")
	for _, host := range d.net.Servers {
		d.run(host, "ip route add default via 192.168.100.1 dev eth0")
	}
}

// TestTutorialSNAT runs the section "SNAT Mode (two-arm)".
func TestTutorialSNAT(t *testing.T) {
	t.Parallel() // it asks little of the machine
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.outside()
			d.quietly(snatTutorial)
			d.prints(map[string]string{
				"./ipvsadm -ln --nosort": `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
MATCH tcp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1 rr
  -> 123.1.2.3:0                  SNAT    100    0          0
MATCH icmp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1 rr
  -> 123.1.2.3:0                  SNAT    100    0          0
MATCH udp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1 rr
  -> 123.1.2.3:0                  SNAT    100    0          0
`,
			})
			for i := range 2 {
				if out := d.run(d.rs(i+1), "curl -sS --max-time 20 --local-port 40000 "+internet); !strings.HasPrefix(out, "Your ip:port : 123.1.2.3:") {
					t.Errorf("host %d: curl printed %q", i+1, out)
				}
			}
			// The same id from both hosts at once.
			var pings sync.WaitGroup
			for i := range 2 {
				pings.Go(func() {
					out, err := d.rs(i+1).Run(within(t, patience), "ping", "-e", "77", "-c", "5", "-i", "0.2", "-W", "5", internet)
					if err != nil {
						t.Errorf("host %d: %v\n%s", i+1, err, out)
					}
				})
			}
			pings.Wait()
			// The director is the first hop of a traceroute.
			out, err := d.rs(1).Run(within(t, patience), "ping", "-c", "1", "-t", "1", "-W", "5", internet)
			if err == nil || !strings.Contains(out+err.Error(), "From 192.168.100.1 ") || !strings.Contains(out+err.Error(), "Time to live exceeded") {
				t.Errorf("ping with TTL 1 printed %q (%v)", out, err)
			}
			if saved := d.do("./ipvsadm -S"); !strings.Contains(saved, "-A -H proto=tcp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1 -s rr") {
				t.Errorf("-S printed\n%s", saved)
			}
		})
	}
}

// TestSNATManyHosts: 200 hosts, 20,000 flows to one address, all with the same
// ports: each is seen with an end of its own, and gets its own answers.
func TestSNATManyHosts(t *testing.T) {
	s := drivers[0]
	s.workers, s.queues = 2, 2
	d := newDirector(t, s)
	d.outside()
	d.quietly(snatTutorial)
	for i := range 200 {
		d.run(d.rs(1), fmt.Sprintf("ip addr add 192.168.100.%d/24 dev eth0", 20+i))
	}
	d.startCmd(d.client(), exec.Command("python3", "testdata/udp_who.py", internet, "5300"))
	d.listeningUDP(d.client(), 5300)
	if out := d.run(d.rs(1), fmt.Sprintf("python3 testdata/udp_hosts.py 192.168.100.20 200 100 %s 5300", internet)); out != "20000 20000 0\n" {
		t.Errorf("flows, distinct ends, wrong answers: %q, want 20000 20000 0", out)
	}
}

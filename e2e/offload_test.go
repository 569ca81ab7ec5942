//go:build long

package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// carriedPackets is the sum of two columns of `ipvsadm -ln --stats`, over all real servers.
func (d *director) carriedPackets() (packets int) {
	d.t.Helper()
	for line := range strings.Lines(d.do("./ipvsadm -ln --stats --exact")) {
		if w := strings.Fields(line); len(w) == 7 && w[0] == "->" && w[1] != "RemoteAddress:Port" {
			in, _ := strconv.Atoi(w[3])
			out, _ := strconv.Atoi(w[4])
			packets += in + out
		}
	}
	return packets
}

// portPackets sums what went through the ports.
func (d *director) portPackets() (rx, tx int) {
	d.t.Helper()
	var stats struct {
		Ports []struct {
			Rx int `json:"rx_packets"`
			Tx int `json:"tx_packets"`
		}
	}
	if err := json.Unmarshal([]byte(d.do("./weir stats --json")), &stats); err != nil {
		d.t.Fatal(err)
	}
	for _, p := range stats.Ports {
		rx += p.Rx
		tx += p.Tx
	}
	return rx, tx
}

// sums checks that every packet is in all sums, whichever engine forwarded it. Nothing
// may be on its way.
func (d *director) sums() {
	d.t.Helper()
	forwarded, by := d.gauge("forwarded"), d.gauge("forwarded_workers")+d.gauge("forwarded_xdp")
	if served := d.carriedPackets(); forwarded != by || forwarded != served {
		d.t.Errorf("forwarded %d packets, both engines %d, to and from real servers %d", forwarded, by, served)
	}
	_, tx := d.portPackets()
	if want := forwarded + d.gauge("answered") + d.gauge("from_kni"); tx != want {
		d.t.Errorf("%d packets left the ports, and %d were sent", tx, want)
	}
}

// offload6 is the tutorial's service once more, with IPv6.
const offload6 = `
./dpip addr add 2001:db8:10::100/128 dev dpdk1
./dpip route add 2001:db8:10::/64 dev dpdk1
./dpip route add 2001:db8:100::/64 dev dpdk0
./ipvsadm -A -t [2001:db8:10::100]:80 -s rr
./ipvsadm -a -t [2001:db8:10::100]:80 -r [2001:db8:100::2] -b
./ipvsadm -a -t [2001:db8:10::100]:80 -r [2001:db8:100::3] -b
./ipvsadm --add-laddr -z 2001:db8:100::200 -t [2001:db8:10::100]:80 -F dpdk0
`

// TestOffload carries the tutorial's full-NAT with the XDP engine, while the network
// around it changes.
func TestOffload(t *testing.T) {
	t.Parallel()
	d := newDirector(t, setup{driver: "afxdp", mode: "native", workers: 1, queues: 1, offload: "on", conf: "neigh_defs { timeout 1 }\nipvs_defs { conn { conn_pool_size 65536 } }\n"})
	both := strings.Replace(nginxAnswer, "listen 80 backlog=4096;", "listen 80; listen [::]:80 ipv6only=on;", 1)
	for _, rs := range d.net.Servers {
		d.nginxWith(rs, fmt.Sprintf(both, rs.Name()))
		d.listening(rs, "[::1]:80")
	}
	d.script(tutorial + offload6)

	// Cables as they are made: the workers forward, and it says why.
	r := d.sendsByXDP("dpdk0", false)
	if why := r.port("dpdk0").NotSent; !strings.Contains(why, "ethtool -K PEER gro on") {
		t.Errorf("the engine does not send by dpdk0 because %q", why)
	}
	d.fetch("10.0.0.100")
	if r = d.offload(); r.ByXDP != 0 || r.ByWorkers == 0 {
		t.Errorf("XDP forwarded %d packets and the workers %d", r.ByXDP, r.ByWorkers)
	}

	d.likeCards()
	d.sendsByXDP("dpdk0", true)
	d.sendsByXDP("dpdk1", true)
	before := d.offload()
	for _, vip := range []string{"10.0.0.100:80", "[2001:db8:10::100]:80"} {
		roleOf[loadResult](d.bed, d.client(), "http-load %s %d 16 kept", vip, 5000).ok(t, 5000)
		after := d.offload()
		if x, w := after.ByXDP-before.ByXDP, after.ByWorkers-before.ByWorkers; x < 5*w {
			t.Errorf("to %s XDP forwarded %d packets and the workers %d", vip, x, w)
		}
		before = after
	}
	d.sums()
	if out := d.do("./weir offload"); !strings.Contains(out, "offload on: the XDP engine runs") {
		t.Errorf("weir offload printed %q", out)
	}

	load := d.steady("10.0.0.100:80", 8, "kept")
	// XDP asks no neighbour whether it is there: the director does.
	learnt := d.gauge("arp_consumed")
	eventually(t, "neighbours are asked", func() bool { return d.gauge("arp_consumed") >= learnt+4 })
	load.more(100)

	// A real server gets another network card.
	if err := d.rs(1).WriteSysctl("ipv4/conf/eth0/arp_notify", "1"); err != nil {
		t.Fatal(err)
	}
	d.run(d.rs(1), "ip link set dev eth0 address 02:11:22:33:44:55")
	eventually(t, "its MAC is known", func() bool { return strings.Contains(d.do("./dpip neigh show"), "02:11:22:33:44:55") })
	load.more(200)

	// The other end of a cable takes no more frames from XDP, and then does again.
	d.run(d.net.LAN, "ethtool -K weir gro off")
	d.sendsByXDP("dpdk0", false)
	load.more(200)
	d.run(d.net.LAN, "ethtool -K weir gro on")
	d.sendsByXDP("dpdk0", true)
	load.more(200)

	// A real server is taken out: its connections go on.
	d.do("./ipvsadm -d -t 10.0.0.100:80 -r 192.168.100.3")
	load.more(200)
	load.unharmed()

	d.do("./dpip link set dpdk0 link down")
	if why := d.sendsByXDP("dpdk0", false).port("dpdk0").NotSent; why != "it is down" {
		t.Errorf("the engine does not send by dpdk0 because %q", why)
	}
	d.do("./dpip link set dpdk0 link up")
	d.sendsByXDP("dpdk0", true)
	eventually(t, "the port carries again", func() bool {
		_, err := d.client().Run(within(t, patience), "curl", "-sS", "--max-time", "5", "10.0.0.100")
		return err == nil
	})
}

// fetch asks a VIP for a page.
func (d *director) fetch(vip string) {
	d.t.Helper()
	if out := d.run(d.client(), "curl -sS --max-time 20 "+vip); !strings.Contains(out, "Your ip:port") {
		d.t.Errorf("curl %s printed %q", vip, out)
	}
}

// TestOffloadModes: the default has an engine on veth, off has none, and neither has one
// where there is no native XDP.
func TestOffloadModes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		offload, mode string
		running       bool
		why           string
	}{
		{"unsaid", "native", true, ""},
		{"auto", "native", true, ""},
		{"off", "native", false, "dpvs.conf says offload off"},
		{"auto", "generic", false, "device dpdk1: xdp_mode generic: XDP behind the driver is no faster"},
	} {
		t.Run(row.offload+" "+row.mode, func(t *testing.T) {
			d := newDirector(t, setup{driver: "afxdp", mode: row.mode, workers: 1, queues: 1, offload: row.offload, conf: "ipvs_defs { conn { conn_pool_size 65536 } }\n"})
			d.nginx(d.rs(1))
			d.nginx(d.rs(2))
			d.script(tutorial)
			d.likeCards()
			if row.running {
				d.sendsByXDP("dpdk0", true)
				d.sendsByXDP("dpdk1", true)
			}
			for range 2 {
				d.fetch("10.0.0.100")
			}
			r := d.offload()
			if r.Running != row.running || r.Why != row.why || (r.ByXDP > 0) != row.running {
				t.Errorf("weir offload says %+v", r)
			}
			if logged := strings.Contains(d.log.String(), "packets are forwarded by the workers alone: "+row.why); logged == row.running {
				t.Errorf("the log says:\n%s", d.log)
			}
			d.sums()
		})
	}
}

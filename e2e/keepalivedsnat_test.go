package e2e

import (
	"strings"
	"testing"
)

// keepalivedSNAT is the second keepalived form of the section "SNAT Mode (two-arm)" as it
// stands there, its XXX filled in, and with the other protocols beside it.
func keepalivedSNAT() string {
	var b strings.Builder
	for _, protocol := range []string{"UDP", "TCP", "ICMP"} {
		up, down := "", ""
		if protocol == "UDP" {
			up = "    quorum_up \"dpip addr add 123.1.2.2/24 dev dpdk1 sapool; dpip route add default via 123.1.2.1 dev dpdk1;\" ##Here is your cmd, you can also use a script.\n"
			down = "    quorum_down \"dpip route del default via 123.1.2.1 dev dpdk1; dpip addr del 123.1.2.2/24 dev dpdk1;\"\n"
		}
		b.WriteString(`
virtual_server match SNAT {
    protocol ` + protocol + `
    delay_loop 3
    lb_algo rr
    lb_kind SNAT
    src-range 192.168.100.0-192.168.100.254
    oif dpdk1
    alpha
    omega
    quorum 1
` + up + down + `
    real_server 123.1.2.2 0 {
        weight 4
        MISC_CHECK {
           misc_path 'exit'##Just make a healthy check which will always judge real_server healthy
           misc_timeout 10
           warmup 0
        }
    }
}
`)
	}
	return b.String()
}

// TestKeepalivedSNAT: the WAN address comes by quorum_up, with `dpip` found beside keepalived,
// hosts get out, and the end of keepalived takes all of it away.
func TestKeepalivedSNAT(t *testing.T) {
	t.Parallel() // it waits, most of the time
	d := newDirector(t, drivers[0])
	d.outside()
	d.do("./dpip addr add 192.168.100.1/24 dev dpdk0")
	before := d.do("./dpip addr show") + d.do("./dpip route show")
	k := d.keepalived(keepalivedSNAT())
	d.lists("./ipvsadm -ln --nosort", `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
MATCH udp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1 rr
  -> 123.1.2.2:0                  SNAT    4      0          0
MATCH tcp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1 rr
  -> 123.1.2.2:0                  SNAT    4      0          0
MATCH icmp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1 rr
  -> 123.1.2.2:0                  SNAT    4      0          0
`)
	if out := d.run(d.rs(1), "curl -sS --max-time 20 "+internet); !strings.HasPrefix(out, "Your ip:port : 123.1.2.2:") {
		t.Errorf("curl printed %q", out)
	}
	d.run(d.rs(2), "ping -c 1 -W 5 "+internet)
	if err := k.process.Stop(within(t, patience)); err != nil {
		t.Error(err)
	}
	if after := d.do("./dpip addr show") + d.do("./dpip route show"); after != before {
		t.Errorf("left behind is\n%s", after)
	}
	if out := d.do("./ipvsadm -ln"); strings.Contains(out, "MATCH") {
		t.Errorf("left behind is\n%s", out)
	}
}

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// shown is what the tutorial prints for its commands. The trailing spaces are
// those that the original prints where the tutorial's page lost them.
var shown = []struct{ command, want string }{
	{"./dpip addr show", `inet 10.0.0.100/32 scope global dpdk1
     valid_lft forever preferred_lft forever
inet 192.168.100.200/32 scope global dpdk0
     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0
`},
	{"./dpip route show", `inet 10.0.0.100/32 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.200/32 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope host metric 0 proto auto
inet 192.168.100.0/24 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto
inet 10.0.0.0/16 via 0.0.0.0 src 0.0.0.0 dev dpdk1 mtu 1500 tos 0 scope link metric 0 proto auto
`},
	{"./ipvsadm  -ln", `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.100:80 rr
  -> 192.168.100.2:80             FullNat 1      0          0
  -> 192.168.100.3:80             FullNat 1      0          0
`},
	{"./ipvsadm  -G", `VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS
10.0.0.100:80        1
                              192.168.100.200      0          0
`},
}

// unpadded takes spaces from the ends of lines: the original pads its columns, the
// tutorial's page shows them without.
func unpadded(text string) string {
	return regexp.MustCompile(`(?m) +$`).ReplaceAllString(text, "")
}

// TestTutorial runs the section "Simple Full-NAT (two-arm)" as written.
func TestTutorial(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			for _, rs := range d.net.Servers {
				d.agentOn(rs).run()
				d.nginx(rs)
			}
			for line := range strings.Lines(tutorial) {
				if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
					continue
				}
				if got := d.do(line); got != "" {
					t.Errorf("%s printed %q, the tutorial's prints nothing", line, got)
				}
			}
			for _, row := range shown {
				if got := unpadded(d.do(row.command)); got != row.want {
					t.Errorf("%s printed\n%swant\n%s", row.command, got, row.want)
				}
			}
			d.curl()
		})
	}
}

// curl asks the VIP as the tutorial does: both servers answer in turn, and see the
// client's own address; the first time at the port that the tutorial shows.
func (d *director) curl() {
	d.t.Helper()
	var order []string
	for i := range 6 {
		port := 37177 + i
		out := d.run(d.client(), fmt.Sprintf("curl -sS -i --max-time 20 --local-port %d 10.0.0.100", port))
		m := regexp.MustCompile(`X-Real-Server: (rs[12])\r\n\r\nYour ip:port : 10\.0\.0\.48:(\d+)\n$`).FindStringSubmatch(out)
		if m == nil || m[2] != fmt.Sprint(port) {
			d.t.Fatalf("curl from port %d printed %q", port, out)
		}
		order = append(order, m[1])
	}
	for i := 1; i < len(order); i++ {
		if order[i] == order[i-1] {
			d.t.Errorf("the servers answered in the order %v, want each in turn", order)
		}
	}
}

package ipvsadm

import (
	"strings"
	"testing"
)

// The tutorial's section "Simple Full-NAT (two-arm)", command for command.
func TestTutorial(t *testing.T) {
	c := start(t, &fake{})
	must(t, c,
		"-A -t 10.0.0.100:80 -s rr",
		"-a -t 10.0.0.100:80 -r 192.168.100.2 -b",
		"-a -t 10.0.0.100:80 -r 192.168.100.3 -b",
		"--add-laddr -z 192.168.100.200 -t 10.0.0.100:80 -F dpdk0",
	)
	const table = `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.100:80 rr
  -> 192.168.100.2:80             FullNat 1      0          0
  -> 192.168.100.3:80             FullNat 1      0          0
`
	if r := run(t, c, "", "-ln"); r.stdout != table || r.exit != 0 {
		t.Errorf("-ln: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	const locals = `VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS
10.0.0.100:80        1
                              192.168.100.200      0          0
`
	if r := run(t, c, "", "-G"); r.stdout != locals || r.exit != 0 {
		t.Errorf("-G: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
}

// Its section with keepalived: two local addresses, weights of 100.
func TestTutorialTwoLocals(t *testing.T) {
	c := start(t, &fake{})
	must(t, c,
		"-At 192.168.100.254:80 -s rr",
		"-at 192.168.100.254:80 -r 192.168.100.2:80 -b -w 100",
		"-at 192.168.100.254:80 -r 192.168.100.3:80 -b -w 100",
		"-Pt 192.168.100.254:80 -z 192.168.100.200 -F dpdk0",
		"-Pt 192.168.100.254:80 -z 192.168.100.201 -F dpdk0",
	)
	const locals = `VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS
192.168.100.254:80   2
                              192.168.100.200      0          0
                              192.168.100.201      0          0
`
	for _, line := range []string{"-G", "-G -t 192.168.100.254:80"} {
		if r := run(t, c, "", strings.Fields(line)...); r.stdout != locals || r.exit != 0 {
			t.Errorf("%s: exit %d\n%s%s", line, r.exit, r.stdout, r.stderr)
		}
	}
	r := run(t, c, "", "-ln")
	if !strings.Contains(r.stdout, "  -> 192.168.100.3:80             FullNat 100    0          0\n") {
		t.Errorf("-ln:\n%s", r.stdout)
	}
}

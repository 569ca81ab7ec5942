package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// TestKNIManyVIPs: 200 addresses of both families that come to a twin at once, as a VRRP or routing
// daemon brings them, answer, and the network is told of each: a client that had another's MAC for
// them has the director's. When they leave nobody answers.
func TestKNIManyVIPs(t *testing.T) {
	d := newDirector(t, one)
	d.linux("ip link set dpdk1.kni up\nip addr add 10.9.255.254/16 dev dpdk1.kni\nip addr add 2001:db8:9::fffe/64 dev dpdk1.kni nodad")
	d.scriptIn(d.client(), "ip addr add 10.9.255.1/16 dev eth0\nip addr add 2001:db8:9::ffff/64 dev eth0 nodad")
	n := &node{director: d}
	eventually(t, "the twin has its addresses", func() bool { return strings.Contains(d.do("./dpip -v addr show"), "2001:db8:9::fffe/64") })
	var vips []string
	var other, come, leave strings.Builder
	for i := range 200 {
		vip, bits := fmt.Sprintf("10.9.0.%d", i/2+1), "/32"
		if i%2 == 1 {
			vip, bits = fmt.Sprintf("2001:db8:9::%x", i/2+1), "/128"
		}
		vips = append(vips, vip)
		fmt.Fprintf(&other, "neigh replace %s lladdr 02:00:00:00:99:99 dev eth0 nud stale\n", vip)
		fmt.Fprintf(&come, "addr add %s%s dev dpdk1.kni nodad\n", vip, bits)
		fmt.Fprintf(&leave, "addr del %s%s dev dpdk1.kni\n", vip, bits)
	}
	batch := func(in *netns.Namespace, text string) {
		t.Helper()
		path := d.path("batch")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "/32 dev dpdk1.kni nodad", "/32 dev dpdk1.kni")), 0o644); err != nil {
			t.Fatal(err)
		}
		d.run(in, "ip -batch "+path)
	}
	batch(d.client(), other.String())
	began := time.Now()
	batch(d.net.Director, come.String())
	n.knownOn(n, "dpdk1", vips)
	t.Logf("after %v the client knew where %d addresses are", time.Since(began).Round(time.Millisecond), len(vips))
	if silent := d.silent(vips); len(silent) > 0 {
		t.Errorf("%d do not answer: %v", len(silent), silent)
	}
	batch(d.net.Director, leave.String())
	listed := func() int {
		out := d.do("./dpip -v addr show")
		return strings.Count(out, "inet 10.9.0.") + strings.Count(out, "inet6 2001:db8:9::") - 1
	}
	eventually(t, "none is left", func() bool { return listed() == 0 })
	d.shell("ip neigh flush all")
	if silent := d.silent(vips); len(silent) != len(vips) {
		t.Errorf("%d answer that nobody has", len(vips)-len(silent))
	}
}

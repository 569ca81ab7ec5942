//go:build long

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

func init() { tools["ovs-vswitchd"] = "openvswitch-switch" }

// openVSwitch is the distribution's Open vSwitch in a namespace: a database and a switch in
// user space, with a directory of their own and not the machine's service.
type openVSwitch struct {
	bed *bed
	in  *netns.Namespace
	dir string
}

// newOpenVSwitch starts both.
func (b *bed) newOpenVSwitch(in *netns.Namespace) *openVSwitch {
	b.t.Helper()
	dir, err := os.MkdirTemp("/run", "weir-e2e-ovs-")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(dir) })
	o := &openVSwitch{b, in, dir}
	o.do("ovsdb-tool", "create", o.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	b.startCmd(in, o.command("ovsdb-server", o.path("conf.db"), "--remote=punix:"+o.path("db.sock"), "--unixctl="+o.path("db.ctl"), "--pidfile="+o.path("ovsdb-server.pid"), "-vconsole:warn"))
	o.there("db.sock")
	o.vsctl("--no-wait", "init")
	b.startCmd(in, o.command("ovs-vswitchd", "unix:"+o.path("db.sock"), "--unixctl="+o.path("switch.ctl"), "--pidfile="+o.path("ovs-vswitchd.pid"), "--disable-system", "-vconsole:warn"))
	o.there("switch.ctl")
	return o
}

func (o *openVSwitch) path(name string) string { return filepath.Join(o.dir, name) }

// command is a daemon that puts into the directory what it might put elsewhere.
func (o *openVSwitch) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = os.Environ()
	for _, place := range []string{"OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"} {
		cmd.Env = append(cmd.Env, place+"="+o.dir)
	}
	return cmd
}

// do runs a program to its end.
func (o *openVSwitch) do(name string, args ...string) string {
	o.bed.t.Helper()
	out, err := o.in.Run(within(o.bed.t, patience), name, args...)
	if err != nil {
		o.bed.t.Fatal(err)
	}
	return out
}

func (o *openVSwitch) vsctl(args ...string) {
	o.bed.t.Helper()
	o.do("ovs-vsctl", append([]string{"--db=unix:" + o.path("db.sock"), "--timeout=60"}, args...)...)
}

// shows asks the switch.
func (o *openVSwitch) shows(args ...string) string {
	o.bed.t.Helper()
	return o.do("ovs-appctl", append([]string{"-t", o.path("switch.ctl")}, args...)...)
}

func (o *openVSwitch) there(name string) {
	o.bed.t.Helper()
	eventually(o.bed.t, "there is "+name, func() bool {
		_, err := os.Stat(o.path(name))
		return err == nil
	})
}

// TestBondOpenVSwitch is mode 4 against the LACP of Open vSwitch.
func TestBondOpenVSwitch(t *testing.T) {
	d, cables := newBond(t, setup{driver: "afxdp", mode: "native", workers: 2, queues: 2, bond: "mode 4\nlacp_rate fast"})
	d.serve()
	t.Cleanup(d.end)
	// Linux has the cables too, beside the switch in user space: it is to answer nobody.
	for _, port := range []string{"a0", "a1"} {
		d.scriptIn(cables, "ip link set "+port+" arp off\nsysctl -w net.ipv6.conf."+port+".disable_ipv6=1")
	}
	o := d.newOpenVSwitch(cables)
	o.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", `other-config:hwaddr="02:00:00:00:00:0a"`,
		"--", "add-bond", "br0", "bond0", "a0", "a1", "lacp=active", "bond_mode=balance-tcp", "other_config:lacp-time=fast")
	d.scriptIn(cables, `
ip link set br0 up
ip addr add 10.3.0.2/24 dev br0
ip addr add 2001:db8:3::2/64 dev br0 nodad
ip route add default via 10.3.0.1
ip -6 route add default via 2001:db8:3::1
ip route add local 10.4.0.0/24 dev lo
ip -6 route add local 2001:db8:4::/64 dev lo
`)
	d.addressed()
	d.agree(o)
	for _, ipv6 := range []bool{false, true} {
		d.reached(ipv6)
		d.overBoth(ipv6)
	}
	for i, ipv6 := range []bool{false, true} {
		port := []string{"a0", "a1"}[i]
		if err := cables.LinkDown(port); err != nil {
			t.Fatal(err)
		}
		d.bondIs("ative/slaves 1/2")
		d.reached(ipv6)
		if err := cables.LinkUp(port); err != nil {
			t.Fatal(err)
		}
		d.agree(o)
		d.reached(ipv6)
	}
}

// agree waits until LACP is done on both cables, and both ends say so.
func (d *director) agree(o *openVSwitch) {
	d.t.Helper()
	ours, theirs := "", ""
	defer func() {
		if d.t.Failed() {
			d.t.Logf("ours:\n%s\ntheirs:\n%s", ours, theirs)
		}
	}()
	eventually(d.t, "both cables carry traffic", func() bool {
		ours = d.do("./dpip -v link show bond0 status")
		return strings.Count(ours, "state 63 (") == 4
	})
	eventually(d.t, "Open vSwitch agrees", func() bool {
		theirs = o.shows("lacp/show", "bond0")
		return strings.Contains(theirs, "status: active negotiated") && strings.Count(theirs, ": current attached") == 2 &&
			strings.Count(theirs, "activity timeout aggregation synchronized collecting distributing") == 4
	})
}

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// keepalivedSNAT is the second keepalived form of the section "SNAT Mode (two-arm)" as it
// stands there, with an address where it leaves one open, and the other protocols beside it.
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

// keepalivedSNATForms is the first keepalived form of the section, as written.
const keepalivedSNATForms = `
virtual_server match SNAT1 {
    protocol UDP
    lb_algo rr
    lb_kind SNAT
    src-range 192.168.100.0-192.168.100.254
    oif dpdk1

    real_server 123.1.2.1  0 {
        weight 4
    }
}

virtual_server match SNAT2 {
    protocol ICMP
    lb_algo wrr
    lb_kind SNAT
    src-range 192.168.100.1-192.168.100.254
    dst-range 123.1.2.0-123.1.2.254
    oif dpdk1
    iif dpdk0

    real_server 123.1.2.1  0 {
        weight 4
    }
}
`

// TestKeepalivedSNATForms: the services are there, and their WAN address when it is.
func TestKeepalivedSNATForms(t *testing.T) {
	t.Parallel() // it waits, most of the time
	d := newDirector(t, drivers[0])
	k := d.keepalived(keepalivedSNATForms)
	k.says("refused, and tried again: MATCH udp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1: real server 123.1.2.1:0: 123.1.2.1 is no address of this box: dpip addr add")
	d.do("./dpip addr add 123.1.2.1/24 dev dpdk1 sapool")
	d.lists("./ipvsadm -ln --nosort", `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
MATCH udp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1 rr
  -> 123.1.2.1:0                  SNAT    4      0          0
MATCH icmp,from=192.168.100.1-192.168.100.254:0-0,to=123.1.2.0-123.1.2.254:0-0,iif=dpdk0,oif=dpdk1 wrr
  -> 123.1.2.1:0                  SNAT    4      0          0
`)
}

// TestKeepalivedBackground: the command returns with an error and its sentence when the file is
// refused, or another keepalived runs already; and without a director it goes into the background all
// the same.
func TestKeepalivedBackground(t *testing.T) {
	t.Parallel() // it waits, most of the time
	b := newBed(t, netns.TwoArmOptions{})
	run := func(text string) (code int, said string) {
		t.Helper()
		file := b.path("keepalived.conf")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out := &lines{}
		cmd := exec.Command(program("keepalived"), "-f", file, "-p", b.path("keepalived.pid"), "-g="+b.path("log"), "-G")
		cmd.Env = append(os.Environ(), "DPVS_IPC_FILE="+b.path("weir.sock"))
		cmd.Stdout, cmd.Stderr = out, out
		p, err := b.net.Director.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Wait(within(t, patience)) // the code says it
		return p.ExitCode(), out.String()
	}
	if code, said := run("virtual_server 10.0.0.1 80 {\n lb_algo lifo\n}\n"); code != 3 || !strings.Contains(said, "keepalived.conf:2: lb_algo lifo is not one of") {
		t.Errorf("a file that is refused: code %d\n%s", code, said)
	}
	if _, err := os.Stat(b.path("keepalived.pid")); !os.IsNotExist(err) {
		t.Errorf("a pid file is left: %v", err)
	}
	const good = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lb_algo rr\n lb_kind FNAT\n}\n"
	if code, said := run(good); code != 0 || said != "" {
		t.Fatalf("a good file: code %d\n%s", code, said)
	}
	(&director{bed: b}).endsWithTest(b.path("keepalived.pid"))
	if code, said := run(good); code != 3 || !strings.Contains(said, "keepalived is already running, with pid ") {
		t.Errorf("a second one: code %d\n%s", code, said)
	}
	eventually(t, "it logs that nobody is there", func() bool {
		log, err := os.ReadFile(b.path("log"))
		return err == nil && strings.Contains(string(log), "the director is not there yet")
	})
}

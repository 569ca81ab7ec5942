package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// keepalivedTutorial is the file of the section "Full-NAT with Keepalived (one-arm)", as
// written.
const keepalivedTutorial = `! Configuration File for keepalived

global_defs {
    notification_email {
        foo@example.com
    }
    notification_email_from bar@example.com
    smtp_server 1.2.3.4
    smtp_connect_timeout 60
    router_id DPVS_DEVEL
}

local_address_group laddr_g1 {
    192.168.100.200 dpdk0    # use DPDK interface
    192.168.100.201 dpdk0    # use DPDK interface
}

#
# VRRP section
#
vrrp_instance VI_1 {
    state MASTER                  # master
    interface dpdk0.kni           # should be kni interface
    dpdk_interface dpdk0          # should be DPDK interface
    virtual_router_id 123         # VID should be unique in network
    priority 100                  # master's priority is bigger than worker
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass ****
    }

    virtual_ipaddress {
        192.168.100.254
    }
}

#
# Virtual Server Section
#
virtual_server_group 192.168.100.254-80 {
    192.168.100.254 80
}

virtual_server group 192.168.100.254-80 {
    delay_loop 3
    lb_algo rr         # scheduling algorithm Round-Robin
    lb_kind FNAT       # Forwarding Mode Full-NAT
    protocol TCP       # Protocol TCP

    laddr_group_name laddr_g1   # Local IP group-ID

    real_server 192.168.100.2 80 { # real-server
        weight 100
        inhibit_on_failure
        TCP_CHECK {    # health check
            nb_sock_retry 2
            connect_timeout 3
            connect_port 80
        }
    }

    real_server 192.168.100.3 80 { # real-server
        weight 100
        inhibit_on_failure
        TCP_CHECK { # health check
            nb_sock_retry 2
            connect_timeout 3
            connect_port 80
        }
    }
}
`

// twin makes a port's .kni device ready for Linux: it gets an address and is up.
func (d *director) twin(port, prefix string) {
	d.t.Helper()
	twin := port + ".kni"
	if err := d.net.Director.Address(twin, netip.MustParsePrefix(prefix)); err != nil {
		d.t.Fatal(err)
	}
	if err := d.net.Director.LinkUp(twin); err != nil {
		d.t.Fatal(err)
	}
}

// keepalived is a running keepalived of ours.
type keepalived struct {
	*director
	process *netns.Process
	log     *lines
	file    string
	args    []string // more of them
}

// keepalived starts keepalived with a file in the director's namespace, in the foreground.
func (d *director) keepalived(text string) *keepalived {
	d.t.Helper()
	k := &keepalived{director: d, file: d.path("keepalived.conf")}
	k.write(text)
	k.start()
	return k
}

func (k *keepalived) write(text string) {
	k.t.Helper()
	if err := os.WriteFile(k.file, []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

// start starts it with the file that is there.
func (k *keepalived) start() {
	k.t.Helper()
	k.log = &lines{}
	cmd := exec.Command(program("keepalived"), "-n", "-f", k.file, "-p", k.path("keepalived.pid"))
	cmd.Args = append(cmd.Args, k.args...)
	cmd.Env = append(os.Environ(), "DPVS_IPC_FILE="+k.path("weir.sock"))
	cmd.Stdout, cmd.Stderr = k.log, k.log
	k.process = k.startCmd(k.net.Director, cmd)
	log := k.log
	k.t.Cleanup(func() {
		if k.t.Failed() {
			k.t.Logf("keepalived said:\n%s", log)
		}
	})
}

// says waits for a line of its log.
func (k *keepalived) says(text string) {
	k.t.Helper()
	eventually(k.t, "keepalived says "+text, func() bool { return strings.Contains(k.log.String(), text) })
}

// lists waits until a command prints what it shall.
func (d *director) lists(command, want string) {
	d.t.Helper()
	got := ""
	eventually(d.t, command+" prints what it shall", func() bool {
		got = unpadded(d.do(command))
		return got == want
	})
	_ = got
}

// newKeepalivedBed is the network of the tutorial's section.
func newKeepalivedBed(t *testing.T, s setup) *director {
	t.Helper()
	d := newOneArm(t, s, "dpdk0", netns.OneArmOptions{
		Client:  netip.MustParsePrefix("192.168.100.146/24"),
		Servers: []netip.Prefix{netip.MustParsePrefix("192.168.100.2/24"), netip.MustParsePrefix("192.168.100.3/24")},
	})
	d.twin("dpdk0", "192.168.100.28/24")
	return d
}

const keepalivedServices = `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.168.100.254:80 rr
  -> 192.168.100.2:80             FullNat %d    0          0
  -> 192.168.100.3:80             FullNat %d    0          0
`

// TestKeepalivedTutorial runs the section "Full-NAT with Keepalived (one-arm)" as written: the
// file, the commands, what they print, and a client.
func TestKeepalivedTutorial(t *testing.T) {
	t.Parallel() // it waits, most of the time
	d := newKeepalivedBed(t, drivers[0])
	for _, rs := range d.net.Servers {
		d.agentOn(rs, "--trust", "192.168.100.200/31").run()
		d.nginx(rs)
	}
	file := d.path("keepalived.conf")
	if err := os.WriteFile(file, []byte(keepalivedTutorial), 0o644); err != nil {
		t.Fatal(err)
	}
	// It goes into the background, and returns when the file is read.
	var said bytes.Buffer
	cmd := exec.Command(program("keepalived"), "-f", file, "-p", d.path("keepalived.pid"), "-g="+d.path("keepalived.log"))
	cmd.Env = append(os.Environ(), "DPVS_IPC_FILE="+d.path("weir.sock"))
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := d.net.Director.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(d.path("keepalived.log")); t.Failed() && err == nil {
			t.Logf("keepalived logged:\n%s", log)
		}
	})
	if err := p.Wait(within(t, patience)); err != nil {
		t.Fatalf("keepalived: %v\n%s", err, &said)
	}
	if n := strings.Count(said.String(), "nb_sock_retry"); n != 2 {
		t.Errorf("it warned %d times of nb_sock_retry, want once for each of its lines:\n%s", n, &said)
	}
	d.endsWithTest(d.path("keepalived.pid"))
	d.quietly("./dpip addr add 192.168.100.254/32 dev dpdk0\n./dpip route add 192.168.100.0/24 dev dpdk0\n")
	d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
	eventually(t, "the VIP is held", func() bool { return strings.Contains(d.do("./dpip addr show"), "254/32") })
	addrs := unpadded(d.do("./dpip addr show"))
	for _, want := range []string{
		"inet 192.168.100.254/32 scope global dpdk0\n     valid_lft forever preferred_lft forever\n",
		"inet 192.168.100.201/32 scope global dpdk0\n     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0\n",
		"inet 192.168.100.200/32 scope global dpdk0\n     valid_lft forever preferred_lft forever sa_used 0 sa_free 1032176 sa_miss 0\n",
	} {
		if !strings.Contains(addrs, want) {
			t.Errorf("dpip addr show lacks\n%s, it prints\n%s", want, addrs)
		}
	}
	if got := d.do("./dpip route show"); !strings.Contains(got, "inet 192.168.100.0/24 via 0.0.0.0 src 0.0.0.0 dev dpdk0 mtu 1500 tos 0 scope link metric 0 proto auto") {
		t.Errorf("dpip route show prints\n%s", got)
	}
	if got := unpadded(d.do("./ipvsadm -G")); got != `VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS
192.168.100.254:80   2
                              192.168.100.200      0          0
                              192.168.100.201      0          0
` {
		t.Errorf("ipvsadm -G prints\n%s", got)
	}
	out := d.run(d.client(), "curl -sS --max-time 20 192.168.100.254")
	if !regexp.MustCompile(`^Your ip:port : 192\.168\.100\.146:\d+\n$`).MatchString(out) {
		t.Errorf("curl printed %q", out)
	}
	// A server dies, and its weight says so.
	d.run(d.rs(1), "ip link set eth0 down")
	d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(strings.Replace(keepalivedServices, "%d    0", "%d      0", 1), 0, 100))
	d.run(d.rs(1), "ip link set eth0 up")
	d.lists("./ipvsadm -ln --nosort", fmt.Sprintf(keepalivedServices, 100, 100))
}

// endsWithTest ends the daemon that a pid file names when the test ends.
func (d *director) endsWithTest(file string) {
	d.t.Helper()
	pid, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	number := strings.TrimSpace(string(pid))
	d.t.Cleanup(func() {
		if out, err := exec.Command("kill", number).CombinedOutput(); err != nil {
			d.t.Errorf("keepalived: %v: %s", err, out)
			return
		}
		eventually(d.t, "keepalived has ended", func() bool {
			_, err := os.Stat("/proc/" + number)
			return os.IsNotExist(err)
		})
	})
}

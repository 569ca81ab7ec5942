package e2e

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// onTwin is what Linux has on the twin of the WAN port: what an operator, sshd and a
// routing daemon rely on.
func (d *director) onTwin() string {
	d.t.Helper()
	var all []string
	for _, line := range []string{"ip -o link show dev dpdk1.kni", "ip -o addr show dev dpdk1.kni scope global", "ip -6 -o addr show dev dpdk1.kni scope link", "ip route show dev dpdk1.kni", "ip -6 route show dev dpdk1.kni"} {
		for _, l := range strings.Split(d.run(d.net.Director, line), "\n") {
			all = append(all, strings.Join(strings.Fields(l), " "))
		}
	}
	// Until its carrier changes for the first time Linux calls its state unknown.
	return strings.ReplaceAll(strings.Join(all, "\n"), " state UNKNOWN ", " state UP ")
}

// session is a connection from the client to a program on a twin's address, such as that
// of sshd or bgpd.
type session struct {
	t        *testing.T
	name     string
	from, to net.Conn
}

func (d *director) session(address string) *session {
	d.t.Helper()
	l, err := d.net.Director.Listen("tcp", net.JoinHostPort(address, "2222"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer l.Close()
	s := &session{t: d.t, name: address}
	if s.from, err = d.client().Dial(within(d.t, patience), "tcp", l.Addr().String()); err == nil {
		s.to, err = l.Accept()
	}
	if err != nil {
		d.t.Fatalf("connect to %s: %v", address, err)
	}
	d.t.Cleanup(func() { s.from.Close(); s.to.Close() })
	return s
}

// say sends a line each way, and returns.
func (s *session) say(text string) {
	s.t.Helper()
	for _, c := range []net.Conn{s.from, s.to} {
		if _, err := c.Write([]byte(text + "\n")); err != nil {
			s.t.Fatalf("%s: %v", s.name, err)
		}
	}
}

// hear waits for the lines that were said, in their order.
func (s *session) hear(texts ...string) {
	s.t.Helper()
	for _, c := range []net.Conn{s.from, s.to} {
		if deadline, ok := within(s.t, patience).Deadline(); ok {
			if err := c.SetReadDeadline(deadline); err != nil {
				s.t.Fatal(err)
			}
		}
		r := bufio.NewReader(c)
		for _, want := range texts {
			if got, err := r.ReadString('\n'); err != nil || got != want+"\n" {
				s.t.Fatalf("%s: heard %q, %v, want %q", s.name, got, err, want)
			}
		}
	}
}

// The twin outlasts the daemon, however that ends, with what Linux has on it; the
// connections of programs on its addresses go on; and `weir purge` takes it away.
func TestKNIOutlastsDirector(t *testing.T) {
	for _, s := range []setup{drivers[0], drivers[2], two} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			d := newDirector(t, s)
			d.beSwitch()
			d.linux("ip link set dpdk1.kni up\nip link set dpdk1.kni mtu 1400")
			d.linux("ip addr add 172.10.0.2/30 dev dpdk1.kni\nip route add 10.77.0.0/16 via 172.10.0.1 dev dpdk1.kni")
			d.linux("ip addr add 2001:db8:172::2/64 dev dpdk1.kni nodad\nip route add 2001:db8:77::/48 via 2001:db8:172::1 dev dpdk1.kni")
			sessions := []*session{d.session("172.10.0.2"), d.session("2001:db8:172::2")}
			eventually(t, "the link-local address is no more looked for", func() bool { return !strings.Contains(d.onTwin(), "tentative") })
			was := d.onTwin()
			for _, way := range []struct {
				name string
				end  func()
			}{
				{"systemctl restart", func() {
					if err := d.daemon.Stop(within(t, patience)); err != nil {
						t.Fatal(err)
					}
				}},
				{"kill -9", func() {
					d.killed = true
					d.daemon.Signal(syscall.SIGKILL)
					<-d.daemon.Done()
				}},
			} {
				for _, s := range sessions {
					s.say("before " + way.name)
					s.hear("before " + way.name)
				}
				way.end()
				if out := d.run(d.net.Director, "ip -o link show dev dpdk1.kni"); !strings.Contains(out, "NO-CARRIER") || !strings.Contains(out, "weir: twin of dpdk1, mtu 1500") {
					t.Errorf("%s: it is left behind as %s", way.name, out)
				}
				for _, s := range sessions {
					s.say("during " + way.name)
				}
				d.serve()
				d.killed = false
				for _, s := range sessions {
					s.say("after " + way.name)
					s.hear("during "+way.name, "after "+way.name)
				}
				is := ""
				func() {
					defer func() {
						if t.Failed() {
							t.Logf("%s: it was\n%s\nit is\n%s", way.name, was, is)
						}
					}()
					eventually(t, "the twin is as it was", func() bool { is = d.onTwin(); return is == was })
				}()
				eventually(t, "Weir sees the addresses", func() bool {
					out := d.do("./dpip -v addr show")
					return strings.Contains(out, "inet 172.10.0.2/30 scope global dpdk1 (+kni)") && strings.Contains(out, "inet6 2001:db8:172::2/64 scope global dpdk1 (+kni)")
				})
				for _, a := range []string{"172.10.0.2", "2001:db8:172::2"} {
					d.once(d.client(), a)
				}
			}
		})
	}
}

// purge runs `weir purge` where the director is.
func (d *director) purge() (out string, err error) {
	d.t.Helper()
	return d.net.Director.Run(within(d.t, patience), program("weir"), "purge")
}

func (d *director) twins() bool {
	d.t.Helper()
	return strings.Contains(d.run(d.net.Director, "ip -o link"), ".kni")
}

// What is left behind is told of, taken over, or taken away; and a twin that can't be is
// one sentence.
func TestKNIPurge(t *testing.T) {
	d := newDirector(t, one)
	if out, err := d.purge(); err == nil || strings.Count(out+err.Error(), "a running weir has it open") != 2 || !d.twins() {
		t.Errorf("with a director that runs: %v\n%s", err, out)
	}
	d.killed = true
	d.daemon.Signal(syscall.SIGKILL)
	<-d.daemon.Done()
	d.setup.conf = "global_defs {\n    kni off\n}\n"
	d.serve()
	for _, port := range d.ports {
		if want := port + ".kni, a twin of port " + port + ", is left from before"; !strings.Contains(d.log.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, d.log)
		}
	}
	if out, err := d.purge(); err != nil || !strings.Contains(out, "dpdk1.kni, the twin of port dpdk1, is removed") || d.twins() {
		t.Errorf("purge: %v\n%s", err, out)
	}
	if out, err := d.purge(); err != nil || out != "nothing is left of weir\n" {
		t.Errorf("purge again: %v\n%s", err, out)
	}
	stop := func() {
		t.Helper()
		if err := d.daemon.Stop(within(t, patience)); err != nil {
			t.Error(err)
		}
	}
	stop()
	d.setup.conf = ""
	if err := os.WriteFile(d.path("dpvs.conf"), []byte(d.conf()), 0o644); err != nil {
		t.Fatal(err)
	}

	// What is there, and no weir can take.
	for _, row := range []struct {
		name, make, undo string
		says             []string
	}{
		{"another kind", "ip link add dpdk1.kni type bridge", "ip link del dpdk1.kni", []string{"bridge"}},
		{"a TUN", "ip tuntap add dpdk1.kni mode tun multi_queue", "ip link del dpdk1.kni", []string{"TUN device"}},
		{"no tun device here", "", "", []string{"open /dev/net/tun", "modprobe tun"}},
	} {
		d.linux(row.make)
		said := &lines{}
		cmd := exec.Command(program("weir"), "serve", "-c", d.path("dpvs.conf"), "-x", d.path("weir.sock"))
		if row.make == "" {
			cmd = exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs none /dev/net && exec "$@"`, "sh", program("weir"), "serve", "-c", d.path("dpvs.conf"), "-x", d.path("weir.sock"))
		}
		cmd.Stderr = said
		p := d.startCmd(d.net.Director, cmd)
		err := p.Wait(within(t, patience))
		for _, word := range append(row.says, "device dpdk", ".kni", "kni off") {
			if !strings.Contains(said.String(), word) {
				t.Errorf("%s: it says nothing of %q", row.name, word)
			}
		}
		if err == nil || p.ExitCode() != 1 || t.Failed() {
			t.Errorf("%s: %v\n%s", row.name, err, said)
		}
		d.noXDP()
		d.linux(row.undo)
		if d.twins() {
			t.Fatalf("%s: a start that fails leaves a twin behind", row.name)
		}
	}
	d.serve()
}

// A twin that comes from another interface gets the port's MAC address, with a line; one
// that another program made stays that program's; one of another port is refused.
func TestKNITakenOver(t *testing.T) {
	d := newDirector(t, one)
	stop := func() {
		t.Helper()
		if err := d.daemon.Stop(within(t, patience)); err != nil {
			t.Error(err)
		}
	}
	stop()
	lan, err := d.net.Director.MAC("dpdk0")
	if err != nil {
		t.Fatal(err)
	}
	d.linux("ip link set dpdk1.kni address " + lan.String())
	d.serve()
	for _, want := range []string{"its twin dpdk1.kni was there already, with the MAC address " + lan.String() + ", that of port dpdk0"} {
		if !strings.Contains(d.log.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, d.log)
		}
	}
	stop()

	d.linux("ip link del dpdk1.kni\nip link set dpdk0.kni name dpdk1.kni")
	said := &lines{}
	cmd := exec.Command(program("weir"), "serve", "-c", d.path("dpvs.conf"), "-x", d.path("weir.sock"))
	cmd.Stderr = said
	p := d.startCmd(d.net.Director, cmd)
	if err := p.Wait(within(t, patience)); err == nil || !strings.Contains(said.String(), "the twin of port dpdk0") || !strings.Contains(said.String(), "weir purge") {
		t.Errorf("of another port: %v\n%s", err, said)
	}
	d.noXDP()

	d.linux("ip link del dpdk1.kni\nip tuntap add dpdk1.kni mode tap multi_queue")
	if err := d.net.Director.Address("dpdk1.kni", netip.MustParsePrefix("172.10.0.2/30")); err != nil {
		t.Fatal(err)
	}
	d.linux("ip link set dpdk1.kni up")
	d.beSwitch()
	d.serve()
	if want := "its twin dpdk1.kni was there already, made by another program"; !strings.Contains(d.log.String(), want) {
		t.Errorf("it does not say %q:\n%s", want, d.log)
	}
	d.once(d.client(), "172.10.0.2")
	stop()
	if out, err := d.purge(); err != nil || strings.Contains(out, "dpdk1") || !strings.Contains(d.run(d.net.Director, "ip -o link"), "dpdk1.kni") {
		t.Errorf("purge of another program's: %v\n%s", err, out)
	}
	d.serve()
}

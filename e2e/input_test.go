package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// state is all that the tools show of the wanted state.
func (d *director) state() string {
	d.t.Helper()
	var b strings.Builder
	for _, line := range []string{"./ipvsadm -S -n", "./ipvsadm -ln", "./ipvsadm -G", "./dpip addr show", "./dpip route show", "./dpip link show"} {
		fmt.Fprintf(&b, "$ %s\n%s", line, d.do(line))
	}
	return b.String()
}

// A few wrong inputs from end to end; the whole tables are with each grammar. All
// must leave the state byte for byte as it was.
func TestWrongInput(t *testing.T) {
	d := newDirector(t, one)
	d.script(tutorial)
	before := d.state()
	for _, row := range []struct {
		line string
		code int
		want string // standard error
	}{
		{"./dpip addr add 10.0.0.100/32 dev dpdk1", 1, "dpip: already exist: 10.0.0.100/32 on dpdk1; `dpip addr set` changes it\n"},
		{"./dpip addr add 10.0.0.300/32 dev dpdk1", 1, "dpip: invalid ipaddress: \"10.0.0.300\" is not an address such as 192.168.100.200 or 2001:db8::200\n"},
		{"./dpip addr add 10.0.0.101/32 dev dpdk7", 1, "dpip: no such device: dpdk7; the devices are dpdk0, dpdk1\n"},
		{"./dpip addr add 10.0.0.101/32", 1, "dpip: no device specified: add `dev DEVICE'\n"},
		{"./dpip addr del 10.0.0.101/32 dev dpdk1", 1, "dpip: not exist: 10.0.0.101 on dpdk1\n"},
		{"./dpip addr del 10.0.0.100/24 dev dpdk1", 1, "dpip: not exist: 10.0.0.100/24 on dpdk1; it is there as 10.0.0.100/32\n"},
		{"./dpip route add 10.0.0.0/16 dev dpdk1", 1, "dpip: already exist: 10.0.0.0/16 dev dpdk1\n"},
		{"./dpip route add 10.0.0.0/99 dev dpdk1", 1, "dpip: invalid prefix length \"99\": give a number from 0 to 32\n"},
		{"./dpip route del 10.9.0.0/16 dev dpdk1", 1, "dpip: not exist: 10.9.0.0/16 dev dpdk1\n"},
		{"./dpip frob", 1, "dpip: invalid object, use `-h' for help.\n"},
		{"./ipvsadm -A -t 10.0.0.100:80 -s rr", 253, "service already exists: TCP 10.0.0.100:80; -E edits it\n"},
		{"./ipvsadm -A -t 10.0.0.100:81 -s frob", 252, "scheduler \"frob\" is not known: use rr, wrr, wlc, lc, sed, nq, fo, sh, dh, mh, conhash\n"},
		{"./ipvsadm -A -t 10.0.0.100 -s rr", 2, "Zero port specified for no-match and non-persistent service: give ADDRESS:PORT, or -p for all ports\n"},
		{"./ipvsadm -D -t 10.0.0.100:81", 252, "no such service: TCP 10.0.0.100:81\n"},
		{"./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.2 -b", 253, "destination already exists: 192.168.100.2:80 of service TCP 10.0.0.100:80; -e edits it\n"},
		{"./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.4 -b -w 65536", 2, "illegal weight specified\n"},
		{"./ipvsadm -d -t 10.0.0.100:80 -r 192.168.100.9", 252, "no such destination: 192.168.100.9:80 of service TCP 10.0.0.100:80\n"},
		{"./ipvsadm -P -t 10.0.0.100:80 -z 192.168.100.200 -F dpdk0", 253, "local address already exists: 192.168.100.200 of service TCP 10.0.0.100:80\n"},
		{"./ipvsadm -P -t 10.0.0.100:80 -z 192.168.100.201 -F dpdk7", 229, "no such device: dpdk7; the devices are dpdk0, dpdk1\n"},
		{"./ipvsadm -A -t [fe80::1]:80 -s rr", 255, "fe80::1 can't be a virtual address: a link-local address means nothing beyond its link, give a global one\n"},
		{"./ipvsadm -x", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n"},
		{"./weir worker stop frob", 1, "weir: no such worker: frob; `weir worker show` lists them\n"},
	} {
		t.Run(row.line, func(t *testing.T) {
			a := d.as(t).try(row.line)
			if a.code != row.code || a.stderr != row.want || a.stdout != "" {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d, %q", a.code, a.stderr, a.stdout, row.code, row.want)
			}
			if after := d.as(t).state(); after != before {
				t.Errorf("the state changed:\n%s\nto\n%s", before, after)
			}
		})
	}
}

// What was saved gives a director that begins with nothing all that it had.
func TestSaveAndRestore(t *testing.T) {
	d := failing(t, one)
	d.serviceOn("u", 53, 1, 2)
	d.do("./dpip addr add 10.0.0.1/16 dev dpdk1")
	d.do("./dpip route add default via 10.0.0.48 dev dpdk1")
	for i, options := range []string{
		"rr", "wrr", "wlc", "lc", "sed", "nq", "fo", "sh", "dh", "mh", "mh --quic", "conhash", "conhash --hash-target sip", "conhash --hash-target qid --quic",
	} {
		virtual := fmt.Sprintf("-u 10.0.0.100:%d", 1000+i)
		d.do("./ipvsadm -A " + virtual + " -s " + options)
		d.do("./ipvsadm -a " + virtual + " -r 192.168.100.2:53 -b -w 3")
	}
	saved, before := d.do("./ipvsadm -S -n"), d.state()
	if err := d.daemon.Stop(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	d.serve()
	if empty := d.do("./ipvsadm -S -n"); empty != "" {
		t.Errorf("a new director has:\n%s", empty)
	}
	if a := d.tryWith(saved, "./ipvsadm", "-R"); a.code != 0 || a.stderr != "" {
		t.Fatalf("-R of what -S saved: %+v\n%s", a, saved)
	}
	if after := d.state(); after != before {
		t.Errorf("restored:\n%s\nwant:\n%s", after, before)
	}
	d.answered("10.0.0.100")
}

// A dpvs.conf that is wrong stops the daemon before it touches anything, and names
// file and line.
func TestWrongConf(t *testing.T) {
	d := newDirector(t, one)
	for name, row := range map[string]struct{ conf, want string }{
		"bad value":      {"netif_defs {\n    device dpdk0 {\n        driver frob\n    }\n}\n", ":3: driver frob is not one of auto, afxdp, afpacket (default: auto)"},
		"no device":      {"global_defs {\n    log_level INFO\n}\n", "no device: add"},
		"not closed":     {"netif_defs {\n", ":1: block netif_defs is not closed: add a '}'"},
		"no such device": {"netif_defs {\n    device nosuch0 {\n    }\n}\n", "nosuch0"},
	} {
		t.Run(name, func(t *testing.T) {
			d := d.as(t)
			file := d.path(strings.ReplaceAll(name, " ", "-") + ".conf")
			if err := os.WriteFile(file, []byte(row.conf), 0o644); err != nil {
				t.Fatal(err)
			}
			said := &lines{}
			cmd := exec.Command(program("weir"), "serve", "-c", file, "-x", d.path("other.sock"))
			cmd.Stderr = said
			p := d.startCmd(d.net.Director, cmd)
			if err := p.Wait(within(t, patience)); err == nil || p.ExitCode() != 1 {
				t.Errorf("weir serve ended with %v, want exit status 1", err)
			}
			if text := said.String(); !strings.Contains(text, row.want) {
				t.Errorf("weir serve said %q, want it to say %q", text, row.want)
			}
		})
	}
	t.Run("reload", func(t *testing.T) { d.as(t).wrongReload() })
}

// wrongReload reloads a file that is wrong: the daemon says so and goes on as before.
func (d *director) wrongReload() {
	before := d.state()
	if err := os.WriteFile(d.path("dpvs.conf"), []byte(d.conf()+"neigh_defs {\n    timeout soon\n}\n"), 0o644); err != nil {
		d.t.Fatal(err)
	}
	d.daemon.Signal(syscall.SIGHUP)
	eventually(d.t, "the log says what is wrong", func() bool {
		return strings.Contains(d.log.String(), "timeout soon is not a number from 1 to 3600")
	})
	if after := d.state(); after != before {
		d.t.Errorf("the state changed:\n%s\nto\n%s", before, after)
	}
}

// Fifty commands at a time change services under traffic: each is carried out once,
// and the traffic of another service notices nothing.
func TestConcurrentCommands(t *testing.T) {
	const commands = 50
	d := failing(t, two)
	kept := d.steady("10.0.0.100:80", 16, "kept")
	fresh := d.steady("10.0.0.100:80", 8, "new")
	service := func(i int) string { return fmt.Sprintf("-t 10.0.0.100:%d", 9000+i) }
	for _, wave := range []func(i int) string{
		func(i int) string { return "./ipvsadm -A " + service(i) + " -s wrr" },
		func(i int) string { return "./ipvsadm -a " + service(i) + " -r 192.168.100.2:80 -b -w 1" },
		func(i int) string { return "./ipvsadm -P " + service(i) + " -z 192.168.100.200 -F dpdk0" },
		func(i int) string {
			return "./ipvsadm -e " + service(i) + " -r 192.168.100.2:80 -b -w " + fmt.Sprint(i+2)
		},
		func(i int) string { return fmt.Sprintf("./dpip addr add 10.0.1.%d/32 dev dpdk1", i+1) },
		func(i int) string { return fmt.Sprintf("./dpip route add 10.7.%d.0/24 dev dpdk1", i) },
	} {
		d.together(commands, wave)
	}
	for i := range commands {
		want := fmt.Sprintf("-a %s -r 192.168.100.2:80 -b -w %d\n", service(i), i+2)
		if out := d.do("./ipvsadm -S -n"); !strings.Contains(out, want) {
			t.Errorf("lost: %s", want)
		}
	}
	addresses, routes := d.do("./dpip addr show"), d.do("./dpip route show")
	for i := range commands {
		if want := fmt.Sprintf("inet 10.0.1.%d/32 ", i+1); !strings.Contains(addresses, want) {
			t.Errorf("lost: %s", want)
		}
		if want := fmt.Sprintf("inet 10.7.%d.0/24 ", i); !strings.Contains(routes, want) {
			t.Errorf("lost: %s", want)
		}
	}
	d.together(commands, func(i int) string { return "./ipvsadm -D " + service(i) })
	if out := d.do("./ipvsadm -S -n"); strings.Count(out, "-A ") != 1 {
		t.Errorf("after all were deleted there must be the tutorial's service alone:\n%s", out)
	}
	kept.unharmed()
	fresh.unharmed()
}

// together runs n commands at the same time; all must succeed.
func (d *director) together(n int, line func(i int) string) {
	d.t.Helper()
	answers := make(chan string, n)
	for i := range n {
		go func() {
			if a := d.try(line(i)); a.code != 0 || a.stderr != "" {
				answers <- fmt.Sprintf("%s: exit code %d: %s", line(i), a.code, a.stderr)
				return
			}
			answers <- ""
		}()
	}
	for range n {
		if complaint := <-answers; complaint != "" {
			d.t.Error(complaint)
		}
	}
}

package keepalived

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/spec"
)

// spec4 wants addresses with ports to give on dpdk1.
func spec4(prefixes ...string) func(*spec.Spec) error {
	return func(s *spec.Spec) error {
		for _, p := range prefixes {
			if err := s.AddAddress(spec.Address{Port: "dpdk1", Prefix: netip.MustParsePrefix(p), SAPool: true}, false); err != nil {
				return err
			}
		}
		return nil
	}
}

// dests are the weights of a service's real servers: ".2=10 .3=0". A service that is not there
// is "none".
func dests(b *bed, vip string) string {
	for i := range b.Spec().Services {
		svc := &b.Spec().Services[i]
		if svc.Virtual.String() != vip {
			continue
		}
		var all []string
		for _, d := range svc.Dests {
			text := d.Addr.Addr().String()
			all = append(all, fmt.Sprintf("%s=%d", text[strings.LastIndexByte(text, '.'):], d.Weight))
		}
		return strings.Join(all, " ")
	}
	return "none"
}

// world is a daemon beside a director, real servers that are files (one that is there is
// alive; what is in it is the exit code of its check), and a diary that scripts write into.
type world struct {
	*running
	b    *bed
	t    *testing.T
	dir  string
	path string
}

// misc is a real server whose check looks at its file.
func (w *world) misc(last int, options string) string {
	return fmt.Sprintf(" real_server 192.168.9.%d 80 {\n weight 10\n %s\n MISC_CHECK {\n misc_path \"%s %s\"\n delay_loop 0.05\n warmup 0\n misc_timeout 20\n misc_dynamic\n }\n }\n",
		last, options, filepath.Join(w.dir, "check"), w.server(last))
}

func (w *world) server(last int) string { return filepath.Join(w.dir, fmt.Sprintf("rs%d", last)) }

// lives and dies make the checks of a real server succeed, or fail.
func (w *world) lives(last, code int) {
	w.t.Helper()
	rewrite(w.t, w.server(last)+".new", fmt.Sprint(code))
	if err := os.Rename(w.server(last)+".new", w.server(last)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) dies(last int) {
	w.t.Helper()
	if err := os.Remove(w.server(last)); err != nil {
		w.t.Fatal(err)
	}
}

// note is a script that writes a word into the diary.
func (w *world) note(word string) string {
	return fmt.Sprintf("\"%s %s\"", filepath.Join(w.dir, "note"), word)
}

func (w *world) diary() string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "diary"))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{b: newBed(t), t: t, dir: t.TempDir()}
	for name, text := range map[string]string{
		"check": "#!/bin/sh\n[ -e \"$1\" ] || exit 1\nexit $(cat \"$1\")\n",
		"note":  fmt.Sprintf("#!/bin/sh\necho \"$1\" >> %s/diary\n", w.dir),
	} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		w.lives(i, 0)
	}
	return w
}

func (w *world) begin(text string) {
	w.t.Helper()
	w.path = write(w.t, text)
	w.running = begin(w.t, w.b.path, w.path)
}

// become waits until a service's real servers are as they shall be.
func (w *world) become(vip, want string) {
	w.t.Helper()
	got := ""
	defer func() {
		if w.t.Failed() {
			w.t.Logf("%s has %q", vip, got)
		}
	}()
	eventually(w.t, vip+" has "+want, func() bool { got = dests(w.b, vip); return got == want })
}

// written waits until the diary holds so.
func (w *world) written(want string) {
	w.t.Helper()
	got := ""
	defer func() {
		if w.t.Failed() {
			w.t.Logf("the diary says %q", got)
		}
	}()
	eventually(w.t, "the diary says "+want, func() bool { got = w.diary(); return got == want })
}

const vip = "10.0.0.1:80"

// service is a virtual server of FNAT at the VIP.
func service(options string, servers ...string) string {
	return "virtual_server 10.0.0.1 80 {\n protocol TCP\n lb_algo rr\n lb_kind FNAT\n" + options + "\n" + strings.Join(servers, "") + "}\n"
}

// TestServerDies: what becomes of a server's weight, and of the service, as the file says.
func TestServerDies(t *testing.T) {
	w := newWorld(t)
	both := func(options string) []string { return []string{w.misc(2, options), w.misc(3, options)} }
	for _, row := range []struct {
		name              string
		text              string
		before, one, none string // with both, without the first, with neither
		diary             string // when both are back
	}{
		{"nothing said", service("", both("")...), ".2=10 .3=10", ".3=10", "", ""},
		{"inhibit_on_failure", service("inhibit_on_failure", both("")...), ".2=10 .3=10", ".2=0 .3=10", ".2=0 .3=0", ""},
		{"sorry_server", service("sorry_server 192.168.9.9 80\n", both("")...), ".2=10 .3=10", ".3=10", ".9=1", ""},
		{"sorry_server_inhibit", service("sorry_server 192.168.9.9 80\n sorry_server_inhibit\n", both("")...), ".2=10 .3=10 .9=0", ".3=10 .9=0", ".9=1", ""},
		{"quorum with a sorry server", service("quorum 20\n sorry_server 192.168.9.9 80\n inhibit_on_failure\n", both("")...), ".2=10 .3=10", ".2=0 .3=0 .9=1", ".2=0 .3=0 .9=1", ""},
		{"hysteresis", service("quorum 15\n hysteresis 5\n sorry_server 192.168.9.9 80\n", both("")...), ".2=10 .3=10", ".3=10", ".9=1", ""},
		{
			"scripts", service("quorum 20\n quorum_up "+w.note("quorum-up")+"\n quorum_down "+w.note("quorum-down"), w.misc(2, "notify_up "+w.note("up")+"\n notify_down "+w.note("down")), w.misc(3, "")),
			".2=10 .3=10", ".3=10", "", "down quorum-down up quorum-up",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &world{b: w.b, t: t, dir: w.dir}
			_ = os.Remove(filepath.Join(w.dir, "diary"))
			w.begin(row.text)
			w.become(vip, row.before)
			w.dies(2)
			w.become(vip, row.one)
			w.dies(3)
			w.become(vip, row.none)
			w.lives(2, 0)
			if row.name != "hysteresis" {
				w.says("192.168.9.2:80 is up")
			}
			w.lives(3, 0)
			eventually(t, "all is as it was", func() bool { // what was taken out comes last
				got := dests(w.b, vip)
				return got == row.before || got == swapped(row.before)
			})
			w.written(row.diary)
			w.stop()
			if got := dests(w.b, vip); got != "none" {
				t.Errorf("in the end it has %s", got)
			}
			w.written(row.diary) // without omega nothing is said at the end
		})
	}
}

// swapped is a list of three words or less in the order that those have who left and came back.
func swapped(list string) string {
	words := strings.Fields(list)
	if len(words) == 3 {
		return words[2] + " " + words[0] + " " + words[1]
	}
	return strings.Join(words, " ")
}

// TestAlphaOmega: with alpha a server is out until its first check is good, and the quorum is
// gained then; with omega the end is as if all had died.
func TestAlphaOmega(t *testing.T) {
	w := newWorld(t)
	w.dies(2)
	w.begin(service("alpha\n omega\n quorum_up "+w.note("quorum-up")+"\n quorum_down "+w.note("quorum-down"),
		w.misc(2, "notify_up "+w.note("up")+"\n notify_down "+w.note("down"))))
	w.become(vip, "")
	w.lives(2, 0)
	w.become(vip, ".2=10")
	w.written("up quorum-up")
	w.stop()
	w.written("up quorum-up down quorum-down")
}

// TestMiscDynamic: the exit code of a program is the weight and 2 more, and counts for the
// quorum.
func TestMiscDynamic(t *testing.T) {
	w := newWorld(t)
	w.begin(service("quorum 15\n quorum_down "+w.note("lost"), w.misc(2, ""), w.misc(3, "")))
	w.become(vip, ".2=10 .3=10")
	w.lives(2, 42)
	w.become(vip, ".2=40 .3=10")
	w.lives(2, 3)
	w.become(vip, ".2=1 .3=10")
	w.written("lost")
	w.lives(2, 2)
	w.become(vip, ".2=0 .3=10")
}

// TestReloadKeeps: a reload changes what the file changes. A dead server stays dead, and a
// file that is refused changes nothing and names file and line.
func TestReloadKeeps(t *testing.T) {
	w := newWorld(t)
	w.begin(service("inhibit_on_failure", w.misc(2, ""), w.misc(3, "")))
	w.become(vip, ".2=10 .3=10")
	w.dies(2)
	w.become(vip, ".2=0 .3=10")
	rewrite(t, w.path, service("inhibit_on_failure", w.misc(2, ""), w.misc(3, ""), w.misc(4, "")))
	w.reload()
	w.become(vip, ".2=0 .3=10 .4=10")
	before := w.b.Spec()
	for _, bad := range []struct{ text, says string }{
		{service("lb_algo lifo", w.misc(2, "")), ":5: lb_algo"},
		{service("syn_proxy", w.misc(2, "")), ":1: virtual_server: the SYN proxy"},
		{service("", w.misc(2, "user nobody-here"), " frobnicate {\n"), ""},
		{service("laddr_group_name nowhere", w.misc(2, "")), ":5: there is no local_address_group nowhere"},
		{"virtual_server fwmark 3 {\n protocol TCP\n lb_kind FNAT\n lb_algo rr\n}\n", ":1: virtual_server: fwmark 3"},
		{"tunnel_group t {\n tunnel_entry a {\n kind ipip\n local 192.0.2.1\n remote 192.0.2.1\n }\n}\n", ":2: tunnel_entry a: local and remote are both"},
		{service("", " real_server 192.168.9.2 80 {\n notify_up /bin/true no-such-user\n }\n"), ":6: script"},
	} {
		rewrite(t, w.path, bad.text)
		w.reload()
		if !strings.Contains(w.log.String(), w.path+bad.says) {
			t.Errorf("the log does not say %s", bad.says)
		}
		if w.b.Spec() != before {
			t.Fatalf("something has changed with\n%s", bad.text)
		}
	}
	w.lives(2, 0)
	w.become(vip, ".2=10 .3=10 .4=10")
}

// TestOthersServices: what others made is left alone, but with lvs_flush and lvs_flush_onstop.
func TestOthersServices(t *testing.T) {
	for _, row := range []struct {
		name, global, during, after string
	}{
		{"left alone", "", "", ""},
		{"flushed at start", "lvs_flush", "none", "none"},
		{"flushed at stop", "lvs_flush_onstop", "", "none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			const others = "10.0.0.9:80"
			err := w.b.Change(func(s *spec.Spec) error {
				return s.AddService(spec.Service{ServiceKey: spec.ServiceKey{Proto: spec.TCP, Virtual: netip.MustParseAddrPort(others)}, Scheduler: "rr"})
			})
			if err != nil {
				t.Fatal(err)
			}
			w.begin("global_defs {\n" + row.global + "\n}\n" + service("", w.misc(2, "")))
			w.become(vip, ".2=10")
			w.become(others, row.during)
			w.stop()
			w.become(vip, "none")
			w.become(others, row.after)
		})
	}
}

// TestMeddling: a change by hand of what is ours stands until ours changes, and does not keep
// that from being done.
func TestMeddling(t *testing.T) {
	w := newWorld(t)
	w.begin(service("", w.misc(2, ""), w.misc(3, "")))
	w.become(vip, ".2=10 .3=10")
	key := &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.1", Port: 80}
	c := client.New(w.b.path)
	if _, err := c.DeleteDest(t.Context(), connect.NewRequest(&weirv1.DeleteDestRequest{Key: key, Dest: &weirv1.Dest{Address: "192.168.9.2", Port: 80}})); err != nil {
		t.Fatal(err)
	}
	w.dies(2)
	w.says("192.168.9.2:80 is down")
	w.dies(3)
	w.become(vip, "")
	if _, err := c.DeleteService(t.Context(), connect.NewRequest(&weirv1.DeleteServiceRequest{Key: key})); err != nil {
		t.Fatal(err)
	}
	w.lives(2, 0)
	w.become(vip, ".2=10")
}

// TestDirectorComesBack: without a director keepalived waits and says so once; when it comes,
// and comes back, all is applied.
func TestDirectorComesBack(t *testing.T) {
	w := newWorld(t)
	path := w.b.path
	w.b.end()
	w.begin(service("inhibit_on_failure", w.misc(2, ""), w.misc(3, "")))
	w.says("the director is not there yet")
	w.b = newDirector(t, path)
	w.become(vip, ".2=10 .3=10")
	w.b.end()
	w.says("the director is gone")
	w.dies(2)
	w.says("192.168.9.2:80 is down")
	w.b = newDirector(t, path)
	w.become(vip, ".2=0 .3=10")
	if n := strings.Count(w.log.String(), "not there yet"); n != 1 {
		t.Errorf("it said %d times that the director is not there", n)
	}
}

// TestQuorumUpAgain: what quorum_up brought is gone with the director, so it runs again when there
// is a new one: for a quorum that holds, and that was gained.
func TestQuorumUpAgain(t *testing.T) {
	w := newWorld(t)
	path := w.b.path
	w.b.end()
	scripts := "quorum_up " + w.note("up") + "\n quorum_down " + w.note("down")
	w.begin(service("alpha\n "+scripts, w.misc(2, "")) +
		"virtual_server 10.0.0.2 80 {\n protocol TCP\n lb_algo rr\n lb_kind FNAT\n quorum_up " + w.note("never") + "\n" + w.misc(3, "") + "}\n")
	w.says("the director is not there yet")
	w.written("up")
	comes := func() {
		t.Helper()
		w.b = newDirector(t, path)
		w.become("10.0.0.2:80", ".3=10")
	}
	comes()
	w.written("up up")
	w.b.end()
	w.says("the director is gone")
	comes()
	w.become(vip, ".2=10")
	w.written("up up up")
	w.dies(2)
	w.become(vip, "")
	w.written("up up up down")
	w.b.end()
	comes()
	w.become(vip, "")
	w.lives(2, 0)
	w.become(vip, ".2=10")
	w.written("up up up down up")
}

// TestRefusedUntilScript: an address of SNAT that quorum_up brings: the refusal before that is
// nobody's business, and then all is there. Another that nobody brings is told of once, keeps
// nothing else from being done, and comes when its address does.
func TestRefusedUntilScript(t *testing.T) {
	w := newWorld(t)
	flag := filepath.Join(w.dir, "flag")
	w.begin("virtual_server match A {\n protocol UDP\n lb_algo rr\n lb_kind SNAT\n src-range 192.168.0.0-192.168.0.9\n alpha\n quorum_up \"touch " + flag + "\"\n" +
		" real_server 203.0.113.1 0 {\n MISC_CHECK {\n misc_path 'exit'\n delay_loop 0.05\n warmup 0\n misc_timeout 20\n }\n }\n}\n" +
		"virtual_server match B {\n protocol TCP\n lb_algo rr\n lb_kind SNAT\n src-range 192.168.0.0-192.168.0.9\n real_server 203.0.113.2 0 {\n weight 1\n }\n}\n" +
		service("", w.misc(2, "")))
	w.become(vip, ".2=10")
	eventually(t, "quorum_up ran", func() bool { _, err := os.Stat(flag); return err == nil })
	w.says("203.0.113.2")
	if err := w.b.Change(spec4("203.0.113.1/24", "203.0.113.2/24")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both have their address", func() bool {
		return strings.Contains(shown(w.b), "-> 203.0.113.1:0 SNAT") && strings.Contains(shown(w.b), "-> 203.0.113.2:0 SNAT")
	})
	if n := strings.Count(w.log.String(), "203.0.113.2 is no address of this box"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

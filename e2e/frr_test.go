package e2e

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// frr is the distribution's FRR in a namespace: zebra and some routing daemons, with a
// directory of their own for files and sockets.
type frr struct {
	bed *bed
	in  *netns.Namespace
	dir string
}

// newFRR makes the directory. The daemons give up root for the user frr before they read
// their files, so that it can't lie below the test's own.
func (b *bed) newFRR(in *netns.Namespace) *frr {
	b.t.Helper()
	dir, err := os.MkdirTemp("/run", "weir-e2e-frr-")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { os.RemoveAll(dir) })
	f := &frr{bed: b, in: in, dir: dir}
	if err := f.give(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	return f
}

// give makes a file frr's.
func (f *frr) give(path string, mode os.FileMode) error {
	u, err := user.Lookup("frr")
	if err != nil {
		return err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		return os.ErrInvalid
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return os.Chown(path, uid, gid)
}

// write writes a file of /etc/frr.
func (f *frr) write(name, text string) string {
	f.bed.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		f.bed.t.Fatal(err)
	}
	if err := f.give(path, 0o640); err != nil {
		f.bed.t.Fatal(err)
	}
	return path
}

// daemon starts a daemon with a file of its own, as Debian's start-up script does but for
// the places: those of /run/frr are one machine's, and here are several. It runs with the
// priority that the pages give it.
func (f *frr) daemon(name, conf string) *netns.Process {
	f.bed.t.Helper()
	args := []string{"-A", "127.0.0.1", "-P", "0", "-f", f.write(name+".conf", conf), "-i", filepath.Join(f.dir, name+".pid"),
		"--vty_socket", f.dir, "-z", filepath.Join(f.dir, "zserv.api"), "--log", "stdout"}
	if name == "bfdd" {
		args = append(args, "--bfdctl", filepath.Join(f.dir, "bfdd.sock"))
	}
	p := f.bed.startCmd(f.in, urgent(exec.Command("/usr/lib/frr/"+name, args...)))
	eventually(f.bed.t, name+" answers in "+f.in.Name(), func() bool {
		_, err := os.Stat(filepath.Join(f.dir, name+".vty"))
		return err == nil
	})
	if name == "zebra" {
		eventually(f.bed.t, "zebra takes others", func() bool {
			_, err := os.Stat(filepath.Join(f.dir, "zserv.api"))
			return err == nil
		})
	}
	return p
}

// run starts daemons and gives them one frr.conf, as Debian does.
func (f *frr) run(conf string, daemons ...string) {
	f.bed.t.Helper()
	for _, name := range append([]string{"zebra"}, daemons...) {
		f.daemon(name, "")
	}
	f.write("vtysh.conf", "service integrated-vtysh-config\n")
	f.write("frr.conf", conf)
	f.vtysh("-b")
	f.bed.t.Cleanup(func() {
		for _, command := range []string{"show interface brief", "show bfd peers brief", "show ip route"} {
			f.lastWord(command)
		}
		for _, name := range daemons {
			for _, command := range lastWords[name] {
				f.lastWord(command)
			}
		}
	})
}

// lastWords are what a failed test wants to know of each daemon.
var lastWords = map[string][]string{
	"ospfd":  {"show ip ospf neighbor", "show ip ospf interface", "show ip ospf database external"},
	"ospf6d": {"show ipv6 ospf6 neighbor", "show ipv6 ospf6 interface", "show ipv6 ospf6 route"},
	"bgpd":   {"show bgp summary", "show bgp ipv4 unicast", "show bgp ipv6 unicast"},
}

// lastWord logs what a command of vtysh prints, if the test failed.
func (f *frr) lastWord(command string) {
	if f.bed.t.Failed() {
		out, err := f.in.Run(within(f.bed.t, patience), "vtysh", "--vty_socket", f.dir, "-c", command)
		f.bed.t.Logf("%s: %s (%v)\n%s", f.in.Name(), command, err, out)
	}
}

// vtysh runs vtysh with arguments, which must succeed and complain of nothing.
func (f *frr) vtysh(args ...string) string {
	f.bed.t.Helper()
	args = append([]string{"--vty_socket", f.dir, "--config_dir", f.dir}, args...)
	out, err := f.in.Run(within(f.bed.t, patience), "vtysh", args...)
	if err != nil || strings.Contains(out, "% ") {
		f.bed.t.Fatalf("vtysh %v: %v\n%s", args, err, out)
	}
	return out
}

// shows waits until a command of vtysh prints all of these.
func (f *frr) shows(command string, want ...string) {
	f.bed.t.Helper()
	var out string
	defer func() {
		if f.bed.t.Failed() {
			f.bed.t.Logf("%s: %s printed last\n%s", f.in.Name(), command, out)
		}
	}()
	eventually(f.bed.t, f.in.Name()+": "+command+" prints "+strings.Join(want, " and "), func() bool {
		out = f.vtysh("-c", command)
		for _, w := range want {
			if !strings.Contains(out, w) {
				return false
			}
		}
		return true
	})
}

// page runs the lines of a page that call vtysh, of which want names the commands that are
// to print something.
func (f *frr) page(text string, want map[string]string) {
	f.bed.t.Helper()
	ran := 0
	for line := range strings.Lines(text) {
		line, vtysh := strings.CutPrefix(line, "vtysh ")
		if !vtysh {
			continue
		}
		words := strings.Split(line, "'")
		var args []string
		for i := 1; i < len(words); i += 2 {
			args = append(args, "-c", words[i])
		}
		if ran++; len(args) == 2 && want[args[1]] != "" {
			f.shows(args[1], want[args[1]])
		} else {
			f.vtysh(args...)
		}
	}
	if ran == 0 {
		f.bed.t.Fatalf("nothing of vtysh in:\n%s", text)
	}
}

// withoutComments leaves out what the tutorial says behind a #: Quagga and FRR know
// comments on lines of their own alone.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " #")
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// blockOf returns the indented block behind the first line of a section of a page of
// docs/ in which intro stands, four blanks less on each line.
func blockOf(t *testing.T, page, section, intro string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+section+"\n")
	if !found {
		t.Fatalf("docs/%s has no section %q", page, section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	_, rest, found = strings.Cut(rest, intro)
	if !found {
		t.Fatalf("docs/%s, %q, does not say %q", page, section, intro)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	var block strings.Builder
	for line := range strings.Lines(rest) {
		line, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented:
			block.WriteString(line)
		case strings.TrimSpace(line) == "":
			block.WriteString("\n")
		default:
			return strings.Trim(block.String(), "\n") + "\n"
		}
	}
	return strings.Trim(block.String(), "\n") + "\n"
}

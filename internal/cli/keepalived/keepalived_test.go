package keepalived

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/api/client"
)

// run runs the command as far as it goes without working.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	socket := filepath.Join(t.TempDir(), "s")
	code = Run(context.Background(), args, Env{Stdout: &out, Stderr: &err, Client: client.New(socket), Socket: socket, Version: "1.2.3"})
	return code, out.String(), err.String()
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOptions: stock's options in every form that getopt takes.
func TestOptions(t *testing.T) {
	for _, row := range []struct {
		line string
		want func(s *settings) bool
	}{
		{"", func(s *settings) bool {
			return s.file == "/etc/keepalived/keepalived.conf" && s.pid == "/run/keepalived.pid" && !s.fore
		}},
		{"-f a", func(s *settings) bool { return s.file == "a" }},
		{"-fa", func(s *settings) bool { return s.file == "a" }},
		{"--use-file a", func(s *settings) bool { return s.file == "a" }},
		{"--use-file=a", func(s *settings) bool { return s.file == "a" }},
		{"-nlDf a", func(s *settings) bool { return s.fore && s.console && s.detail && s.file == "a" }},
		{"-nlDfa", func(s *settings) bool { return s.fore && s.console && s.detail && s.file == "a" }},
		{"-t", func(s *settings) bool { return s.test && s.testLog == "" }},
		{"-tlog", func(s *settings) bool { return s.test && s.testLog == "log" }},
		{"--config-test=log -n", func(s *settings) bool { return s.test && s.testLog == "log" && s.fore }},
		{"--config-test -n", func(s *settings) bool { return s.test && s.testLog == "" && s.fore }},
		{"-P -p a.pid -r b.pid", func(s *settings) bool { return s.vrrpOnly && s.pid == "a.pid" && s.vrrpPid == "b.pid" }},
		{"--check --checkers_pid c.pid", func(s *settings) bool { return s.checkOnly && s.checkPid == "c.pid" }},
		{"-i node1 -G -S 3 -g/tmp/log -I -V", func(s *settings) bool {
			return s.id == "node1" && s.quiet && s.facility == "3" && s.logFile == "/tmp/log" && s.keep && s.keepVRRP
		}},
		{"-d -x -u 022 --no-mem-check", func(s *settings) bool {
			return slices.Equal(s.empty, []string{"--dump-conf", "--snmp", "--umask", "--no-mem-check"})
		}},
		{"--vrrp-program=/opt/keepalived", func(s *settings) bool { return s.program == "/opt/keepalived" }},
	} {
		t.Run(row.line, func(t *testing.T) {
			s, err := parse(strings.Fields(row.line))
			if err != nil {
				t.Fatal(err)
			}
			if !row.want(s) {
				t.Errorf("%+v", *s)
			}
		})
	}
}

// TestOptionsRefused: a line that can't be is refused with a sentence, and exit code 1.
func TestOptionsRefused(t *testing.T) {
	for line, word := range map[string]string{
		"--frob":         "unknown option --frob",
		"-Z":             "unknown option -Z",
		"-f":             "-f needs a value",
		"--pid":          "--pid needs a value",
		"--dont-fork=no": "--dont-fork takes no value",
		"a.conf":         "unexpected argument",
		"-P -C":          "exclude each other",
		"-s blue":        "ip netns exec",
		"--namespace=b":  "ip netns exec",
		"--genhash":      "md5sum",
		"--signum=XX":    "none of STOP",
	} {
		t.Run(line, func(t *testing.T) {
			code, out, said := run(t, strings.Fields(line)...)
			if code != exitUsage || out != "" || !strings.Contains(said, word) || strings.Count(said, "\n") != 1 {
				t.Errorf("code %d, %q, %q", code, out, said)
			}
		})
	}
}

// TestPrinted: what is printed and ends.
func TestPrinted(t *testing.T) {
	for _, row := range []struct {
		line, want string
	}{
		{"-v", "keepalived of Weir 1.2.3\n"},
		{"--signum=RELOAD", "1\n"},
		{"--signum STOP", "15\n"},
		{"--signum=DATA", "10\n"},
		{"--signum=STATS", "12\n"},
	} {
		if code, out, said := run(t, strings.Fields(row.line)...); code != 0 || out != row.want || said != "" {
			t.Errorf("%s: code %d, %q, %q", row.line, code, out, said)
		}
	}
	code, out, _ := run(t, "-h")
	for _, o := range options {
		if !strings.Contains(out, "--"+o.long) {
			t.Errorf("help leaves out --%s", o.long)
		}
	}
	if code != 0 {
		t.Errorf("help ends with %d", code)
	}
}

// TestConfigTest: the exit code of -t, and what it prints with file and line.
func TestConfigTest(t *testing.T) {
	const good = "virtual_server 10.0.0.1 80 {\n protocol TCP\n lb_algo rr\n lb_kind FNAT\n real_server 10.0.0.2 80 {\n TCP_CHECK {\n }\n }\n}\n"
	for _, row := range []struct {
		name, text string
		code       int
		says       string // behind the file's name
	}{
		{"good", good, exitOK, ""},
		{"unknown keyword", strings.Replace(good, "TCP_CHECK {\n", "TCP_CHECK {\n nb_sock_retry 2\n", 1), exitUnknown, ":7: unknown keyword nb_sock_retry in TCP_CHECK is ignored"},
		{"a bad value", strings.Replace(good, "rr", "lifo", 1), exitRefused, ":3: lb_algo lifo is not one of"},
		{"what weir has not got", strings.Replace(good, "lb_algo rr", "lb_algo rr\n persistence_engine sip", 1), exitRefused, ":1: virtual_server: a persistence engine"},
		{"a server that is none", strings.Replace(good, "10.0.0.2", "127.0.0.1", 1), exitRefused, ":5: real_server: 127.0.0.1 can't be a real server"},
		{"VRRP", good + "vrrp_instance A {\n interface nowhere0\n virtual_router_id 9\n priority 9\n frob 1\n virtual_ipaddress {\n 10.0.0.9\n }\n}\n", exitUnknown, ":14: unknown keyword frob in vrrp_instance is given to stock keepalived"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := file(t, row.text)
			code, out, said := run(t, "-t", "-f", path)
			if code != row.code || out != "" {
				t.Errorf("code %d, printed %q, %q", code, out, said)
			}
			if row.says == "" && said != "" || row.says != "" && !strings.Contains(said, path+row.says) {
				t.Errorf("it says %q", said)
			}
			if row.name == "VRRP" && !strings.Contains(said, "vrrp: ") {
				t.Errorf("the stock keepalived says nothing: %q", said)
			}
			to := filepath.Join(t.TempDir(), "log")
			if code, _, elsewhere := run(t, "--config-test="+to, "-f", path); code != row.code || elsewhere != "" {
				t.Errorf("into a file: code %d, %q", code, elsewhere)
			}
			if written, err := os.ReadFile(to); err != nil || len(written) == 0 != (said == "") {
				t.Errorf("the file holds %q (%v)", written, err)
			}
		})
	}
	path := file(t, strings.Replace(good, "TCP_CHECK {\n", "TCP_CHECK {\n nb_sock_retry 2\n", 1))
	for _, to := range []string{"/dev/full", "/nowhere/log"} { // what was found is lost, which has to be told
		if code, _, said := run(t, "--config-test="+to, "-f", path); code != exitFailed || !strings.Contains(said, to) {
			t.Errorf("into %s: code %d, %q", to, code, said)
		}
	}
	if code, _, said := run(t, "-t", "-f", "/nowhere/keepalived.conf"); code != exitRefused || !strings.Contains(said, "/nowhere/keepalived.conf") {
		t.Errorf("without a file: code %d, %q", code, said)
	}
}

// TestVRRPNeedsStock: without the stock program a file with VRRP is refused, with the command
// that installs it, and one without needs none.
func TestVRRPNeedsStock(t *testing.T) {
	path := file(t, "vrrp_instance A {\n interface lo\n virtual_router_id 9\n priority 9\n virtual_ipaddress {\n 10.0.0.9\n }\n}\n")
	for _, program := range []string{"/nowhere/keepalived", "/proc/self/exe", "/bin/true"} {
		if code, _, said := run(t, "-t", "-f", path, "--vrrp-program", program); code != exitRefused || !strings.Contains(said, "--vrrp-program "+program) {
			t.Errorf("with %s: code %d, %q", program, code, said)
		}
	}
	if code, _, said := run(t, "-t", "-C", "-f", path, "--vrrp-program", "/nowhere/keepalived"); code != exitOK {
		t.Errorf("with checks only: code %d, %q", code, said)
	}
}

// TestSamples: every file of the distribution's documentation is taken, or refused with file and
// line.
func TestSamples(t *testing.T) {
	samples, err := filepath.Glob("/usr/share/doc/keepalived/samples/keepalived.conf*")
	if err != nil || len(samples) < 20 {
		t.Fatalf("%d samples (%v): apt install keepalived", len(samples), err)
	}
	taken := 0
	for _, path := range samples {
		t.Run(filepath.Base(path), func(t *testing.T) {
			code, _, said := run(t, "-t", "-C", "-f", path)
			switch code {
			case exitOK, exitUnknown:
				taken++
			case exitRefused:
				for line := range strings.Lines(said) {
					if !strings.HasPrefix(line, path+":") {
						t.Errorf("a line without its place: %s", line)
					}
				}
			default:
				t.Errorf("code %d", code)
			}
			t.Logf("code %d\n%s", code, said)
		})
	}
	t.Logf("%d of %d are taken", taken, len(samples))
	if taken < len(samples)/2 {
		t.Errorf("only %d of %d are taken", taken, len(samples))
	}
}

// TestPidFile: a second one is refused as long as the first runs, and a file that is left
// behind is taken over.
func TestPidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.pid")
	first, err := takePid(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takePid(path); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("a second one: %v", err)
	}
	first.remove()
	if err := os.WriteFile(path, []byte("4194303\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	second, err := takePid(path)
	if err != nil {
		t.Fatal(err)
	}
	second.remove()
}

// FuzzOptions: no line panics, and what is taken says the same in long words.
func FuzzOptions(f *testing.F) {
	for _, line := range []string{"-nlDf a", "--use-file=a -t", "-d -x", "-tlog", "--", "-", "-f", "-S3 -g"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := parse(strings.Fields(line))
		if (s == nil) != (err != nil) {
			t.Fatalf("%q: %v, %v", line, s, err)
		}
		if err != nil && err.Error() == "" {
			t.Fatalf("%q is refused without a word", line)
		}
	})
}

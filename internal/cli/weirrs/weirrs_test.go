package weirrs

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/rsagent"
)

// execute runs a command line and returns what it wrote and what it failed with.
func execute(args ...string) (stdout, stderr string, err error) {
	root := &cobra.Command{Use: "weir-rs", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands("1.2.3")...)
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err = root.Execute()
	return out.String(), errs.String(), err
}

func TestCommandLinesThatAreRefused(t *testing.T) {
	tests := []struct {
		name string
		args string
		want string
	}{
		{"no trust", "run", "say whose options are believed: --trust CIDR[,CIDR...], the directors' local addresses (`ipvsadm -G' lists them)"},
		{"any", "run --trust any", `--trust: "any" would believe everybody; whoever means that writes 0.0.0.0/0 and ::/0`},
		{"host bits", "run --trust 10.0.0.1/8", "--trust: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8, or 10.0.0.1 for the one address"},
		{"mode", "run --trust 10.0.0.1 --uoa yes", "--uoa yes is no mode: write off, getsockopt or transparent"},
		{"devices", "run --trust 10.0.0.1 --opp-dev eth0,,eth1", `--opp-dev eth0,,eth1: "" is no name of a device: write all, none, or names with commas between`},
		{"entries", "run --trust 10.0.0.1 --uoa-entries 0", "--uoa-entries 0 is not within 1-16777216"},
		{"timeout", "run --trust 10.0.0.1 --uoa-timeout 0s", "--uoa-timeout 0s is less than a second, or more than 68 years"},
		{"empty datagrams", "run --trust 10.0.0.1 --uoa-drop-empty", "--uoa-drop-empty needs --uoa getsockopt or transparent: without UOA nothing is known of datagrams"},
		{"an argument", "run 10.0.0.1", `weir-rs run takes no arguments, but got "10.0.0.1": see weir-rs run --help`},
		{"which statistics", "stats tcp", "write weir-rs stats, weir-rs stats toa or weir-rs stats uoa"},
		{"status of nothing", "status --pin /weir-rs/is/not/here", "nothing is attached: there is no /weir-rs/is/not/here"},
		{"statistics of nothing", "stats --pin /weir-rs/is/not/here", "nothing is attached: there is no /weir-rs/is/not/here"},
		{"no bpffs", "status --pin /tmp", "/tmp is no bpffs, which is where programs are pinned: `mount -t bpf bpffs /sys/fs/bpf' as root, or name a folder of a bpffs with --pin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, err := execute(strings.Fields(tt.args)...)
			if err == nil || err.Error() != tt.want {
				t.Errorf("the error is %v, want %s", err, tt.want)
			}
			if stdout != "" || stderr != "" {
				t.Errorf("it also wrote %q and %q", stdout, stderr)
			}
		})
	}
}

// TestEverybodyIsWarnedOf before anything else may fail.
func TestEverybodyIsWarnedOf(t *testing.T) {
	_, stderr, err := execute("run", "--trust", "0.0.0.0/0", "--pin", "/tmp/weir-rs")
	want := "level=WARN msg=\"is this meant?\" warning=\"--trust 0.0.0.0/0 believes everybody: any host that reaches this server can say that it is any client\"\n"
	if stderr != want || err == nil {
		t.Errorf("the log is %q (%v), want %q", stderr, err, want)
	}
}

func TestStopOfNothingIsFine(t *testing.T) {
	stdout, _, err := execute("stop", "--pin", "/weir-rs/is/not/here")
	if err != nil || stdout != "nothing is attached: there is no /weir-rs/is/not/here\n" {
		t.Errorf("stop says %q (%v)", stdout, err)
	}
}

func TestVersion(t *testing.T) {
	stdout, _, err := execute("version")
	if err != nil || stdout != "weir-rs   1.2.3\n" {
		t.Errorf("version says %q (%v)", stdout, err)
	}
}

// example is a status with something in each place.
func example() *rsagent.Status {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.Local)
	return &rsagent.Status{
		Running: true, PID: 4711, Version: "1.2.3", Since: at, Started: at.Add(time.Hour), Pin: "/sys/fs/bpf/weir-rs", Cgroup: "/sys/fs/cgroup",
		UOA: rsagent.Transparent, NAT64: true, DropEmpty: true, Entries: 65536, Timeout: 360, Flows: 12,
		Trust:   []string{"192.168.100.200/32", "fd00:100::/64"},
		Hooks:   []rsagent.Hook{{Name: "getpeername4", Program: 31}, {Name: "sockops", Program: 29}},
		Devices: []rsagent.Device{{Index: 2, Name: "eth0", By: "tcx"}, {Index: 7, By: "tcx"}},
		Features: []rsagent.Feature{
			{Name: "toa", Have: true, Text: "accept and getpeername show the client of TCP connections"},
			{Name: "mptcp", Text: "this kernel (5.10.0) can't"},
		},
		Counters: []rsagent.Counter{{Name: "toa_ack", Text: "connections", Total: 3, PerCPU: []uint64{1, 2}}, {Name: "toa_syn", Text: "none", PerCPU: []uint64{0, 0}}},
	}
}

func TestStatusForPeople(t *testing.T) {
	const running = `agent             running, pid 4711, version 1.2.3, since 2026-11-27 13:00:00
attached          since 2026-11-27 12:00:00, pinned in /sys/fs/bpf/weir-rs
cgroup            /sys/fs/cgroup
hooks             getpeername4(31) sockops(29)
trust             192.168.100.200/32 fd00:100::/64
uoa               transparent, 12 of 65536 flows known, forgotten after 360s, empty datagrams dropped
opp devices       eth0(tcx) #7(tcx)
nat64 getsockopt  on
save syn          off

FEATURE  HERE  MEANING
toa      yes   accept and getpeername show the client of TCP connections
mptcp    no    this kernel (5.10.0) can't

COUNTER  VALUE  MEANING
toa_ack  3      connections
`
	var b strings.Builder
	if err := writeStatus(&b, example()); err != nil || b.String() != running {
		t.Errorf("printed (%v)\n%s\nwant\n%s", err, b.String(), running)
	}

	s := example()
	s.Running, s.UOA, s.Devices, s.Hooks, s.Counters = false, rsagent.Off, nil, nil, nil
	s.Complaints = []string{"no program is attached"}
	const idle = `agent             not running; what it attached works on without it (version 1.2.3)
attached          since 2026-11-27 12:00:00, pinned in /sys/fs/bpf/weir-rs
cgroup            /sys/fs/cgroup
hooks             none
trust             192.168.100.200/32 fd00:100::/64
uoa               off
opp devices       none
nat64 getsockopt  on
save syn          off
WRONG             no program is attached

FEATURE  HERE  MEANING
toa      yes   accept and getpeername show the client of TCP connections
mptcp    no    this kernel (5.10.0) can't

COUNTER  VALUE  MEANING
(all)    0      nothing was seen yet
`
	b.Reset()
	if err := writeStatus(&b, s); err != nil || b.String() != idle {
		t.Errorf("printed (%v)\n%s\nwant\n%s", err, b.String(), idle)
	}
}

// TestStatusAsJSON holds the names that scripts read.
func TestStatusAsJSON(t *testing.T) {
	text, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"running":true`, `"pid":4711`, `"uoa":"transparent"`, `"trust":["192.168.100.200/32","fd00:100::/64"]`, `"uoa_flows":12`,
		`{"name":"toa_ack","text":"connections","total":3,"per_cpu":[1,2]}`, `{"index":2,"name":"eth0","by":"tcx"}`, `{"name":"sockops","program":29}`,
		`{"name":"mptcp","have":false,"text":"this kernel (5.10.0) can't"}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the JSON has no %s:\n%s", want, text)
		}
	}
}

var (
	// pageRow is a row of a table that begins with one or more names in back quotes.
	pageRow  = regexp.MustCompile("(?m)^\\| ((?:`[^`]+`(?:, )?)+) \\|")
	rowName  = regexp.MustCompile("`([^` ]+)[^`]*`")
	flagName = regexp.MustCompile(`--[a-z0-9-]+`)
	aCounter = regexp.MustCompile(`^(toa|uoa|opp|peer|nat64|udp)_[a-z0-9_]+$`)
)

// badRows compares the tables of a page with the options and counters there are.
func badRows(page string, wanted []string) (bad []string) {
	named := map[string]bool{}
	for _, row := range pageRow.FindAllStringSubmatch(page, -1) {
		for _, n := range rowName.FindAllStringSubmatch(row[1], -1) {
			named[n[1]] = true
		}
	}
	for _, w := range wanted {
		if !named[w] {
			bad = append(bad, "no row for "+w)
		}
		delete(named, w)
	}
	for n := range named {
		if strings.HasPrefix(n, "--") || aCounter.MatchString(n) {
			bad = append(bad, "a row for "+n+", which is neither option nor counter")
		}
	}
	return bad
}

// TestThePageNamesEverything: docs/real-servers.md has a row for each option of run
// and each counter, and for no others.
func TestThePageNamesEverything(t *testing.T) {
	page, err := os.ReadFile("../../../docs/real-servers.md")
	if err != nil {
		t.Fatal(err)
	}
	wanted := rsagent.Counters()
	for line := range strings.Lines(runCommand("").Flags().FlagUsages()) {
		wanted = append(wanted, flagName.FindString(line))
	}
	if len(wanted) < 40 {
		t.Errorf("only %d options and counters were found", len(wanted))
	}
	for _, b := range badRows(string(page), wanted) {
		t.Error("docs/real-servers.md has " + b)
	}
}

func TestThePageLawCanFail(t *testing.T) {
	wanted := []string{"--a", "toa_x"}
	tests := []struct{ name, page, want string }{
		{"fine", "| `--a D` | x |\n| `toa_x`, `Success` | y |\n", ""},
		{"no option", "| `toa_x` | y |\n", "no row for --a"},
		{"no counter", "| `--a` | y |\n", "no row for toa_x"},
		{"one too many", "| `--a` | x |\n| `toa_x` | y |\n| `toa_y` | z |\n", "a row for toa_y, which is neither option nor counter"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(badRows(tt.page, wanted), "; "); got != tt.want {
				t.Errorf("the law says %q, want %q", got, tt.want)
			}
		})
	}
}

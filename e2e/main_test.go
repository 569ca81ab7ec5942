package e2e

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bin is where the real binaries are, built once for all tests.
var bin string

// tools are the programs of others that the tests use, and their Debian packages.
var tools = map[string]string{
	"curl": "curl", "nginx": "nginx-light", "dnsmasq": "dnsmasq-base", "dig": "bind9-dnsutils", "iperf3": "iperf3",
	"ping": "iputils-ping", "arping": "iputils-arping",
	"haproxy": "haproxy", "gcc": "gcc libc6-dev", "python3": "python3",
	"tcpdump": "tcpdump", "tshark": "tshark", "ethtool": "ethtool", "nft": "nftables", "ip": "iproute2",
	"linux.uml": "user-mode-linux", "modprobe": "kmod", "ifconfig": "net-tools", "keepalived": "keepalived",
	"vtysh": "frr", "sshd": "openssh-server", "scp": "openssh-client",
	"chrt": "util-linux",
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := ready(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	dir, err := os.MkdirTemp("", "weir-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", bin+"/", "weir/cmd/weir", "weir/cmd/dpip", "weir/cmd/ipvsadm", "weir/cmd/keepalived", "weir/cmd/weir-rs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: build the binaries: %v\n%s", err, out)
		return 1
	}
	// Tests that run side by side wait for other programs' timers most of the time. What
	// the command line says stands.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	code := m.Run()
	if booted != nil {
		if err := booted.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
	}
	return code
}

// ready says what is missing.
func ready() error {
	if os.Geteuid() != 0 {
		return errors.New("these tests make network namespaces and need root: run them with sudo")
	}
	var missing []string
	for tool, pkg := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing tools: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// program returns the path of one of our programs.
func program(name string) string { return filepath.Join(bin, name) }

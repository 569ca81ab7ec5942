package rsagent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The test binary plays other parts too: an agent in a process of its own, so that
// it can be killed, and servers in Go. The part is in the environment.
const (
	roleVariable = "WEIR_RS_TEST_ROLE"
	roleAgent    = "agent"
	roleTCP      = "tcp"
	roleUDP      = "udp"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	for _, dir := range removals {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// removals are folders that go when all tests have run.
var removals []string

// compile makes a program of testdata, once for all tests.
func compile(t *testing.T, name string) string {
	t.Helper()
	if path, done := compiled[name]; done {
		return path
	}
	dir, err := os.MkdirTemp("", "weir-rs-test-")
	if err != nil {
		t.Fatal(err)
	}
	removals = append(removals, dir)
	path := filepath.Join(dir, name)
	source := filepath.Join("testdata", name+".c")
	if said, err := exec.Command("gcc", "-O2", "-Wall", "-Werror", "-o", path, source).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", source, err, said)
	}
	compiled[name] = path
	return path
}

var compiled = map[string]string{}

func play(role string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch role {
	case roleAgent:
		return playAgent(ctx)
	case roleTCP:
		return playTCP(ctx, os.Args[1:])
	case roleUDP:
		return playUDP(os.Args[1:])
	}
	return fmt.Errorf("no part is called %s", role)
}

// order is what the agent's process gets on its standard input.
type order struct {
	Options Options
	Lacks   lacks
}

func playAgent(ctx context.Context) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return err
	}
	a, err := Start(o.Options, older{o.Lacks}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Serve(ctx)
}

// lacks names what a kernel does not have.
type lacks struct {
	Helpers []asm.BuiltinFunc
	TCX     bool
	BTF     bool
}

// older is the kernel that runs, less a few things.
type older struct{ lacks }

func (k older) Release() string { return Running{}.Release() }
func (k older) Capable() error  { return Running{}.Capable() }
func (k older) Helper(of ebpf.ProgramType, name asm.BuiltinFunc) error {
	if slices.Contains(k.Helpers, name) {
		return ebpf.ErrNotSupported
	}
	return Running{}.Helper(of, name)
}

func (k older) TCX() error {
	if k.lacks.TCX {
		return ebpf.ErrNotSupported
	}
	return Running{}.TCX()
}

func (k older) BTF() error {
	if k.lacks.BTF {
		return ebpf.ErrNotSupported
	}
	return Running{}.BTF()
}

func (k older) Mounts() ([]byte, error) { return Running{}.Mounts() }

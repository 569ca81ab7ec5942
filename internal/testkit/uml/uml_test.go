package uml

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// TestGuest boots a guest, drives it, and moves its card from one namespace to
// another.
func TestGuest(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	g, err := Boot(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := g.dir
	defer g.Close()
	if out, err := g.Run(ctx, "echo hello; echo there >&2"); err != nil || out != "hello\nthere\n" {
		t.Errorf("a script printed %q, %v", out, err)
	}
	if out, err := g.Run(ctx, "echo why; exit 3"); err == nil || out != "why\n" || !strings.Contains(err.Error(), "exit code 3") {
		t.Errorf("a script that fails printed %q, %v", out, err)
	}
	if _, err := g.Run(ctx, "modprobe ipip && ip link show tunl0 && ip addr add 10.9.0.2/24 dev vec0 && ip link set vec0 up"); err != nil {
		t.Error(err)
	}
	world, err := netns.New("uml-test")
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	for _, name := range []string{"one", "two"} {
		in, err := world.Namespace(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Plug(0, in, "card"); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Run(ctx, "ip", "addr", "add", "10.9.0.1/24", "dev", "card"); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Run(ctx, "ping", "-c", "3", "-i", "0.2", "-W", "10", "10.9.0.2"); err != nil {
			t.Error(err)
		}
		if _, err := g.Run(ctx, "ping -c 1 -W 10 -s 1472 -M do 10.9.0.1"); err != nil {
			t.Error(err)
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", dir, err)
	}
	if _, err := g.Run(ctx, "true"); err == nil {
		t.Error("a guest that is closed runs scripts")
	}
}

// TestGuard lets the guard see the end of us: it ends the guest and its helpers, all
// of which hold the console.
func TestGuard(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	g, err := Boot(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := g.guardLife.Close(); err != nil {
		t.Fatal(err)
	}
	if line, err := g.await(ctx, "weir-"); err == nil || ctx.Err() != nil {
		t.Errorf("after our end the guest says %q, %v", line, err)
	}
}

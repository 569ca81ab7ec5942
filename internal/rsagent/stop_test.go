package rsagent

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestStopLeavesNothing: neither pins nor programs nor filters.
func TestStopLeavesNothing(t *testing.T) {
	for name, l := range translators(t) {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			agent := b.agent(t, b.options(withUOA(Transparent)), l)
			if err := Stop(b.pin); err == nil || !strings.Contains(err.Error(), "an agent runs with the pins") {
				t.Errorf("stop while the agent runs says %v", err)
			}
			server := b.peerServer(t, 8001, "accept")
			to := netip.AddrPortFrom(rs4.Addr(), 8001)
			c := connect(t, b.wire, b.director(lip4), to, handshake{third: toaOf(client4)})
			if got := fields(server.line(t, "peer"))["accept"]; got != client4.String() {
				t.Fatalf("shown %s, want %s", got, client4)
			}
			c.reset(t)
			if s := b.status(t); len(s.Devices) != 1 || s.Devices[0].By != name {
				t.Errorf("devices %v, want one by %s", s.Devices, name)
			}
			agent.end(t, syscall.SIGTERM)
			if err := b.rs.Do(func() error { return Stop(b.pin) }); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(b.pin); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the pins are still there: %v", err)
			}
			if out := b.run(t, "tc", "qdisc", "show", "dev", "lan0"); strings.Contains(out, "clsact") {
				t.Errorf("a qdisc is left: %s", out)
			}
			from := b.director(lip4)
			connect(t, b.wire, from, to, handshake{third: toaOf(client4)})
			if got := fields(server.line(t, "peer"))["accept"]; got != from.String() {
				t.Errorf("after stop shown %s, want %s", got, from)
			}
			if err := Stop(b.pin); !errors.Is(err, ErrNothing) {
				t.Errorf("a second stop says %v, want that nothing is there", err)
			}
		})
	}
}

// TestStopIsForThisNamespaceOnly where filters are concerned.
func TestStopIsForThisNamespaceOnly(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt)), lacks{TCX: true}).end(t, syscall.SIGTERM)
	if err := Stop(b.pin); err == nil || !strings.Contains(err.Error(), "another network namespace") {
		t.Errorf("stop elsewhere says %v", err)
	}
	if s := b.status(t); len(s.Hooks) == 0 {
		t.Error("the stop that was refused detached something")
	}
	if err := b.rs.Do(func() error { return Stop(b.pin) }); err != nil {
		t.Error(err)
	}
}

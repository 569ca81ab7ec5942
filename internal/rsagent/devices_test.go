package rsagent

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"weir/internal/testkit/netns"
)

// deviceNames asks in the real server's namespace, where devices have names.
func (b *bed) deviceNames(t *testing.T) string {
	t.Helper()
	var names []string
	err := b.rs.Do(func() error {
		s, err := ReadStatus(b.pin)
		if err != nil {
			return err
		}
		for _, d := range s.Devices {
			names = append(names, d.Name+"/"+d.By)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// TestDevicesComeAndGo: those that are there, those that come, are renamed and go.
func TestDevicesComeAndGo(t *testing.T) {
	for by, l := range translators(t) {
		t.Run(by, func(t *testing.T) {
			b := newBed(t)
			agent := b.agent(t, b.options(withUOA(Getsockopt)), l)
			if got, want := b.deviceNames(t), "lan0/"+by; got != want {
				t.Errorf("devices are %q, want %q", got, want)
			}
			lan1 := newWire(t, b.rs, "lan1", true)
			want := fmt.Sprintf("lan0/%[1]s lan1/%[1]s", by)
			eventually(t, want, func() bool { return b.deviceNames(t) == want })

			// The new one works: an Ethernet device beside a TUN.
			second := netip.MustParsePrefix("192.168.101.2/24")
			if err := b.rs.Address("lan1", second); err != nil {
				t.Fatal(err)
			}
			server := b.datagramServer(t, 9000)
			from := b.director(lip4)
			lan1.send(t, opp(from, netip.AddrPortFrom(second.Addr(), 9000), client4, []byte("hello")))
			if got := fields(server.line(t, "from"))["client"]; got != client4.String() {
				t.Errorf("by lan1 getsockopt says %s, want %s", got, client4)
			}

			b.run(t, "ip", "link", "delete", "lan1")
			want = "lan0/" + by
			eventually(t, want, func() bool { return b.deviceNames(t) == want })

			// A device that goes while no agent looks.
			lan2 := newWire(t, b.rs, "lan2", true)
			want = fmt.Sprintf("lan0/%[1]s lan2/%[1]s", by)
			eventually(t, want, func() bool { return b.deviceNames(t) == want })
			agent.end(t, syscall.SIGKILL)
			lan2.file.Close()
			b.agent(t, b.options(withUOA(Getsockopt)), l)
			if got, want := b.deviceNames(t), "lan0/"+by; got != want {
				t.Errorf("after a restart devices are %q, want %q", got, want)
			}
		})
	}
}

// TestOnlyTheDevicesNamed get a program, also when they come late or get their name
// late.
func TestOnlyTheDevicesNamed(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt), func(o *Options) { o.OPPDevices = []string{"lan1"} }), lacks{})
	if got := b.deviceNames(t); got != "" {
		t.Errorf("devices are %q, want none yet", got)
	}
	newWire(t, b.rs, "other", true)
	b.run(t, "ip", "link", "set", "other", "down")
	b.run(t, "ip", "link", "set", "other", "name", "lan1")
	eventually(t, "lan1 has a program", func() bool { return b.deviceNames(t) == "lan1/"+translatedBy(t) })
	b.run(t, "ip", "link", "set", "lan1", "name", "lan9")
	eventually(t, "lan9 has none", func() bool { return b.deviceNames(t) == "" })
}

// TestNoDevices: the option protocol is left to others.
func TestNoDevices(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt), func(o *Options) { o.OPPDevices = []string{} }), lacks{})
	if got := b.deviceNames(t); got != "" {
		t.Errorf("devices are %q, want none", got)
	}
}

// TestFiltersOfOthersStay: a filter and a qdisc that were there before us are there
// after us.
func TestFiltersOfOthersStay(t *testing.T) {
	b := newBed(t)
	b.run(t, "tc", "qdisc", "add", "dev", "lan0", "clsact")
	b.run(t, "tc", "filter", "add", "dev", "lan0", "ingress", "prio", "7", "protocol", "ip", "u32", "match", "u32", "0", "0", "classid", "1:1")
	before := b.run(t, "tc", "filter", "show", "dev", "lan0", "ingress")
	agent := b.agent(t, b.options(withUOA(Getsockopt)), lacks{TCX: true})
	if out := b.run(t, "tc", "filter", "show", "dev", "lan0", "ingress"); !strings.Contains(out, filterName) {
		t.Errorf("our filter is not there: %s", out)
	}
	server := b.datagramServer(t, 9000)
	b.wire.send(t, opp(b.director(lip4), netip.AddrPortFrom(rs4.Addr(), 9000), client4, []byte("hello")))
	if got := fields(server.line(t, "from"))["client"]; got != client4.String() {
		t.Errorf("beside another filter getsockopt says %s, want %s", got, client4)
	}
	agent.end(t, syscall.SIGTERM)
	if err := b.rs.Do(func() error { return Stop(b.pin) }); err != nil {
		t.Fatal(err)
	}
	if after := b.run(t, "tc", "filter", "show", "dev", "lan0", "ingress"); after != before {
		t.Errorf("filters of others were %q, and are %q", before, after)
	}
	if out := b.run(t, "tc", "qdisc", "show", "dev", "lan0"); !strings.Contains(out, "clsact") {
		t.Errorf("the qdisc of others is gone: %s", out)
	}
}

// TestAnotherNamespace: the next agent runs elsewhere, and the devices of the former
// are let go, as far as that can be done from there.
func TestAnotherNamespace(t *testing.T) {
	for by, l := range translators(t) {
		t.Run(by, func(t *testing.T) { anotherNamespace(t, by, l) })
	}
}

func anotherNamespace(t *testing.T, by string, l lacks) {
	b := newBed(t)
	b.agent(t, b.options(withUOA(Getsockopt)), l).end(t, syscall.SIGTERM)
	first := b.rs
	var err error
	if b.rs, err = b.world.Namespace("elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := netns.Veth(netns.End{In: b.rs, Name: "v0"}, netns.End{In: b.rs, Name: "v1"}); err != nil {
		t.Fatal(err)
	}
	if by == "clsact" {
		got := b.refusal(t, b.options(withUOA(Getsockopt)))
		if want := "left filters at its devices: run `weir-rs stop --pin " + b.pin + "' there first"; !strings.HasSuffix(got, want) {
			t.Errorf("the agent says %q, want it to end in %q", got, want)
		}
		b.rs = first
		return
	}
	agent := b.agent(t, b.options(withUOA(Getsockopt)), l)
	if got := b.deviceNames(t); got != "v1/tcx v0/tcx" && got != "v0/tcx v1/tcx" {
		t.Errorf("devices are %q, want v0 and v1 of the new namespace", got)
	}
	if !strings.Contains(agent.text(), "its devices are let go") {
		t.Errorf("the agent does not say that it let devices go:\n%s", agent.text())
	}
}

package director

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
)

// TestBondFailsOver is a bond in mode 1 on a bed: the addresses of both families are
// announced by the member that takes over, members are no ports of the walk, and what is
// set at run time is what is shown as changed.
func TestBondFailsOver(t *testing.T) {
	var pipes []*pipe.Port
	up := []bool{true, true}
	nanos := uint64(1e9)
	bed := Bed{ByHand: true, Seed: 1, Clock: func() uint64 { return nanos }}
	for i := range 2 {
		p := pipe.New(uint16(i), fmt.Sprintf("dpdk%d", i), port.MAC{2, 0, 0, 0, 0, 7}, 1500)
		pipes = append(pipes, p)
		bed.Ports = append(bed.Ports, BedPort{
			Facts: p.Facts(), Owners: []int{0}, Carrier: func() bool { return up[i] },
			Open: func(q int, pool *packet.Pool) (port.Queue, error) { return p.Queue(q, pool) },
		})
	}
	b := boot(1)
	bond := spec.DefaultBond("bond0")
	bond.Members, bond.Mode = []string{"dpdk0", "dpdk1"}, 1
	b.Bonds = []spec.Bond{bond}
	tunables := spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60}
	d, err := NewOn(bed, b, tunables, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	// step lets 20 ms go by and returns how many frames each member sent.
	step := func() (sent [2]int) {
		nanos += 20e6
		d.KeepBonds(context.Background())
		for range 3 {
			d.Lanes()[0].Breathe()
		}
		for i, p := range pipes {
			for _, f := range p.Take() {
				if !bytes.Equal(f[6:12], []byte{2, 0, 0, 0, 0, 7}) {
					t.Errorf("a frame leaves from %x", f[6:12])
				}
				sent[i]++
			}
		}
		return sent
	}
	step()
	if err := d.Change(func(s *spec.Spec) error {
		for _, a := range []string{"10.0.0.1/24", "2001:db8::1/128"} {
			if err := s.AddAddress(spec.Address{Port: "bond0", Prefix: netip.MustParsePrefix(a)}, false); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if sent := step(); sent[0] != 2 || sent[1] != 0 {
		t.Errorf("new addresses: members sent %v, want both announcements by the first", sent)
	}
	up[0] = false
	if sent := step(); sent[0] != 0 || sent[1] != 2 {
		t.Errorf("after the loss of the first: members sent %v, want both announcements by the second", sent)
	}
	up[0] = true
	if sent := step(); sent != [2]int{} {
		t.Errorf("when it is back: members sent %v, want nothing: it waits", sent)
	}
	if err := d.Change(func(s *spec.Spec) error { return s.SetLink("bond0", "bond-primary", "dpdk0") }); err != nil {
		t.Fatal(err)
	}
	if sent := step(); sent[0] != 2 || sent[1] != 0 {
		t.Errorf("as the primary: members sent %v, want both announcements by the first", sent)
	}
	if err := d.Change(func(s *spec.Spec) error { return s.SetLink("bond0", "bond-slave-del", "dpdk0") }); err != nil {
		t.Fatal(err)
	}
	step()
	views, err := d.Ports()
	if err != nil {
		t.Fatal(err)
	}
	if len(views) != 3 || views[0].Master != "bond0" || views[2].Bond == nil {
		t.Fatalf("ports: %+v", views)
	}
	v := views[2].Bond
	if got := fmt.Sprint(v.Changed); got != "[[bond-primary dpdk0] [bond-slave-del dpdk0]]" || !v.Carries || v.Members[0].Active || !v.Members[1].Active || v.Members[0].Failures != 1 {
		t.Errorf("the bond is %+v, changed %s", v, got)
	}
	if err := d.Change(func(s *spec.Spec) error {
		return s.AddAddress(spec.Address{Port: "dpdk1", Prefix: netip.MustParsePrefix("10.0.1.1/24")}, false)
	}); err == nil {
		t.Error("a member has got an address of its own")
	}
}

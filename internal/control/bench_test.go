package control

import (
	"fmt"
	"net/netip"
	"testing"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/spec"
)

// BenchmarkThousandServices measures commands at a director with 1,000 services of
// ten real servers each, through the API's socket.
func BenchmarkThousandServices(b *testing.B) {
	d := newBed(b, false)
	c := client.New(serve(b, d))
	twoArm(b, c)
	ctx := b.Context()
	key := func(i int) *weirv1.ServiceKey {
		return &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: fmt.Sprintf("10.1.%d.%d", i>>8, i&255), Port: 80}
	}
	ok(b, d.Change(func(s *spec.Spec) error {
		for i := range 1000 {
			k := spec.ServiceKey{Proto: spec.TCP, Virtual: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80)}
			if err := s.AddService(spec.Service{ServiceKey: k, Scheduler: "wlc"}); err != nil {
				return err
			}
			for j := range 10 {
				a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 1, byte(100 + j)}), uint16(1000+i))
				if err := s.AddDest(k, spec.Dest{Addr: a, Forward: spec.FullNAT, Weight: 1}); err != nil {
					return err
				}
			}
			if _, err := s.AddLocal(k, spec.LocalAddress{Addr: netip.MustParseAddr("192.168.1.200"), Port: "lan"}); err != nil {
				return err
			}
		}
		return nil
	}))
	dest := func(i int, weight uint32) *weirv1.Dest {
		return fullNAT("192.168.1.100", uint32(1000+i), weight)
	}
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			_, err := c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{}))
			ok(b, err)
		}
	})
	b.Run("list one", func(b *testing.B) {
		for b.Loop() {
			_, err := c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{Key: key(999)}))
			ok(b, err)
		}
	})
	n := 0
	b.Run("edit server", func(b *testing.B) {
		for b.Loop() {
			n++
			_, err := c.EditDest(ctx, connect.NewRequest(&weirv1.EditDestRequest{Key: key(n % 1000), Dest: dest(n%1000, uint32(n%7))}))
			ok(b, err)
		}
	})
	b.Run("edit service", func(b *testing.B) {
		for b.Loop() {
			n++
			_, err := c.EditService(ctx, connect.NewRequest(&weirv1.EditServiceRequest{Service: &weirv1.Service{Key: key(n % 1000), Scheduler: "wlc", ConnTimeout: uint32(n%7) + 1}}))
			ok(b, err)
		}
	})
	b.Run("delete and add server", func(b *testing.B) {
		for b.Loop() {
			n++
			_, err := c.DeleteDest(ctx, connect.NewRequest(&weirv1.DeleteDestRequest{Key: key(n % 1000), Dest: dest(n%1000, 1)}))
			ok(b, err)
			_, err = c.AddDest(ctx, connect.NewRequest(&weirv1.AddDestRequest{Key: key(n % 1000), Dest: dest(n%1000, 1)}))
			ok(b, err)
		}
	})
	b.Run("delete and add service", func(b *testing.B) {
		for b.Loop() {
			_, err := c.DeleteService(ctx, connect.NewRequest(&weirv1.DeleteServiceRequest{Key: key(999)}))
			ok(b, err)
			_, err = c.AddService(ctx, connect.NewRequest(&weirv1.AddServiceRequest{Service: &weirv1.Service{Key: key(999), Scheduler: "wlc"}}))
			ok(b, err)
		}
	})
}

package tap_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/testkit/netns"
)

// What can't be sent is counted under its reason, freed, and does not stop the
// packets behind it.
func TestUnsendable(t *testing.T) {
	ns := namespace(t)
	pool, foreign := newPool(t, 64, 2), newPool(t, 8, 0)
	d := create(t, ns, options("dpdk0.kni"))
	q := open(t, ns, d, pool)
	check(t, ns.Do(d.Link.SetUp))
	partial := frame(t, pool.Get(), 100) // without saying of what
	partial.Flags = packet.CsumPartial
	odd := frame(t, pool.GetBig(), 3000) // of a type that Linux does not know
	odd.Flags, odd.Proto, odd.L4, odd.GSOType, odd.GSOSize = packet.GSO, 17, 34, 0x42, 1400
	q.Tx([]*packet.Packet{
		frame(t, pool.Get(), 60),
		frame(t, pool.Get(), 0),
		partial,
		frame(t, pool.Get(), 5), // a runt
		odd,
		frame(t, foreign.Get(), 700),
		frame(t, pool.GetBig(), 9000), // Linux takes it, whatever the MTU
	})
	c := counters(q)
	expectDrops(t, c, map[packet.Reason]uint64{packet.WalkFault: 1, packet.PortTxError: 3})
	if c.TxPackets != 3 || c.TxBytes != 60+700+9000 {
		t.Errorf("counted %d packets, %d bytes sent", c.TxPackets, c.TxBytes)
	}
}

// Linux sends on to a link that is too slow: what it holds is bounded, the rest is
// dropped and counted, and the call comes back.
func TestSlowLinux(t *testing.T) {
	ns := namespace(t)
	pool := newPool(t, 64, 0)
	d := create(t, ns, options("dpdk0.kni"))
	q := open(t, ns, d, pool)
	check(t, ns.Do(d.Link.SetUp))
	check(t, netns.Veth(netns.End{In: ns, Name: "slow"}, netns.End{In: ns, Name: "far"}))
	_, err := ns.Run(t.Context(), "tc", "qdisc", "add", "dev", "slow", "root", "tbf", "rate", "8kbit", "burst", "2000", "limit", "1000000000")
	check(t, err)
	check(t, ns.Bridge("br0"))
	check(t, ns.Attach("slow", "br0"))
	check(t, ns.Attach("dpdk0.kni", "br0"))
	const bursts, each = 300, 64
	for range bursts {
		var burst []*packet.Packet
		for range each {
			p := frame(t, pool.Get(), 60)
			p.Data[0] = 2 // for one machine: of a broadcast the bridge passes on copies
			burst = append(burst, p)
		}
		q.Tx(burst)
	}
	c := counters(q)
	full := c.Drops[packet.PortTxFull]
	if full == 0 || c.TxPackets == 0 || c.TxPackets+full != bursts*each {
		t.Errorf("%d sent and %d dropped of %d", c.TxPackets, full, bursts*each)
	}
	expectDrops(t, c, map[packet.Reason]uint64{packet.PortTxFull: full})
}

// Without memory nothing is lost but what finds no room in Linux's queue.
func TestNoMemory(t *testing.T) {
	ns := namespace(t)
	pool := newPool(t, 2, 0)
	d := create(t, ns, options("dpdk0.kni"))
	q := open(t, ns, d, pool)
	check(t, ns.Do(d.Link.SetUp))
	check(t, ns.Address("dpdk0.kni", netip.MustParsePrefix("10.9.0.1/24")))
	neighbour(t, ns, "10.9.0.2")
	c := udp(t, ns, "10.9.0.1:0")
	for range 5 {
		_, err := c.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort("10.9.0.2:9"))
		check(t, err)
	}
	var burst [port.Burst]*packet.Packet
	for _, want := range []int{2, 2, 1} {
		n := q.Rx(burst[:])
		if n != want {
			t.Errorf("received %d packets, want %d", n, want)
		}
		for _, p := range burst[:n] {
			pool.Put(p)
		}
	}
	expectDrops(t, counters(q), nil)
}

// Linux hands a UDP super-frame over whole, and what it takes for one checksum is
// one in the packet's flags; a port that can't segment gets segments.
func TestSuperFrame(t *testing.T) {
	for _, row := range []struct {
		name   string
		whole  bool
		frames int
	}{{"whole", true, 1}, {"segments", false, 4}} {
		t.Run(row.name, func(t *testing.T) {
			ns := namespace(t)
			pool := newPool(t, 64, 2)
			o := options("dpdk0.kni")
			o.Whole = row.whole
			d := create(t, ns, o)
			q := open(t, ns, d, pool)
			check(t, ns.Do(d.Link.SetUp))
			check(t, ns.Address("dpdk0.kni", netip.MustParsePrefix("10.9.0.1/24")))
			neighbour(t, ns, "10.9.0.2")
			c := udp(t, ns, "10.9.0.1:0")
			size := make([]byte, unix.CmsgSpace(2))
			binary.NativeEndian.PutUint64(size, uint64(unix.CmsgLen(2)))
			binary.NativeEndian.PutUint32(size[8:], unix.SOL_UDP)
			binary.NativeEndian.PutUint32(size[12:], unix.UDP_SEGMENT)
			binary.NativeEndian.PutUint16(size[16:], 1000)
			_, _, err := c.WriteMsgUDPAddrPort(make([]byte, 4000), size, netip.MustParseAddrPort("10.9.0.2:9"))
			check(t, err)
			var burst [port.Burst]*packet.Packet
			n := q.Rx(burst[:])
			if n != row.frames {
				t.Errorf("received %d frames, want %d", n, row.frames)
			}
			for _, p := range burst[:n] {
				want, kind, each := 42+1000, uint8(0), uint16(0)
				flags := packet.CsumPartial
				if row.whole {
					want, kind, each, flags = 42+4000, packet.GSOUDPL4, 1000, packet.CsumPartial|packet.GSO
				}
				if p.Flags&^packet.CsumPartial != flags&^packet.CsumPartial || row.whole && p.Flags != flags || len(p.Data) != want || p.GSOType != kind || p.GSOSize != each {
					t.Errorf("%d bytes, flags %x, gso type %d size %d", len(p.Data), p.Flags, p.GSOType, p.GSOSize)
				}
				pool.Put(p)
			}
			expectDrops(t, counters(q), nil)
		})
	}
}

// neighbour spares Linux the question.
func neighbour(t *testing.T, ns *netns.Namespace, address string) {
	t.Helper()
	_, err := ns.Run(t.Context(), "ip", "neigh", "replace", address, "lladdr", "02:00:00:00:00:09", "dev", "dpdk0.kni")
	check(t, err)
}

// The groups that a program joins on the twin are listed, and gone when it leaves,
// and can be had from the wire.
func TestGroups(t *testing.T) {
	ns := namespace(t)
	d := create(t, ns, options("dpdk0.kni"))
	check(t, ns.Do(d.Link.SetUp))
	check(t, netns.Veth(netns.End{In: ns, Name: "wire"}, netns.End{In: ns, Name: "far"}))
	groups := func() []port.MAC {
		g, err := d.Groups()
		check(t, err)
		return g
	}
	before := groups()
	ospf := port.MAC{0x01, 0x00, 0x5e, 0, 0, 5} // 224.0.0.5 (RFC 2328, A.1; RFC 1112, 6.4)
	if slices.Contains(before, ospf) {
		t.Fatal("joined already")
	}
	check(t, ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		m := &unix.IPMreqn{Multiaddr: [4]byte{224, 0, 0, 5}, Ifindex: int32(d.Link.Index)}
		if err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, m); err != nil {
			return err
		}
		if g := groups(); !slices.Contains(g, ospf) || len(g) != len(before)+1 {
			t.Errorf("joined: %x, before %x", g, before)
		}
		wire, err := port.FindLink("wire")
		if err != nil {
			return err
		}
		g, err := port.JoinGroups(wire)
		if err != nil {
			return err
		}
		if err := g.Set(groups()); err != nil {
			return err
		}
		out, err := ns.Run(t.Context(), "ip", "maddr", "show", "dev", "wire")
		if err != nil {
			return err
		}
		if want := "01:00:5e:00:00:05"; !strings.Contains(out, want) {
			t.Errorf("the wire's groups are %q, want %s among them", out, want)
		}
		if err := g.Close(); err != nil {
			return err
		}
		return unix.Close(fd)
	}))
	if g := groups(); !slices.Equal(g, before) {
		t.Errorf("left: %x, before %x", g, before)
	}
}

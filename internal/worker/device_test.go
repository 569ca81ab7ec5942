package worker_test

import (
	"fmt"
	"net/netip"
	"testing"

	"weir/internal/clock"
	"weir/internal/director"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
)

// newBondedWorld is newWorld of one worker whose wan is a bond of a mode. wan2 is the
// other member.
func newBondedWorld(t testing.TB, mode int, edit func(*spec.Spec)) (w *world, wan2 *pipe.Port) {
	t.Helper()
	w = &world{t: t, nanos: uint64(clock.Now()+1) << clock.Shift}
	w.lan = pipe.New(0, "lan", macLan, 1500)
	w.wan, wan2 = pipe.New(1, "wan1", macWan, 1500), pipe.New(2, "wan2", macWan, 1500)
	var ports []director.BedPort
	for _, p := range []*pipe.Port{w.lan, w.wan, wan2} {
		ports = append(ports, director.BedPort{Facts: p.Facts(), Owners: []int{0}, Open: opener(p)})
	}
	b := spec.DefaultBond("wan")
	b.Members, b.Mode = []string{"wan1", "wan2"}, uint8(mode)
	w.start(1, 1024, 100, edit, []spec.Bond{b}, ports...)
	wan2.Take()
	return w, wan2
}

// A device by which the clients of a network come.
type clientWay struct {
	name  string
	front string    // what is in front of their packets
	grows int       // how many bytes that is
	nets  [2]string // their networks
}

var clientWays = []clientWay{
	{"plain", "", 0, [2]string{"1.2.3.", "2001:db8:f::"}},
	{"VLAN", "vlan 7 / ", 4, [2]string{"7.2.3.", "2001:db8:70::"}},
	{"ipip over IPv4", "ip 10.2.0.2 > 10.0.0.1 / ", 20, [2]string{"8.2.3.", "2001:db8:80::"}},
	{"GRE over IPv4", "ip 10.2.0.2 > 10.0.0.1 / gre csum key=7 / ", 32, [2]string{"9.2.3.", "2001:db8:90::"}},
	{"ipip over IPv6", "ip6 2001:db8:f::2 > 2001:db8::1 / ", 40, [2]string{"11.2.3.", "2001:db8:a0::"}},
	{"GRE over IPv6", "ip6 2001:db8:f::2 > 2001:db8::1 / gre / ", 44, [2]string{"12.2.3.", "2001:db8:b0::"}},
}

// layClientWays makes the devices, and the routes that lead to their clients.
func layClientWays(t *testing.T) func(*spec.Spec) {
	return func(s *spec.Spec) {
		do := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		do(s.AddVLAN(spec.VLAN{Link: "wan", ID: 7}))
		ends := [2][2]netip.Addr{
			{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.2.0.2")}, {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:f::2")},
		}
		key := spec.TunnelFlags{Checksum: true, Keyed: true, Key: 7}
		for _, d := range []spec.TunnelDevice{
			{Name: "ipip4", Kind: spec.TunnelIPIP, Local: ends[0][0], Remote: ends[0][1]},
			{Name: "gre4", Kind: spec.TunnelGRE, Local: ends[0][0], Remote: ends[0][1], In: key, Out: key},
			{Name: "ipip6", Kind: spec.TunnelIPIP, Local: ends[1][0], Remote: ends[1][1]},
			{Name: "gre6", Kind: spec.TunnelGRE, Local: ends[1][0], Remote: ends[1][1]},
		} {
			do(s.AddTunnel(d))
		}
		for i, via := range []string{"10.7.0.254", "2001:db8:7::fe"} {
			gw := netip.MustParseAddr(via)
			own := []string{"10.7.0.1/24", "2001:db8:7::1/64"}[i]
			do(s.AddAddress(spec.Address{Port: "wan.7", Prefix: netip.MustParsePrefix(own)}, false))
			do(s.AddNeighbour(spec.Neighbour{Addr: gw, Port: "wan.7", MAC: macGW}))
		}
		for i, dev := range []string{"wan.7", "ipip4", "gre4", "ipip6", "gre6"} {
			nets := clientWays[i+1].nets
			for f, prefix := range []string{nets[0] + "0/24", nets[1] + "/48"} {
				r := spec.Route{Prefix: netip.MustParsePrefix(prefix), Port: dev}
				if dev == "wan.7" {
					r.Via = netip.MustParseAddr([]string{"10.7.0.254", "2001:db8:7::fe"}[f])
				}
				do(s.AddRoute(r))
			}
		}
	}
}

// Bonds, VLANs and tunnels, and each on the other, cost no allocation either way.
func TestDevicesAllocateNothing(t *testing.T) {
	for _, below := range []struct {
		name   string
		mode   int // of the bond; -1: none
		copies int // how often a packet leaves
	}{{"no bond", -1, 1}, {"balance-rr", 0, 1}, {"active-backup", 1, 1}, {"balance-xor", 2, 1}, {"broadcast", 3, 2}} {
		for _, way := range clientWays {
			for f, family := range []string{"IPv4", "IPv6"} {
				t.Run(fmt.Sprintf("%s, %s, %s", below.name, way.name, family), func(t *testing.T) {
					var w *world
					var wan2 *pipe.Port
					if below.mode < 0 {
						w = newWorld(t, 1, 1024, 100, layClientWays(t))
					} else {
						w, wan2 = newBondedWorld(t, below.mode, layClientWays(t))
					}
					query := way.front + "ip " + way.nets[f] + "4 > 10.0.0.100 / udp 5353 > 53 data=100"
					reply := "ip 192.168.1.2 > 192.168.1.200 / udp 53 > 1025 data=100"
					long := 14 + 20 + 8 + 100
					if f == 1 {
						query = way.front + "ip6 " + way.nets[f] + "4 > 2001:db8::100 / udp 5353 > 53 data=100"
						reply = "ip6 2001:db8:1::2 > 2001:db8:1::200 / udp 53 > 1025 data=100"
						long += 20
					}
					out, in := frame(t, reply, true), frame(t, query, false)
					left := func(data []byte) {
						if len(data) != long+way.grows {
							t.Errorf("a frame of %d bytes left, want %d", len(data), long+way.grows)
						}
					}
					noAllocs(t, func() {
						for range port.Burst {
							w.wan.Inject(in)
						}
						w.Lanes()[0].Breathe()
						if n := w.drain(w.lan, nil); n != port.Burst {
							t.Fatalf("%d of %d came through to the real server", n, port.Burst)
						}
						for range port.Burst {
							w.lan.Inject(out)
						}
						w.Lanes()[0].Breathe()
						n := w.drain(w.wan, left)
						if wan2 != nil {
							n += w.drain(wan2, left)
						}
						if n != below.copies*port.Burst {
							t.Fatalf("%d of %d came through to the clients", n, below.copies*port.Burst)
						}
					})
					w.check()
				})
			}
		}
	}
}

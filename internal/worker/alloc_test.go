package worker_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/punt"
	"weir/internal/spec"
	"weir/internal/testkit/words"
)

func frame(t testing.TB, line string, lan bool) []byte {
	t.Helper()
	from, to := macGW, words.MAC(macWan)
	if lan {
		from, to = macRS, words.MAC(macLan)
	}
	f, err := words.Parse(line, nil, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return f.Data
}

// drain takes what left a port, calls f for each frame, and returns how many.
func (w *world) drain(p *pipe.Port, f func(data []byte)) (n int) {
	var burst [port.Burst]*packet.Packet
	for k := p.TakeInto(0, burst[:], w.outside); k > 0; k = p.TakeInto(0, burst[:], w.outside) {
		for _, pkt := range burst[:k] {
			if f != nil {
				f(pkt.Data)
			}
			w.outside.Put(pkt)
		}
		n += k
	}
	return n
}

// noAllocs runs f until every place of the wires has memory, then counts.
func noAllocs(t *testing.T, f func()) {
	t.Helper()
	noAllocsOf(t, port.Burst, f)
}

// noAllocsOf is noAllocs for runs of fewer packets than a burst.
func noAllocsOf(t *testing.T, packets int, f func()) {
	t.Helper()
	for range 2 * pipe.Room / packets {
		f()
	}
	if n := testing.AllocsPerRun(50, f); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// tcp6 begins connections of IPv6 clients: 40000 with a handshake, 40001 over NAT64 with
// data as well.
func (w *world) tcp6(t *testing.T) {
	client, server6, server4 := "ip6 2001:db8:f::9 > 2001:db8::100 / tcp ", "ip6 2001:db8:1::2 > 2001:db8:1::200 / tcp ", "ip 192.168.1.2 > 192.168.1.200 / tcp "
	for _, l := range []string{
		client + "40000 > 80 S seq=1000", server6 + "80 > 1025 SA seq=5000 ack=1001",
		client + "40000 > 62 S seq=1000", server4 + "62 > 1026 SA seq=5000 ack=1001",
		client + "40001 > 62 S seq=1000", server4 + "62 > 1027 SA seq=5000 ack=1001", client + "40001 > 62 A seq=1001 ack=5002",
	} {
		p, lan := w.wan, l[:len(client)] != client
		if lan {
			p = w.lan
		}
		p.Inject(frame(t, l, lan))
		w.breathe()
	}
}

func TestEstablishedPacketsAllocateNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		lan  bool
		line string
	}{
		{"UDP in", false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=100"},
		{"UDP out", true, "ip 192.168.1.2 > 192.168.1.200 / udp 53 > 1025 data=100"},
		{"TCP in", false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 PA seq=1001 ack=5002 data=100"},
		{"TCP in with TOA", false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40001 > 80 PA seq=1001 ack=5001 data=100"},
		{"TCP with a PROXY header", false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40002 > 81 PA seq=1001 ack=5001 data=1450"},
		{"TCP with a PROXY header turned round", false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40003 > 84 PA seq=1001 ack=5001 proxy=1:9.9.9.9:9>8.8.8.8:8 data=9"},
		{"UDP with an option", false, "ip 1.2.3.4 > 10.0.0.100 uoa=9.9.9.9:9 / udp 5353 > 54 data=100"},
		{"UDP cut", false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=3000"},
		{"TCP out", true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 PA seq=5001 ack=1001 data=100"},
		{"SCTP in", false, "ip 1.2.3.4 > 10.0.0.100 / sctp 40000 > 80 tag=9 <sack 0x000000010000ffff00000000,data 1000>"},
		{"SCTP out", true, "ip 192.168.1.2 > 192.168.1.200 / sctp 80 > 1027 tag=7 <data 1000>"},
		{"SCTP begins again", false, "ip 1.2.3.4 > 10.0.0.100 / sctp 40000 > 80 tag=0 <init 7>"},
		{"ICMP error", true, "ip 192.168.1.2 > 192.168.1.200 / icmp port-unreachable / ip 192.168.1.200 > 192.168.1.2 / udp 1025 > 53 data=4"},
		{"echo", false, "ip 1.2.3.4 > 10.0.0.100 / icmp echo id=1 seq=1 data=56"},
		{"echo of IPv6", false, "ip6 2001:db8:f::9 > 2001:db8::1 / icmp6 echo id=1 seq=1 data=56"},
		{"UDP of IPv6 through", false, "ip6 2001:db8:f::9 > 2001:db8:1::2 / hop / udp 5353 > 53 data=100"},
		{"UDP of IPv6 in an atomic fragment", false, "ip6 2001:db8:f::9 > 2001:db8:1::2 / frag id=1 / udp 5353 > 53 data=100"},
		{"hop limit", false, "ip6 2001:db8:f::9 > 2001:db8:1::2 hlim=1 / udp 5353 > 53 data=100"},
		{"IPv6 too big", true, "ip6 2001:db8:1::2 > 2001:db8:e::9 / udp 53 > 5353 data=1400"},
		{"IPv6 from a link-local address", false, "ip6 fe80::fe > 2001:db8::1 / icmp6 echo id=1 seq=1 data=56"},
		{"UDP of IPv6 in", false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 53 data=100"},
		{"UDP of IPv6 out", true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / udp 53 > 1025 data=100"},
		{"UDP of IPv6 with an extension header", false, "ip6 2001:db8:f::9 > 2001:db8::100 / dst / udp 5353 > 53 data=100"},
		{"UDP over NAT64 in", false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 62 data=100"},
		{"UDP over NAT64 out", true, "ip 192.168.1.2 > 192.168.1.200 / udp 62 > 1025 data=100"},
		{"UDP over NAT64 out without a checksum", true, "ip 192.168.1.2 > 192.168.1.200 / udp 62 > 1025 data=100 csum=0"},
		{"UDP over NAT64 cut", true, "ip 192.168.1.2 > 192.168.1.200 / udp 62 > 1025 data=1470"},
		{"UDP over NAT46 in", false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 46 data=100"},
		{"UDP over NAT46 out", true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / udp 46 > 1025 data=100"},
		{"UDP of IPv6 in IPv6", false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 66 data=100"},
		{"UDP of IPv6 in IPv4", false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 4 data=100"},
		{"UDP of IPv4 in IPv6", false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 6 data=100"},
		{"UDP of IPv6 by DR", false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 68 data=100"},
		{"UDP of IPv6 by NAT", false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 67 data=100"},
		{"UDP of IPv6 by SNAT", true, "ip6 2001:db8:1::2 > 2001:db8:f:8::8 / udp 5353 > 53 data=100"},
		{"UDP of IPv6 with a protocol in front", false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 83 data=100"},
		{"TCP over NAT64 in", false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40001 > 62 PA seq=1001 ack=5002 data=100"},
		{"TCP over NAT64 in with TOA", false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 62 PA seq=1001 ack=5001 data=100"},
		{"TCP of IPv6 in with TOA", false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 PA seq=1001 ack=5001 data=100"},
		{"TCP over NAT64 out", true, "ip 192.168.1.2 > 192.168.1.200 / tcp 62 > 1027 PA seq=5001 ack=1001 data=100"},
		{"ICMP error of IPv6", true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / icmp6 port-unreachable / ip6 2001:db8:1::200 > 2001:db8:1::2 / udp 1025 > 53 data=4"},
		{"ICMP error over NAT64", true, "ip 192.168.1.2 > 192.168.1.200 / icmp port-unreachable / ip 192.168.1.200 > 192.168.1.2 / udp 1025 > 62 data=4"},
		{"ICMP error over NAT64 in", false, "ip6 2001:db8:f::9 > 2001:db8::100 / icmp6 port-unreachable / ip6 2001:db8::100 > 2001:db8:f::9 / udp 62 > 5353 data=4"},
		{"TTL", false, "ip 1.2.3.4 > 10.0.0.100 ttl=1 / udp 5353 > 53 data=100"},
		{"ARP", false, "eth to=all / arp request who=10.0.0.100 tell=10.0.0.254"},
		{"no connection", true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 999 PA seq=5001 ack=1001 data=100"},
		{"reset", false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40009 > 80 A seq=1001 ack=5002"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, 1, 1024, 100, nil)
			for _, c := range []string{"40000", "40001"} {
				w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / tcp "+c+" > 80 S seq=1000 <mss 1460>", false))
				w.breathe()
			}
			w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / tcp 40002 > 81 S seq=1000 <mss 1460>", false))
			w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / tcp 40003 > 84 S seq=1000 <mss 1460>", false))
			w.breathe()
			for _, l := range []string{"80 > 1025", "80 > 1026", "81 > 1025", "84 > 1025"} {
				w.lan.Inject(frame(t, "ip 192.168.1.2 > 192.168.1.200 / tcp "+l+" SA seq=5000 ack=1001", true))
				w.breathe()
			}
			w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 A seq=1001 ack=5002", false))
			w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=1", false))
			w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 46 data=1", false))
			for _, port := range []string{"53", "62"} {
				w.wan.Inject(frame(t, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > "+port+" data=1", false))
			}
			w.breathe()
			w.tcp6(t)
			w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / sctp 40000 > 80 tag=0 <init 7>", false))
			w.breathe()
			w.lan.Inject(frame(t, "ip 192.168.1.2 > 192.168.1.200 / sctp 80 > 1027 tag=7 <cookie-ack>", true))
			w.breathe()
			w.drain(w.lan, nil)
			w.drain(w.wan, nil)
			data, p := frame(t, row.line, row.lan), w.wan
			if row.lan {
				p = w.lan
			}
			before := w.Lanes()[0].Stats().Forwarded
			noAllocs(t, func() {
				for range port.Burst {
					p.Inject(data)
				}
				w.Lanes()[0].Breathe()
				w.drain(w.lan, nil)
				w.drain(w.wan, nil)
			})
			w.check()
			forwards := strings.HasPrefix(row.name, "UDP") || strings.HasPrefix(row.name, "TCP") || strings.HasPrefix(row.name, "SCTP") || strings.HasPrefix(row.name, "ICMP")
			if got := w.Lanes()[0].Stats().Forwarded > before; got != forwards {
				t.Errorf("forwarded: %v, want %v", got, forwards)
			}
		})
	}
}

func TestNewConnectionsAllocateNothing(t *testing.T) {
	t.Run("UDP", func(t *testing.T) {
		w := newWorld(t, 1, 1024, 20000, nil)
		data := frame(t, "ip 1.2.3.4 > 10.0.0.100 / udp 1 > 53 data=100 csum=0", false)
		client := uint16(1)
		noAllocs(t, func() {
			for range port.Burst {
				binary.BigEndian.PutUint16(data[34:], client)
				client++
				w.wan.Inject(data)
			}
			w.Lanes()[0].Breathe()
			if n := w.drain(w.lan, nil); n != port.Burst {
				t.Fatalf("%d of %d new flows", n, port.Burst)
			}
		})
		if n := w.Lanes()[0].Stats().NewConns; n != uint64(client-1) {
			t.Errorf("%d connections for %d clients", n, client-1)
		}
	})
	t.Run("UDP of IPv6", func(t *testing.T) {
		const burst = port.Burst
		for _, port := range []string{"53", "62", "66", "68"} {
			w := newWorld(t, 1, 1024, 20000, nil)
			data := frame(t, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 1 > "+port+" data=100", false)
			client := uint16(1)
			noAllocs(t, func() {
				for range burst {
					binary.BigEndian.PutUint16(data[54:], client)
					client++
					w.wan.Inject(data)
				}
				w.Lanes()[0].Breathe()
				if n := w.drain(w.lan, nil); n != burst {
					t.Fatalf("port %s: %d of %d new flows", port, n, burst)
				}
			})
		}
	})
	for _, row := range []struct {
		name string
		edit func(*spec.Service)
	}{
		{"persistent", func(s *spec.Service) { s.Persistent = 60 }},
		{"one packet", func(s *spec.Service) { s.OnePacket = true }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, 1, 1024, 20000, func(s *spec.Spec) {
				row.edit(s.Find(spec.ServiceKey{Proto: spec.UDP, Virtual: netip.MustParseAddrPort("10.0.0.100:53")}))
			})
			data := frame(t, "ip 1.2.3.4 > 10.0.0.100 / udp 1 > 53 data=100 csum=0", false)
			client := uint16(1)
			noAllocs(t, func() {
				for range port.Burst {
					binary.BigEndian.PutUint16(data[34:], client)
					client++
					w.wan.Inject(data)
				}
				w.Lanes()[0].Breathe()
				if n := w.drain(w.lan, nil); n != port.Burst {
					t.Fatalf("%d of %d new flows", n, port.Burst)
				}
			})
		})
	}
	t.Run("TCP lives", func(t *testing.T) {
		w := newWorld(t, 1, 1024, 20000, nil)
		var in, out [][]byte
		for _, s := range []string{"S seq=1000 <mss 1460>", "A seq=1001 ack=5001", "PA seq=1001 ack=5001 data=100", "A seq=1101 ack=5051", "FA seq=1101 ack=5051"} {
			in = append(in, frame(t, "ip 1.2.3.4 > 10.0.0.100 / tcp 1 > 80 "+s, false))
		}
		for _, s := range []string{"SA seq=5000 ack=1001 <mss 1460>", "PA seq=5001 ack=1101 data=50", "FA seq=5051 ack=1102"} {
			out = append(out, frame(t, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1 "+s, true))
		}
		client := uint16(1)
		var local uint16
		seen := func(d []byte) { local = binary.BigEndian.Uint16(d[34:]) }
		inbound := func(i int) {
			binary.BigEndian.PutUint16(in[i][34:], client)
			w.wan.Inject(in[i])
			w.Lanes()[0].Breathe()
			if w.drain(w.lan, seen) != 1 {
				t.Fatalf("segment %d of the client did not come through", i)
			}
		}
		outbound := func(i int) {
			binary.BigEndian.PutUint16(out[i][36:], local)
			w.lan.Inject(out[i])
			w.Lanes()[0].Breathe()
			if w.drain(w.wan, nil) != 1 {
				t.Fatalf("segment %d of the server did not come through", i)
			}
		}
		life := func() {
			for range 8 {
				inbound(0)
				outbound(0)
				inbound(1)
				inbound(2)
				outbound(1)
				inbound(3)
				inbound(4)
				outbound(2)
				client++
			}
			w.nanos += 1e9 // so that the former ones end meanwhile
		}
		for range 2 * pipe.Room / port.Burst * 8 {
			life()
		}
		if n := testing.AllocsPerRun(50, life); n != 0 {
			t.Errorf("%v allocations for 8 lives", n)
		}
		s := w.Lanes()[0].Stats()
		if s.NewConns != uint64(client-1) || s.TOASent != 2*s.NewConns || s.Expired < s.NewConns/2 {
			t.Errorf("%d lives: %d connections, %d with the client's address, %d ended", client-1, s.NewConns, s.TOASent, s.Expired)
		}
		w.check()
	})
}

// What Linux gets and sends costs no allocation either.
func TestPuntsAllocateNothing(t *testing.T) {
	for _, row := range []struct{ name, line string }{
		{"ethertype", "eth type=0x88cc / data=46"},
		{"ARP", "eth to=all / arp request who=10.0.0.77 tell=10.0.0.254"},
		{"ARP reply", "arp reply is=10.0.0.254 for=10.0.0.1"},
		{"OSPF", "eth to=01:00:5e:00:00:05 / ip 10.0.0.254 > 224.0.0.5 ttl=1 proto=89 / data=44"},
		{"an address of Linux's", "ip 1.2.3.4 > 10.0.0.9 / tcp 40000 > 22 PA seq=1 ack=1 data=100"},
		{"a partial checksum", "ip 1.2.3.4 > 10.0.0.9 / tcp 40000 > 22 PA seq=1 ack=1 data=100 csum=partial"},
		{"a partial checksum to a group", "eth to=01:00:5e:00:00:09 / ip 1.2.3.4 > 224.0.0.9 / udp 520 > 520 data=100 csum=partial"},
		{"a fragment", "ip 1.2.3.4 > 10.0.0.9 id=9 frag=0+1480 / udp 5353 > 53 data=2000"},
		{"no service", "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 9999 S seq=1"},
		{"no service of IPv6", "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 9999 S seq=1"},
		{"an IPv6 address of Linux's", "ip6 2001:db8:f::9 > 2001:db8::8 / udp 5353 > 99 data=100"},
		{"OSPFv3", "ip6 fe80::fe > ff02::5 hlim=1 / proto=89 data=44"},
		{"neighbour discovery", "ip6 2001:db8::fe > ff02::1:ff00:8 hlim=255 / ns who=2001:db8::8 <sll>"},
		{"a fragment of IPv6", "ip6 2001:db8:f::9 > 2001:db8::8 id=9 frag=0+1448 / udp 5353 > 53 data=2000"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, 1, 1024, 100, nil)
			w.twinsUp()
			data, twin := frame(t, row.line, false), w.twins["wan"]
			noAllocsOf(t, punt.PerBreath, func() {
				for range punt.PerBreath {
					w.wan.Inject(data)
				}
				w.Lanes()[0].Breathe()
				if n := w.drain(twin, nil); n != punt.PerBreath {
					t.Fatalf("Linux got %d packets of %d", n, punt.PerBreath)
				}
			})
			w.check()
		})
	}
	for _, line := range []string{
		"ip 10.0.0.9 > 1.2.3.4 / tcp 22 > 40000 PA seq=1 ack=1 data=100 csum=partial",
		"ip6 2001:db8::8 > 2001:db8:f::9 / udp 99 > 5353 data=100 csum=partial",
	} {
		t.Run("of Linux: "+line, func(t *testing.T) {
			w := newWorld(t, 1, 1024, 100, nil)
			w.twinsUp()
			data, twin := frame(t, line, false), w.twins["wan"]
			noAllocsOf(t, punt.PerLook, func() {
				for range punt.PerLook {
					twin.Inject(data)
				}
				w.Lanes()[0].Breathe()
				if n := w.drain(w.wan, nil); n != punt.PerLook {
					t.Fatalf("%d packets of %d left", n, punt.PerLook)
				}
			})
			w.check()
		})
	}
}

// A worker that has packets asks its twins every 100 µs, one that has none at once; and
// as long as Linux sends, in each breath.
func TestWhenLinuxIsAsked(t *testing.T) {
	w := newWorld(t, 1, 1024, 100, nil)
	w.twinsUp()
	there := frame(t, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=100", false)
	linux := frame(t, "ip 10.0.0.9 > 1.2.3.4 / udp 99 > 5353 data=100", false)
	breathe := func(busy bool) (left int) {
		if busy {
			w.wan.Inject(there)
		}
		w.Lanes()[0].Breathe()
		w.drain(w.lan, nil)
		return w.drain(w.wan, nil)
	}
	say := func(n int) {
		for range n {
			w.twins["wan"].Inject(linux)
		}
	}
	breathe(true)
	breathe(false) // asked just now
	say(2 * punt.PerLook)
	for _, step := range []struct {
		name string
		busy bool
		pass uint64
		left int
	}{
		{"busy, a moment later", true, 99_000, 0},
		{"busy, when it is time", true, 1_000, punt.PerLook},
		{"there may be more", true, 0, punt.PerLook},
		{"there was, so once again", true, 0, 0},
		{"there was none", true, 0, 0},
	} {
		w.nanos += step.pass
		if left := breathe(step.busy); left != step.left {
			t.Errorf("%s: %d frames left, want %d", step.name, left, step.left)
		}
	}
	say(1)
	if left := breathe(true); left != 0 {
		t.Errorf("busy: Linux was asked in vain %d", left)
	}
	if left := breathe(false); left != 1 {
		t.Errorf("idle: %d frames left, want 1", left)
	}
}

package story

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// modelWorld is a director with a service of every way to forward, ports with and without
// tags, and neighbours that are known.
const modelWorld = `port lan 02:00:00:00:02:00
port wan 02:00:00:00:01:00 rxpartial
station gw 02:00:00:00:01:fe
station rs1 02:00:00:00:02:02
vlan wan.100 wan 100
vlan lan.200 lan 200 proto=802.1ad
addr lan 192.168.1.1/24
addr lan.200 192.168.2.1/24
addr wan 10.0.0.1/24
addr wan 10.0.0.100/32
addr wan.100 10.1.0.1/24
addr wan.100 10.1.0.100/32
addr lan 2001:db8:1::1/64
addr wan 2001:db8::1/64
addr wan 2001:db8::100/128
route 1.0.0.0/8 wan via=10.0.0.254
route 2.0.0.0/8 wan.100 via=10.1.0.254
route 2001:db8:f::/48 wan via=2001:db8::fe
neigh wan 10.0.0.254 gw
neigh wan.100 10.1.0.254 gw
neigh wan 2001:db8::fe gw
neigh lan 192.168.1.2 rs1
neigh lan.200 192.168.2.2 rs1
neigh lan 2001:db8:1::2 rs1`

// modelFlows are the flows of modelWorld: service, real server, local address or mode, and
// the client's first packet.
var modelFlows = []struct{ name, service, dest, rest, first string }{
	{"full-NAT", "tcp 10.0.0.100:80", "192.168.1.2:80", "192.168.1.200 lan", "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 S seq=1000"},
	{"full-NAT", "udp 10.0.0.100:53", "192.168.1.2:53", "192.168.1.200 lan", "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=9"},
	{"tag to tag", "udp 10.1.0.100:53", "192.168.2.2:53", "192.168.2.200 lan.200", "vlan 100 / ip 2.2.3.4 > 10.1.0.100 / udp 5353 > 53 data=9"},
	{"to tag", "tcp 10.0.0.100:54", "192.168.2.2:54", "192.168.2.200 lan.200", "ip 1.2.3.4 > 10.0.0.100 / tcp 5354 > 54 S seq=1000"},
	{"from tag", "udp 10.1.0.100:55", "192.168.1.2:55", "192.168.1.200 lan", "vlan 100 / ip 2.2.3.4 > 10.1.0.100 / udp 5355 > 55 data=9"},
	{"full-NAT 6", "tcp [2001:db8::100]:80", "[2001:db8:1::2]:80", "2001:db8:1::200 lan", "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 S seq=1000"},
	{"full-NAT 6", "udp [2001:db8::100]:53", "[2001:db8:1::2]:53", "2001:db8:1::200 lan", "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 53 data=9"},
	{"NAT64", "tcp [2001:db8::100]:64", "192.168.1.2:64", "192.168.1.200 lan", "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 64 S seq=1000"},
	{"NAT64", "udp [2001:db8::100]:64", "192.168.1.2:64", "192.168.1.200 lan", "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 64 data=9"},
	{"NAT64 to tag", "udp [2001:db8::100]:65", "192.168.2.2:65", "192.168.2.200 lan.200", "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 65 data=9"},
	{"NAT46", "tcp 10.0.0.100:46", "[2001:db8:1::2]:46", "2001:db8:1::200 lan", "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 46 S seq=1000"},
	{"NAT46", "udp 10.0.0.100:46", "[2001:db8:1::2]:46", "2001:db8:1::200 lan", "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 46 data=9"},
	{"NAT46 from tag", "udp 10.1.0.100:46", "[2001:db8:1::2]:47", "2001:db8:1::200 lan", "vlan 100 / ip 2.2.3.4 > 10.1.0.100 / udp 5353 > 46 data=9"},
	{"DR", "tcp 10.0.0.100:81", "192.168.1.2:81", "mode=dr", "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 81 S seq=1000"},
	{"DR", "udp 10.0.0.100:81", "192.168.1.2:81", "mode=dr", "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 81 data=9"},
	{"DR 6", "udp [2001:db8::100]:81", "[2001:db8:1::2]:81", "mode=dr", "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 81 data=9"},
	{"NAT", "udp 10.0.0.100:82", "192.168.1.2:182", "mode=nat", "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 82 data=9"},
	{"NAT 6", "tcp [2001:db8::100]:82", "[2001:db8:1::2]:182", "mode=nat", "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 5353 > 82 S seq=1000"},
	{"tunnel", "tcp 10.0.0.100:83", "192.168.1.2:83", "mode=tunnel", "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 83 S seq=1000"},
	{"tunnel", "udp 10.0.0.100:83", "192.168.2.2:83", "mode=tunnel", "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 83 data=9"},
	{"tunnel 6 in 6", "udp [2001:db8::100]:83", "[2001:db8:1::2]:83", "mode=tunnel", "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 83 data=9"},
	{"tunnel 6 in 4", "tcp [2001:db8::100]:84", "192.168.1.2:84", "mode=tunnel", "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 5353 > 84 S seq=1000"},
	{"tunnel 4 in 6", "udp 10.0.0.100:84", "[2001:db8:1::2]:84", "mode=tunnel", "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 84 data=9"},
}

// modelFlow is a flow: a frame that each side sends when it is established.
type modelFlow struct {
	name  string
	there []byte // from the client
	back  []byte // from the real server; nil: it answers the client itself
}

// RunModel shows n random frames of flows of every kind to both engines: as they should
// be, of every length, with fields that are wrong, cut short, padded.
func RunModel(t *testing.T, seed uint64, n int, tally *Tally) {
	s := &Story{t: t, stations: words.Stations{}, shadow: &shadow{trials: trials{t: t}, tally: tally}}
	defer s.close()
	if _, err := s.director(map[string]string{"conns": "300"}, strings.Split(modelWorld, "\n")); err != nil {
		t.Fatal(err)
	}
	var flows []*modelFlow
	for _, f := range modelFlows {
		proto, _, _ := strings.Cut(f.service, " ")
		lines := []string{"service " + f.service + " rr"}
		if strings.HasPrefix(f.rest, "mode=") {
			lines = append(lines, "dest "+f.service+" "+f.dest+" "+f.rest)
		} else {
			lines = append(lines, "dest "+f.service+" "+f.dest, "laddr "+f.service+" "+f.rest)
		}
		if err := s.change(lines); err != nil {
			t.Fatalf("%s: %v", f.service, err)
		}
		s.tell(true) // what it says of new addresses is no part of it
		flows = append(flows, s.begin(f.name+" "+proto, f.first))
	}
	r := rand.New(rand.NewPCG(seed, 7))
	for i := range n {
		f := flows[r.IntN(len(flows))]
		frame, on, from := f.there, "wan", "gw"
		if f.back != nil && r.IntN(2) == 0 {
			frame, on, from = f.back, "lan", "rs1"
		}
		bent := s.bend(r, frame)
		s.nanos += uint64(r.IntN(3e6))
		taken := tally.Taken
		s.show(on, from, bent)
		if tally.Taken > taken {
			tally.Kinds[f.name]++
		}
		if ends(bent) { // for one thing, the flow may be over now
			*f = *s.begin(f.name, modelFirst(flows, f))
		}
		if t.Failed() {
			t.Fatalf("frame %d, of %s", i, f.name)
		}
	}
}

func modelFirst(flows []*modelFlow, f *modelFlow) string {
	for i := range flows {
		if flows[i] == f {
			return modelFlows[i].first
		}
	}
	return ""
}

// show has a frame arrive, and the workers breathe until it left.
func (s *Story) show(on, _ string, frame []byte) {
	p, err := s.port(on)
	if err == nil {
		err = s.put(p, 0, words.Frame{Data: frame})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.tell(true)
}

// begin makes a flow established: a handshake and a byte each way, or a datagram each way.
func (s *Story) begin(name, first string) *modelFlow {
	parse := func(line string) []byte {
		f, err := words.Parse(line, s.stations, words.MAC{2, 0, 0, 0, 1, 0xfe}, words.MAC{2, 0, 0, 0, 1, 0})
		if err != nil {
			s.t.Fatal(err)
		}
		return f.Data
	}
	f := &modelFlow{name: name, there: parse(first)}
	sent := s.passes("wan", f.there)
	if !strings.Contains(name, "DR") && !strings.Contains(name, "tunnel") {
		f.back = turned(sent)
	}
	if strings.Contains(first, "udp") {
		for range 2 {
			if f.back != nil {
				s.passes("lan", f.back)
			}
			s.passes("wan", f.there)
		}
		return f
	}
	f.there = parse(strings.Replace(first, "S seq=1000", "A seq=1001 ack=5001 data=1", 1))
	if f.back == nil {
		s.passes("wan", f.there)
		s.passes("wan", f.there)
		return f
	}
	tcp := func(frame []byte, flags byte, seq, ack uint32) []byte {
		ip, l4 := layers(frame)
		binary.BigEndian.PutUint32(l4[4:], seq)
		binary.BigEndian.PutUint32(l4[8:], ack)
		l4[13] = flags
		sums(ip)
		return frame
	}
	s.passes("lan", tcp(f.back, 0x12, 5000, 1001))
	s.passes("wan", f.there)
	s.passes("lan", tcp(f.back, 0x10, 5001, 1002))
	s.passes("wan", tcp(f.there, 0x10, 1002, 5002))
	s.passes("wan", f.there)
	return f
}

// passes shows a frame that has to leave, and returns what left.
func (s *Story) passes(on string, frame []byte) []byte {
	s.shadow.sent = nil
	s.show(on, "", frame)
	if s.shadow.sent == nil {
		s.t.Fatalf("on %s nothing came of %x", on, frame)
	}
	return s.shadow.sent
}

// layers returns a frame's IP packet and its transport header.
func layers(frame []byte) (ip, l4 []byte) {
	ip = frame[14:]
	if frame[12] != 8 && frame[12] != 0x86 {
		ip = frame[18:]
	}
	if ip[0]>>4 == 6 {
		return ip, ip[40:]
	}
	return ip, ip[20:]
}

// turned is the answer to a packet: its ends and MACs the other way round.
func turned(frame []byte) []byte {
	frame = append([]byte(nil), frame...)
	swap := func(b []byte, n int) {
		for i := range n {
			b[i], b[n+i] = b[n+i], b[i]
		}
	}
	swap(frame, 6)
	ip, l4 := layers(frame)
	if ip[0]>>4 == 6 {
		swap(ip[8:], 16)
		ip[7] = 64
	} else {
		swap(ip[12:], 4)
		ip[8] = 64
	}
	swap(l4, 2)
	sums(ip)
	return frame
}

// sums makes all checksums right.
func sums(ip []byte) {
	if ip[0]>>4 == 6 {
		wire.CompleteL4Over6(wire.IPv6(ip))
		return
	}
	wire.IPv4(ip).ComputeChecksum()
	wire.CompleteL4(wire.IPv4(ip))
}

// ends reports whether a frame may end a flow, or begin it anew.
func ends(frame []byte) bool {
	if len(frame) < 60 {
		return true
	}
	ip, l4 := layers(frame)
	proto := ip[9]
	if ip[0]>>4 == 6 {
		proto = ip[6]
	}
	return proto == 6 && len(l4) > 13 && l4[13]&7 != 0
}

// bend makes a frame of a flow one that may come.
func (s *Story) bend(r *rand.Rand, base []byte) []byte {
	frame := append([]byte(nil), base...)
	ip, l4 := layers(frame)
	l2 := len(frame) - len(ip)
	six := ip[0]>>4 == 6
	head, proto := 20, ip[9]
	if six {
		head, proto = 40, ip[6]
	}
	// A payload of another length, and TCP options.
	transport := append([]byte(nil), l4[:8]...)
	if proto == 6 {
		transport = append([]byte(nil), l4[:20]...)
		transport = append(transport, tcpOptions(r)...)
		transport[12] = byte(len(transport)/4) << 4
		if r.IntN(3) == 0 {
			binary.BigEndian.PutUint32(transport[4:], r.Uint32())
			binary.BigEndian.PutUint32(transport[8:], r.Uint32())
		}
		if r.IntN(8) == 0 {
			transport[13] ^= 1 << r.IntN(8)
		}
	}
	size := [...]int{0, 1, r.IntN(40), r.IntN(1460), 1450 + r.IntN(30)}[r.IntN(5)]
	for range size {
		transport = append(transport, byte(r.Uint32()))
	}
	if proto == 17 {
		binary.BigEndian.PutUint16(transport[4:], uint16(len(transport)))
	}
	frame = append(append(frame[:l2+head:l2+head], transport...), make([]byte, 0, 64)...)
	ip, l4 = frame[l2:], frame[l2+head:]
	if six {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
		if r.IntN(4) == 0 {
			binary.BigEndian.PutUint32(ip, 6<<28|r.Uint32()>>4)
		}
		if r.IntN(12) == 0 {
			ip[7] = byte(r.IntN(3))
		}
	} else {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		if r.IntN(4) == 0 {
			ip[1] = byte(r.Uint32())
			binary.BigEndian.PutUint16(ip[4:], uint16(r.Uint32()))
		}
		if r.IntN(4) == 0 {
			ip[6] ^= 0x40
		}
		if r.IntN(12) == 0 {
			ip[8] = byte(r.IntN(3))
		}
	}
	sums(ip)
	at := map[byte]int{6: 16, 17: 6}[proto]
	switch r.IntN(12) {
	case 0:
		binary.BigEndian.PutUint16(l4[at:], [...]uint16{0, 0xffff, uint16(r.Uint32())}[r.IntN(3)])
	case 1: // left open
		if six {
			wire.PartialL4Over6(wire.IPv6(ip))
		} else {
			wire.PartialL4(wire.IPv4(ip))
		}
	}
	for r.IntN(3) == 0 {
		frame = s.spoil(r, frame, l2, head)
		if len(frame) < 14 {
			return frame[:14]
		}
	}
	return frame
}

// tcpOptions makes some, mostly those that established connections use.
func tcpOptions(r *rand.Rand) []byte {
	ts := []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	switch r.IntN(8) {
	case 0, 1, 2:
		return nil
	case 3, 4:
		return ts
	case 5:
		n := 1 + r.IntN(3)
		return append(append(ts, 1, 1, 5, byte(2+8*n)), make([]byte, 8*n)...)
	case 6:
		return append(ts, 1, 1, byte(r.IntN(8)), byte(r.IntN(40)))
	}
	return []byte{254, 4, 1, 2, 1, 1, 1, 0}[:4*r.IntN(3)]
}

// spoil does something to a frame that a network, or somebody, may do.
func (s *Story) spoil(r *rand.Rand, frame []byte, l2, head int) []byte {
	ip := frame[l2:]
	if len(ip) < head {
		return frame
	}
	four := ip[0]>>4 == 4
	switch r.IntN(10) {
	case 0: // cut short
		return frame[:r.IntN(len(frame)+1)]
	case 1: // padded
		return append(frame, make([]byte, r.IntN(50))...)
	case 2: // any byte, any value
		frame[r.IntN(len(frame))] = byte(r.Uint32())
	case 3: // any byte of the headers
		frame[r.IntN(min(len(frame), l2+head+20))] ^= 1 << r.IntN(8)
	case 4: // of another length than it says
		if four {
			binary.BigEndian.PutUint16(ip[2:], binary.BigEndian.Uint16(ip[2:])+uint16(r.IntN(9))-4)
			wire.IPv4(ip).ComputeChecksum()
		} else {
			binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(r.IntN(9))-4)
		}
	case 5: // a fragment
		if four {
			binary.BigEndian.PutUint16(ip[6:], [...]uint16{0x2000, 0x2001, 0x0001, 0x8000}[r.IntN(4)])
			wire.IPv4(ip).ComputeChecksum()
		} else {
			ip[6] = [...]byte{44, 0, 60, 43, 59}[r.IntN(5)]
		}
	case 6: // options
		if four {
			ip[0] = 0x40 | byte(r.IntN(16))
			if wire.IPv4(ip).HeaderLength() <= len(ip) && ip[0]&15 >= 5 {
				wire.IPv4(ip).ComputeChecksum()
			}
		}
	case 7: // another datagram length
		if len(ip) > head+6 {
			binary.BigEndian.PutUint16(ip[head+4:], uint16(r.IntN(2000)))
		}
	case 8: // tags
		if l2 == 18 {
			frame[14] ^= byte(r.IntN(16)) << 4 // priority
		} else if r.IntN(2) == 0 {
			return append(append(append([]byte(nil), frame[:12]...), 0x81, 0, byte(r.IntN(2)), byte(r.IntN(3)*100)), frame[12:]...)
		}
	case 9: // MACs
		copy(frame[6*r.IntN(2):], [...][]byte{{2, 0, 0, 0, 1, 0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {2, 0, 0, 0, 9, 9}, {1, 0, 0x5e, 0, 0, 1}}[r.IntN(4)])
	}
	return frame
}

// RunCuts shows a frame of every flow at every length, from a link header to the whole.
func RunCuts(t *testing.T, tally *Tally) {
	s := &Story{t: t, stations: words.Stations{}, shadow: &shadow{trials: trials{t: t}, tally: tally}}
	defer s.close()
	if _, err := s.director(map[string]string{"conns": "300"}, strings.Split(modelWorld, "\n")); err != nil {
		t.Fatal(err)
	}
	for _, f := range modelFlows {
		lines := []string{"service " + f.service + " rr", fmt.Sprintf("dest %s %s %s", f.service, f.dest, f.rest)}
		if !strings.HasPrefix(f.rest, "mode=") {
			lines = []string{lines[0], "dest " + f.service + " " + f.dest, "laddr " + f.service + " " + f.rest}
		}
		if err := s.change(lines); err != nil {
			t.Fatalf("%s: %v", f.service, err)
		}
		s.tell(true) // what it says of new addresses is no part of it
		proto, _, _ := strings.Cut(f.service, " ")
		flow := s.begin(f.name+" "+proto, f.first)
		for n := 14; n <= len(flow.there); n++ {
			s.show("wan", "gw", flow.there[:n])
		}
		for n := 14; n <= len(flow.back); n++ {
			s.show("lan", "rs1", flow.back[:n])
		}
	}
}

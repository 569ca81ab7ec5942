package e2e

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// packets returns the IPv4 packets of a capture, without their link header.
func (c *capture) packets() (all [][]byte) {
	c.bed.t.Helper()
	for _, p := range c.frames(unix.ETH_P_IP, 20) {
		all = append(all, p[:min(len(p), int(binary.BigEndian.Uint16(p[2:])))])
	}
	return all
}

// frames returns what the Ethernet frames of a kind carry, of those that carry so many
// bytes at least.
func (c *capture) frames(kind uint16, least int) (all [][]byte) {
	t := c.bed.t
	t.Helper()
	b, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	const fileHeader, recordHeader, ethernet = 24, 16, 14
	if len(b) < fileHeader || binary.NativeEndian.Uint32(b) != 0xa1b2c3d4 || binary.NativeEndian.Uint32(b[20:]) != 1 {
		t.Fatalf("%s is no capture of Ethernet frames", c.file)
	}
	for b = b[fileHeader:]; len(b) >= recordHeader; {
		n := int(binary.NativeEndian.Uint32(b[8:]))
		if recordHeader+n > len(b) {
			break // the record that was being written
		}
		frame := b[recordHeader : recordHeader+n]
		b = b[recordHeader+n:]
		if len(frame) >= ethernet+least && binary.BigEndian.Uint16(frame[12:]) == kind {
			all = append(all, frame[ethernet:])
		}
	}
	return all
}

// datagram is a UDP datagram taken apart by hand, after DPVS's formats.
type datagram struct {
	src, dst netip.AddrPort
	carrier  string         // of the option of address: ipo, opp or ""
	client   netip.AddrPort // in the option
	others   []byte         // further IP options
	payload  []byte
	wrong    string // what is wrong with its lengths or checksums
}

const (
	protoOPP = 248 // IP protocol that carries the option in front of UDP
	optUOA   = 31  // IP option
)

// datagramOf takes an IPv4 packet apart; ok is false if it is no datagram.
func datagramOf(p []byte) (d datagram, ok bool) {
	complain := func(format string, args ...any) {
		if d.wrong == "" {
			d.wrong = fmt.Sprintf(format, args...)
		}
	}
	head := int(p[0]&15) * 4
	proto, l4 := p[9], p[head:]
	if proto != unix.IPPROTO_UDP && proto != protoOPP {
		return d, false
	}
	if internetSum(p[:head], 0) != 0 {
		complain("the IP header's checksum is wrong")
	}
	options := p[20:head]
	if len(options) >= 8 && options[0] == optUOA && options[1] == 8 {
		d.carrier, d.client = "ipo", uoaClient(options)
		options = options[8:]
	}
	d.others = options
	if proto == protoOPP {
		// Version 1 (the option names an IPv4 address), UDP follows, 12 bytes.
		if len(l4) < 12 || l4[0] != 0x10 || l4[1] != unix.IPPROTO_UDP || l4[2] != 0 || l4[3] != 12 || l4[4] != optUOA || l4[5] != 8 {
			complain("a wrong header of protocol 248: %x", l4[:min(len(l4), 12)])
			return d, true
		}
		d.carrier, d.client = "opp", uoaClient(l4[4:])
		l4 = l4[12:]
	}
	if len(l4) < 8 || int(binary.BigEndian.Uint16(l4[4:])) != len(l4) {
		complain("the datagram's length is wrong: %x", l4[:min(len(l4), 8)])
		return d, true
	}
	d.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:])), binary.BigEndian.Uint16(l4))
	d.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[16:])), binary.BigEndian.Uint16(l4[2:]))
	d.payload = l4[8:]
	summed := append(append([]byte{}, p[12:20]...), 0, unix.IPPROTO_UDP, l4[4], l4[5])
	summed = append(summed, l4...)
	if len(summed)%2 != 0 {
		summed = append(summed, 0)
	}
	if sum := binary.BigEndian.Uint16(l4[6:]); sum == 0 || internetSum(summed, 0) != 0 {
		complain("the datagram's checksum %#x is wrong", sum)
	}
	return d, true
}

func uoaClient(option []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(option[4:8])), binary.BigEndian.Uint16(option[2:]))
}

// toServer returns the datagrams of a capture toward the first real server. What
// it sends itself has no checksum yet where a card is expected to write it.
func (c *capture) toServer() (all []datagram) {
	for _, p := range c.packets() {
		if netip.AddrFrom4([4]byte(p[16:])) != netns.ServerAddr(0) {
			continue
		}
		if d, ok := datagramOf(p); ok {
			all = append(all, d)
		}
	}
	return all
}

// TestUOAOnTheWire looks at what comes to the real server: the option is on the
// first three datagrams of each connection and on no other, in either carrier, and
// where there is no room an empty datagram goes ahead with it.
func TestUOAOnTheWire(t *testing.T) {
	for _, carrier := range []string{"ipo", "opp"} {
		for _, s := range drivers {
			t.Run(carrier+" "+s.String(), func(t *testing.T) {
				s.servers = 1
				d := newDirector(t, s)
				d.agentOn(d.rs(1), "--uoa", "transparent").run()
				d.start(d.rs(1), d.compiled("udp_peer"), "5300")
				d.listeningUDP(d.rs(1), 5300)
				d.twoArm()
				d.serviceTo("u", 5300, 5300, "--uoa "+carrier, 1)
				d.finishedFrames()
				atServer := d.tcpdump(d.rs(1), "eth0")
				sizes := map[netip.AddrPort][]int{}
				for _, say := range [][]int{
					{10, 20, 30, 40, 50, 60},
					{0, 1, 0, 1, 0},
					{1472, 1472, 10, 1472, 10, 1472},
					{1465, 1464, 1461, 1460, 1472},
				} {
					conn, err := d.client().Dial(within(t, patience), "udp", "10.0.0.100:5300")
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					me := conn.LocalAddr().String()
					sizes[netip.MustParseAddrPort(me)] = say
					for i, n := range say {
						got := d.exchange(conn, strings.Repeat("x", n))
						if goesAhead(i, n, carrier) && got == me {
							got = d.hear(conn) // the server answered the empty one, too
						}
						if got != me {
							t.Errorf("to a datagram of %d bytes the server answered %q, want %s", n, got, me)
						}
					}
				}
				atServer.stop()
				judgeUOA(t, carrier, atServer.toServer(), sizes)
				for _, seg := range atServer.segments("ip.dst == 192.168.100.2 && (udp || ip.proto == 248)") {
					if !seg.ipSumOK {
						t.Errorf("tshark says that the IP checksum of frame %s is wrong", seg.frame)
					}
					if carrier == "ipo" && !seg.l4SumGood {
						t.Errorf("tshark says that the UDP checksum of frame %s is wrong", seg.frame)
					}
				}
			})
		}
	}
}

// uoaRoom is what a carrier adds to a packet, in bytes.
var uoaRoom = map[string]int{"ipo": 8, "opp": 12}

// goesAhead reports whether before a flow's i-th datagram, of n bytes, an empty one
// goes that carries the option.
func goesAhead(i, n int, carrier string) bool { return i < 3 && 20+8+n+uoaRoom[carrier] > 1500 }

// judgeUOA holds captured datagrams to the rule. sizes are the lengths that each
// client sent.
func judgeUOA(t *testing.T, carrier string, all []datagram, sizes map[netip.AddrPort][]int) {
	t.Helper()
	flows := map[netip.AddrPort][]datagram{}
	for _, d := range all {
		if d.wrong != "" {
			t.Errorf("from %s: %s", d.src, d.wrong)
		}
		if len(d.others) > 0 {
			t.Errorf("from %s: IP options %x", d.src, d.others)
		}
		flows[d.src] = append(flows[d.src], d)
	}
	if len(flows) != len(sizes) {
		t.Errorf("%d flows were captured, want %d", len(flows), len(sizes))
	}
	for src, got := range flows {
		client := got[0].client
		want := sizes[client]
		if want == nil {
			t.Errorf("the flow of %s begins with the client %s, who is none", src, client)
			continue
		}
		next := 0 // of got
		take := func() (d datagram) {
			if next < len(got) {
				d = got[next]
			}
			next++
			return d
		}
		for i, n := range want {
			ahead := goesAhead(i, n, carrier)
			if ahead {
				if d := take(); d.carrier != carrier || d.client != client || len(d.payload) != 0 {
					t.Errorf("%s: before datagram %d of %d bytes came carrier %q, client %s, %d bytes; want an empty one ahead", src, i+1, n, d.carrier, d.client, len(d.payload))
				}
			}
			carries := i < 3 && !ahead
			d := take()
			if carries && (d.carrier != carrier || d.client != client) || !carries && d.carrier != "" {
				t.Errorf("%s: datagram %d of %d bytes has carrier %q, client %s", src, i+1, n, d.carrier, d.client)
			}
			if len(d.payload) != n || strings.Trim(string(d.payload), "x") != "" {
				t.Errorf("%s: datagram %d has %d bytes, want %d as they were sent", src, i+1, len(d.payload), n)
			}
		}
		if next != len(got) {
			t.Errorf("%s: %d datagrams came, want %d", src, len(got), next)
		}
	}
}

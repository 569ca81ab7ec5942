package worker_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"weir/internal/spec"
	"weir/internal/testkit/words"
	"weir/internal/wire"
	"weir/internal/worker"
)

// talk is a TCP conversation through the director, as its two ends know it.
type talk struct {
	client, vip  netip.AddrPort
	server, peer netip.AddrPort // how the real server sees it; not valid before its SYN came
	seq          uint32         // of the client
	stage        int
}

// talkVIPs are services of all modes and both families, most of which tell their real
// servers by TOA.
var talkVIPs = []string{
	"10.0.0.100:80", "10.0.0.100:80", "10.0.0.100:80", "[2001:db8::100]:80", "[2001:db8::100]:80", "10.0.0.100:46", "[2001:db8::100]:62",
	"10.0.0.100:81", "[2001:db8::100]:81", "[2001:db8::100]:66", "[2001:db8::100]:67", "[2001:db8::100]:68",
}

// manners are the flags of a conversation's segments in their usual order; true: the
// server's.
var manners = []struct {
	server bool
	flags  string
	data   int
}{{false, "S", 0}, {true, "SA", 0}, {false, "A", 0}, {false, "PA", 6}, {true, "PA", 40}, {false, "FA", 0}, {true, "FA", 0}, {false, "A", 0}}

// say makes a segment of a conversation: mostly the next one, or any.
func (k *talk) say(rnd *rand.Rand) (lan bool, line string) {
	m := manners[k.stage%len(manners)]
	k.stage++
	if rnd.IntN(5) == 0 {
		m.server, m.data = rnd.IntN(2) == 0, rnd.IntN(60)
		m.flags = []string{"S", "SA", "A", "PA", "FA", "R", "RA", "F", "P", "SF", "SAF", "SR", "-"}[rnd.IntN(13)]
		k.stage = rnd.IntN(len(manners))
	}
	options := []string{"", "", " <nop,nop,ts 1 2>", " <nop,nop,ts 1 2,nop,nop,sack 1002-1010>", " <toa 9.9.9.9:9>", " <nop,nop,ts 1 2,toa 9.9.9.9:9>", " <mss 1460>"}[rnd.IntN(7)]
	if m.flags[0] == 'S' {
		options = []string{
			"", " <mss 1460>", " <mss 1460,sackok,ts 7 0,nop,wscale 7>", " <mss 1460,nop,wscale 8,nop,nop,sackok>",
			" <mss 1460,toa 9.9.9.9:9>", " <mss 10>", " <sackok,sackok,ts 7 0,mss 1460>",
		}[rnd.IntN(7)]
	}
	if m.server && k.server.IsValid() {
		ack := k.seq + uint32(rnd.IntN(3))
		return true, segment(k.server, k.peer, m.flags, 5000+uint32(rnd.IntN(3)), ack, options, m.data, 0)
	}
	return false, segment(k.client, k.vip, m.flags, 1000+uint32(rnd.IntN(3)), 5000+uint32(rnd.IntN(4)), options, m.data, int(k.client.Port()))
}

func segment(from, to netip.AddrPort, flags string, seq, ack uint32, options string, data, win int) string {
	ip := "ip"
	if from.Addr().Is6() {
		ip = "ip6"
	}
	return fmt.Sprintf("%s %s > %s / tcp %d > %d %s seq=%d ack=%d win=%d%s data=%d", ip, from.Addr(), to.Addr(), from.Port(), to.Port(), flags, seq, ack, win, options, data)
}

// seen reads from what left for the real servers how they see their clients: the window,
// which nobody changes, is the client's port. It returns how many have other sequence numbers
// than clients gave them.
func seen(talks map[uint16]*talk, frames [][]byte) (moved int) {
	for _, f := range frames {
		l3 := f[14:]
		src, dst, l4 := netip.AddrFrom4([4]byte(l3[12:16])), netip.AddrFrom4([4]byte(l3[16:20])), l3[20:]
		if l3[0]>>4 == 6 {
			src, dst, l4 = netip.AddrFrom16([16]byte(l3[8:24])), netip.AddrFrom16([16]byte(l3[24:40])), l3[40:]
		}
		if proto := map[byte]byte{4: l3[9], 6: l3[6]}[l3[0]>>4]; proto != wire.ProtoTCP || len(l4) < wire.TCPMinLen {
			continue
		}
		if k := talks[binary.BigEndian.Uint16(l4[14:])]; k != nil {
			k.peer, k.server = netip.AddrPortFrom(src, binary.BigEndian.Uint16(l4)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(l4[2:]))
			if k.seq = binary.BigEndian.Uint32(l4[4:]); k.seq-1000 > 100 {
				moved++
			}
		}
	}
	return moved
}

// The express takes TCP connections from their SYN to their end, in any order and with any
// flags, as the stages do, byte for byte: states, counters and what expires are the same.
func TestExpressConverses(t *testing.T) {
	defer worker.StagesOnly(false)
	for _, tt := range []struct {
		name string
		boot spec.Boot
		one  bool // conversation at a time
	}{
		{"bursts of many", spec.Boot{}, false},
		// Local ports come back at once, in the order in which connections end: then each has
		// its own time. Of so few most were used a moment ago, and sequence numbers are moved.
		{"few local ports", spec.Boot{LocalFirst: 1025, LocalLast: 1028}, true},
	} {
		rnd := rand.New(rand.NewPCG(uint64(len(tt.name)), 11))
		both := newTwoWorlds(t, tt.boot)
		both.anyOrder = true
		talks := map[uint16]*talk{}
		var live []*talk
		moved := 0
		for round := range 3000 {
			if len(live) < 24 {
				port := uint16(20000 + round)
				k := &talk{vip: netip.MustParseAddrPort(talkVIPs[rnd.IntN(len(talkVIPs))])}
				k.client = netip.AddrPortFrom(netip.MustParseAddr(map[bool]string{true: "1.2.3.4", false: "2001:db8:f::9"}[k.vip.Addr().Is4()]), port)
				talks[port] = k
				live = append(live, k)
			}
			var lan []bool
			var frames []words.Frame
			i := rnd.IntN(len(live))
			for range 1 + rnd.IntN(8) {
				if !tt.one {
					i = rnd.IntN(len(live))
				}
				toLan, line := live[i].say(rnd)
				lan, frames = append(lan, toLan), append(frames, words.Frame{Data: frame(t, line, toLan)})
			}
			if rnd.IntN(6) == 0 {
				delete(talks, live[i].client.Port())
				live = append(live[:i], live[i+1:]...)
			}
			if tt.one {
				both.pass(100 * time.Millisecond)
			}
			if rnd.IntN(100) == 0 { // now and then connections expire
				both.pass(time.Duration(rnd.IntN(100)) * time.Second)
			}
			moved += seen(talks, both.step(lan, frames))
		}
		s := both.worlds[0].Lanes()[0].Stats()
		if s.Express < 1500 || s.TOASent < 50 || s.Expired < 100 {
			t.Errorf("%s: %d packets took the express, %d with TOA, %d connections expired: too few to tell", tt.name, s.Express, s.TOASent, s.Expired)
		}
		if tt.one && moved < 200 {
			t.Errorf("%s: only %d segments had their numbers moved", tt.name, moved)
		}
	}
}

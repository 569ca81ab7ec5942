package worker_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/testkit/words"
	"weir/internal/wire"
	"weir/internal/worker"
)

// expressLines begin connections, and are what is altered at random afterwards: UDP and TCP
// of both families, through all modes, both ways.
var expressLines = []struct {
	lan  bool
	line string
}{
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=100"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / udp 53 > 1025 data=100"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 S seq=1000 <mss 1460>"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 SA seq=5000 ack=1001 <mss 1460>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 PA seq=1001 ack=5002 data=100"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 PA seq=5001 ack=1101 data=400"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 A seq=1101 ack=5402 <nop,nop,ts 1 2>"},
	{true, "ip 192.168.1.2 > 192.168.1.200 / tcp 80 > 1025 A seq=5401 ack=1101 <nop,nop,ts 2 1>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / tcp 40000 > 80 A seq=1101 ack=5402 <toa 9.9.9.9:999,nop,nop,ts 3 2>"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 53 data=100 csum=open"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 53 data=100"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / udp 53 > 1025 data=100"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 S seq=1000 <mss 1440>"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / tcp 80 > 1025 SA seq=5000 ack=1001 <mss 1440>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 PA seq=1001 ack=5002 data=100"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:1::200 / tcp 80 > 1025 PA seq=5001 ack=1101 data=400"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 A seq=1101 ack=5402 <nop,nop,ts 1 2>"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 53 data=100 csum=open"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / tcp 40000 > 80 PA seq=1001 ack=5402 data=100 csum=open"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 62 data=100"},
	{false, "ip 1.2.3.4 > 10.0.0.100 / udp 5353 > 46 data=100"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 66 data=100"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 68 data=100"},
	{false, "ip6 2001:db8:f::9 > 2001:db8::100 / udp 5353 > 67 data=100"},
	{true, "ip6 2001:db8:1::2 > 2001:db8:f:8::8 / udp 5353 > 53 data=100"},
}

// altered is a frame with something random about it: mostly nothing, or one thing that
// the express has to see.
func altered(rnd *rand.Rand, data []byte) words.Frame {
	f := words.Frame{Data: bytes.Clone(data)}
	d := f.Data
	l3 := d[14:]
	four := l3[0]>>4 == 4
	l4 := l3[40:]
	if four && l3[0] == 0x45 {
		l4 = l3[20:]
	}
	tcp := four && l3[9] == wire.ProtoTCP || !four && l3[6] == wire.ProtoTCP
	switch rnd.IntN(24) {
	case 0: // the last hop, or beyond
		l3[map[bool]int{true: 8, false: 7}[four]] = byte(rnd.IntN(3))
	case 1: // any flags
		if tcp {
			l4[13] = byte(rnd.Uint32())
		}
	case 2: // padded
		f.Data = append(f.Data, make([]byte, rnd.IntN(20))...)
	case 3: // cut off
		f.Data = f.Data[:rnd.IntN(len(d))]
		return f
	case 4: // any byte of the headers
		l3[rnd.IntN(min(len(l3), len(l3)-len(l4)+32))] = byte(rnd.Uint32())
	case 5: // the same, and the IP checksum does not tell
		l3[rnd.IntN(min(len(l3), len(l3)-len(l4)+32))] = byte(rnd.Uint32())
		if four && l3[0] == 0x45 {
			wire.IPv4(l3).ComputeChecksum()
		}
		return f
	case 6: // to or from somebody else
		d[rnd.IntN(14)]++
	case 7: // UDP without a checksum
		if !tcp {
			binary.BigEndian.PutUint16(l4[6:8], 0)
			return f
		}
	case 8: // one left to the hardware
		f.Partial = true
	case 9: // a datagram that is shorter than its packet
		if !tcp {
			binary.BigEndian.PutUint16(l4[4:6], uint16(8+rnd.IntN(110)))
		}
	case 10: // too long for its way
		grown := append(f.Data, make([]byte, 1100+rnd.IntN(500))...)
		if n := uint16(len(grown) - 14); four {
			binary.BigEndian.PutUint16(grown[16:18], n)
			grown[20] = byte(rnd.IntN(2)) << 6 // don't fragment
			if !tcp {
				binary.BigEndian.PutUint16(grown[38:40], n-20)
			}
			wire.IPv4(grown[14:]).ComputeChecksum()
		} else {
			binary.BigEndian.PutUint16(grown[18:20], n-40)
			if !tcp {
				binary.BigEndian.PutUint16(grown[58:60], n-40)
			}
		}
		f.Data = grown
		return f
	case 12: // from or to an address that is none
		if four {
			l3[12+4*rnd.IntN(2)] = []byte{0, 127, 224, 255}[rnd.IntN(4)]
		} else {
			a := l3[8+16*rnd.IntN(2):][:16]
			if a[0] = []byte{0, 255}[rnd.IntN(2)]; rnd.IntN(2) == 0 {
				clear(a[1:15])
			}
		}
	case 13: // options in disorder
		if n := len(l4); tcp && l4[12] == 0x80 {
			l4[20+rnd.IntN(min(12, n-20))] ^= byte(1 << rnd.IntN(8))
		}
	case 11: // sequence numbers that go back and forth
		if tcp {
			binary.BigEndian.PutUint32(l4[4:8], rnd.Uint32())
			binary.BigEndian.PutUint32(l4[8:12], rnd.Uint32())
		}
	}
	if four && l3[0] == 0x45 {
		wire.IPv4(l3).ComputeChecksum()
	}
	return f
}

// twoWorlds are a director with the express and one without.
type twoWorlds struct {
	worlds [2]*world
	// anyOrder: what leaves in one step may do so in any order. Timers began at different
	// times, so that connections of one deadline end in this order or that.
	anyOrder bool
	steps    int
}

func newTwoWorlds(t *testing.T, boot spec.Boot) *twoWorlds {
	boot.ConnPool, boot.PktPool = 400, 1024
	both := &twoWorlds{worlds: [2]*world{newWorldWith(t, 1500, 1, boot, nil), newWorldWith(t, 1500, 1, boot, nil)}}
	both.worlds[1].nanos = both.worlds[0].nanos
	return both
}

// pass lets time go by, in steps of the timers.
func (both *twoWorlds) pass(d time.Duration) {
	for ; d > 0; d -= 50 * time.Millisecond {
		for i, w := range both.worlds {
			worker.StagesOnly(i == 1)
			w.nanos += 50e6
			w.breathe()
		}
	}
}

// step gives both the same frames, and compares all that comes of them: what leaves, what is
// counted, and which connections there are in which state. It returns what left for the
// real servers.
func (both *twoWorlds) step(lan []bool, frames []words.Frame) (toServers [][]byte) {
	t := both.worlds[0].t
	both.steps++
	t.Helper()
	var out [2]string
	for i, w := range both.worlds {
		worker.StagesOnly(i == 1)
		w.nanos += 700_000 // more than half a tick: neighbours were asked in this one, or in the last
		for j, f := range frames {
			w.send(lan[j], 0, f)
		}
		w.breathe()
		w.check()
		toServers = w.lan.Take()
		toClients := w.wan.Take()
		if both.anyOrder {
			slices.SortFunc(toServers, bytes.Compare)
			slices.SortFunc(toClients, bytes.Compare)
		}
		out[i] = fmt.Sprintf("lan %x wan %x", toServers, toClients)
		s := *w.Lanes()[0].Stats()
		s.Breaths, s.Bursts, s.Express = 0, 0, 0
		out[i] += fmt.Sprintf(" stats %v", counts(&s))
		for _, l := range w.Lanes() {
			for d := range uint32(64) {
				out[i] += fmt.Sprintf(" %v", l.LB().Count(d))
			}
		}
		if both.steps%8 != 0 {
			continue // they take long to look at
		}
		var conns []string
		w.Conns(func(c *director.ConnView) bool {
			conns = append(conns, fmt.Sprintf("\n%+v", *c))
			return true
		})
		slices.Sort(conns)
		out[i] += strings.Join(conns, "")
	}
	if out[0] != out[1] {
		at := 0
		for at < len(out[0]) && at < len(out[1]) && out[0][at] == out[1][at] {
			at++
		}
		from := max(at-300, 0)
		t.Fatalf("of %d frames, the first %x, the express made\n%.600s\nand the stages\n%.600s", len(frames), frames[0].Data, out[0][from:], out[1][from:])
	}
	return toServers
}

// The express does to every packet what the stages do, byte for byte, and counts it as
// they do: two directors get the same packets, one of them without the express.
func TestExpressDoesWhatTheStagesDo(t *testing.T) {
	defer worker.StagesOnly(false)
	for seed := range uint64(2) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		both := newTwoWorlds(t, spec.Boot{})
		for _, l := range expressLines {
			both.step([]bool{l.lan}, []words.Frame{{Data: frame(t, l.line, l.lan)}})
		}
		for range 2000 {
			var lan []bool
			var frames []words.Frame
			for range 1 + rnd.IntN(8) {
				l := expressLines[rnd.IntN(len(expressLines))]
				lan = append(lan, l.lan)
				frames = append(frames, altered(rnd, frame(t, l.line, l.lan)))
			}
			both.step(lan, frames)
		}
		if n := both.worlds[0].Lanes()[0].Stats().Express; n < 2000 {
			t.Errorf("%d packets took the express: too few to tell", n)
		}
	}
}

// counts are the counters of a worker that are not 0.
func counts(s *stat.Worker) string {
	drops := map[packet.Reason]uint64{}
	for r, n := range s.Drops {
		if n != 0 {
			drops[packet.Reason(r)] = n
		}
	}
	s.Drops = [packet.NumReasons]uint64{}
	return fmt.Sprintf("%v %+v", drops, *s)
}

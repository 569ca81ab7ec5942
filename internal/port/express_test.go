package port_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"weir/internal/flow"
	"weir/internal/lb/forward"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/wire"
)

// expressBed is an engine with flows of UDP and TCP, and its program.
type expressBed struct {
	*engineBed
	trial *afxdp.Trial
	rules [port.Max]afxdp.Rule
}

var expressFrom = port.MAC{2, 0, 0, 0, 0, 0xa1}

func newExpress(t *testing.T) *expressBed {
	b := &expressBed{engineBed: newEngine(t)}
	_, err := b.insert(engineLIP, engineRS, 1025, 5353)
	check(t, err)
	b.insert6(t)
	in, out := forward.FullNAT(&forward.Ends{
		Proto: wire.ProtoTCP, Client: flow.AddrOf(engineClient), Virtual: flow.AddrOf(engineVIP), Local: flow.AddrOf(engineLIP), Real: flow.AddrOf(engineRS),
		ClientPort: swapped(1024), VirtualPort: swapped(53), LocalPort: swapped(1025), RealPort: swapped(5353),
	})
	in.NextHop, out.NextHop, in.Fast, out.Fast = b.hop, b.hop, true, true
	_, err = b.table.Worker(0).Insert(&in, &out, &flow.NewConn{Timeout: 1 << 20}, b.now)
	check(t, err)
	check(t, b.engine.AddDevice(1, 1))
	b.rules[0] = afxdp.Rule{MAC: engineMAC, Takes: true}
	b.rules[1] = afxdp.Rule{MAC: port.MAC{2, 0, 0, 0, 0, 0xb0}, Sends: true, Link: 1}
	check(t, b.engine.SetRules(&b.rules))
	b.trial, err = b.engine.Try(0)
	check(t, err)
	t.Cleanup(func() { check(t, b.trial.Close()) })
	return b
}

// show shows a frame to the program: what became of it, and whether the express took it.
func (b *expressBed) show(t *testing.T, frame []byte) (out []byte, taken, express bool) {
	t.Helper()
	before := b.engine.Express(0)
	out, taken, err := b.trial.Run(frame)
	check(t, err)
	return bytes.Clone(out), taken, b.engine.Express(0) != before
}

// countRx is where counts has the bytes that came.
const countRx = 1

// counts are all that an engine counts of what it forwards.
func (b *expressBed) counts() []uint64 {
	var all [7]uint64
	for _, w := range b.engine.Way(0, 1) {
		all[0] += w.Packets
		all[countRx] += w.RxBytes
		all[2] += w.TxBytes
	}
	d := b.engine.Dest(0)
	all[3], all[4], all[5], all[6] = d.InPkts, d.InBytes, d.OutPkts, d.OutBytes
	return all[:]
}

// udp4 and tcp4 are frames of the flows' clients.
func udp4() []byte {
	return engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, expressFrom, 64)
}

func tcp4(flags byte, options ...byte) []byte {
	f := udp4()[:34]
	f = append(f, 4, 0, 0, 53, 1, 2, 3, 4, 5, 6, 7, 8, byte(5+len(options)/4)<<4, flags, 1, 0, 0, 0, 0, 0)
	f = append(append(f, options...), "some bytes"...)
	f[23] = wire.ProtoTCP
	ip := wire.IPv4(f[14:])
	ip.SetTotalLength(uint16(len(f) - 14))
	ip.ComputeChecksum()
	wire.CompleteL4(ip)
	return f
}

var (
	timestamp = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	sack      = append(bytes.Clone(timestamp), 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2)
)

// answer makes of a client's frame one that the real server might send back.
func answer(frame []byte) []byte {
	f := bytes.Clone(frame)
	copy(f[26:30], engineRS.AsSlice())
	copy(f[30:34], engineLIP.AsSlice())
	binary.BigEndian.PutUint16(f[34:], 5353)
	binary.BigEndian.PutUint16(f[36:], 1025)
	ip := wire.IPv4(f[14:])
	ip.ComputeChecksum()
	wire.CompleteL4(ip)
	return f
}

// Plain packets take the express, and no others do. Whatever it takes leaves as it does from the
// walk, which takes the same packet if something stands behind it.
func TestExpressDoesAsTheWalk(t *testing.T) {
	b := newExpress(t)
	udp6 := engineFrame6(aheadClient6, aheadVIP6, 1024, 53, engineMAC, expressFrom, 64)
	odd := udp4()
	odd[0] ^= 4
	own := udp4()
	copy(own[6:], engineMAC[:])
	bad := udp4()
	bad[24] ^= 1
	for _, row := range []struct {
		name           string
		frame          []byte
		taken, express bool
	}{
		{"UDP", udp4(), true, true},
		{"UDP, the answer", answer(udp4()), true, true},
		{"UDP over IPv6", udp6, true, true},
		{"TCP", tcp4(0x10), true, true},
		{"TCP, the answer", answer(tcp4(0x18)), true, true},
		{"TCP with a timestamp", tcp4(0x10, timestamp...), true, true},
		{"TCP with a timestamp, the answer", answer(tcp4(0x10, timestamp...)), true, true},
		{"TCP with SACK", tcp4(0x10, sack...), true, false},
		{"TCP FIN", tcp4(0x11), false, false},
		{"TCP with another option", tcp4(0x10, 254, 4, 0, 0), false, false},
		{"TTL 2", engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, expressFrom, 2), true, true},
		{"TTL 1", engineFrame(engineClient, engineVIP, 1024, 53, engineMAC, expressFrom, 1), false, false},
		{"hop limit 2", engineFrame6(aheadClient6, aheadVIP6, 1024, 53, engineMAC, expressFrom, 2), true, true},
		{"hop limit 1", engineFrame6(aheadClient6, aheadVIP6, 1024, 53, engineMAC, expressFrom, 1), false, false},
		{"for another", odd, false, false},
		{"from ourselves", own, false, false},
		{"a wrong checksum", bad, false, false},
		{"of no flow", engineFrame(engineClient, engineVIP, 1025, 53, engineMAC, expressFrom, 64), false, false},
		{"longer than a buffer", append(udp4(), make([]byte, afxdp.Room)...), false, false},
	} {
		before := b.counts()
		out, taken, express := b.show(t, row.frame)
		if taken != row.taken || express != row.express {
			t.Errorf("%s: taken %v by the express %v, want %v and %v", row.name, taken, express, row.taken, row.express)
		}
		between := b.counts()
		walked, taken, express := b.show(t, append(bytes.Clone(row.frame), 0, 0))
		if taken != row.taken || express {
			t.Errorf("%s, padded: taken %v by the express %v, want %v and not", row.name, taken, express, row.taken)
		}
		if taken && !bytes.Equal(out, walked) {
			t.Errorf("%s: the express sends\n%x\nthe walk\n%x", row.name, out, walked)
		}
		after, padding := b.counts(), uint64(0)
		if taken {
			padding = 2
		}
		for i := range after {
			first, second := between[i]-before[i], after[i]-between[i]
			if i == countRx {
				second -= padding
			}
			if first != second || taken && i == 0 && first != 1 {
				t.Errorf("%s: count %d grows by %d, and from the walk by %d", row.name, i, first, second)
			}
		}
	}
}

// Whatever checksums come, the express makes of them what the walk does: 0 and 0xffff are the same
// number, and not always the same thing.
func TestExpressMakesAllChecksums(t *testing.T) {
	b := newExpress(t)
	for _, row := range []struct {
		name  string
		frame []byte
		sum   int // where the transport header's lies; then every value is tried
	}{
		{"UDP", udp4(), 40},
		{"TCP", tcp4(0x10), 50},
		{"UDP over IPv6", engineFrame6(aheadClient6, aheadVIP6, 1024, 53, engineMAC, expressFrom, 64), 60},
	} {
		for n := range 1 << 16 {
			f := row.frame
			binary.BigEndian.PutUint16(f[row.sum:], uint16(n)) // nobody asks whether it is right
			if row.sum != 60 {
				binary.BigEndian.PutUint16(f[18:], uint16(n)) // the identification: any checksum of the header
				wire.IPv4(f[14:]).ComputeChecksum()
			}
			plain, taken, err := b.trial.Run(f)
			check(t, err)
			plain = bytes.Clone(plain)
			walked, also, err := b.trial.Run(append(bytes.Clone(f), 0, 0))
			check(t, err)
			if zero := n == 0 && row.sum == 60; taken == zero || also == zero || taken && !bytes.Equal(plain, walked) {
				t.Fatalf("%s, checksum %#x: the express sends (%v)\n%x\nthe walk (%v)\n%x", row.name, n, taken, plain, also, walked)
			}
		}
	}
	if n, all := b.engine.Express(0), b.engine.Way(0, 1); n != 3<<16-1 || all[0].Packets != 4<<16 || all[3].Packets != 2<<16-2 {
		t.Errorf("%d took the express, all were %+v", n, all)
	}
}

// The express goes by the rules of the moment, and those of ports that came before its own.
func TestExpressFollowsRules(t *testing.T) {
	b := newExpress(t)
	other := port.MAC{2, 0, 0, 0, 0, 0xa9}
	toOther := udp4()
	copy(toOther, other[:])
	for _, row := range []struct {
		name           string
		change         func(in, out *afxdp.Rule)
		frame          []byte
		taken, express bool
	}{
		{"as they were", func(in, out *afxdp.Rule) {}, udp4(), true, true},
		{"takes nothing", func(in, out *afxdp.Rule) { in.Takes = false }, udp4(), false, false},
		{"sends nothing", func(in, out *afxdp.Rule) { in.Takes, out.Sends = true, false }, udp4(), false, false},
		{"sends with a tag", func(in, out *afxdp.Rule) { out.Sends, out.Tag = true, 0x81000007 }, udp4(), true, false},
		{"by a device that is not there", func(in, out *afxdp.Rule) { out.Tag, out.Link = 0, 7 }, udp4(), false, false},
		{"another MAC", func(in, out *afxdp.Rule) { out.Link, in.MAC = 1, other }, udp4(), false, false},
		{"another MAC, to that", func(in, out *afxdp.Rule) {}, toOther, true, true},
		{"open checksums may come", func(in, out *afxdp.Rule) { in.OpenSum, in.MAC = true, engineMAC }, udp4(), true, true},
	} {
		row.change(&b.rules[0], &b.rules[1])
		check(t, b.engine.SetRules(&b.rules))
		_, taken, express := b.show(t, row.frame)
		if taken != row.taken || express != row.express {
			t.Errorf("%s: taken %v by the express %v, want %v and %v", row.name, taken, express, row.taken, row.express)
		}
	}
	// An open checksum is the pseudo-header's alone.
	open := udp4()
	var sum uint32
	for _, at := range []int{26, 28, 30, 32, 38} {
		sum += uint32(binary.BigEndian.Uint16(open[at:]))
	}
	sum += uint32(wire.ProtoUDP)
	binary.BigEndian.PutUint16(open[40:], uint16(sum>>16+sum&0xffff))
	if _, taken, express := b.show(t, open); taken || express {
		t.Errorf("an open checksum: taken %v by the express %v", taken, express)
	}
}

package port_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/testkit/netns"
)

// A bulk stream leaves an AF_XDP port in copy mode as super-frames where the device takes them, in
// its place among what else is sent; and what Linux cuts those into is what was sent, byte for byte.
func TestStreamLeavesInTrains(t *testing.T) {
	for _, d := range []driver{xdpNative, xdpGeneric} {
		for _, row := range []struct {
			name string
			v6   bool
			tso  bool
		}{
			{"IPv4", false, true},
			{"IPv6", true, true},
			{"IPv4, the device segments nothing", false, false},
		} {
			t.Run(d.name+" "+row.name, func(t *testing.T) {
				host, dir := cable(t, 1, 0)
				aside(t, host, dir)
				if !row.tso {
					ethtool(t, dir, "d0", "tso", "off")
				}
				o := open(t, d, dir, "d0", 0, 0, newMemory(t, 1024, 4))
				far := open(t, packetSockets, host, "h0", 0, 0, newMemory(t, 1024, 70))
				on := open(t, packetSockets, host, "h1", 0, 0, newMemory(t, 1024, 4))
				ethertype := uint16(0x0800)
				if row.v6 {
					ethertype = 0x86dd
				}
				judge := openRaw(t, dir, "d1", ethertype)

				own := newMemory(t, 1024, 4)
				var want [][]byte
				supers := 0
				for range 20 {
					// A frame of another flow, 10 in a row, one in between, more than may be one
					// train, and one that ends a train.
					burst := port.Segments(t, own.pool, row.v6, 64, 1428)
					for _, i := range []int{0, 11} {
						burst[i].Data[5] = byte(i + 7)
					}
					burst[63].Data[l4Of(row.v6)+13] |= 8 // PSH
					port.Seal(burst[63].Data)
					for _, p := range burst {
						want = append(want, bytes.Clone(p.Data))
					}
					o.queues[0].Tx(burst)
					o.queues[0].Flush()
					// Onto the second cable, whose device segments nothing.
					for got := 0; got < 64; {
						var came [port.Burst]*packet.Packet
						n := receive(t, far.queues[0], came[:])
						for _, p := range came[:n] {
							if !p.Is(packet.GSO) {
								got++
								continue
							}
							supers++
							p.L3, p.L4, p.Proto = 14, uint16(l4Of(row.v6)), 6
							head := l4Of(row.v6) + 32
							got += (len(p.Data) - head + int(p.GSOSize) - 1) / int(p.GSOSize)
						}
						on.queues[0].Tx(came[:n])
					}
				}
				var buf [2048]byte
				for i, f := range want {
					if got := judge.receive(buf[:]); !bytes.Equal(got, f) {
						t.Fatalf("frame %d came as %d bytes %.90x, want %d bytes %.90x", i, len(got), got, len(f), f)
					}
				}
				if row.tso && supers != 20*3 || !row.tso && supers != 0 {
					t.Errorf("%d super-frames came in 20 bursts", supers)
				}
				if c := o.counters(); c.TxPackets != 20*64 || c.TxBytes != 20*64*uint64(len(want[0])) {
					t.Errorf("counted %d packets, %d bytes", c.TxPackets, c.TxBytes)
				}
				expectDrops(t, o.counters(), nil)
				expectDrops(t, on.counters(), nil)
			})
		}
	}
}

func l4Of(v6 bool) int {
	if v6 {
		return 54
	}
	return 34
}

// No frame is ever doubled or left out where the device stops taking trains, or begins to.
func TestTrainsEndAndBeginAgain(t *testing.T) {
	host, dir := cable(t, 1, 0)
	o := open(t, xdpNative, dir, "d0", 0, 0, newMemory(t, 1024, 4))
	far := open(t, packetSockets, host, "h0", 0, 0, newMemory(t, 1024, 70))
	own := newMemory(t, 1024, 4)
	next := uint32(0xffffff00)
	// round sends a burst and returns how many frames it came in.
	round := func() (frames int) {
		burst := port.Segments(t, own.pool, false, 16, 1428)
		for i, p := range burst {
			binary.BigEndian.PutUint32(p.Data[38:], next+uint32(i*1428))
			port.Seal(p.Data)
		}
		o.queues[0].Tx(burst)
		o.queues[0].Flush()
		for end := next + 16*1428; next != end; {
			var came [port.Burst]*packet.Packet
			n := receive(t, far.queues[0], came[:])
			for _, p := range came[:n] {
				if seq := binary.BigEndian.Uint32(p.Data[38:]); seq != next {
					t.Fatalf("bytes from %d on came, want those from %d on", seq, next)
				}
				next += uint32(len(p.Data) - 66)
				p.Pool().Put(p)
			}
			frames += n
		}
		return frames
	}
	if n := round(); n != 1 {
		t.Errorf("a train came in %d frames", n)
	}
	ethtool(t, dir, "d0", "tso", "off")
	if n := round(); n != 16 {
		t.Errorf("16 segments came in %d frames where the device segments nothing", n)
	}
	ethtool(t, dir, "d0", "tso", "on")
	for rounds := 0; round() != 1; rounds++ {
		if rounds > 256 {
			t.Fatal("no train any more")
		}
	}
}

// aside makes a second cable, from h1 to d1, whose ends do nothing for frames.
func aside(t testing.TB, host, dir *netns.Namespace) {
	t.Helper()
	check(t, netns.Veth(netns.End{In: host, Name: "h1"}, netns.End{In: dir, Name: "d1"}))
	for _, end := range []struct {
		in   *netns.Namespace
		name string
	}{{host, "h1"}, {dir, "d1"}} {
		ethtool(t, end.in, end.name, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
	}
}

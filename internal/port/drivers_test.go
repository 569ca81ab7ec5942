package port_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"weir/internal/packet"
	"weir/internal/port"
)

// Every frame that is sent arrives whole, once and in order, and so does what
// the driver sends back.
func TestFramesInAndOut(t *testing.T) {
	for _, d := range allDrivers {
		t.Run(d.name, func(t *testing.T) {
			host, dir := ends(t, d, 1)
			m := newMemory(t, 4096, 4)
			o := open(t, d, dir, "d0", 7, 0, m)
			far := openRaw(t, host, "h0", testType)
			q := o.queues[0]
			q.Flush()

			const frames, window = 10_000, 48
			lengths := rand.New(rand.NewPCG(1, 2))
			var burst [port.Burst]*packet.Packet
			var buf [4096]byte
			var bytesIn uint64
			for first := 0; first < frames; first += window {
				var want [][]byte
				for i := first; i < min(first+window, frames); i++ {
					f := numbered(i, 60+lengths.IntN(1514-60+1))
					want = append(want, f)
					far.send(f)
					bytesIn += uint64(len(f))
				}
				for got := 0; got < len(want); {
					n := receive(t, q, burst[:])
					for _, p := range burst[:n] {
						if !bytes.Equal(p.Data, want[got]) {
							t.Fatalf("received as frame %d: %d bytes %.20x, want %d bytes %.20x", first+got, len(p.Data), p.Data, len(want[got]), want[got])
						}
						if p.In != 7 || p.Flags != 0 || p.Head() < packet.Headroom {
							t.Fatalf("packet in=%d flags=%x headroom=%d, want 7, 0, at least %d", p.In, p.Flags, p.Head(), packet.Headroom)
						}
						p.Data[0] ^= 0x40 // so that ours and theirs differ
						got++
					}
					q.Tx(burst[:n])
					q.Flush()
				}
				for i, f := range want {
					f[0] ^= 0x40
					if got := far.receive(buf[:]); !bytes.Equal(got, f) {
						t.Fatalf("sent frame %d arrived as %d bytes %.20x, want %d bytes %.20x", first+i, len(got), got, len(f), f)
					}
				}
			}
			c := o.counters()
			if c.RxPackets != frames || c.TxPackets != frames || c.RxBytes != bytesIn || c.TxBytes != bytesIn {
				t.Errorf("counted rx %d (%d bytes), tx %d (%d bytes), want %d (%d bytes) each", c.RxPackets, c.RxBytes, c.TxPackets, c.TxBytes, frames, bytesIn)
			}
			expectDrops(t, c, nil)
		})
	}
}

// Rx, Tx and Flush don't allocate.
func TestNoAllocation(t *testing.T) {
	for _, d := range allDrivers {
		t.Run(d.name, func(t *testing.T) {
			host, dir := ends(t, d, 1)
			o := open(t, d, dir, "d0", 0, 0, newMemory(t, 4096, 4))
			far := openRaw(t, host, "h0", testType)
			q := o.queues[0]
			frame := numbered(1, 60)
			var burst [port.Burst]*packet.Packet
			var buf [2048]byte
			var c port.Counters
			allocs := testing.AllocsPerRun(200, func() {
				far.send(frame)
				n := q.Rx(burst[:])
				q.Tx(burst[:n])
				q.Flush()
				q.PreparePoll()
				q.Counters(&c)
				for range n {
					far.receive(buf[:])
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations a round, want none", allocs)
			}
			if c := o.counters(); c.RxPackets < 190 {
				t.Errorf("only %d of 200 frames went through", c.RxPackets)
			}
		})
	}
}

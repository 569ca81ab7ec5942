package port_test

import (
	"testing"
	"time"

	"weir/internal/packet"
	"weir/internal/port"
)

// BenchmarkEcho is what the driver costs a worker: Rx, Tx and Flush of bursts of
// 60-byte frames over a veth. The sender's time is not in ns/packet; on veth the
// other end's work is, since the kernel does it within our calls.
func BenchmarkEcho(b *testing.B) {
	for _, d := range allDrivers {
		b.Run(d.name, func(b *testing.B) {
			host, dir := ends(b, d, 1)
			far := newMemory(b, 1024, 0)
			near := newMemory(b, 8192, 0)
			q := open(b, d, dir, "d0", 0, 0, near).queues[0]
			generator := open(b, packetSockets, host, "h0", 0, 0, far).queues[0]
			frame := numbered(0, 60)
			var burst, echoes [port.Burst]*packet.Packet
			var spent time.Duration
			echoed := 0
			b.ReportAllocs()
			for b.Loop() {
				for i := range burst {
					burst[i] = far.pool.Get()
					burst[i].Resize(len(frame))
					copy(burst[i].Data, frame)
				}
				generator.Tx(burst[:])
				began := time.Now()
				n := q.Rx(echoes[:])
				q.Tx(echoes[:n])
				q.Flush()
				spent += time.Since(began)
				echoed += n
				for n := generator.Rx(burst[:]); n > 0; n = generator.Rx(burst[:]) {
					for _, p := range burst[:n] {
						far.pool.Put(p)
					}
				}
			}
			if echoed == 0 {
				b.Fatal("nothing came through")
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(echoed), "ns/packet")
		})
	}
}

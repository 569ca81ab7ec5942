package main

import (
	"encoding/binary"
	"fmt"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/wire"
)

// frameSize is a minimum Ethernet frame without its checksum.
const frameSize = 60

// A tuple as the generator stamps it: what changes from flow to flow.
type tuple struct {
	src, dst     uint32 // as on the wire, read little-endian
	sport, dport uint16
}

// clientOf spreads flows over 10.16.0.0/12, a million clients, and their ports.
func clientOf(i int) tuple {
	ip := 10<<24 | 16<<16 | uint32(i&0xfffff)
	p := uint16(1024 + i>>20)
	v := vip.As4()
	return tuple{
		src: ip>>24 | ip>>8&0xff00 | ip<<8&0xff0000 | ip<<24, dst: binary.LittleEndian.Uint32(v[:]),
		sport: p>>8 | p<<8, dport: servicePort << 8,
	}
}

// udpRun sends datagrams of flows in a cycle.
type udpRun struct {
	_ [128]byte // two may run at once
	*bed
	flows   int
	first   int    // its clients begin there
	next    [2]int // flow of the next datagram, by port
	replies []tuple
	frames  [2][]byte
	sums    [2][2]uint32 // IP and UDP checksum complement without what is stamped
	off     int          // packets of the present cycle still to send
	sent    [2]uint64
	_       [128]byte
}

// newUDPRun has room for more connections than flows, so that they fill some percent of it.
func newUDPRun(flows, percent int) (*udpRun, error) {
	return newUDPRunIn(flow.Anonymous, flows, flows*100/percent)
}

func newUDPRunIn(memory flow.Backing, flows, room int) (*udpRun, error) {
	b, err := newBedIn(memory, room, flows/60000+1)
	if err != nil {
		return nil, err
	}
	return newUDPRunOn(b, flows, 0), nil
}

// newUDPRunOn has a worker's flows be those of the clients from the first on.
func newUDPRunOn(b *bed, flows, first int) *udpRun {
	r := &udpRun{bed: b, flows: flows, first: first}
	r.frames[wan] = frame(wan, wire.ProtoUDP, vip, vip, 1, servicePort, frameSize)
	r.frames[lan] = frame(lan, wire.ProtoUDP, rip, rip, servicePort, 1, frameSize)
	for i, f := range r.frames {
		r.sums[i] = bareSums(f)
	}
	b.collect(b.sink)
	b.idle()
	return r
}

func nothing([]*packet.Packet) int { return 0 }

// sink frees what was sent.
func (b *bed) sink(burst []*packet.Packet) {
	for _, p := range burst {
		b.pool.Put(p)
	}
}

// bareSums returns the checksums' complements as if addresses and ports were 0.
func bareSums(f []byte) [2]uint32 {
	g := append([]byte(nil), f...)
	clear(g[26:38])
	ip := wire.IPv4(g[14:])
	ip.ComputeChecksum()
	wire.UDP(g[34:]).SetChecksum(0)
	wire.CompleteL4(ip)
	return [2]uint32{uint32(^binary.LittleEndian.Uint16(g[24:])), uint32(^binary.LittleEndian.Uint16(g[40:]))}
}

// stamp makes p the datagram of a flow: template, tuple, both checksums.
func stamp(p *packet.Packet, f []byte, bare *[2]uint32, t tuple) {
	p.Resize(frameSize)
	d := p.Data[:frameSize]
	copy(d, f)
	binary.LittleEndian.PutUint32(d[26:], t.src)
	binary.LittleEndian.PutUint32(d[30:], t.dst)
	binary.LittleEndian.PutUint16(d[34:], t.sport)
	binary.LittleEndian.PutUint16(d[36:], t.dport)
	s := bare[0] + t.src&0xffff + t.src>>16 + t.dst&0xffff + t.dst>>16
	u := s - bare[0] + bare[1] + uint32(t.sport) + uint32(t.dport)
	s = s&0xffff + s>>16
	u = u&0xffff + u>>16
	binary.LittleEndian.PutUint16(d[24:], ^uint16(s+s>>16))
	binary.LittleEndian.PutUint16(d[40:], ^uint16(u+u>>16))
}

// source makes the next datagrams that arrive on a port.
func (r *udpRun) source(in int) func(burst []*packet.Packet) int {
	return func(burst []*packet.Packet) int {
		n := min(len(burst), r.off)
		i := r.next[in]
		for j := range burst[:n] {
			p := r.pool.Get()
			if in == wan {
				stamp(p, r.frames[wan], &r.sums[wan], clientOf(r.first+i))
			} else {
				stamp(p, r.frames[lan], &r.sums[lan], r.replies[i])
			}
			burst[j] = p
			if i++; i == r.flows {
				i = 0
			}
		}
		r.next[in] = i
		r.off -= n
		r.sent[in] += uint64(n)
		return n
	}
}

// pass sends n datagrams of each of the given directions through the worker.
func (r *udpRun) pass(n int, ports ...int) {
	r.idle()
	for _, in := range ports {
		r.feed(in, r.source(in))
	}
	for r.off = n; r.off > 0; {
		r.worker.Breathe()
	}
}

// dry does what pass does but for the worker: the harness's own cost.
func (r *udpRun) dry(n int, ports ...int) {
	var burst [port.Burst]*packet.Packet
	sources := make([]func([]*packet.Packet) int, len(ports))
	for i, in := range ports {
		sources[i] = r.source(in)
	}
	for r.off = n; r.off > 0; {
		for i, in := range ports {
			k := sources[i](burst[:])
			for _, p := range burst[:k] {
				p.In = uint16(in)
			}
			r.sink(burst[:k])
		}
	}
}

// fill opens all flows, and has the real server answer each once.
func (r *udpRun) fill() error {
	before := r.shared.Flows.Len()
	r.pass(r.flows, wan)
	if err := r.lost(); err != nil {
		return err
	}
	if n := r.shared.Flows.Len() - before; n != r.flows {
		return fmt.Errorf("%d flows were made of %d", n, r.flows)
	}
	r.replies = make([]tuple, r.flows)
	t := r.shared.Flows
	for i := range t.Used() {
		h := t.Half(t.Conn(i).In)
		if h.Key1&flow.FlagValid == 0 || h.Conn != i {
			continue // an index that waits for its first connection
		}
		ip := uint32(h.Key0)
		client := int(ip>>24 | ip>>8&0xff00 | ip<<8&0xff0000 | ip<<24)
		index := client&0xfffff | (int(uint16(h.Key1)>>8|uint16(h.Key1)<<8)-1024)<<20
		if index -= r.first; index < 0 || index >= r.flows {
			continue // another worker's
		}
		r.replies[index] = tuple{src: uint32(h.NewAddrs >> 32), dst: uint32(h.NewAddrs), sport: uint16(h.NewPorts >> 16), dport: uint16(h.NewPorts)}
	}
	r.next[lan] = 0
	r.pass(r.flows, lan)
	return r.lost()
}

// cost is what one packet took.
type cost struct{ cycles, ns float64 }

// costOf takes nanoseconds of processor time. Cycles are those of the time stamp
// counter, which runs at a constant rate.
func costOf(ns float64) cost { return cost{ns * tscGHz, ns} }

// tscGHz is how fast the time stamp counter runs.
var tscGHz = func() float64 {
	t0, c0 := time.Now(), tsc()
	for time.Since(t0) < 50*time.Millisecond {
	}
	return float64(tsc()-c0) / float64(time.Since(t0).Nanoseconds())
}()

// cpuTime is the processor time of this thread in ns: what other programs take
// from the machine meanwhile does not count.
func cpuTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return ts.Nano()
}

// measured is what a packet costs: the median of repetitions, of each the harness taken off
// that was measured right behind it, and the harness's own; and what calm time alone says.
type measured struct {
	walk, harness   cost
	calm, calmDries calmed
}

// walkPiece is how many packets are a piece of time: 10 ms at least.
const walkPiece = 1 << 19

// measure measures n packets, and as many again.
func (r *udpRun) measure(c *calmness, n, reps int, ports ...int) (m measured) {
	var walks, dries []float64
	var allWalks, allDries []piece
	for range reps {
		walk := c.spread(n, walkPiece, func(n int) { r.pass(n, ports...) })
		dry := c.spread(n, walkPiece, func(n int) { r.dry(n, ports...) })
		w, d := total(walk), total(dry)
		walks = append(walks, w.each()-d.each())
		dries = append(dries, d.each())
		allWalks, allDries = append(allWalks, walk...), append(allDries, dry...)
	}
	m.walk, m.harness = costOf(median(walks)), costOf(median(dries))
	_, more := c.patiently(func() []piece { return c.spread(n, walkPiece, func(n int) { r.dry(n, ports...) }) })
	m.calm, m.calmDries = c.of(allWalks), c.of(append(allDries, more...))
	return m
}

func median(v []float64) float64 {
	sort.Float64s(v)
	return v[len(v)/2]
}

package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"weir/internal/packet"
	"weir/internal/wire"
)

// TCP connections a second: each of eight packets, from SYN to closed, all new,
// with local ports, TOA, timers and expiry at work.

const (
	fin = 1
	syn = 2
	ack = 16

	lot = 512 // connections that go through their lives side by side

	clientISN, serverISN = 1000, 5000
)

// step is one packet of a connection's life.
type step struct {
	in       int // port it arrives on
	flags    uint8
	seq, ack uint32 // relative to the initial sequence numbers
	payload  int
}

var life = []step{
	{wan, syn, 0, 0, 0},
	{lan, syn | ack, 0, 1, 0},
	{wan, ack, 1, 1, 0},
	{wan, ack, 1, 1, 6}, // the request
	{lan, ack, 1, 7, 6}, // the answer
	{wan, fin | ack, 7, 7, 0},
	{lan, fin | ack, 7, 8, 0},
	{wan, ack, 8, 8, 0},
}

// tcpRun drives lots of connections through their lives.
type tcpRun struct {
	*bed
	frames [][]byte // by step
	born   int      // connections so far
	step   int
	at     int         // connection of the lot whose packet comes next
	seen   [lot]tuple  // how the real server sees each client
	isn    [lot]uint32 // and its initial sequence number
	taken  int         // of seen
}

// newTCPRun makes room for what is made in a time at 2 million a second, 12 M at most:
// a connection that has ended stays for 7 s.
func newTCPRun(d time.Duration) (*tcpRun, error) {
	room := min(12<<20, 1<<18+int(2e6*d.Seconds()))
	b, err := newBed(room, room/60000+1)
	if err != nil {
		return nil, err
	}
	r := &tcpRun{bed: b}
	for _, s := range life {
		src, dst := vip, vip
		if s.in == lan {
			src, dst = rip, rip
		}
		f := frame(s.in, wire.ProtoTCP, src, dst, servicePort, servicePort, 54+s.payload)
		wire.TCP(f[34:]).SetFlags(s.flags)
		r.frames = append(r.frames, f)
	}
	return r, nil
}

// make makes the packets of the present step.
func (r *tcpRun) make(burst []*packet.Packet) int {
	n := min(len(burst), lot-r.at)
	s, f := &life[r.step], r.frames[r.step]
	for j := range burst[:n] {
		i := r.at + j
		p := r.pool.Get()
		p.Resize(len(f))
		copy(p.Data, f)
		t := clientOf((r.born + i) & (1<<26 - 1))
		seq, ackn := uint32(clientISN), uint32(serverISN)
		if s.in == lan {
			t = r.seen[i]
			seq, ackn = serverISN, r.isn[i]
		}
		if s.flags&ack == 0 {
			ackn = -s.ack
		}
		finishTCP(p.Data, t, seq+s.seq, ackn+s.ack)
		burst[j] = p
	}
	r.at += n
	return n
}

func finishTCP(d []byte, t tuple, seq, ackn uint32) {
	ip := wire.IPv4(d[14:])
	binary.LittleEndian.PutUint32(ip[12:], t.src)
	binary.LittleEndian.PutUint32(ip[16:], t.dst)
	ip.ComputeChecksum()
	tcp := wire.TCP(d[34:])
	binary.LittleEndian.PutUint16(tcp[0:], t.sport)
	binary.LittleEndian.PutUint16(tcp[2:], t.dport)
	tcp.SetSeq(seq)
	tcp.SetAck(ackn)
	wire.CompleteL4(ip)
}

// note remembers how SYNs look to the real server, and frees packets.
func (r *tcpRun) note(burst []*packet.Packet) {
	for _, p := range burst {
		d := p.Data
		if r.step == 0 && r.taken < lot {
			i := r.taken
			r.taken++
			r.seen[i] = tuple{
				src: binary.LittleEndian.Uint32(d[30:]), dst: binary.LittleEndian.Uint32(d[26:]),
				sport: binary.LittleEndian.Uint16(d[36:]), dport: binary.LittleEndian.Uint16(d[34:]),
			}
			r.isn[i] = wire.TCP(d[34:]).Seq()
		}
		r.pool.Put(p)
	}
}

// lives takes one lot through its life.
func (r *tcpRun) lives() {
	r.taken = 0
	for r.step = range life {
		r.at = 0
		in := life[r.step].in
		r.feed(in, r.make)
		for r.at < lot {
			r.worker.Breathe()
		}
		r.feed(in, nothing)
	}
	r.born += lot
}

// dry makes and frees the same packets without a director.
func (r *tcpRun) dry() {
	var burst [64]*packet.Packet
	for r.step = range life {
		for r.at = 0; r.at < lot; {
			r.note(burst[:r.make(burst[:])])
		}
	}
}

// rate makes connections for a time and returns the processor time of one.
func (r *tcpRun) rate(d time.Duration) time.Duration {
	made, used := r.born, cpuTime()
	for begin := time.Now(); time.Since(begin) < d; {
		r.lives()
	}
	return time.Duration(cpuTime()-used) / time.Duration(r.born-made)
}

func tcpRow(d time.Duration) error {
	r, err := newTCPRun(d)
	if err != nil {
		return err
	}
	defer r.close()
	r.collect(r.note)
	r.idle()
	// A closed connection stays for 7 s (TIME_WAIT): until then the table fills
	// and none expires; later as many expire as are made.
	filling := r.rate(min(d/3, 6*time.Second))
	for begin := time.Now(); time.Since(begin) < d/6; {
		r.lives()
	}
	expired := r.worker.Stats().Expired
	steady := r.rate(d / 2)
	expired = r.worker.Stats().Expired - expired
	used := cpuTime()
	const dries = 200
	for range dries {
		r.dry()
	}
	harness := time.Duration(cpuTime()-used) / (dries * lot)
	fmt.Printf("\nTCP, 8 packets from SYN to closed, all new, processor time, harness (%v a connection) taken off:\n", harness)
	for _, phase := range []struct {
		what string
		each time.Duration
	}{{"while the table fills", filling - harness}, {"steady, as many expire as are made", steady - harness}} {
		fmt.Printf("  %7.0f connections a second %s (%v each)\n", float64(time.Second)/float64(phase.each), phase.what, phase.each)
	}
	fmt.Printf("  %d expired in the second phase, %d were there at the end; %d packets carried TOA\n", expired, r.shared.Flows.Len(), r.worker.Stats().TOASent)
	return r.lost()
}

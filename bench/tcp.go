package main

import (
	"encoding/binary"
	"math/bits"
	"time"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/wire"
)

// TCP connections a second: each of eight packets, from SYN to closed, all new,
// with local ports, TOA, timers and expiry at work.

const (
	fin = 1
	syn = 2
	ack = 16

	// Connections go through their lives side by side, in groups. Mixed, each group is
	// one packet ahead of the next, so that a burst has packets of all kinds, and of
	// 40 connections and more; else all are at the same packet.
	groups  = 8
	members = 64
	lot     = groups * members

	clientISN, serverISN = 1000, 5000
)

// step is one packet of a connection's life.
type step struct {
	name     string
	in       int // port it arrives on
	flags    uint8
	seq, ack uint32 // relative to the initial sequence numbers
	payload  int
}

// What Linux's segments have for options: a SYN's 20 bytes offer a segment size, selective
// acknowledgement, timestamps and a window scale; all others have their timestamp.
var (
	synOptions = []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7}
	options    = []byte{1, 1, 8, 10, 0, 1, 2, 3, 0, 4, 5, 6}
)

// optionsOf are those of a step; bare segments have none.
func (s *step) optionsOf(bare bool) []byte {
	switch {
	case bare:
		return nil
	case s.flags&syn != 0:
		return synOptions
	}
	return options
}

var life = [groups]step{
	{"SYN", wan, syn, 0, 0, 0},
	{"SYN-ACK", lan, syn | ack, 0, 1, 0},
	{"ACK", wan, ack, 1, 1, 0},
	{"request", wan, ack, 1, 1, 6},
	{"answer", lan, ack, 1, 7, 6},
	{"FIN", wan, fin | ack, 7, 7, 0},
	{"FIN-ACK", lan, fin | ack, 7, 8, 0},
	{"last ACK", wan, ack, 8, 8, 0},
}

// tcpConn is a connection as its two ends know it.
type tcpConn struct {
	client tuple
	seen   tuple  // how the real server sees the client
	isn    uint32 // and its initial sequence number
}

// tcpRun drives lots of connections through their lives.
type tcpRun struct {
	*bed
	mixed  bool
	frames [groups][]byte    // by step
	sums   [groups][2]uint32 // IP and TCP checksum complement without what is stamped
	born   int               // connections so far
	died   int               // of them, went to their end
	round  int
	alive  [groups]bool // was born in this run
	conns  [lot]tcpConn
	turns  [2]turn    // what arrives in this round, by port
	cycles [8][]int64 // what rounds took, by step, if not mixed and wanted
}

// turn is what arrives on a port in a round: of each of some groups, one packet of each
// connection.
type turn struct {
	of    [groups]int // groups
	n     int         // how many
	next  int         // packet
	until int
}

// newTCPRun makes room for what is made in a time at 1.5 million a second, 12 M at most. A
// connection that has ended stays for so many seconds: 7 is what it does without being
// told (TIME_WAIT), 2 is how DPVS was measured; and rests for another one.
func newTCPRun(d time.Duration, linger uint32, bare bool) (*tcpRun, error) {
	stays := float64(linger) + 1.2
	room := min(12<<20, 1<<18+int(1.5e6*min(d.Seconds(), stays)))
	b, err := newBed(room, room/60000+1)
	if err != nil {
		return nil, err
	}
	short := spec.DefaultTimeouts()
	t := &short.TCP
	t.FinWait, t.TimeWait, t.Close, t.CloseWait, t.LastAck = linger, linger, min(linger, 3), linger, linger
	b.setTimeouts(&short)
	r := &tcpRun{bed: b}
	for i, s := range life {
		src, dst := vip, vip
		if s.in == lan {
			src, dst = rip, rip
		}
		opts := s.optionsOf(bare)
		f := frame(s.in, wire.ProtoTCP, src, dst, servicePort, servicePort, 54+len(opts)+s.payload)
		t := wire.TCP(f[34:])
		t.SetFlags(s.flags)
		t.SetDataOffset(wire.TCPMinLen + len(opts))
		copy(f[54:], opts)
		r.frames[i], r.sums[i] = f, bareTCP(f)
	}
	r.collect(r.note)
	r.feed(wan, r.source(wan))
	r.feed(lan, r.source(lan))
	return r, nil
}

// bareTCP returns the checksums' complements as if addresses, ports, numbers and window
// were 0.
func bareTCP(f []byte) [2]uint32 {
	g := append([]byte(nil), f...)
	clear(g[26:46])
	clear(g[48:50])
	ip := wire.IPv4(g[14:])
	ip.ComputeChecksum()
	wire.CompleteL4(ip)
	return [2]uint32{uint32(^binary.LittleEndian.Uint16(g[24:])), uint32(^binary.LittleEndian.Uint16(g[50:]))}
}

// stampTCP makes p the packet of a step: the frame, tuple, numbers, and mark in the window,
// which nobody changes on the way.
func stampTCP(p *packet.Packet, f []byte, bare *[2]uint32, t *tuple, seq, ack uint32, mark uint16) {
	p.Resize(len(f))
	d := p.Data[:54]
	copy(p.Data, f)
	s, a, w := bits.ReverseBytes32(seq), bits.ReverseBytes32(ack), bits.ReverseBytes16(mark)
	binary.LittleEndian.PutUint32(d[26:], t.src)
	binary.LittleEndian.PutUint32(d[30:], t.dst)
	binary.LittleEndian.PutUint16(d[34:], t.sport)
	binary.LittleEndian.PutUint16(d[36:], t.dport)
	binary.LittleEndian.PutUint32(d[38:], s)
	binary.LittleEndian.PutUint32(d[42:], a)
	binary.LittleEndian.PutUint16(d[48:], w)
	addrs := t.src&0xffff + t.src>>16 + t.dst&0xffff + t.dst>>16
	l3 := bare[0] + addrs
	l4 := bare[1] + addrs + uint32(t.sport) + uint32(t.dport) + s&0xffff + s>>16 + a&0xffff + a>>16 + uint32(w)
	l3 = l3&0xffff + l3>>16
	l4 = l4&0xffff + l4>>16
	binary.LittleEndian.PutUint16(d[24:], ^uint16(l3+l3>>16))
	binary.LittleEndian.PutUint16(d[50:], ^uint16(l4+l4>>16))
}

// at is the step of a group in the present round.
func (r *tcpRun) at(group int) int {
	if r.mixed {
		return (r.round + groups - group) % groups
	}
	return r.round % groups
}

// begin sets up the present round.
func (r *tcpRun) begin() {
	r.turns = [2]turn{}
	for g := range groups {
		s := r.at(g)
		r.alive[g] = r.alive[g] || s == 0
		if r.alive[g] {
			t := &r.turns[life[s].in]
			t.of[t.n] = g
			t.n++
			t.until += members
		}
	}
}

// end goes on to the next round.
func (r *tcpRun) end() {
	for g := range groups {
		if r.alive[g] && r.at(g) == groups-1 {
			r.died += members
		}
	}
	r.round++
}

// source makes the packets that arrive on a port in the present round.
func (r *tcpRun) source(in int) func([]*packet.Packet) int {
	t := &r.turns[in]
	return func(burst []*packet.Packet) int {
		n := min(len(burst), t.until-t.next)
		for j := range burst[:n] {
			at := t.next + j
			g := t.of[at%t.n]
			i := g*members + at/t.n
			k := r.at(g)
			s, c := &life[k], &r.conns[i]
			if k == 0 {
				c.client = clientOf(r.born & (1<<26 - 1))
				r.born++
			}
			p := r.pool.Get()
			if in == wan {
				seq, ackn := clientISN+s.seq, serverISN+s.ack
				if k == 0 {
					ackn = 0
				}
				stampTCP(p, r.frames[k], &r.sums[k], &c.client, seq, ackn, uint16(i))
			} else {
				stampTCP(p, r.frames[k], &r.sums[k], &c.seen, serverISN+s.seq, c.isn+s.ack, uint16(i))
			}
			burst[j] = p
		}
		t.next += n
		return n
	}
}

// note remembers how SYNs look to the real server, and frees packets.
func (r *tcpRun) note(burst []*packet.Packet) {
	for _, p := range burst {
		d := p.Data[:54]
		if d[47] == syn {
			c := &r.conns[binary.BigEndian.Uint16(d[48:])%lot]
			c.seen = tuple{
				src: binary.LittleEndian.Uint32(d[30:]), dst: binary.LittleEndian.Uint32(d[26:]),
				sport: binary.LittleEndian.Uint16(d[36:]), dport: binary.LittleEndian.Uint16(d[34:]),
			}
			c.isn = binary.BigEndian.Uint32(d[38:])
		}
		r.pool.Put(p)
	}
}

// lives takes a lot on by eight rounds: as many connections begin and end as there are in it.
func (r *tcpRun) lives() {
	for range groups {
		begin := tsc()
		r.begin()
		for r.turns[wan].next < r.turns[wan].until || r.turns[lan].next < r.turns[lan].until {
			r.worker.Breathe()
		}
		if k := r.round % groups; len(r.cycles[k]) < cap(r.cycles[k]) {
			r.cycles[k] = append(r.cycles[k], int64(tsc()-begin))
		}
		r.end()
	}
}

// dry makes and frees the same packets without a director.
func (r *tcpRun) dry() {
	var burst [port.Burst]*packet.Packet
	sources := [2]func([]*packet.Packet) int{r.source(0), r.source(1)}
	for range groups {
		begin := tsc()
		r.begin()
		for in, source := range sources {
			for r.turns[in].next < r.turns[in].until {
				n := source(burst[:])
				for _, p := range burst[:n] {
					p.In = uint16(in)
				}
				r.note(burst[:n])
			}
		}
		if k := r.round % groups; len(r.cycles[k]) < cap(r.cycles[k]) {
			r.cycles[k] = append(r.cycles[k], int64(tsc()-begin))
		}
		r.end()
	}
}

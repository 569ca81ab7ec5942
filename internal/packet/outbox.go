package packet

// Outbox holds packets that a stage made itself (ARP requests, RST, ICMP
// errors) until the walk takes them. It is worker-owned and bounded; beyond
// the bound a new packet is not made, which its maker counts.
type Outbox struct {
	items [256]*Packet
	n     int
}

// Push adds p with its verdict set to Output (route and resolve it) or Transmit
// (link header complete, Out set) and reports whether there was room.
func (o *Outbox) Push(p *Packet, v Verdict) bool {
	if o.n == len(o.items) {
		return false
	}
	p.Verdict = v
	o.items[o.n] = p
	o.n++
	return true
}

// Full reports whether Push would fail.
func (o *Outbox) Full() bool { return o.n == len(o.items) }

// Pop returns the oldest packets, at most len(into), in order.
func (o *Outbox) Pop(into []*Packet) int {
	n := copy(into, o.items[:o.n])
	copy(o.items[:], o.items[n:o.n])
	o.n -= n
	return n
}

// Len returns how many packets wait.
func (o *Outbox) Len() int { return o.n }

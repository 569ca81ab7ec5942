package ether

import (
	"weir/internal/flow"
	"weir/internal/port"
	"weir/internal/stat"
)

// Link is a worker's link layer.
type Link struct {
	hops  *flow.NextHops
	ports *[port.Max]port.Facts
	// macs are the ports' own addresses as the low 48 bits of a little-endian
	// load, so that a frame's destination is judged with one compare.
	macs   [port.Max]uint64
	vlans  vlans
	counts *[stat.MaxPorts]stat.PortCount
}

// New returns the link layer of a worker over the shared next hops. What comes to VLANs
// is counted in counts.
func New(hops *flow.NextHops, ports *[port.Max]port.Facts, counts *[stat.MaxPorts]stat.PortCount) *Link {
	l := &Link{hops: hops, counts: counts}
	l.SetPorts(ports)
	return l
}

// SetPorts tells the ports' facts, which nobody changes afterwards. Telling the
// same pointer again, as every breath may, costs a compare.
func (l *Link) SetPorts(ports *[port.Max]port.Facts) {
	if ports == l.ports {
		return
	}
	l.ports = ports
	for i := range ports {
		l.macs[i] = word(ports[i].MAC)
	}
	l.vlans.set(ports)
}

// Own is a port's own MAC, as the low 48 bits of a little-endian load.
func (l *Link) Own(port uint16) uint64 { return l.macs[port%maxPorts] }

const maxPorts = port.Max

const macMask = 1<<48 - 1

// word is a MAC as it comes out of a little-endian load.
func word(m port.MAC) uint64 {
	return uint64(m[0]) | uint64(m[1])<<8 | uint64(m[2])<<16 | uint64(m[3])<<24 | uint64(m[4])<<32 | uint64(m[5])<<40
}

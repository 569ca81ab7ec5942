package lb

import (
	"encoding/binary"

	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

// schedule finds a real server for a packet: the one that its QUIC connection id
// names, if the service listens to that, else the scheduler's.
func schedule(p *packet.Packet, svc *service.Service) (*service.Dest, spec.Forward) {
	if svc.Table == nil && !svc.QUIC {
		return svc.Pick(nil) // by what real servers have, whoever comes
	}
	src, dst := ends(p)
	k := sched.Key{Client: sched.FromWire(src), Virtual: sched.FromWire(dst), Port: wirePort(uint16(p.Key1))}
	if svc.QUIC || svc.HashID {
		data := p.Data[int(p.L4)+wire.UDPLen:]
		if svc.QUIC {
			if i := namedBy(data, svc); i >= 0 {
				return svc.Dests[i], svc.Modes[i]
			}
		}
		if id := hashableID(data); svc.HashID && id != nil {
			k.ID = sched.IDOf(id)
		}
	}
	return svc.Pick(&k)
}

// Bits of the first byte of a QUIC packet (RFC 9000, 17), and of Google's QUIC
// before version 44, whose connection id is the 8 bytes behind it.
const (
	quicLong    = 0x80
	quicFixed   = 0x40
	googleHasID = 0x08
	googleIDLen = 8
)

// destinationID returns the destination connection id of a packet of QUIC version
// 1, or of 0 (version negotiation). A short header does not say how long its id
// is: what follows comes with it, up to the longest id. It is nil if there is none.
func destinationID(data []byte) (id []byte, long bool) {
	switch {
	case len(data) < 2:
		return nil, false
	case data[0]&quicLong == 0:
		if data[0]&quicFixed == 0 {
			return nil, false
		}
		return data[1:min(len(data), 1+sched.MaxID)], false
	case len(data) < 6 || binary.BigEndian.Uint32(data[1:]) > 1:
		return nil, true
	}
	n := int(data[5])
	if n > sched.MaxID || len(data) < 6+n {
		return nil, true
	}
	return data[6 : 6+n], true
}

// hashableID returns the part of a packet that stays the same while a client
// moves and that conhash by qid goes by: Google's connection id, or the id of a
// long header. Where a short header's ends only the server knows.
func hashableID(data []byte) []byte {
	if len(data) > googleIDLen && data[0]&(quicLong|quicFixed) == 0 && data[0]&googleHasID != 0 {
		return data[1 : 1+googleIDLen]
	}
	if id, long := destinationID(data); long && len(id) > 0 {
		return id
	}
	return nil
}

// serverID is what a connection id says about the real server that made it: the
// last bytes of its address, and its port if it has that.
type serverID struct {
	addr uint64
	n    int // of the address's bytes that addr has, 1 to 8
	port int // -1: any
}

// fewestNonce is the least that has to follow what names the server.
const fewestNonce = 4

// parseServerID reads a connection id as DPVS's servers make it: a free byte, 3
// bits of address length - 1, a bit that says there is a port, then, beginning in
// the middle of the second byte, address, port, and a nonce of 32 bits at least.
// A longer id may be given: what is behind the nonce does not matter.
func parseServerID(id []byte) (s serverID, ok bool) {
	if len(id) < 2 {
		return s, false
	}
	s.n, s.port = 1+int(id[1]>>5), -1
	n := s.n
	hasPort := id[1]&0x10 != 0
	if hasPort {
		n += 2
	}
	// Bytes: 1.5 ahead, n, the nonce; the half one rounded up.
	if len(id) < 2+n+fewestNonce {
		return s, false
	}
	at := func(i int) byte { return id[1+i]<<4 | id[2+i]>>4 }
	for i := range s.n {
		s.addr = s.addr<<8 | uint64(at(i))
	}
	if hasPort {
		s.port = int(at(s.n))<<8 | int(at(s.n+1))
	}
	return s, true
}

// names reports whether it is this real server's.
func (s serverID) names(d *service.Dest) bool {
	if s.port >= 0 && s.port != int(d.Port) {
		return false
	}
	a := sched.AddrOf(d.Addr.Addr()).Lo
	n := s.n
	if d.Addr.Addr().Is4() {
		if n > 4 {
			return false // such an address has no more bytes
		}
		a = uint64(uint32(a))
	}
	return a<<(64-8*n) == s.addr<<(64-8*n)
}

// namedBy returns the number of the real server that a packet's connection id names, or -1. A
// short header belongs to a connection that the server has: its client has moved,
// and weight and limits do not count. The id of a long header may be the client's
// own random one: that must not lead to a server that takes no new connections.
func namedBy(data []byte, svc *service.Service) int {
	id, long := destinationID(data)
	s, ok := parseServerID(id)
	if !ok {
		return -1
	}
	for i, d := range svc.Dests {
		if s.names(d) && (!long || svc.Candidates[i].Usable()) {
			return i
		}
	}
	return -1
}

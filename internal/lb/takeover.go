package lb

import (
	"weir/internal/lb/service"
	"weir/internal/packet"
)

// mayTakeOver reports whether a segment out of the middle of no known connection begins one
// here: the flow came by another director until now, whose route is gone, or by this one
// before its table forgot it. The scheduler hashes, so that it finds the flow's real
// server with nothing but the client's address, and that server answers the client itself
// and has all that is to know. LVS does so for any service where net.ipv4.vs.sloppy_tcp
// is set; as there, RST begins nothing, and a SYN with ACK is no client's.
//
// Whoever sends such segments gets no more than for SYNs: the connection is half-open,
// and ends early for others' sake, until a second segment comes (proto's table).
func (b *Balancer) mayTakeOver(p *packet.Packet, svc *service.Service) bool {
	return p.Proto == protoTCP && svc.TakesOver && !b.Tables.DefenceTCP && p.TCPFlags&(tcpSYN|tcpRST) == 0 && p.TCPFlags&(tcpACK|tcpFIN) != 0
}

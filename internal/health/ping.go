package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Numbers of the protocols, for the parser.
const (
	protoICMP   = 1
	protoICMPv6 = 58
)

// Ping is PING_CHECK: the server answers an echo request (RFC 792, RFC 4443). The
// socket is raw, which takes CAP_NET_RAW and, unlike stock, leaves the sysctl
// ping_group_range alone; it is connected, so that a thousand of them do not hear
// each other.
type Ping struct{ Way }

// Probe implements [Probe].
func (p Ping) Probe(ctx context.Context) Finding {
	ctx, cancel := p.within(ctx)
	defer cancel()
	network, proto := "ip4:icmp", protoICMP
	echo := icmp.Message{Type: ipv4.ICMPTypeEcho}
	if !p.To.Addr().Unmap().Is4() {
		network, proto = "ip6:ipv6-icmp", protoICMPv6
		echo.Type = ipv6.ICMPTypeEchoRequest
	}
	body := &icmp.Echo{ID: int(uint16(rand.Uint32())), Seq: int(uint16(rand.Uint32())), Data: noise()}
	echo.Body = body
	// The kernel puts the checksum of ICMPv6 in.
	request, err := echo.Marshal(nil)
	if err != nil {
		return found(err)
	}
	l, err := p.dialIP(ctx, network)
	if err != nil {
		return found(err)
	}
	defer l.hangUp()
	if _, err := l.Write(request); err != nil {
		return found(err)
	}
	return found(l.awaitEcho(proto, body))
}

// awaitEcho waits for the reply to an echo request, over all else that the server
// says in ICMP.
func (l *line) awaitEcho(proto int, sent *icmp.Echo) error {
	c, raw := l.Conn.(*net.IPConn)
	if !raw {
		return fmt.Errorf("an echo reply cannot be read from %T", l.Conn)
	}
	for b := make([]byte, 512); ; {
		// Unlike Read, it takes the IPv4 header away.
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(proto, b[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		if got, echo := m.Body.(*icmp.Echo); echo && got.ID == sent.ID && got.Seq == sent.Seq {
			return nil
		}
	}
}

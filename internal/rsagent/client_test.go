package rsagent

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"
)

// handshake says which options a client's segments have as they leave the director.
type handshake struct {
	syn, third, data []byte

	synData bool // the SYN has data: fast open
	noThird bool // the third segment was lost, the data is the first to acknowledge
	noData  bool // nothing but the handshake
	rest    bool // data goes out in a second segment, with the same options
	mptcp   bool
}

// conn is a client's TCP connection as the director passes it on, segment by segment.
type conn struct {
	w        *wire
	from, to netip.AddrPort
	seq, ack uint32
	end      <-chan parsed
}

// request is what clients send.
var request = []byte("GET / HTTP/1.0\r\n\r\n")

// isn is the next connection's initial sequence number: a server that has closed a
// connection takes a new one with the same addresses only if it is greater.
var isn atomic.Uint32

// connect opens a connection to the real server as from, which is the director's
// local address.
func connect(t *testing.T, w *wire, from, to netip.AddrPort, h handshake) *conn {
	t.Helper()
	c := &conn{w: w, from: from, to: to, seq: isn.Add(1 << 20), end: w.listen(t, from)}
	var data []byte
	if h.synData {
		data = request
	}
	synOptions, third, dataOptions := h.syn, h.third, h.data
	if h.mptcp {
		synOptions = append([]byte{30, 4, 0x01, 0x01}, synOptions...) // MP_CAPABLE, version 1, HMAC-SHA256
	}
	c.segment(t, syn, synOptions, data)
	p := await(t, c.end, "a SYN-ACK", func(p parsed) bool { return len(p.l4) >= 20 && p.l4[13]&(syn|ack|rst) == syn|ack })
	c.seq++
	c.ack = binary.BigEndian.Uint32(p.l4[4:]) + 1
	if acked := binary.BigEndian.Uint32(p.l4[8:]); acked != c.seq {
		c.seq = acked // it took the data too
	}
	if h.mptcp {
		key := mptcpKey(p.l4)
		if key == nil {
			t.Fatal("the SYN-ACK has no MP_CAPABLE: it is no MPTCP listener")
		}
		capable := append([]byte{30, 20, 0x01, 0x01, 1, 2, 3, 4, 5, 6, 7, 8}, key...)
		third = append(append([]byte{}, third...), capable...)
	}
	if !h.noThird {
		c.segment(t, ack, third, nil)
	}
	if h.noData || h.synData {
		return c
	}
	c.segment(t, ack|psh, dataOptions, request)
	if h.rest {
		c.segment(t, ack|psh, dataOptions, request)
	}
	return c
}

// segment sends one, and counts what it takes of the sequence numbers.
func (c *conn) segment(t *testing.T, flags byte, options, data []byte) {
	t.Helper()
	c.w.send(t, ip(c.from.Addr(), c.to.Addr(), 6, nil, tcp(c.from, c.to, flags, c.seq, c.ack, options, data)))
	c.seq += uint32(len(data))
}

// reset ends the connection.
func (c *conn) reset(t *testing.T) {
	t.Helper()
	c.segment(t, rst|ack, nil, nil)
}

// mptcpKey returns the server's key of a SYN-ACK's MP_CAPABLE (RFC 8684, section 3.1).
func mptcpKey(segment []byte) []byte {
	options := segment[20 : segment[12]>>4*4]
	for len(options) > 1 {
		switch {
		case options[0] == 1:
			options = options[1:]
			continue
		case options[0] == 0 || int(options[1]) < 2 || int(options[1]) > len(options):
			return nil
		case options[0] == 30 && options[1] == 12:
			return options[4:12]
		}
		options = options[options[1]:]
	}
	return nil
}

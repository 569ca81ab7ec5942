package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testkit/netns"
	"weir/internal/wire"
)

// The machine's kernel has no SCTP: these are peers of our own, over raw sockets. They
// speak what an association takes (RFC 9260): the handshake of four with a cookie, one
// DATA chunk after the other with its SACK, ABORT for a port that nobody serves, and
// for the end. They send again what was lost, and have one address and one stream.

// Times and sizes of the peers.
const (
	sctpPayload = 1024
	sctpWindow  = 65536
	sctpPatient = time.Second // until something is sent again
	sctpTries   = 5
)

// sctpSocket is a raw socket of SCTP. Its kernel finds the route and writes the header
// of IP; of what it hears, a packet of IPv4 comes without one too (package net).
type sctpSocket struct{ *net.IPConn }

func openSCTP(in *netns.Namespace, local netip.Addr) (s sctpSocket, err error) {
	err = in.Do(func() error {
		var lc net.ListenConfig
		c, err := lc.ListenPacket(context.Background(), map[bool]string{true: "ip4:132", false: "ip6:132"}[local.Is4()], local.String())
		if err == nil {
			s.IPConn = c.(*net.IPConn)
		}
		return err
	})
	return s, err
}

// send sends chunks to a port of a peer.
func (s sctpSocket) send(to net.Addr, from, at uint16, tag uint32, chunks ...[]byte) error {
	p := wire.SCTP(make([]byte, wire.SCTPLen))
	p.SetSrcPort(from)
	p.SetDstPort(at)
	p.SetVerificationTag(tag)
	for _, c := range chunks {
		p = append(p, c...)
		p = append(p, make([]byte, -len(c)&3)...)
	}
	p.ComputeChecksum()
	_, err := s.WriteTo(p, to)
	return err
}

// hear takes the next good packet; a deadline that is past is an error.
func (s sctpSocket) hear(buf []byte) (wire.SCTP, net.Addr, error) {
	for {
		n, from, err := s.ReadFrom(buf)
		if err != nil {
			return nil, nil, err
		}
		if p := wire.SCTP(buf[:n]); n > wire.SCTPLen && p.ChecksumOK() {
			return p, from, nil
		}
	}
}

// chunk makes one of its type and flags.
func chunk(kind, flags uint8, value ...[]byte) []byte {
	b := append([]byte{kind, flags, 0, 0}, bytes.Join(value, nil)...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	return b
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// initChunk is INIT or INIT ACK: tag, window, one stream each way, first TSN, and for
// INIT ACK the cookie (parameter 7).
func initChunk(kind uint8, tag, tsn uint32, cookie []byte) []byte {
	value := [][]byte{u32(tag), u32(sctpWindow), {0, 1, 0, 1}, u32(tsn)}
	if cookie != nil {
		value = append(value, []byte{0, 7, 0, byte(4 + len(cookie))}, cookie)
	}
	return chunk(kind, 0, value...)
}

// dataChunk is a whole message: it begins and ends in the chunk.
func dataChunk(tsn uint32, number uint16, data []byte) []byte {
	return chunk(wire.SCTPData, 3, u32(tsn), []byte{0, 0}, binary.BigEndian.AppendUint16(nil, number), u32(0), data)
}

func sackChunk(tsn uint32) []byte {
	return chunk(wire.SCTPSack, 0, u32(tsn), u32(sctpWindow), u32(0))
}

// dataOf reads a DATA chunk.
func dataOf(c wire.SCTPChunk) (tsn uint32, number uint16, data []byte, ok bool) {
	v := c.Value()
	if c.Type != wire.SCTPData || len(v) < 12 {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint32(v), binary.BigEndian.Uint16(v[6:]), v[12:], true
}

// sctpServer says again what it hears on a port of an address. All that it knows of an
// association it puts into the cookie, and then under its own tag.
type sctpServer struct {
	sctpSocket
	port  uint16
	tag   uint32            // of the latest association
	peers map[uint32]uint32 // own tag to the peer's
}

// serveSCTP runs a server until the test ends.
func (b *bed) serveSCTP(in *netns.Namespace, local netip.Addr, port uint16) {
	b.t.Helper()
	socket, err := openSCTP(in, local)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { socket.Close() })
	s := &sctpServer{sctpSocket: socket, port: port, tag: 1_000_000, peers: map[uint32]uint32{}}
	go s.run()
}

func (s *sctpServer) run() {
	buf := make([]byte, 65536)
	for {
		p, from, err := s.hear(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		for c, rest, ok := wire.NextSCTPChunk(p.Chunks()); ok; c, rest, ok = wire.NextSCTPChunk(rest) {
			// What is lost is sent again by the client.
			_ = s.take(p, from, c)
		}
	}
}

// take answers one chunk.
func (s *sctpServer) take(p wire.SCTP, from net.Addr, c wire.SCTPChunk) error {
	reply := func(tag uint32, chunks ...[]byte) error {
		return s.send(from, p.DstPort(), p.SrcPort(), tag, chunks...)
	}
	if c.Type == wire.SCTPInit {
		tag, ok := c.InitiateTag()
		switch {
		case !ok || p.VerificationTag() != 0:
			return nil
		case p.DstPort() != s.port: // section 8.4, rule 3
			return reply(tag, chunk(wire.SCTPAbort, 0))
		}
		s.tag++
		return reply(tag, initChunk(wire.SCTPInitAck, s.tag, 1, append(u32(s.tag), u32(tag)...)))
	}
	own := p.VerificationTag()
	if v := c.Value(); c.Type == wire.SCTPCookieEcho && len(v) == 8 && binary.BigEndian.Uint32(v) == own {
		s.peers[own] = binary.BigEndian.Uint32(v[4:])
		return reply(s.peers[own], chunk(wire.SCTPCookieAck, 0))
	}
	peer, known := s.peers[own]
	if !known {
		return nil
	}
	if c.Type == wire.SCTPAbort {
		delete(s.peers, own)
		return nil
	}
	// The client waits for each answer, so its TSN and ours go together.
	if tsn, number, data, ok := dataOf(c); ok {
		return reply(peer, sackChunk(tsn), dataChunk(tsn, number, data))
	}
	return nil
}

// sctpClient is the other end of an association.
type sctpClient struct {
	sctpSocket
	to        net.Addr
	from, at  uint16
	own, peer uint32
	tsn       uint32
	buf       []byte
}

// sctpPort gives each client a port and a tag of its own.
var sctpPort atomic.Uint32

// associate opens an association: it ends with "connection refused" if the other end aborts.
func associate(in *netns.Namespace, local, to netip.Addr, port uint16) (*sctpClient, error) {
	socket, err := openSCTP(in, local)
	if err != nil {
		return nil, err
	}
	n := sctpPort.Add(1)
	c := &sctpClient{
		sctpSocket: socket, to: &net.IPAddr{IP: to.AsSlice()}, at: port, from: uint16(40_000 + n%20_000),
		own: 2_000_000 + n, tsn: 1, buf: make([]byte, 65536),
	}
	var cookie []byte
	err = c.ask(initChunk(wire.SCTPInit, c.own, c.tsn, nil), func(k wire.SCTPChunk) bool {
		tag, ok := k.InitiateTag()
		if v := k.Value(); k.Type == wire.SCTPInitAck && ok && len(v) >= 20 {
			c.peer, cookie = tag, bytes.Clone(v[20:])
		}
		return cookie != nil
	})
	if err == nil {
		err = c.ask(chunk(wire.SCTPCookieEcho, 0, cookie), func(k wire.SCTPChunk) bool { return k.Type == wire.SCTPCookieAck })
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ask sends a chunk until an answer is good.
func (c *sctpClient) ask(say []byte, good func(wire.SCTPChunk) bool) (err error) {
	for range sctpTries {
		if err := c.SetReadDeadline(time.Now().Add(sctpPatient)); err != nil {
			return err
		}
		if err = c.send(c.to, c.from, c.at, c.peer, say); err != nil {
			return err
		}
		var p wire.SCTP
		for p, _, err = c.hear(c.buf); err == nil; p, _, err = c.hear(c.buf) {
			if p.SrcPort() != c.at || p.DstPort() != c.from || p.VerificationTag() != c.own {
				continue
			}
			for k, rest, ok := wire.NextSCTPChunk(p.Chunks()); ok; k, rest, ok = wire.NextSCTPChunk(rest) {
				if k.Type == wire.SCTPAbort {
					return syscall.ECONNREFUSED
				}
				if good(k) {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("SCTP: sent %d times in vain: %w", sctpTries, err)
}

// say sends a message until it is acknowledged and comes back.
func (c *sctpClient) say(data []byte) error {
	var heard []byte
	acknowledged := false
	err := c.ask(dataChunk(c.tsn, uint16(c.tsn-1), data), func(k wire.SCTPChunk) bool {
		if v := k.Value(); k.Type == wire.SCTPSack && len(v) >= 12 && binary.BigEndian.Uint32(v) == c.tsn {
			acknowledged = true
		}
		if tsn, _, got, ok := dataOf(k); ok && tsn == c.tsn {
			heard = bytes.Clone(got)
		}
		return acknowledged && heard != nil
	})
	if err != nil {
		return err
	}
	if !bytes.Equal(heard, data) {
		return fmt.Errorf("message %d came back otherwise, from byte %d", c.tsn, firstWrong(heard, data))
	}
	err = c.send(c.to, c.from, c.at, c.peer, sackChunk(c.tsn))
	c.tsn++
	return err
}

// end aborts the association (a user's abort needs no answer) and closes the socket.
func (c *sctpClient) end() error {
	return errors.Join(c.send(c.to, c.from, c.at, c.peer, chunk(wire.SCTPAbort, 0)), c.Close())
}

// carriesSCTP moves bytes over an association to and fro, and hears a refusal.
func (b *bed) carriesSCTP(in *netns.Namespace, local, to netip.Addr, served, closed uint16, n int) {
	b.t.Helper()
	c, err := associate(in, local, to, served)
	if err != nil {
		b.t.Fatal(err)
	}
	said := noiseBytes(b.t, n)
	for i := 0; i < len(said); i += sctpPayload {
		if err := c.say(said[i:min(i+sctpPayload, n)]); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := c.end(); err != nil {
		b.t.Error(err)
	}
	if c, err := associate(in, local, to, closed); !errors.Is(err, syscall.ECONNREFUSED) {
		b.t.Errorf("SCTP to a closed port: %v, %v; want connection refused", c, err)
	}
}

// The peers understand each other, and tshark understands them: it knows every
// packet for SCTP with the right checksum. They are ready for a director with SCTP
// services; until then the matrix has those among what is impossible.
func TestSCTPPeers(t *testing.T) {
	b := newBed(t, netns.TwoArmOptions{Servers: 2})
	wires := b.tcpdump(b.net.LAN, "rs1")
	for _, row := range []struct{ client, server netip.Addr }{
		{netns.ServerAddr(1), netns.ServerAddr(0)},
		{netns.ServerAddr6(1), netns.ServerAddr6(0)},
	} {
		b.serveSCTP(b.rs(1), row.server, echoPort)
		b.carriesSCTP(b.rs(2), row.client, row.server, echoPort, closedPort, 256<<10)
	}
	wires.stop()
	out, err := b.client().Run(within(t, patience), "tshark", "-r", wires.file, "-Y", "sctp", "-o", "sctp.checksum:CRC 32c", "-T", "fields",
		"-e", "ip.version", "-e", "sctp.checksum.status", "-e", "sctp.chunk_type", "-e", "_ws.malformed")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 4 || f[1] != sumGood || f[3] != "" {
			t.Fatalf("tshark printed %q, want a good checksum and nothing malformed", line)
		}
		for kind := range strings.SplitSeq(f[2], ",") {
			seen["IPv"+f[0]+" "+kind]++
		}
	}
	for _, version := range []string{"IPv4", "IPv6"} {
		for kind, least := range map[uint8]int{wire.SCTPInit: 2, wire.SCTPInitAck: 1, wire.SCTPCookieEcho: 1, wire.SCTPCookieAck: 1, wire.SCTPData: 512, wire.SCTPSack: 512, wire.SCTPAbort: 2} {
			if got := seen[fmt.Sprintf("%s %d", version, kind)]; got < least {
				t.Errorf("tshark saw %d chunks of type %d over %s, want %d: %v", got, kind, version, least, seen)
			}
		}
	}
}

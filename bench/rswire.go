package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/internal/wire"
)

// The director's side of the measuring process: packets into a TUN device.

var (
	rsDirector = netip.MustParseAddr("192.168.100.200") // the local address
	rsReal     = netip.MustParseAddr("192.168.100.2")
	rsClient   = netip.MustParseAddr("203.0.113.9")
)

const (
	rsPort       = 8080
	rsClientPort = 5555
)

// rsServer is a real server with a connection and a UDP flow whose client is known,
// where an agent is there to know it.
type rsServer struct {
	tun, listener, udp int
	conn               int // an accepted connection that stays
	buf                []byte
	segment            [3][]byte // SYN, the ACK with TOA, RST
	plain, withUOA     []byte    // datagrams
	question           []byte    // of getsockopt 2048
	opened             uint32    // connections so far, for ports and sequence numbers
}

func newRSServer() (*rsServer, error) {
	s := &rsServer{tun: -1, listener: -1, udp: -1, conn: -1, buf: make([]byte, 2048)}
	s.makePackets()
	err := s.openDevice()
	if err == nil {
		err = s.openSockets()
	}
	if err == nil {
		s.conn, err = s.open()
	}
	if err == nil {
		err = s.receiveUOA(1)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *rsServer) close() {
	for _, fd := range []int{s.conn, s.udp, s.listener, s.tun} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// openDevice makes the TUN device of our namespace.
func (s *rsServer) openDevice() (err error) {
	if s.tun, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open a TUN device: %w", err)
	}
	const name = "lan0"
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(s.tun, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("make a TUN device: %w", err)
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(rsReal.String() + "/24")
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

func (s *rsServer) openSockets() (err error) {
	at := &unix.SockaddrInet4{Port: rsPort, Addr: rsReal.As4()}
	if s.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := errors.Join(unix.Bind(s.listener, at), unix.Listen(s.listener, 16)); err != nil {
		return err
	}
	if s.udp, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	return unix.Bind(s.udp, at)
}

// makePackets makes what is written over and over. Ports and numbers of segments are
// stamped on them.
func (s *rsServer) makePackets() {
	toa, uoa := make([]byte, wire.OptTOA4Len), make([]byte, wire.OptUOA4Len)
	wire.PutTOA4(toa, rsClientPort, rsClient.As4())
	wire.PutUOA4(uoa, rsClientPort, rsClient.As4())
	for i, k := range []struct {
		flags   uint8
		options []byte
	}{{syn, nil}, {ack, toa}, {rst | ack, nil}} {
		p := rsPacket(wire.ProtoTCP, nil, 20+len(k.options))
		t := wire.TCP(wire.IPv4(p).Payload())
		t.SetDataOffset(20 + len(k.options))
		t.SetFlags(k.flags)
		t.SetWindow(65535)
		copy(t[20:], k.options)
		s.segment[i] = p
	}
	s.plain, s.withUOA = rsPacket(wire.ProtoUDP, nil, 40), rsPacket(wire.ProtoUDP, uoa, 40)
	for _, p := range [][]byte{s.plain, s.withUOA} {
		wire.UDP(wire.IPv4(p).Payload()).SetLength(40)
		rsStamp(p, 1025)
	}
	// Host-order family, peer, local, ports; the rest is the answer's.
	s.question = make([]byte, rsLookupSize)
	binary.NativeEndian.PutUint16(s.question, unix.AF_INET)
	copy(s.question[2:], rsDirector.AsSlice())
	binary.BigEndian.PutUint16(s.question[34:], 1025)
	binary.BigEndian.PutUint16(s.question[36:], rsPort)
}

const rst = 4

// rsPacket makes an IPv4 packet from the director with so many bytes behind its header.
func rsPacket(protocol uint8, options []byte, n int) []byte {
	header := 20 + len(options)
	p := make([]byte, header+n)
	ip := wire.IPv4(p)
	ip.SetVersionIHL(header)
	ip.SetTotalLength(uint16(len(p)))
	ip.SetTTL(63)
	ip.SetProtocol(protocol)
	ip.SetSrc(rsDirector.As4())
	ip.SetDst(rsReal.As4())
	copy(p[20:], options)
	ip.ComputeChecksum()
	return p
}

// rsStamp sets the ports of a packet and makes its checksum right.
func rsStamp(p []byte, port uint16) {
	l4 := wire.IPv4(p).Payload()
	binary.BigEndian.PutUint16(l4, port)
	binary.BigEndian.PutUint16(l4[2:], rsPort)
	wire.CompleteL4(wire.IPv4(p))
}

func (s *rsServer) write(p []byte) error {
	_, err := unix.Write(s.tun, p)
	return err
}

// read returns the next packet of IPv4 that the real server sends.
func (s *rsServer) read() (wire.IPv4, error) {
	for {
		n, err := unix.Read(s.tun, s.buf)
		if err != nil {
			return nil, err
		}
		if n >= 20 && s.buf[0]>>4 == 4 {
			return wire.IPv4(s.buf[:n]), nil
		}
	}
}

// open goes through a handshake and accepts the connection.
func (s *rsServer) open() (int, error) {
	s.opened++
	port := uint16(1025 + s.opened%60000)
	seq := s.opened << 8
	if err := s.send(0, port, seq, 0); err != nil {
		return -1, err
	}
	for {
		ip, err := s.read()
		if err != nil {
			return -1, err
		}
		t := wire.TCP(ip.Payload())
		if ip.Protocol() != wire.ProtoTCP || t.Flags()&(syn|ack) != syn|ack || t.DstPort() != port {
			continue
		}
		if err := s.send(1, port, seq+1, t.Seq()+1); err != nil {
			return -1, err
		}
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC)
		return fd, err
	}
}

// reset ends the connection that was opened last.
func (s *rsServer) reset() error {
	acked := wire.TCP(wire.IPv4(s.segment[1]).Payload()).Ack()
	return s.send(2, uint16(1025+s.opened%60000), s.opened<<8+1, acked)
}

func (s *rsServer) send(kind int, port uint16, seq, acked uint32) error {
	p := s.segment[kind]
	t := wire.TCP(wire.IPv4(p).Payload())
	t.SetSeq(seq)
	t.SetAck(acked)
	rsStamp(p, port)
	return s.write(p)
}

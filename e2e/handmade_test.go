package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
	"weir/internal/testkit/words"
)

// handmade is a TCP client that writes its segments itself: Linux sends no option
// that it does not know.
type handmade struct {
	t        *testing.T
	client   netip.Addr
	vip      netip.Addr
	fd       int
	to       unix.SockaddrLinklayer
	from, at words.MAC
	port     uint16
	server   uint16
	seq, ack uint32 // next to send, next to receive
	got      []byte // data that came
	closed   bool   // the server has said all
}

// handmadeClient opens one on the client's machine, for its own address and the
// tutorial's VIP.
func (d *director) handmadeClient(port, server uint16) *handmade {
	d.t.Helper()
	return d.handmadeBetween(netns.ClientAddr.Addr(), vip, port, server)
}

// handmadeBetween opens one for an address of the client's machine, whose own TCP is kept
// from answering on that port.
func (d *director) handmadeBetween(client, at netip.Addr, port, server uint16) *handmade {
	d.t.Helper()
	rule := fmt.Sprintf("table inet hand%d { chain in { type filter hook input priority 0; tcp dport %d drop; }; }", port, port)
	if _, err := d.client().Run(within(d.t, patience), "nft", rule); err != nil {
		d.t.Fatal(err)
	}
	h := &handmade{t: d.t, client: client, vip: at, fd: -1, port: port, server: server, seq: 1_000_000}
	own, err := d.client().MAC("eth0")
	if err != nil {
		d.t.Fatal(err)
	}
	theirs, err := d.net.Director.MAC(d.wan)
	if err != nil {
		d.t.Fatal(err)
	}
	h.from, h.at = words.MAC(own), words.MAC(theirs)
	err = d.client().Do(func() error {
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		kind := uint16(unix.ETH_P_IP)
		if client.Is6() {
			kind = unix.ETH_P_IPV6
		}
		be := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, kind))
		if h.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(be)); err != nil {
			return err
		}
		h.to = unix.SockaddrLinklayer{Protocol: be, Ifindex: iface.Index, Halen: 6}
		copy(h.to.Addr[:], theirs)
		return unix.Bind(h.fd, &h.to)
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { unix.Close(h.fd) })
	return h
}

// send sends a segment: its flags, options in words, data.
func (h *handmade) send(flags, options string, data []byte) {
	h.t.Helper()
	ip := "ip"
	if h.client.Is6() {
		ip = "ip6"
	}
	line := fmt.Sprintf("%s %s > %s / tcp %d > %d %s seq=%d", ip, h.client, h.vip, h.port, h.server, flags, h.seq)
	if strings.Contains(flags, "A") {
		line += fmt.Sprintf(" ack=%d", h.ack)
	}
	if options != "" {
		line += " <" + options + ">"
	}
	if len(data) > 0 {
		line += fmt.Sprintf(" data=0x%x", data)
	}
	f, err := words.Parse(line, nil, h.from, h.at)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := unix.Sendto(h.fd, f.Data, 0, &h.to); err != nil {
		h.t.Fatal(err)
	}
	h.seq += uint32(len(data))
	if strings.ContainsAny(flags, "SF") {
		h.seq++
	}
}

// hear takes what the server sends until ok; it acknowledges nothing.
func (h *handmade) hear(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(requestPatience)
	buf := make([]byte, 64<<10)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("waited %s in vain until %s", requestPatience, what)
		}
		if err := unix.SetsockoptTimeval(h.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			h.t.Fatal(err)
		}
		n, _, err := unix.Recvfrom(h.fd, buf, 0)
		if err != nil || n < 14+40 {
			continue
		}
		h.take(buf[14:n])
	}
}

// take takes a packet from the server.
func (h *handmade) take(p []byte) {
	proto, head, total := p[9], int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if p[0]>>4 == 6 {
		proto, head, total = p[6], 40, 40+int(binary.BigEndian.Uint16(p[4:]))
	}
	p = p[:min(len(p), total)]
	if proto != unix.IPPROTO_TCP || len(p) < head+20 {
		return
	}
	tcp := p[head:]
	if binary.BigEndian.Uint16(tcp) != h.server || binary.BigEndian.Uint16(tcp[2:]) != h.port {
		return
	}
	seq, data := binary.BigEndian.Uint32(tcp[4:]), tcp[int(tcp[12]>>4)*4:]
	switch {
	case tcp[13]&4 != 0:
		h.t.Errorf("the server reset the connection")
		h.closed = true
	case tcp[13]&2 != 0:
		h.ack = seq + 1
	case seq == h.ack:
		h.got = append(h.got, data...)
		h.ack += uint32(len(data))
		if tcp[13]&1 != 0 {
			h.ack++
			h.closed = true
		}
	}
}

package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// toaKind and toaLen are the TCP option that carries a client's IPv4 address:
// FE 08, port, address.
const (
	toaKind = 254
	toaLen  = 8
)

// maxRemembered bounds how many connections a watcher remembers. The demo makes a
// handful; a real server that shows more forgets all and begins anew.
const maxRemembered = 1 << 16

// watcher reads the segments that come to one TCP port off the wire and remembers
// the address that each connection's option of address named.
type watcher struct {
	socket *os.File

	mu      sync.Mutex
	clients map[netip.AddrPort]netip.AddrPort // peer as TCP sees it → address in the option
	news    chan struct{}                     // closed and replaced when clients grew
}

// watch opens a watcher for a TCP port on a link.
func watch(link string, port uint16) (*watcher, error) {
	iface, err := net.InterfaceByName(link)
	if err != nil {
		return nil, fmt.Errorf("look for the link %s: %w", link, err)
	}
	// Protocol 0 receives nothing until the filter is in place and bind asks for IPv4.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	w := &watcher{
		socket:  os.NewFile(uintptr(fd), "packet socket on "+link),
		clients: map[netip.AddrPort]netip.AddrPort{},
		news:    make(chan struct{}),
	}
	filter, err := toPort(port)
	if err == nil {
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, filter)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: iface.Index})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", link, err), w.socket.Close())
	}
	return w, nil
}

// toPort returns a filter that lets unfragmented TCP over IPv4 to a port pass,
// and of it as much as IP and TCP headers can be long.
func toPort(port uint16) (*unix.SockFprog, error) {
	const greatestHeaders = 60 + 60
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_TCP, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: greatestHeaders},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	prog := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		prog[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}, nil
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// run reads until close.
func (w *watcher) run() {
	buf := make([]byte, 256)
	for {
		n, err := w.socket.Read(buf)
		if err != nil {
			return
		}
		if peer, client, ok := optionOfAddress(buf[:n]); ok {
			w.remember(peer, client)
		}
	}
}

func (w *watcher) close() error { return w.socket.Close() }

func (w *watcher) remember(peer, client netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.clients) >= maxRemembered {
		clear(w.clients)
	}
	w.clients[peer] = client
	close(w.news)
	w.news = make(chan struct{})
}

func (w *watcher) forget(peer netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.clients, peer)
}

// client returns what the option of peer's connection said. The wire was read
// before TCP saw the segment, but by another goroutine: until it has its turn,
// and no longer than ctx, client waits.
func (w *watcher) client(ctx context.Context, peer netip.AddrPort) (netip.AddrPort, bool) {
	for {
		w.mu.Lock()
		client, ok := w.clients[peer]
		news := w.news
		w.mu.Unlock()
		if ok {
			return client, true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return netip.AddrPort{}, false
		}
	}
}

// optionOfAddress finds the option of address in an IPv4 packet with TCP in it:
// peer is the packet's source, client what the option says.
func optionOfAddress(packet []byte) (peer, client netip.AddrPort, ok bool) {
	if len(packet) < 20 {
		return peer, client, false
	}
	ipLen := int(packet[0]&0xf) * 4
	if ipLen < 20 || len(packet) < ipLen+20 {
		return peer, client, false
	}
	tcp := packet[ipLen:]
	tcpLen := int(tcp[12]>>4) * 4
	if tcpLen < 20 || len(tcp) < tcpLen {
		return peer, client, false
	}
	peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[12:])), binary.BigEndian.Uint16(tcp))
	for options := tcp[20:tcpLen]; len(options) > 0; {
		kind := options[0]
		if kind == 0 { // end of options
			break
		}
		if kind == 1 { // padding
			options = options[1:]
			continue
		}
		if len(options) < 2 || int(options[1]) < 2 || int(options[1]) > len(options) {
			break
		}
		length := int(options[1])
		if kind == toaKind && length == toaLen {
			port := binary.BigEndian.Uint16(options[2:])
			return peer, netip.AddrPortFrom(netip.AddrFrom4([4]byte(options[4:])), port), true
		}
		options = options[length:]
	}
	return peer, client, false
}

package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"weir/internal/port/pipe"
)

// Config of a host.
type Config struct {
	Port     *pipe.Port // the director's; not joined
	MAC      [6]byte
	Addr     netip.Prefix // its address with the length of its link; zero: none
	Gateway  netip.Addr   // zero: none
	Addr6    netip.Prefix // the same for IPv6; zero: the host speaks none
	Gateway6 netip.Addr
	Wire     Wire
}

const nic = 1

// Host is a machine in memory.
type Host struct {
	port  *pipe.Port
	stack *stack.Stack
	link  *channel.Endpoint
	six   bool // speaks IPv6

	quit context.CancelFunc
	done sync.WaitGroup
}

// New makes a host and connects it.
func New(c Config) (*Host, error) {
	if !c.Addr.IsValid() && !c.Addr6.IsValid() {
		return nil, fmt.Errorf("host at %s: give it an address", c.Port.Facts().Name)
	}
	o := stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	}
	if c.Addr6.IsValid() {
		// As on a real link: an address of the link from the MAC. Duplicates are
		// not looked for, nor routers: nobody should wait for that.
		o.NetworkProtocols = append(o.NetworkProtocols, ipv6.NewProtocolWithOptions(ipv6.Options{AutoGenLinkLocal: true}))
		o.TransportProtocols = append(o.TransportProtocols, icmp.NewProtocol6)
	}
	h := &Host{
		port:  c.Port,
		stack: stack.New(o),
		link:  channel.New(pipe.Room, uint32(c.Port.Facts().MTU+header.EthernetMinimumSize), tcpip.LinkAddress(c.MAC[:])),
		six:   c.Addr6.IsValid(),
	}
	sack := tcpip.TCPSACKEnabled(true)
	errs := []tcpip.Error{
		h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack),
		h.stack.CreateNIC(nic, ethernet.New(h.link)),
	}
	if c.Addr.IsValid() {
		errs = append(errs, h.add(c.Addr, c.Gateway))
	}
	if c.Addr6.IsValid() {
		errs = append(errs, h.add(c.Addr6, c.Gateway6))
	}
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("host %s %s: %s", c.Addr, c.Addr6, err)
		}
	}
	ctx, quit := context.WithCancel(context.Background())
	h.quit = quit
	h.done.Go(func() { h.send(ctx, c.Wire.coin(1)) })
	for q := range c.Port.Facts().TxQueues {
		in := c.Wire.coin(uint64(2 + q))
		h.done.Go(func() { h.receive(ctx, q, in) })
	}
	return h, nil
}

// add gives the host an address, its link and the way to everywhere else.
func (h *Host) add(a netip.Prefix, gateway netip.Addr) tcpip.Error {
	on := tcpip.AddressWithPrefix{Address: address(a.Addr()), PrefixLen: a.Bits()}
	err := h.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{Protocol: network(a.Addr()), AddressWithPrefix: on}, stack.AddressProperties{})
	h.stack.AddRoute(tcpip.Route{Destination: on.Subnet(), NIC: nic})
	if gateway.IsValid() {
		everywhere := header.IPv4EmptySubnet
		if gateway.Is6() {
			everywhere = header.IPv6EmptySubnet
		}
		h.stack.AddRoute(tcpip.Route{Destination: everywhere, Gateway: address(gateway), NIC: nic})
	}
	return err
}

// Close takes the host off its wire.
func (h *Host) Close() {
	h.quit()
	h.done.Wait()
	h.stack.Close()
	h.link.Close()
	h.stack.Wait()
}

// send carries what the stack sends to the port. A flow keeps to one queue, as
// RSS would have it.
func (h *Host) send(ctx context.Context, c *coin) {
	queues := h.port.Facts().RxQueues
	for {
		p := h.link.ReadContext(ctx)
		if p == nil {
			return
		}
		v := p.ToView()
		frame := append([]byte{}, v.AsSlice()...)
		v.Release()
		p.DecRef()
		c.carry(frame, func(f []byte) { h.port.InjectAt(spread(f)%queues, f) })
	}
}

// spread is a poor man's RSS: of the ports, where there are any.
func spread(f []byte) int {
	const ports4, ports6 = 14 + 20, 14 + 40
	switch {
	case len(f) >= ports4+4 && f[12] == 0x08 && f[13] == 0x00:
		return int(f[ports4+1]) ^ int(f[ports4+3])
	case len(f) >= ports6+4 && f[12] == 0x86 && f[13] == 0xdd && (f[20] == 6 || f[20] == 17):
		return int(f[ports6+1]) ^ int(f[ports6+3])
	}
	return 0
}

// receive carries what a queue of the port sent to the stack.
func (h *Host) receive(ctx context.Context, queue int, c *coin) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.port.Arrived(queue):
		}
		for _, f := range h.port.Take() {
			c.carry(f, func(f []byte) {
				p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(f)})
				h.link.InjectInbound(0, p)
				p.DecRef()
			})
		}
	}
}

// Listen opens a TCP port, for both families if the host has IPv6.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	family := ipv4.ProtocolNumber
	if h.six {
		family = ipv6.ProtocolNumber
	}
	l, err := gonet.ListenTCP(h.stack, tcpip.FullAddress{NIC: nic, Port: port}, family)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Dial opens a TCP connection.
func (h *Host) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	c, err := gonet.DialContextTCP(ctx, h.stack, tcpip.FullAddress{NIC: nic, Addr: address(to.Addr()), Port: to.Port()}, network(to.Addr()))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// BadChecksums returns how many segments the stack refused for their checksum.
func (h *Host) BadChecksums() uint64 {
	s := h.stack.Stats()
	return s.TCP.ChecksumErrors.Value() + s.UDP.ChecksumErrors.Value() + s.IP.MalformedPacketsReceived.Value()
}

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

// network is the protocol that an address is of.
func network(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is6() {
		return ipv6.ProtocolNumber
	}
	return ipv4.ProtocolNumber
}

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
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"weir/internal/port/pipe"
)

// Config of a host.
type Config struct {
	Port    *pipe.Port // the director's; not joined
	MAC     [6]byte
	Addr    netip.Prefix // its address with the length of its link
	Gateway netip.Addr   // zero: none
	Wire    Wire
}

const nic = 1

// Host is a machine in memory.
type Host struct {
	port  *pipe.Port
	stack *stack.Stack
	link  *channel.Endpoint

	quit context.CancelFunc
	done sync.WaitGroup
}

// New makes a host and connects it.
func New(c Config) (*Host, error) {
	h := &Host{
		port: c.Port,
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
		}),
		link: channel.New(pipe.Room, uint32(c.Port.Facts().MTU+header.EthernetMinimumSize), tcpip.LinkAddress(c.MAC[:])),
	}
	sack := tcpip.TCPSACKEnabled(true)
	errs := []tcpip.Error{
		h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack),
		h.stack.CreateNIC(nic, ethernet.New(h.link)),
		h.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(c.Addr.Addr()), PrefixLen: c.Addr.Bits()},
		}, stack.AddressProperties{}),
	}
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("host %s: %s", c.Addr, err)
		}
	}
	link := tcpip.AddressWithPrefix{Address: address(c.Addr.Addr()), PrefixLen: c.Addr.Bits()}.Subnet()
	h.stack.SetRouteTable([]tcpip.Route{{Destination: link, NIC: nic}})
	if c.Gateway.IsValid() {
		h.stack.AddRoute(tcpip.Route{Destination: header.IPv4EmptySubnet, Gateway: address(c.Gateway), NIC: nic})
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
	if len(f) < 38 || f[12] != 8 || f[13] != 0 {
		return 0
	}
	return int(f[35]) ^ int(f[37])
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

// Listen opens a TCP port.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	l, err := gonet.ListenTCP(h.stack, tcpip.FullAddress{NIC: nic, Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Dial opens a TCP connection.
func (h *Host) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	c, err := gonet.DialContextTCP(ctx, h.stack, tcpip.FullAddress{NIC: nic, Addr: address(to.Addr()), Port: to.Port()}, ipv4.ProtocolNumber)
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

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

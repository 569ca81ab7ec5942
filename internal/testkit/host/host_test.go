package host_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/testkit/host"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

const deadline = 20 * time.Second

var (
	macA = [6]byte{2, 0, 0, 0, 0, 0xa}
	macB = [6]byte{2, 0, 0, 0, 0, 0xb}
	net6 = netip.MustParsePrefix("2001:db8::/64")
)

// cable is a director that only passes frames on, and writes down what they are.
type cable struct {
	mu    sync.Mutex
	lines []string
}

func (c *cable) note(f []byte) {
	line := words.Print(words.Frame{Data: f}, words.Stations{"a": macA, "b": macB})
	c.mu.Lock()
	c.lines = append(c.lines, line)
	c.mu.Unlock()
}

// seen returns the lines so far.
func (c *cable) seen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}

// patch joins two ports until the test ends.
func patch(t *testing.T, a, b *pipe.Port) *cable {
	t.Helper()
	pool, err := packet.NewPool(4096, 0)
	if err != nil {
		t.Fatal(err)
	}
	var qs [2]*pipe.Queue
	for i, p := range []*pipe.Port{a, b} {
		if qs[i], err = p.Queue(0, pool); err != nil {
			t.Fatal(err)
		}
	}
	c := &cable{}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var burst [port.Burst]*packet.Packet
		idle := time.NewTicker(200 * time.Microsecond)
		defer idle.Stop()
		for {
			n := 0
			for i, q := range qs {
				got := q.Rx(burst[:])
				for _, p := range burst[:got] {
					c.note(p.Data)
				}
				qs[1-i].Tx(burst[:got])
				n += got
			}
			if n > 0 {
				continue
			}
			select {
			case <-quit:
				return
			case <-idle.C:
			}
		}
	}()
	t.Cleanup(func() {
		close(quit)
		<-done
		for _, q := range qs {
			q.Close()
		}
		pool.Close()
	})
	return c
}

func pair(t *testing.T, a, b host.Config) (hostA, hostB *host.Host, c *cable) {
	t.Helper()
	a.Port = pipe.New(0, "a", port.MAC{2, 0, 0, 0, 1, 0}, 1500)
	b.Port = pipe.New(1, "b", port.MAC{2, 0, 0, 0, 2, 0}, 1500)
	a.MAC, b.MAC = macA, macB
	c = patch(t, a.Port, b.Port)
	var hosts [2]*host.Host
	for i, cfg := range []host.Config{a, b} {
		h, err := host.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		hosts[i] = h
	}
	return hosts[0], hosts[1], c
}

// echo sends data over a connection to the other host and wants it back.
func echo(t *testing.T, from, at *host.Host, to netip.AddrPort) {
	t.Helper()
	l, err := at.Listen(to.Port())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	c, err := from.Dial(ctx, to)
	if err != nil {
		t.Fatalf("dial %s: %v", to, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != to.Addr().String() {
		t.Errorf("connected to %s", c.RemoteAddr())
	}
	sent := bytes.Repeat([]byte("weir"), 10_000)
	go c.Write(sent)
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%s: what came back is not what was sent: %v", to, err)
	}
}

func TestBothFamilies(t *testing.T) {
	v4 := netip.MustParsePrefix("10.0.0.2/24")
	a := host.Config{Addr: netip.MustParsePrefix("10.0.0.1/24"), Addr6: netip.MustParsePrefix("2001:db8::1/64"), Wire: host.Wire{Loss: 0.01, Seed: 1}}
	b := host.Config{Addr: v4, Addr6: netip.MustParsePrefix("2001:db8::2/64")}
	ha, hb, cable := pair(t, a, b)
	for _, row := range []struct {
		name string
		to   netip.AddrPort
	}{
		{"IPv4", netip.AddrPortFrom(v4.Addr(), 80)},
		{"IPv6", netip.AddrPortFrom(b.Addr6.Addr(), 81)},
		{"one port, IPv4", netip.AddrPortFrom(v4.Addr(), 82)},
	} {
		t.Run(row.name, func(t *testing.T) { echo(t, ha, hb, row.to) })
	}
	if n := ha.BadChecksums() + hb.BadChecksums(); n != 0 {
		t.Errorf("%d bad checksums", n)
	}
	// The words know what a real stack sends, and find it right.
	seen := cable.seen()
	for _, want := range []string{"/ ns who=2001:db8::2 <sll>", "/ na is=2001:db8::2 SO <tll>", "ip6 2001:db8::1 > 2001:db8::2 hlim=64"} {
		if !strings.Contains(seen, want) {
			t.Errorf("nobody sent %q", want)
		}
	}
	if strings.Contains(seen, "csum=bad") {
		t.Error("the words find checksums wrong that are right")
	}
}

func TestIPv6AloneByGateway(t *testing.T) {
	a := host.Config{Addr6: netip.MustParsePrefix("2001:db8:a::1/64"), Gateway6: netip.MustParseAddr("2001:db8:a::ffff")}
	// The other host is the gateway too, and on the far link itself.
	b := host.Config{Addr6: netip.MustParsePrefix("2001:db8:a::ffff/64"), Gateway6: netip.MustParseAddr("2001:db8:a::1")}
	ha, hb, cable := pair(t, a, b)
	echo(t, ha, hb, netip.MustParseAddrPort("[2001:db8:a::ffff]:80"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if c, err := ha.Dial(ctx, netip.MustParseAddrPort("[2001:db8:b::1]:80")); err == nil {
		c.Close()
		t.Error("connected to nobody")
	}
	if !strings.Contains(cable.seen(), "> 2001:db8:b::1 hlim=64 / tcp") {
		t.Error("nothing went to the gateway")
	}
	if _, err := host.New(host.Config{Port: pipe.New(9, "x", port.MAC{}, 1500)}); err == nil {
		t.Error("a host without an address was made")
	}
}

// TestNeighbourDiscoveryIsUnderstood: a real stack answers the solicitation that
// package wire makes, believes its advertisement, and we read what it says.
func TestNeighbourDiscoveryIsUnderstood(t *testing.T) {
	p := pipe.New(0, "a", port.MAC{2, 0, 0, 0, 1, 0}, 1500)
	pool, err := packet.NewPool(1024, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	q, err := p.Queue(0, pool)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	target := netip.MustParseAddr("2001:db8::2").As16()
	h, err := host.New(host.Config{Port: p, MAC: macB, Addr6: netip.PrefixFrom(netip.AddrFrom16(target), net6.Bits())})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	send := func(dst [6]byte, src6, dst6 [16]byte, n int, put func(icmp []byte)) {
		pkt := pool.Get()
		pkt.Resize(wire.EthernetLen + wire.IPv6Len + n)
		eth := wire.Ethernet(pkt.Data)
		eth.SetDestination(dst)
		eth.SetSource(macA)
		eth.SetEtherType(wire.EtherTypeIPv6)
		ip := wire.IPv6(pkt.Data[wire.EthernetLen:])
		ip.SetVersionClassFlow(0, 0)
		ip.SetPayloadLength(uint16(n))
		ip.SetNextHeader(wire.ProtoICMPv6)
		ip.SetHopLimit(wire.NDHopLimit)
		ip.SetSrc(src6)
		ip.SetDst(dst6)
		put(ip.Payload())
		q.Tx([]*packet.Packet{pkt})
	}
	// wait receives until a message of a kind is there.
	wait := func(kind uint8) (ip wire.IPv6, m wire.ICMPv6) {
		t.Helper()
		var burst [port.Burst]*packet.Packet
		for until := time.Now().Add(deadline); time.Now().Before(until); {
			for _, pkt := range burst[:q.Rx(burst[:])] {
				frame := bytes.Clone(pkt.Data)
				pool.Put(pkt)
				if wire.Ethernet(frame).EtherType() != wire.EtherTypeIPv6 || len(frame) < wire.EthernetLen+wire.IPv6Len {
					continue
				}
				ip = frame[wire.EthernetLen:]
				c, fault := wire.WalkIPv6(ip)
				if fault != wire.ChainOK || c.Proto != wire.ProtoICMPv6 {
					continue
				}
				if m = wire.ICMPv6(ip[c.Offset:ip.TotalLength()]); m.Type() == kind {
					return ip, m
				}
			}
		}
		t.Fatalf("no message of type %d", kind)
		return nil, nil
	}
	src, group := netip.MustParseAddr("2001:db8::1").As16(), wire.SolicitedNode(target)

	send(wire.MulticastMAC6(group), src, group, wire.NeighbourSolicitationPutLen, func(b []byte) {
		wire.NeighbourSolicitation(b).Put(src, group, target, macA)
	})
	ip, m := wait(wire.ICMPv6NeighbourAdvertisement)
	na := wire.NeighbourAdvertisement(m)
	o, _ := wire.FindNDOption(na.Options(), wire.NDTargetLink)
	if mac, ok := o.Link(); !ok || mac != macB || na.Target() != target || na.Flags() != wire.NDSolicited|wire.NDOverride || !m.ChecksumOK(ip.Src(), ip.Dst()) || ip.HopLimit() != wire.NDHopLimit {
		t.Errorf("the host answers %x", []byte(m))
	}
	send(wire.MulticastMAC6(group), [16]byte{}, group, wire.NeighbourSolicitationLen, func(b []byte) { wire.NeighbourSolicitation(b).PutProbe(target) })
	if ip, _ = wait(wire.ICMPv6NeighbourAdvertisement); ip.Dst() != wire.AllNodes {
		t.Errorf("the answer to a probe goes to %x", ip.Dst())
	}

	// Now the host asks, for somebody whom it was not told of.
	far := netip.MustParseAddr("2001:db8::9")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go h.Dial(ctx, netip.AddrPortFrom(far, 80))
	ip, m = wait(wire.ICMPv6NeighbourSolicitation)
	ns := wire.NeighbourSolicitation(m)
	if ns.Target() != far.As16() || ip.Dst() != wire.SolicitedNode(far.As16()) || !wire.NDOptionsOK(ns.Options()) || !m.ChecksumOK(ip.Src(), ip.Dst()) {
		t.Fatalf("the host asks %x", []byte(m))
	}
	asker := ip.Src()
	send(macB, far.As16(), asker, wire.NeighbourAdvertisementPutLen, func(b []byte) {
		wire.NeighbourAdvertisement(b).Put(far.As16(), asker, far.As16(), macA, wire.NDSolicited|wire.NDOverride)
	})
	// It believes, and sends its SYN to the address that it was told.
	var burst [port.Burst]*packet.Packet
	for until := time.Now().Add(deadline); ; {
		for _, pkt := range burst[:q.Rx(burst[:])] {
			eth := wire.Ethernet(bytes.Clone(pkt.Data))
			pool.Put(pkt)
			ip := wire.IPv6(eth[wire.EthernetLen:])
			if eth.EtherType() != wire.EtherTypeIPv6 || ip.NextHeader() != wire.ProtoTCP {
				continue
			}
			if eth.Destination() != macA || ip.Dst() != far.As16() || !wire.L4ChecksumOKOver6(ip) {
				t.Errorf("a SYN goes to %x: %x", eth.Destination(), []byte(ip))
			}
			return
		}
		if time.Now().After(until) {
			t.Fatal("no SYN")
		}
	}
}

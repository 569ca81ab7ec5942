package port_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afpacket"
	"weir/internal/port/tap"
	"weir/internal/testkit/netns"
)

// A real TCP connection of 64 MiB between two kernels goes through two queues
// that share one worker's memory, whole and with the offloads that Linux has on
// by default where the driver can carry them.
func TestTCPThrough(t *testing.T) {
	for _, row := range []struct {
		driver
		offloads bool
		wantGSO  bool
		fix      func(*packet.Packet)
	}{
		// The kernel segments and completes checksums by the vnet header.
		{packetSockets, true, true, locate},
		// Native XDP switches the peer's TSO off, not its checksum offload.
		{xdpNative, true, false, completeChecksum},
		// Generic XDP switches nothing off.
		{xdpGeneric, false, false, func(*packet.Packet) {}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			a, dir, b := namespace(t, w, "a"), namespace(t, w, "dir"), namespace(t, w, "b")
			check(t, netns.Veth(netns.End{In: a, Name: "a0"}, netns.End{In: dir, Name: "l0"}))
			check(t, netns.Veth(netns.End{In: b, Name: "b0"}, netns.End{In: dir, Name: "r0"}))
			check(t, a.Address("a0", netip.MustParsePrefix("10.9.0.1/24")))
			check(t, b.Address("b0", netip.MustParsePrefix("10.9.0.2/24")))
			if !row.offloads {
				ethtool(t, a, "a0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
				ethtool(t, b, "b0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
			}
			m := newMemory(t, 8192, 64)
			l := open(t, row.driver, dir, "l0", 0, 0, m)
			r := open(t, row.driver, dir, "r0", 1, 0, m)
			br := startBridge(t, l.queues[0], r.queues[0], row.fix)

			const size = 64 << 20
			sent, arrived := transfer(t, a, b, "10.9.0.2:5001", size)
			br.stop()
			if sent != arrived {
				t.Errorf("SHA-256 of what was sent is %x, of what arrived %x", sent, arrived)
			}
			lc, rc := l.counters(), r.counters()
			t.Logf("%d frames, %d of them GSO, longest %d", lc.RxPackets, br.gso, br.longest)
			if lc.RxBytes < size || rc.TxBytes < size {
				t.Errorf("only %d bytes came in and %d went out", lc.RxBytes, rc.TxBytes)
			}
			if got := br.gso > 0; got != row.wantGSO {
				t.Errorf("GSO frames were seen: %v, want %v", got, row.wantGSO)
			}
			if lc.Drops[packet.PortRxTooBig]+rc.Drops[packet.PortRxTooBig]+lc.Drops[packet.PortTxTooBig]+rc.Drops[packet.PortTxTooBig] != 0 {
				t.Errorf("frames were too big")
			}
		})
	}
}

// A real TCP connection between two kernels, each with nothing but a TAP, goes
// through the TAPs' queues whole, in both families.
func TestTCPThroughTwins(t *testing.T) {
	for _, row := range []struct {
		name  string
		whole bool
		six   bool
	}{
		{"ipv4", true, false},
		{"ipv6", true, true},
		{"ipv4, segments", false, false},
		{"ipv6, segments", false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			m := newMemory(t, 8192, 64)
			var sides [2]*netns.Namespace
			var queues [2]port.Queue
			addresses := [2]string{"10.9.0.1/24", "10.9.0.2/24"}
			server := "10.9.0.2:5001"
			if row.six {
				addresses, server = [2]string{"fd09::1/64", "fd09::2/64"}, "[fd09::2]:5001"
			}
			for i := range sides {
				ns := namespace(t, w, strconv.Itoa(i))
				check(t, ns.WriteSysctl("ipv6/conf/default/disable_ipv6", "0"))
				check(t, ns.WriteSysctl("ipv6/conf/default/accept_dad", "0"))
				check(t, ns.Do(func() error {
					d, err := tap.Create(tap.Options{Name: "wan.kni", Port: "wan", MAC: port.MAC{2, 0, 0, 0, 1, byte(i)}, MTU: 1500, Queues: 1, Whole: row.whole})
					if err != nil {
						return err
					}
					if queues[i], err = d.Open(0, m.pool, uint16(i)); err != nil {
						return err
					}
					t.Cleanup(func() { check(t, errors.Join(queues[i].Close(), d.Close())) })
					return d.Link.SetUp()
				}))
				check(t, ns.Address("wan.kni", netip.MustParsePrefix(addresses[i])))
				sides[i] = ns
			}
			br := startBridge(t, queues[0], queues[1], locate)
			const size = 16 << 20
			sent, arrived := transfer(t, sides[0], sides[1], server, size)
			br.stop()
			if sent != arrived {
				t.Errorf("SHA-256 of what was sent is %x, of what arrived %x", sent, arrived)
			}
			t.Logf("%d GSO frames, longest %d", br.gso, br.longest)
			if got := br.gso > 0; got != row.whole {
				t.Errorf("GSO frames were seen: %v, want %v", got, row.whole)
			}
			if !row.whole && br.longest > 1514 {
				t.Errorf("a frame of %d bytes, want segments", br.longest)
			}
			var c port.Counters
			for _, q := range queues {
				q.Counters(&c)
			}
			if c.RxBytes < size || c.TxBytes < size {
				t.Errorf("%d bytes came in and %d went out", c.RxBytes, c.TxBytes)
			}
			// Linux may have filled a queue, which TCP mends; nothing else may be lost.
			expectDrops(t, &c, map[packet.Reason]uint64{packet.PortRxRingFull: c.Drops[packet.PortRxRingFull]})
		})
	}
}

// transfer sends pseudo-random bytes from one namespace to another, and the
// digest of what arrived back.
func transfer(t *testing.T, from, to *netns.Namespace, address string, size int64) (sent, arrived [sha256.Size]byte) {
	t.Helper()
	listener, err := to.Listen("tcp", address)
	check(t, err)
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			defer c.Close()
			h := sha256.New()
			if _, err = io.Copy(h, io.LimitReader(c, size)); err == nil {
				_, err = c.Write(h.Sum(nil))
			}
		}
		served <- err
	}()
	c, err := from.Dial(t.Context(), "tcp", address)
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(3*deadline)))
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(c, h), io.LimitReader(rand.NewChaCha8([32]byte{1}), size))
	check(t, err)
	_, err = io.ReadFull(c, arrived[:])
	check(t, err)
	check(t, <-served)
	return [sha256.Size]byte(h.Sum(nil)), arrived
}

// bridge is a worker with the simplest of walks: what comes in on one side goes
// out on the other.
type bridge struct {
	queues  [2]port.Queue
	fix     func(*packet.Packet)
	leave   atomic.Bool
	wake    int
	gone    chan struct{}
	gso     int
	longest int
}

func startBridge(t *testing.T, a, b port.Queue, fix func(*packet.Packet)) *bridge {
	t.Helper()
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	check(t, err)
	br := &bridge{queues: [2]port.Queue{a, b}, fix: fix, wake: wake, gone: make(chan struct{})}
	go br.run()
	t.Cleanup(br.stop)
	return br
}

func (br *bridge) stop() {
	if br.leave.Swap(true) {
		return
	}
	_, _ = unix.Write(br.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-br.gone
	unix.Close(br.wake)
}

func (br *bridge) run() {
	defer close(br.gone)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var burst [port.Burst]*packet.Packet
	fds := []unix.PollFd{
		{Fd: int32(br.queues[0].FD()), Events: unix.POLLIN},
		{Fd: int32(br.queues[1].FD()), Events: unix.POLLIN},
		{Fd: int32(br.wake), Events: unix.POLLIN},
	}
	for !br.leave.Load() {
		busy := false
		for i, q := range br.queues {
			n := q.Rx(burst[:])
			if n == 0 {
				continue
			}
			busy = true
			for _, p := range burst[:n] {
				br.longest = max(br.longest, len(p.Data))
				if p.Is(packet.GSO) {
					br.gso++
				}
				br.fix(p)
			}
			br.queues[1-i].Tx(burst[:n])
		}
		for _, q := range br.queues {
			q.Flush()
		}
		if !busy && br.queues[0].PreparePoll() && br.queues[1].PreparePoll() {
			_, _ = unix.Poll(fds, int(deadline.Milliseconds()))
		}
	}
}

// locate does what ip.Input will: it finds the transport header.
func locate(p *packet.Packet) {
	if binary.BigEndian.Uint16(p.Data[12:]) == 0x0800 {
		p.L3, p.L4 = 14, 14+uint16(p.Data[14]&15)*4
		p.Proto = p.Data[14+9]
	} else if binary.BigEndian.Uint16(p.Data[12:]) == 0x86dd {
		p.L3, p.L4, p.Proto = 14, 14+40, p.Data[14+6]
	}
}

// completeChecksum computes the whole TCP checksum of an IPv4 packet, plainly.
func completeChecksum(p *packet.Packet) {
	locate(p)
	if p.Proto != 6 {
		return
	}
	ip := p.Data[14:]
	length := int(binary.BigEndian.Uint16(ip[2:])) - int(p.L4-14)
	tcp := p.Data[p.L4:][:length]
	tcp[16], tcp[17] = 0, 0
	sum := uint32(6) + uint32(length)
	for i := 12; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for i := 0; i+1 < len(tcp); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(tcp[i:]))
	}
	if length%2 == 1 {
		sum += uint32(tcp[length-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
}

// A takeover keeps Linux from answering what the packet sockets have seen.
func TestTakeOver(t *testing.T) {
	for _, row := range []struct {
		name     string
		takeover bool
	}{{"with", true}, {"without", false}} {
		t.Run(row.name, func(t *testing.T) {
			host, dir := cable(t, 1, 0)
			check(t, dir.Address("d0", netip.MustParsePrefix("10.9.0.1/24")))
			o := open(t, packetSockets, dir, "d0", 0, 0, newMemory(t, 512, 0))
			if row.takeover {
				check(t, dir.Do(func() error {
					over, err := afpacket.TakeOver(o.link)
					if err == nil {
						t.Cleanup(func() { check(t, over.Close()) })
					}
					return err
				}))
			}
			far := openRaw(t, host, "h0", 0x0806)
			request := append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x09\x08\x06"+
				"\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x09\x0a\x09\x00\x02"+
				"\x00\x00\x00\x00\x00\x00\x0a\x09\x00\x01"), make([]byte, 18)...)
			// When the queue has seen the third, Linux is long done with the first.
			for range 3 {
				far.send(request)
				receiveAll(t, o, 1, func(_ int, p *packet.Packet) {
					if !bytes.Equal(p.Data, request) {
						t.Errorf("received %x, want the request", p.Data)
					}
				})
			}
			answers := func() (n uint64) {
				check(t, dir.Do(func() error {
					l, err := netlink.LinkByName("d0")
					if err == nil {
						n = l.Attrs().Statistics.TxPackets
					}
					return err
				}))
				return n
			}
			if !row.takeover {
				waitUntil(t, "Linux answers", func() bool { return answers() > 0 })
			} else if n := answers(); n != 0 {
				t.Errorf("Linux answered %d times", n)
			}
		})
	}
}

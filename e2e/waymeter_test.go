//go:build long

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wayMeter is a UDP flow with a datagram each millisecond, whose way to the real server is
// timed: from the moment before it is sent to that in which Linux had it there. So neither end
// need be on a processor at once, as who measures answers would. A gap is a datagram that was lost, or
// long on its way.
type wayMeter struct {
	mu       sync.Mutex
	received int
	next     uint64 // number of the one that is due
	lost     int
	longest  time.Duration
}

// Of linux/socket.h: with the time at which the kernel had a datagram.
const (
	soTimestampNS  = 35
	soRcvbufForce  = 33
	timestampBytes = 64
)

// wayMeter begins one, to a service of UDP on a port and the first real server.
func (d *director) wayMeter(address string, port int) *wayMeter {
	d.t.Helper()
	server, err := d.rs(1).ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		d.t.Fatal(err)
	}
	raw, err := server.(*net.UDPConn).SyscallConn()
	if err != nil {
		d.t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) {
		if err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soTimestampNS, 1); err == nil {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, soRcvbufForce, 16<<20)
		}
	}); cerr != nil || err != nil {
		d.t.Fatal(cerr, err)
	}
	client, err := d.client().Dial(within(d.t, patience), "udp", address)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &wayMeter{}
	var all sync.WaitGroup
	d.t.Cleanup(func() { stop(); client.Close(); server.Close(); all.Wait() })
	all.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		var b [16]byte
		for n := uint64(0); ctx.Err() == nil; n++ {
			binary.LittleEndian.PutUint64(b[:], n)
			binary.LittleEndian.PutUint64(b[8:], uint64(time.Now().UnixNano()))
			_, _ = client.Write(b[:])
			<-tick.C
		}
	})
	all.Go(func() { m.receive(server.(*net.UDPConn)) })
	return m
}

func (m *wayMeter) receive(server *net.UDPConn) {
	var b, control [timestampBytes]byte
	for {
		n, cn, _, from, err := server.ReadMsgUDP(b[:], control[:])
		if err != nil {
			return
		}
		arrived, ok := timestamp(control[:cn])
		if n != 16 || !ok {
			continue
		}
		number, sent := binary.LittleEndian.Uint64(b[:]), time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:])))
		m.mu.Lock()
		m.received++
		m.longest = max(m.longest, arrived.Sub(sent))
		switch {
		case m.received == 1: // those before are none of this flow's
		case number >= m.next:
			m.lost += int(number - m.next)
		default: // it came after a later one, as one does that a worker forwarded
			m.lost--
		}
		m.next = max(m.next, number+1)
		m.mu.Unlock()
		if number%8 == 0 {
			_, _ = server.WriteToUDP(b[:n], from) // it is answered, so that it is established
		}
	}
}

func timestamp(control []byte) (time.Time, bool) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
		return time.Time{}, false
	}
	b := messages[0].Data
	return time.Unix(int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))), true
}

// take waits for a datagram, and returns what happened since the last call.
func (m *wayMeter) take(t *testing.T) (lost int, longest time.Duration) {
	t.Helper()
	received := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.received
	}
	was := received()
	eventually(t, "datagrams arrive", func() bool { return received() > was })
	m.mu.Lock()
	defer m.mu.Unlock()
	lost, longest = m.lost, m.longest
	m.lost, m.longest = 0, 0
	return lost, longest
}

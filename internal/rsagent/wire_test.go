package rsagent

import (
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// wire is the other end of a real server's TUN or TAP device: the test is the
// director there, and decides about every byte.
type wire struct {
	file *os.File
	tap  bool
	mac  []byte // of the device, with tap

	mu   sync.Mutex
	ends map[netip.AddrPort]chan parsed // by the address that answers come to
}

// newWire makes a device in a namespace and brings it up.
func newWire(t *testing.T, ns *netns.Namespace, name string, tap bool) *wire {
	t.Helper()
	w := &wire{tap: tap, ends: map[netip.AddrPort]chan parsed{}}
	var flags uint16 = unix.IFF_TUN | unix.IFF_NO_PI
	if tap {
		flags = unix.IFF_TAP | unix.IFF_NO_PI
	}
	err := ns.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		r, err := unix.NewIfreq(name)
		if err == nil {
			r.SetUint16(flags)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
		}
		if err != nil {
			_ = unix.Close(fd)
			return err
		}
		w.file = os.NewFile(uintptr(fd), name)
		return nil
	})
	if err != nil {
		t.Fatalf("make %s: %v", name, err)
	}
	t.Cleanup(func() { w.file.Close() })
	if err := ns.LinkUp(name); err != nil {
		t.Fatal(err)
	}
	if tap {
		mac, err := ns.MAC(name)
		if err != nil {
			t.Fatal(err)
		}
		w.mac = mac
	}
	go w.receive()
	return w
}

// peerMAC is the director's, on a TAP device.
var peerMAC = []byte{2, 0, 0, 0, 0, 1}

// send sends an IP packet to the real server.
func (w *wire) send(t *testing.T, packet []byte) {
	t.Helper()
	frame := packet
	if w.tap {
		kind := []byte{8, 0}
		if packet[0]>>4 == 6 {
			kind = []byte{0x86, 0xdd}
		}
		frame = append(append(append(append([]byte{}, w.mac...), peerMAC...), kind...), packet...)
	}
	if _, err := w.file.Write(frame); err != nil {
		t.Fatalf("send to the real server: %v", err)
	}
}

// receive sorts what the real server sends, until the device is closed.
func (w *wire) receive() {
	buf := make([]byte, 65536)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		b := append([]byte{}, buf[:n]...)
		if w.tap && n > 14 {
			b = b[14:]
		}
		p, ok := parse(b)
		if !ok {
			continue
		}
		w.mu.Lock()
		end := w.ends[p.dst]
		w.mu.Unlock()
		if end == nil {
			continue
		}
		select {
		case end <- p:
		default: // nobody reads any more
		}
	}
}

// listen returns what comes to an address.
func (w *wire) listen(t *testing.T, at netip.AddrPort) <-chan parsed {
	end := make(chan parsed, 64)
	w.mu.Lock()
	w.ends[at] = end
	w.mu.Unlock()
	t.Cleanup(func() { w.mu.Lock(); delete(w.ends, at); w.mu.Unlock() })
	return end
}

// await returns the first packet that is wanted.
func await(t *testing.T, end <-chan parsed, what string, wanted func(parsed) bool) parsed {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case p := <-end:
			if wanted(p) {
				return p
			}
		case <-deadline:
			t.Fatalf("the real server did not send %s", what)
		}
	}
}

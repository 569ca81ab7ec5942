package uml

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// frameMax is the longest frame that a card carries.
const frameMax = 16 << 10

// card is the host's side of a guest's network card: a socket on which a datagram is
// a frame. A TAP joins it to a namespace; without one, frames of the guest are lost.
type card struct {
	socket *os.File

	mu     sync.Mutex
	tap    *os.File
	pumped chan struct{} // closed when the pump of tap has ended
}

// newCard makes a card; theirs is the end for the guest.
func newCard() (c *card, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	c = &card{socket: os.NewFile(uintptr(pair[0]), "card")}
	go c.receive()
	return c, os.NewFile(uintptr(pair[1]), "guest's card"), nil
}

// receive carries frames from the guest to where the card is plugged in.
func (c *card) receive() {
	buf := make([]byte, frameMax)
	for {
		n, err := c.socket.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.tap != nil {
			_, _ = c.tap.Write(buf[:n]) // a TAP that is going takes none
		}
		c.mu.Unlock()
	}
}

func (c *card) unplug() {
	c.mu.Lock()
	tap := c.tap
	c.tap = nil
	c.mu.Unlock()
	if tap != nil {
		tap.Close()
		<-c.pumped
	}
}

func (c *card) close() {
	c.unplug()
	c.socket.Close()
}

// Plug plugs card vecI into a namespace: a TAP of that name appears there, up. Where
// the card was plugged before, it is gone.
func (g *Guest) Plug(i int, in *netns.Namespace, name string) error {
	c := g.cards[i]
	c.unplug()
	var tap *os.File
	if err := in.Do(func() (err error) {
		tap, err = openTap(name)
		return err
	}); err != nil {
		return fmt.Errorf("TAP %s in namespace %s: %w", name, in.Name(), err)
	}
	c.mu.Lock()
	c.tap, c.pumped = tap, make(chan struct{})
	c.mu.Unlock()
	go c.pump(tap, c.pumped)
	return in.LinkUp(name)
}

// Unplug pulls card vecI out of where it is.
func (g *Guest) Unplug(i int) { g.cards[i].unplug() }

// pump carries frames from a TAP to the guest.
func (c *card) pump(tap *os.File, pumped chan<- struct{}) {
	defer close(pumped)
	buf := make([]byte, frameMax)
	for {
		n, err := tap.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.socket.Write(buf[:n]); err != nil {
			return
		}
	}
}

// openTap makes a TAP in the namespace of the calling thread. It has no offloads:
// the kernel completes checksums and cuts up GSO frames before they come here.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

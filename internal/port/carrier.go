package port

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Carrier looks at whether interfaces have somebody at the other end of the cable: at
// once as the driver knows it, where netlink's word may come a second late. It is for
// one goroutine at a time.
type Carrier struct{ fd int }

// WatchCarrier opens what looks at interfaces of the calling thread's network namespace.
func WatchCarrier() (*Carrier, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket to look at links with: %w", err)
	}
	return &Carrier{fd: fd}, nil
}

// value is struct ethtool_value.
type value struct{ cmd, data uint32 }

// Up reports whether an interface is up and has a carrier. An interface that is gone
// has none.
func (c *Carrier) Up(name string) bool {
	l := Link{Name: name}
	v := value{cmd: unix.ETHTOOL_GLINK}
	if l.ethtool(c.fd, unsafe.Pointer(&v)) == nil {
		return v.data != 0
	}
	// The driver has no answer: what the stack believes.
	req, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(c.fd, unix.SIOCGIFFLAGS, req) != nil {
		return false
	}
	return req.Uint16()&unix.IFF_RUNNING != 0
}

// Speed returns an interface's speed in Mbit/s and whether it is full duplex. Who does not
// know his speed is 0 and full duplex, as virtual links are.
func (c *Carrier) Speed(name string) (mbps int, fullDuplex bool) {
	l := Link{Name: name}
	set := settings{cmd: unix.ETHTOOL_GSET}
	if l.ethtool(c.fd, unsafe.Pointer(&set)) != nil {
		return 0, true
	}
	s := uint32(set.speedHigh)<<16 | uint32(set.speed)
	if s == ^uint32(0) || s == 0xffff {
		return 0, true
	}
	return int(s), set.duplex != 0 // 0 is half, 1 full, 255 unknown
}

// Close gives the socket back.
func (c *Carrier) Close() error { return unix.Close(c.fd) }

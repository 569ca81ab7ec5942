package port

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Interface flags of struct ifinfomsg (linux/if.h).
const (
	flagUp       = unix.IFF_UP
	flagRunning  = unix.IFF_RUNNING
	flagLoopback = unix.IFF_LOOPBACK
)

// ifreq is struct ifreq with a pointer as its value, the shape SIOCETHTOOL takes.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the kernel copies the whole union
}

// channels is struct ethtool_channels.
type channels struct {
	cmd                                 uint32
	maxRx, maxTx, maxOther, maxCombined uint32
	rx, tx, other, combined             uint32
}

// settings is struct ethtool_cmd, the part before its reserved words. It is the
// older of two calls; every driver still answers it and it needs no second round.
type settings struct {
	cmd                    uint32
	supported, advertising uint32
	speed                  uint16
	duplex, port           uint8
	phyAddress             uint8
	transceiver            uint8
	autoneg                uint8
	mdio                   uint8
	maxTx, maxRx           uint32
	speedHigh              uint16
	_                      [2]uint8
	_                      uint32
	_                      [2]uint32
}

// askEthtool fills in what only the driver knows. A driver that doesn't answer a
// question leaves that answer unknown, which is no error.
func (l *Link) askEthtool() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)

	info, err := unix.IoctlGetEthtoolDrvinfo(fd, l.Name)
	switch {
	case err == nil:
		l.Driver = unix.ByteSliceToString(info.Driver[:])
		if bus := unix.ByteSliceToString(info.Bus_info[:]); bus != "N/A" && bus != "tap" && bus != "tun" {
			l.Bus = bus
		}
	case !unanswered(err):
		return err
	}

	ch := channels{cmd: unix.ETHTOOL_GCHANNELS}
	switch err := l.ethtool(fd, unsafe.Pointer(&ch)); {
	case err == nil:
		l.RxQueues = max(int(ch.rx+ch.combined), 1)
		l.TxQueues = max(int(ch.tx+ch.combined), 1)
	case !unanswered(err):
		return err
	}

	set := settings{cmd: unix.ETHTOOL_GSET}
	switch err := l.ethtool(fd, unsafe.Pointer(&set)); {
	case err == nil:
		if s := uint32(set.speedHigh)<<16 | uint32(set.speed); s != ^uint32(0) && s != 0xffff {
			l.SpeedMbps = int(s)
		}
		l.FullDuplex = set.duplex == 1
		l.Autoneg = set.autoneg == 1
	case !unanswered(err):
		return err
	}
	return nil
}

func (l *Link) ethtool(fd int, command unsafe.Pointer) error {
	var r ifreq
	copy(r.name[:unix.IFNAMSIZ-1], l.Name)
	r.data = command
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	if errno != 0 {
		return errno
	}
	return nil
}

// unanswered reports whether a driver has no answer, as against no such interface.
func unanswered(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EIO)
}

package afpacket

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// Socket buffers in bytes. The kernel charges a frame with all its overhead: a
// small one with 768 bytes or more.
const (
	receiveBuffer = 32 << 20
	sendBuffer    = 16 << 20
)

// Options of a queue.
type Options struct {
	// Port is Facts.ID, for Packet.In.
	Port uint16
	// SendOnly: the worker receives nothing here, it only sends.
	SendOnly bool
	// Group is the interface's group when several workers receive; nil when
	// this queue alone does.
	Group *Group
}

// Facts returns the facts of a port that is driven by packet sockets. ID and
// Name are the director's to choose.
func Facts(l *port.Link, id uint16, name string) port.Facts {
	return port.Facts{
		ID: id, Name: name, IfName: l.Name, IfIndex: l.Index,
		MAC: l.MAC, MTU: l.MTU, Driver: "afpacket",
		TxCsum: true, TxGSO: true, // RxPartial no: every frame says so itself
		RxQueues: l.RxQueues, TxQueues: l.TxQueues,
	}
}

// Open opens a packet socket on an interface of the calling thread's network
// namespace. The queue belongs to the pool's worker.
func Open(l *port.Link, pool *packet.Pool, o Options) (*Queue, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w (weir needs root, or CAP_NET_RAW and CAP_NET_ADMIN)", err)
		}
		return nil, fmt.Errorf("packet socket for interface %q: %w", l.Name, err)
	}
	q := &Queue{fd: fd, id: o.Port, pool: pool}
	if err := q.setUp(l, &o); err != nil {
		return nil, errors.Join(fmt.Errorf("packet socket on interface %q: %w", l.Name, err), unix.Close(fd))
	}
	return q, nil
}

func (q *Queue) setUp(l *port.Link, o *Options) error {
	for _, s := range []struct {
		what          string
		level, option int
		value         int
	}{
		{"PACKET_VNET_HDR", unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{"PACKET_AUXDATA", unix.SOL_PACKET, unix.PACKET_AUXDATA, 1},
		{"SO_RCVBUFFORCE", unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer},
		{"SO_SNDBUFFORCE", unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer},
	} {
		if err := unix.SetsockoptInt(q.fd, s.level, s.option, s.value); err != nil {
			return fmt.Errorf("set %s: %w", s.what, err)
		}
	}
	// Only spares the kernel work (Linux 4.20): the filter sorts out the same.
	_ = unix.SetsockoptInt(q.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)

	at := &unix.SockaddrLinklayer{Ifindex: l.Index}
	if o.SendOnly {
		return bind(q.fd, at)
	}
	at.Protocol = networkOrder(unix.ETH_P_ALL)
	if err := filter(q.fd, deaf); err != nil {
		return err
	}
	if err := bind(q.fd, at); err != nil {
		return err
	}
	if o.Group != nil {
		if err := o.Group.join(q.fd); err != nil {
			return fmt.Errorf("join the workers' fanout group (the interface must be up): %w", err)
		}
		q.group = o.Group
	}
	err := q.makeReceiver()
	if err == nil {
		err = filter(q.fd, notOutgoing)
	}
	if err != nil && q.group != nil {
		q.group.leave()
	}
	return err
}

func bind(fd int, at *unix.SockaddrLinklayer) error {
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }

// Each message is received in three pieces: the vnet header, a small frame, and
// what is longer than that (a GSO frame) in a spill area, so that a small
// packet never costs a big frame.
const (
	smallPart = packet.SmallFrame - packet.Headroom
	spillPart = packet.BigFrame - packet.Headroom - smallPart
)

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// auxdata is the control message that says what of a frame the device kept: a
// struct cmsghdr and a struct tpacket_auxdata (linux/if_packet.h).
type auxdata struct {
	header unix.Cmsghdr

	status       uint32
	len, snaplen uint32
	mac, net     uint16
	vlanTCI      uint16
	vlanTPID     uint16
	_            [4]byte // to the alignment of a control message
}

// receiver is what recvmmsg fills: slot i of each array is message i's.
type receiver struct {
	messages [port.Burst]message
	pieces   [port.Burst][3]unix.Iovec
	vnet     [port.Burst]port.VnetHeader
	aux      [port.Burst]auxdata
	frames   [port.Burst]uint32 // the small frame in place, or noFrame
	spill    []byte
}

const noFrame = ^uint32(0)

func (q *Queue) makeReceiver() error {
	spill, err := unix.Mmap(-1, 0, port.Burst*spillPart, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map %d KiB for long frames: %w", port.Burst*spillPart>>10, err)
	}
	r := &receiver{spill: spill}
	for i := range r.messages {
		r.frames[i] = noFrame
		r.pieces[i][0] = piece((*byte)(unsafe.Pointer(&r.vnet[i])), port.VnetLen)
		r.pieces[i][2] = piece(&spill[i*spillPart], spillPart)
		h := &r.messages[i].header
		h.Iov = &r.pieces[i][0]
		h.SetIovlen(len(r.pieces[i]))
		h.Control = (*byte)(unsafe.Pointer(&r.aux[i]))
		h.SetControllen(int(unsafe.Sizeof(r.aux[i])))
	}
	q.receiver = r
	return nil
}

func piece(base *byte, n int) unix.Iovec {
	v := unix.Iovec{Base: base}
	v.SetLen(n)
	return v
}

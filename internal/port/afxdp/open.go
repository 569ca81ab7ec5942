package afxdp

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/port"
)

// UMEM is a worker's packet memory as the kernel knows it. All the worker's
// sockets share it, so that a frame received on one is sent on another without
// a copy. It is worker-owned.
type UMEM struct {
	pool   *packet.Pool
	queues []*Queue // open
}

// NewUMEM prepares a pool for AF_XDP. Nothing is registered until the first Open.
func NewUMEM(pool *packet.Pool) *UMEM { return &UMEM{pool: pool} }

// Close says that the pool is no longer needed. All queues must be closed.
func (u *UMEM) Close() error {
	if n := len(u.queues); n > 0 {
		return fmt.Errorf("packet memory is still in use by %d AF_XDP sockets: close them first", n)
	}
	return nil
}

// lead returns a socket that registered, or shares, the memory in the same
// mode, or nil. The kernel gives a sharing socket the mode of the one it shares
// with; so the memory is registered once per mode in use.
func (u *UMEM) lead(zeroCopy bool) *Queue {
	i := slices.IndexFunc(u.queues, func(q *Queue) bool { return q.zeroCopy == zeroCopy })
	if i < 0 {
		return nil
	}
	return u.queues[i]
}

// Options of a queue. The zero value is right for most.
type Options struct {
	// Port is Facts.ID, for Packet.In.
	Port uint16
	// RxRing and TxRing are numbers of ring entries, rounded up to a power of
	// two; 0 means 2048.
	RxRing, TxRing int
	// Sharing is how many queues will receive into the same memory; less than 2
	// means 2. They have half of its frames at most, each as many as the others:
	// the rest is for packets in the stages and on their way out.
	Sharing int
}

// Share is how many frames of a pool each of so many queues has to receive into.
func Share(frames, queues int) int { return frames / 2 / max(queues, 2) }

const (
	defaultRing = 2048
	maxRing     = 1 << 16

	// Memory for frames on their way out through the kernel's transmit path. The
	// default of 208 KiB is some 166 frames.
	sendBuffer = 16 << 20

	// How many frames one sendto may send in copy mode; the kernel's default is
	// 32, and 6.17 and newer let it be raised.
	xdpMaxTxSKBBudget = 9
	txBudget          = 128

	// A socket of a process that has just died, or of ourselves a moment ago,
	// is taken off the queue in the background: bind answers EBUSY until then.
	busyFor     = time.Second
	busyBackoff = time.Millisecond
)

func ringSize(n int) (uint32, error) {
	if n == 0 {
		n = defaultRing
	}
	if n < 2*port.Burst || n > maxRing {
		return 0, fmt.Errorf("an AF_XDP ring has %d to %d entries, not %d", 2*port.Burst, maxRing, n)
	}
	return 1 << bits.Len32(uint32(n)-1), nil
}

// Open binds a socket to a queue pair of the interface and starts receiving. It
// takes frames of the pool, so it is called by the pool's worker or before that
// runs. It may wait up to a second for a former owner of the queue to vanish.
func (pr *Program) Open(queue int, u *UMEM, o Options) (*Queue, error) {
	if queue < 0 || queue >= pr.at.RxQueues {
		return nil, fmt.Errorf("interface %q has no receive queue %d: it has %d (ethtool -l %[1]s)", pr.at.Name, queue, pr.at.RxQueues)
	}
	rx, err := ringSize(o.RxRing)
	if err != nil {
		return nil, err
	}
	tx, err := ringSize(o.TxRing)
	if err != nil {
		return nil, err
	}
	q := &Queue{
		program: pr,
		umem:    u,
		pool:    u.pool,
		queue:   queue,
		id:      o.Port,
		maxLen:  pr.at.MTU + linkHeader,
		target:  min(int(rx), Share(u.pool.Frames(), o.Sharing)),
		reserve: min(4*port.Burst, u.pool.Frames()/8),
		inside:  make([]uint64, (u.pool.Frames()+63)/64),
		fd:      -1,
	}
	if err := q.bind(rx, tx); err != nil {
		return nil, fmt.Errorf("AF_XDP on interface %q queue %d: %w", pr.at.Name, queue, err)
	}
	if err := pr.enter("afxdp " + pr.modeName(q.zeroCopy)); err != nil {
		return nil, errors.Join(err, q.shut())
	}
	q.drops = pr.drops(queue)
	q.tooBigBefore = atomicLoad(&q.drops.TooBig)
	q.refill()
	if err := pr.xsks.Put(uint32(queue), uint32(q.fd)); err != nil {
		return nil, errors.Join(fmt.Errorf("AF_XDP on interface %q queue %d: register the socket: %w", pr.at.Name, queue, err), q.shut(), pr.leave())
	}
	u.queues = append(u.queues, q)
	return q, nil
}

// bind tries the modes that the program's attachment and the caller allow.
func (q *Queue) bind(rx, tx uint32) error {
	var modes []bool // zero-copy?
	switch {
	case !q.program.native:
		modes = []bool{false}
	case q.program.only == ZeroCopy:
		modes = []bool{true}
	default:
		modes = []bool{true, false}
	}
	var errs []error
	for _, zc := range modes {
		err := q.bindAs(zc, rx, tx)
		if err == nil {
			return nil
		}
		if zc && errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("its driver knows no zero-copy: %w", err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// bindAs binds in one mode, with patience for a queue that is still taken.
func (q *Queue) bindAs(zeroCopy bool, rx, tx uint32) error {
	pause := busyBackoff
	for waited := time.Duration(0); ; waited += pause {
		err := q.bindOnce(zeroCopy, rx, tx)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		if waited >= busyFor {
			return fmt.Errorf("another program's AF_XDP socket has the queue (waited %v): %w", waited, err)
		}
		time.Sleep(pause)
		pause = min(2*pause, busyFor/8)
	}
}

func (q *Queue) bindOnce(zeroCopy bool, rx, tx uint32) (err error) {
	q.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket (is CONFIG_XDP_SOCKETS in this kernel?): %w", err)
	}
	defer func() {
		if err != nil {
			_ = q.unmap() // why it could not be bound is what counts
		}
	}()
	lead := q.umem.lead(zeroCopy)
	if lead == nil {
		if err := q.register(); err != nil {
			return fmt.Errorf("register the packet memory: %w", err)
		}
	}
	if err := q.makeRings(rx, tx); err != nil {
		return fmt.Errorf("make the rings: %w", err)
	}
	// Without it the kernel sends less at a time, nothing worse.
	_ = unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
	_ = unix.SetsockoptInt(q.fd, unix.SOL_XDP, xdpMaxTxSKBBudget, txBudget)

	to := &unix.SockaddrXDP{Ifindex: uint32(q.program.at.Index), QueueID: uint32(q.queue)}
	switch {
	case lead != nil: // no other flag: mode and wake-up are the lead's
		to.Flags, to.SharedUmemFD = unix.XDP_SHARED_UMEM, uint32(lead.fd)
	case zeroCopy:
		to.Flags = unix.XDP_ZEROCOPY | unix.XDP_USE_NEED_WAKEUP
	default:
		to.Flags = unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP
	}
	if err := unix.Bind(q.fd, to); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	q.zeroCopy = zeroCopy
	if !zeroCopy && q.program.at.TxQueues == 1 {
		q.trains = openTrains(q.program.at.Index)
	}
	return nil
}

// register tells the kernel about the pool's arena. The headroom asked for is
// none: the kernel keeps XDP_PACKET_HEADROOM, 256 bytes, in any case, which is
// packet.Headroom, and every byte more would be taken from Room.
func (q *Queue) register() error {
	arena := q.pool.Arena()
	reg := unix.XDPUmemReg{
		Addr: uint64(uintptr(unsafe.Pointer(&arena[0]))),
		Len:  uint64(len(arena)),
		Size: packet.SmallFrame,
	}
	return setsockopt(q.fd, unix.XDP_UMEM_REG, unsafe.Pointer(&reg), unsafe.Sizeof(reg))
}

func (q *Queue) makeRings(rx, tx uint32) error {
	for _, r := range []struct {
		option int
		n      uint32
	}{
		{unix.XDP_UMEM_FILL_RING, rx},
		{unix.XDP_UMEM_COMPLETION_RING, tx},
		{unix.XDP_RX_RING, rx},
		{unix.XDP_TX_RING, tx},
	} {
		if err := unix.SetsockoptInt(q.fd, unix.SOL_XDP, r.option, int(r.n)); err != nil {
			return err
		}
	}
	var off unix.XDPMmapOffsets
	if err := getsockopt(q.fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&off), unsafe.Sizeof(off)); err != nil {
		return err
	}
	for _, r := range []struct {
		into  *ring
		page  int64
		off   unix.XDPRingOffset
		n     uint32
		entry uint64
	}{
		{&q.fill, unix.XDP_UMEM_PGOFF_FILL_RING, off.Fr, rx, addrSize},
		{&q.completion, unix.XDP_UMEM_PGOFF_COMPLETION_RING, off.Cr, tx, addrSize},
		{&q.rx, unix.XDP_PGOFF_RX_RING, off.Rx, rx, descSize},
		{&q.tx, unix.XDP_PGOFF_TX_RING, off.Tx, tx, descSize},
	} {
		var err error
		if *r.into, err = mapRing(q.fd, r.page, r.off, r.n, r.entry); err != nil {
			return err
		}
	}
	return nil
}

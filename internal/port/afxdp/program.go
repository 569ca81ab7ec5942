package afxdp

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/internal/packet"
	"weir/internal/pinned"
	"weir/internal/port"
)

// Mode narrows how an interface is driven. The values are those of
// spec.XDPMode; "" is Auto.
type Mode string

// The modes, best first.
const (
	Auto     Mode = "auto"     // the best that interface and kernel give
	ZeroCopy Mode = "zerocopy" // zero-copy or an error
	Native   Mode = "native"   // in the driver, zero-copy or copy, or an error
	Generic  Mode = "generic"  // behind the driver
)

// Room is the longest frame, link header included, that can be received: the
// kernel keeps packet.Headroom (its XDP_PACKET_HEADROOM) bytes in front.
const Room = packet.SmallFrame - packet.Headroom

// What comes on top of the MTU in a frame.
const (
	linkHeader = 14
	vlanTag    = 4
)

// MaxMTU is the largest MTU of an interface that AF_XDP can drive here.
const MaxMTU = Room - linkHeader - vlanTag

// Program is the XDP program on an interface, and the place where the sockets
// of its queues are registered. It is shared.
type Program struct {
	at     *port.Link
	native bool
	only   Mode   // what the caller allowed
	why    string // why it isn't native

	engine *Engine // nil: the workers forward all
	id     uint16  // the port's number in the engine
	program
	keep   *pinned.Dir // where it may find the former's link, and leaves its own; or nil
	mapped []byte      // the drops, as the kernel counts them

	mu     sync.Mutex // guards what follows
	link   link.Link  // of this program, or
	waits  bool       // of the former's, in whose place it is to go
	stays  bool       // when the process ends
	driver string
	open   int // queues
	closed bool
}

// program is what was loaded: xsk_redirect, or forward where the second engine runs.
type program struct {
	xdp     *ebpf.Program
	xsks    *ebpf.Map
	counts  *ebpf.Map  // drops
	loading chan error // what becomes of the program, if that is loaded meanwhile
}

// ready waits until it is loaded.
func (p *program) ready() error {
	if p.loading == nil {
		return nil
	}
	err := <-p.loading
	p.loading = nil
	return err
}

// Close unloads it. What is nil is none.
func (p *program) Close() error {
	err := p.ready()
	return errors.Join(err, p.xdp.Close(), p.xsks.Close(), p.counts.Close())
}

// Attach puts the program on an interface of the calling thread's network
// namespace. From then on Linux sees no frame that arrives there. The error
// says why AF_XDP can't be used and what to do; afpacket drives such an
// interface too.
func Attach(ifname string, mode Mode) (*Program, error) { return AttachTo(nil, 0, ifname, mode) }

// AttachTo is Attach with an engine's program for the port of that number: what it does
// not forward comes to the sockets. Where the driver knows no native XDP, the engine is
// left out (Forwards).
func AttachTo(e *Engine, id uint16, ifname string, mode Mode) (*Program, error) {
	return AttachAfter(nil, e, id, ifname, mode)
}

// look finds an interface, and how to try to attach to it.
func look(ifname string, mode Mode) (at *port.Link, try []link.XDPAttachFlags, err error) {
	at, err = port.FindLink(ifname)
	if err != nil {
		return nil, nil, err
	}
	if at.MTU > MaxMTU {
		return nil, nil, fmt.Errorf("interface %q has mtu %d and AF_XDP takes %d at most: lower the mtu or use the driver afpacket", ifname, at.MTU, MaxMTU)
	}
	switch mode {
	case Auto, "":
		try = []link.XDPAttachFlags{link.XDPDriverMode, link.XDPGenericMode}
	case ZeroCopy, Native:
		try = []link.XDPAttachFlags{link.XDPDriverMode}
	case Generic:
		try = []link.XDPAttachFlags{link.XDPGenericMode}
	default:
		return nil, nil, fmt.Errorf("no AF_XDP mode is called %q: it is one of %s, %s, %s, %s", mode, Auto, ZeroCopy, Native, Generic)
	}
	return at, try, nil
}

// attach puts the program on an interface that has none.
func (pr *Program) attach(e *Engine, try []link.XDPAttachFlags) (err error) {
	for _, flags := range try {
		pr.native = flags == link.XDPDriverMode
		if pr.engine = nil; pr.native {
			pr.engine = e
		}
		if err := pr.load(); err != nil {
			return fmt.Errorf("load the XDP program for interface %q: %w", pr.at.Name, err)
		}
		pr.link, err = link.AttachXDP(link.XDPOptions{Program: pr.xdp, Interface: pr.at.Index, Flags: flags})
		if err == nil {
			pr.driver = "afxdp " + pr.modeName(false)
			return nil
		}
		err = errors.Join(attachError(pr.at.Name, flags, err), pr.unload())
		pr.why = err.Error()
	}
	return err
}

// ZeroCopy reports whether the queues that are open got zero-copy.
func (pr *Program) ZeroCopy() bool {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.driver == "afxdp "+pr.modeName(true)
}

// Forwards reports whether the port's program is an engine's.
func (pr *Program) Forwards() bool { return pr.engine != nil }

// load makes the maps and loads the program into the kernel.
func (pr *Program) load() error {
	// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK; later ones ignore it.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("%w (weir needs root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF)", err)
	}
	err := pr.loadProgram()
	if err == nil && !pr.waits {
		err = pr.ready()
	}
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w (weir needs root, or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF)", err)
		}
		return errors.Join(err, pr.program.Close())
	}
	size := pr.at.RxQueues * int(unsafe.Sizeof(bpf.XskRedirectDrops{}))
	pr.mapped, err = unix.Mmap(pr.counts.FD(), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return errors.Join(fmt.Errorf("map the counters: %w", err), pr.program.Close())
	}
	return nil
}

func (pr *Program) loadProgram() (err error) {
	if pr.engine != nil {
		p := &pr.program
		if p.xsks, p.counts, err = pr.engine.own(pr.at.RxQueues); err != nil {
			return err
		}
		p.loading = make(chan error, 1)
		go func() {
			var err error
			p.xdp, err = pr.engine.load(pr.id, p.xsks, p.counts, 0)
			p.loading <- err
		}()
		return nil
	}
	spec, err := bpf.LoadXskRedirect()
	if err != nil {
		return err
	}
	queues := uint32(pr.at.RxQueues)
	spec.Maps[bpf.XskRedirectMapXsks].MaxEntries = queues
	spec.Maps[bpf.XskRedirectMapDrops].MaxEntries = queues
	if err := spec.Variables[bpf.XskRedirectVarRoom].Set(uint32(Room)); err != nil {
		return err
	}
	var o bpf.XskRedirectObjects
	if err := spec.LoadAndAssign(&o, nil); err != nil {
		return err
	}
	pr.program = program{xdp: o.XskRedirect, xsks: o.Xsks, counts: o.XskRedirectMaps.Drops}
	return nil
}

var _ = [1]struct{}{}[unsafe.Sizeof(bpf.ForwardDrops{})-unsafe.Sizeof(bpf.XskRedirectDrops{})] // they are the same

func attachError(ifname string, flags link.XDPAttachFlags, err error) error {
	where := "natively"
	if flags == link.XDPGenericMode {
		where = "generically"
	}
	hint := ""
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		hint = ": another XDP program is there; stop its owner or run: ip link set dev " + ifname + " xdp off; that of a weir with --pin goes with: weir purge"
	case errors.Is(err, ebpf.ErrNotSupported):
		hint = ": it needs Linux 5.9 or newer"
	case errors.Is(err, unix.EOPNOTSUPP):
		hint = ": its driver knows no native XDP"
	case errors.Is(err, unix.ERANGE):
		hint = ": its mtu, or on veth that of its peer, is too large for its driver's XDP"
	}
	return fmt.Errorf("attach the XDP program to interface %q %s: %w%s", ifname, where, err, hint)
}

// Driver says what was got: "afxdp zero-copy", "afxdp native copy" or "afxdp
// generic copy". Whether it is zero-copy is known after the first Open.
func (pr *Program) Driver() string {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.driver
}

// Why says why the interface is not driven natively; "" when it is, or when
// nothing better was asked for.
func (pr *Program) Why() string { return pr.why }

// Facts returns the port's facts. ID and Name are the director's to choose.
func (pr *Program) Facts(id uint16, name string) port.Facts {
	return port.Facts{
		ID: id, Name: name, IfName: pr.at.Name, IfIndex: pr.at.Index,
		MAC: pr.at.MAC, MTU: pr.at.MTU, Driver: pr.Driver(),
		// In generic mode frames come after GRO, which leaves what it merged
		// without a whole checksum.
		RxPartial: !pr.native || pr.at.Partial(),
		RxQueues:  pr.at.RxQueues, TxQueues: pr.at.TxQueues,
	}
}

// Warning is the sentence to log, once, when PortRxTooBig first grows.
func (pr *Program) Warning() string {
	s := fmt.Sprintf("frames longer than %d bytes arrive on %s and are dropped: "+
		"segmentation offload is on at the other end of the link; there run: ethtool -K PEER tso off gso off gro off tx-udp-segmentation off", Room, pr.at.Name)
	if !pr.native {
		s += "; and here: ethtool -K " + pr.at.Name + " gro off lro off"
	}
	return s
}

// Unserved returns how many frames came on queues that had no socket then.
func (pr *Program) Unserved() (n uint64) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.mapped == nil {
		return 0
	}
	for q := range pr.at.RxQueues {
		n += atomicLoad(&pr.drops(q).NoSocket)
	}
	return n
}

// drops returns the drops of a queue, which the kernel counts in place.
func (pr *Program) drops(queue int) *bpf.XskRedirectDrops {
	all := unsafe.Slice((*bpf.XskRedirectDrops)(unsafe.Pointer(&pr.mapped[0])), pr.at.RxQueues)
	return &all[queue]
}

// Close takes the program off the interface, which is Linux's again, unless it stays (Begin),
// or still is the former director's. Close it before the queues: then no frame is on its way
// to them any more, but of one that stays, from which the kernel takes them itself.
func (pr *Program) Close() error {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.closed {
		return nil
	}
	pr.closed = true
	err := pr.link.Close()
	if pr.open == 0 {
		err = errors.Join(err, pr.unload())
	}
	return err
}

// enter and leave count the queues, whose counters live in our maps.
func (pr *Program) enter(driver string) error {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.closed {
		return fmt.Errorf("interface %q is closed", pr.at.Name)
	}
	pr.open++
	pr.driver = driver
	return nil
}

func (pr *Program) leave() error {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.open--
	if pr.closed && pr.open == 0 {
		return pr.unload()
	}
	return nil
}

func (pr *Program) unload() error {
	err := unix.Munmap(pr.mapped)
	pr.mapped = nil
	return errors.Join(err, pr.program.Close())
}

func (pr *Program) modeName(zeroCopy bool) string {
	switch {
	case zeroCopy:
		return "zero-copy"
	case pr.native:
		return "native copy"
	}
	return "generic copy"
}

package packet

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	bigBit  = 1 << 31
	noFrame = ^uint32(0)
)

// Pool is a worker's packet memory: an arena of small frames that AF_XDP can
// register as its UMEM, a few big frames, and the Packet structs. It is
// worker-owned. Both free lists are stacks, so what was used last and is still
// in cache is used first.
//
// Bounds: the number of frames given to NewPool. Get returns nil beyond it and
// the caller drops for PoolEmpty.
type Pool struct {
	_      [128]byte // what is allocated before and behind is another worker's: no line is shared
	arena  []byte
	frames []uint32 // free small frames
	bigMem []byte
	bigs   []uint32  // free big frames
	free   []*Packet // free structs
	total  int       // small frames
	nbig   int
	out    int // packets handed out by Get, GetBig and Wrap and not yet put back
	_      [128]byte
}

// NewPool maps memory for small and big frames outside of the Go heap, and the
// structs that go with them. Close gives it back.
func NewPool(small, big int) (*Pool, error) {
	if small < 1 || big < 0 {
		return nil, fmt.Errorf("packet pool of %d and %d frames: at least one small frame is needed", small, big)
	}
	arena, err := unix.Mmap(-1, 0, small*SmallFrame, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("packet pool: map %d MiB: %w", small*SmallFrame>>20, err)
	}
	// Fewer TLB misses; it is advice, a kernel without huge pages may say no.
	_ = unix.Madvise(arena, unix.MADV_HUGEPAGE)
	pl := &Pool{arena: arena, total: small, nbig: big}
	if big > 0 {
		pl.bigMem, err = unix.Mmap(-1, 0, big*BigFrame, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			_ = unix.Munmap(arena)
			return nil, fmt.Errorf("packet pool: map %d MiB for big frames: %w", big*BigFrame>>20, err)
		}
	}
	pl.frames = make([]uint32, small)
	for i := range pl.frames {
		pl.frames[i] = uint32(small - 1 - i)
	}
	pl.bigs = make([]uint32, big)
	for i := range pl.bigs {
		pl.bigs[i] = uint32(big - 1 - i)
	}
	structs := make([]Packet, small+big)
	pl.free = make([]*Packet, len(structs))
	for i := range structs {
		structs[i].pool = pl
		structs[i].frame = noFrame
		pl.free[len(structs)-1-i] = &structs[i]
	}
	return pl, nil
}

// Close unmaps the memory. No packet of the pool may be in use.
func (pl *Pool) Close() error {
	if pl.bigMem != nil {
		if err := unix.Munmap(pl.bigMem); err != nil {
			return err
		}
	}
	err := unix.Munmap(pl.arena)
	pl.arena, pl.bigMem = nil, nil
	return err
}

// Get returns an empty packet on a small frame with the usual headroom, or nil
// when none is left.
func (pl *Pool) Get() *Packet {
	f, ok := pl.TakeFrame()
	if !ok {
		return nil
	}
	return pl.Wrap(f, Headroom, 0)
}

// GetBig returns an empty packet on a big frame, or nil when none is left.
func (pl *Pool) GetBig() *Packet {
	if len(pl.bigs) == 0 {
		return nil
	}
	b := pl.bigs[len(pl.bigs)-1]
	pl.bigs = pl.bigs[:len(pl.bigs)-1]
	p := pl.takeStruct()
	p.frame = b | bigBit
	p.mem = pl.bigMem[int(b)*BigFrame : int(b+1)*BigFrame : int(b+1)*BigFrame]
	p.Reset(Headroom)
	return p
}

// Put takes a packet and its memory back.
func (pl *Pool) Put(p *Packet) {
	if p.frame&bigBit != 0 {
		pl.bigs = append(pl.bigs, p.frame&^bigBit)
		pl.putStruct(p)
		return
	}
	pl.frames = append(pl.frames, pl.Unwrap(p))
}

// TakeFrame takes a bare small frame, for a driver's fill ring.
func (pl *Pool) TakeFrame() (uint32, bool) {
	n := len(pl.frames)
	if n == 0 {
		return 0, false
	}
	f := pl.frames[n-1]
	pl.frames = pl.frames[:n-1]
	return f, true
}

// PutFrame gives a bare small frame back, from a driver's completion ring.
func (pl *Pool) PutFrame(f uint32) { pl.frames = append(pl.frames, f) }

// Wrap makes a packet of a bare frame: Data is n bytes at offset head. Every
// frame has a struct, so it never fails.
func (pl *Pool) Wrap(frame uint32, head, n int) *Packet {
	p := pl.takeStruct()
	p.frame = frame
	off := int(frame) * SmallFrame
	mem := pl.arena[off : off+SmallFrame : off+SmallFrame]
	p.mem = mem
	p.head = uint32(head)
	p.Data = mem[head : head+n]
	p.Learnt = Learnt{} // as Reset does
	return p
}

// Unwrap gives the struct back and the small frame to the caller, who now owns
// the frame. The packet must not lie on a big frame.
func (pl *Pool) Unwrap(p *Packet) uint32 {
	f := p.frame
	pl.putStruct(p)
	return f
}

// Arena is the memory of the small frames: frame f lies at f*SmallFrame.
func (pl *Pool) Arena() []byte { return pl.arena }

// Frames returns the number of small frames in all.
func (pl *Pool) Frames() int { return pl.total }

// FreeFrames returns how many small frames are in the pool now.
func (pl *Pool) FreeFrames() int { return len(pl.frames) }

// InUse returns how many packets are out. At the end of every test it is 0.
func (pl *Pool) InUse() int { return pl.out }

func (pl *Pool) takeStruct() *Packet {
	n := len(pl.free) - 1
	p := pl.free[n]
	pl.free = pl.free[:n]
	pl.out++
	return p
}

func (pl *Pool) putStruct(p *Packet) {
	if p.frame == noFrame {
		panic("packet: put twice")
	}
	p.frame = noFrame
	pl.free = append(pl.free, p)
	pl.out--
}

package afxdp

import (
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/packet"
	"weir/internal/testkit/netns"
)

// A zero-copy queue gives its frames back only when the device has let go of
// them. A veth has no zero-copy, but the waiting is the same: it ends when the
// queue can be bound anew, and gives up, keeping the frames, when it can't.
func TestZeroCopyFramesComeBackLate(t *testing.T) {
	world, err := netns.New("weirrelease")
	check(t, err)
	defer func() { check(t, world.Close()) }()
	a, err := world.Namespace("a")
	check(t, err)
	b, err := world.Namespace("b")
	check(t, err)
	check(t, netns.Veth(netns.End{In: a, Name: "a0"}, netns.End{In: b, Name: "b0"}))

	for _, row := range []struct {
		name  string
		taken bool
	}{{"free", false}, {"taken", true}} {
		t.Run(row.name, func(t *testing.T) {
			pool, err := packet.NewPool(512, 0)
			check(t, err)
			check(t, a.Do(func() error {
				program, err := Attach("a0", Native)
				check(t, err)
				q, err := program.Open(0, NewUMEM(pool), Options{})
				check(t, err)
				q.zeroCopy = true // from here on it is said to be
				check(t, program.Close())
				if row.taken {
					// Somebody else gets hold of the device's queue first.
					other, err := packet.NewPool(2, 0)
					check(t, err)
					check(t, q.unmap())
					thief := &Queue{program: program, umem: NewUMEM(other), pool: other, fd: -1}
					check(t, thief.bindAs(false, 128, 128))
					defer func() { check(t, thief.unmap()); check(t, other.Close()) }()
					q.fd = thief.fd // so that Close has something to close …
					thief.fd = -1
					keep, err := unix.Dup(q.fd) // … and the queue stays taken
					check(t, err)
					defer unix.Close(keep)
				}
				err = q.Close()
				switch {
				case !row.taken && (err != nil || pool.FreeFrames() != pool.Frames()):
					t.Errorf("%d of %d frames are back, %v", pool.FreeFrames(), pool.Frames(), err)
				case row.taken && (err == nil || pool.FreeFrames() == pool.Frames()):
					t.Errorf("frames that the device may use are back (%d of %d), %v", pool.FreeFrames(), pool.Frames(), err)
				}
				return nil
			}))
			check(t, pool.Close())
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

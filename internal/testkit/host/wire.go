package host

import "math/rand/v2"

// Wire says what happens to frames on their way, in either direction.
type Wire struct {
	Loss    float64 // share of frames that are lost
	Reorder float64 // share of frames that the next one overtakes
	Seed    uint64
}

// coin decides about the frames of one direction. It is one goroutine's.
type coin struct {
	w    Wire
	rnd  *rand.Rand
	late []byte // waits for the next frame
}

func (w Wire) coin(stream uint64) *coin {
	return &coin{w: w, rnd: rand.New(rand.NewPCG(w.Seed, stream))}
}

// carry delivers a frame: or not, or after the next one.
func (c *coin) carry(f []byte, deliver func([]byte)) {
	switch x := c.rnd.Float64(); {
	case x < c.w.Loss:
		return
	case x < c.w.Loss+c.w.Reorder && c.late == nil:
		c.late = f
		return
	}
	deliver(f)
	if c.late != nil {
		deliver(c.late)
		c.late = nil
	}
}

package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// defaultMaxReply is max_reply_length where nothing is said, in bytes.
const defaultMaxReply = 255

// UDP is UDP_CHECK. A server that answers with an ICMP error is down. One that is
// silent is down only if a reply is required, so a check that requires none lasts
// as long as its timeout allows.
type UDP struct {
	Way
	// Payload is what is sent; random bytes if there are none.
	Payload []byte
	// RequireReply asks for a reply of MinReply to MaxReply bytes (0 means 255).
	RequireReply       bool
	MinReply, MaxReply int
	// Reply is what a reply has to begin with; of the two, the shorter counts.
	Reply []byte
	// ReplyMask has the bits of Reply that are compared (an "x" of require_reply
	// has none). Empty: all.
	ReplyMask []byte
}

// Probe implements [Probe].
func (u UDP) Probe(ctx context.Context) Finding {
	ctx, cancel := u.within(ctx)
	defer cancel()
	l, err := u.dialUDP(ctx)
	if err != nil {
		return found(err)
	}
	defer l.hangUp()
	payload := u.Payload
	if len(payload) == 0 {
		payload = noise()
	}
	if _, err := l.Write(payload); err != nil {
		return found(err)
	}
	// One byte more, to see that a reply is too long.
	reply := make([]byte, cmp.Or(u.MaxReply, defaultMaxReply)+1)
	n, err := l.Read(reply)
	if errors.Is(err, os.ErrDeadlineExceeded) && !u.RequireReply && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return Finding{}
	}
	if err != nil || !u.RequireReply {
		return found(err)
	}
	return found(u.judge(reply[:n]))
}

// noise is what a server is asked that nothing is known of.
func noise() []byte {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func (u *UDP) judge(reply []byte) error {
	if longest := cmp.Or(u.MaxReply, defaultMaxReply); len(reply) > longest {
		return fmt.Errorf("the reply is longer than %d bytes", longest)
	}
	if len(reply) < u.MinReply {
		return fmt.Errorf("the reply has %d bytes, expected %d or more", len(reply), u.MinReply)
	}
	for i := range min(len(reply), len(u.Reply)) {
		mask := byte(0xff)
		if i < len(u.ReplyMask) {
			mask = u.ReplyMask[i]
		}
		if (reply[i]^u.Reply[i])&mask != 0 {
			return fmt.Errorf("byte %d of the reply is %#02x, expected %#02x", i, reply[i], u.Reply[i])
		}
	}
	return nil
}

package afpacket

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Group spreads the frames of one interface over the sockets of several workers
// by flow (PACKET_FANOUT_HASH; both directions of a flow go the same way). It is
// shared. The zero value is an empty group.
type Group struct {
	mu      sync.Mutex
	members int
	id      uint16 // chosen by the kernel for the first member
	flags   int
}

// Fanout flags (linux/if_packet.h). The second came with Linux 6.1.
const (
	fanoutUniqueID       = unix.PACKET_FANOUT_FLAG_UNIQUEID
	fanoutIgnoreOutgoing = 0x4000
)

// join puts a bound socket into the group.
func (g *Group) join(fd int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members > 0 {
		if err := fanout(fd, int(g.id), g.flags); err != nil {
			return err
		}
		g.members++
		return nil
	}
	g.flags = fanoutIgnoreOutgoing
	err := fanout(fd, 0, g.flags|fanoutUniqueID)
	if errors.Is(err, unix.EINVAL) {
		g.flags = 0 // the socket's filter alone sorts out what we sent ourselves
		err = fanout(fd, 0, g.flags|fanoutUniqueID)
	}
	if err != nil {
		return err
	}
	v, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return err
	}
	g.id = uint16(v)
	g.members = 1
	return nil
}

// leave says that a member's socket was closed.
func (g *Group) leave() {
	g.mu.Lock()
	g.members--
	g.mu.Unlock()
}

func fanout(fd, id, flags int) error {
	return unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, id|(unix.PACKET_FANOUT_HASH|flags)<<16)
}

// Filters of classic BPF. A socket that is bound but not yet in its group would
// receive every frame of the interface beside the members, so it starts deaf.
var (
	deaf = []unix.SockFilter{
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	// notOutgoing takes all but what this host sent.
	notOutgoing = []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: skfADPacketType},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OUTGOING, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
)

// skfADPacketType is SKF_AD_OFF + SKF_AD_PKTTYPE (linux/filter.h).
const skfADPacketType = 1<<32 - 0x1000 + 4

func filter(fd int, program []unix.SockFilter) error {
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return fmt.Errorf("attach a socket filter: %w", err)
	}
	return nil
}

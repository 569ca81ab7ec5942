package port

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Groups makes an interface's device take the frames of multicast groups, which it
// else sorts out by MAC. The kernel keeps a list for each device, with a count for
// each group, so others' memberships are not touched; those held here end with
// the process, however it ends. A device whose list is too short takes all
// multicast instead, of its own accord.
type Groups struct {
	fd    int
	index int
	name  string
	held  map[MAC]bool
}

// JoinGroups opens what holds memberships for an interface of the calling thread's
// network namespace. It receives nothing.
func JoinGroups(l *Link) (*Groups, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket for the groups of interface %q: %w", l.Name, err)
	}
	return &Groups{fd: fd, index: l.Index, name: l.Name, held: map[MAC]bool{}}, nil
}

// Set makes macs the groups whose frames are taken, and gives up others. A group
// that can't be joined does not keep the rest from it.
func (g *Groups) Set(macs []MAC) (err error) {
	want := make(map[MAC]bool, len(macs))
	for _, m := range macs {
		want[m] = true
		if g.held[m] {
			continue
		}
		if e := g.change(unix.PACKET_ADD_MEMBERSHIP, m); e != nil {
			err = errors.Join(err, fmt.Errorf("interface %q: join group %x: %w", g.name, m, e))
			continue
		}
		g.held[m] = true
	}
	for m := range g.held {
		if want[m] {
			continue
		}
		if e := g.change(unix.PACKET_DROP_MEMBERSHIP, m); e != nil {
			err = errors.Join(err, fmt.Errorf("interface %q: leave group %x: %w", g.name, m, e))
		}
		delete(g.held, m)
	}
	return err
}

func (g *Groups) change(how int, m MAC) error {
	r := unix.PacketMreq{Ifindex: int32(g.index), Type: unix.PACKET_MR_MULTICAST, Alen: uint16(len(m))}
	copy(r.Address[:], m[:])
	return unix.SetsockoptPacketMreq(g.fd, unix.SOL_PACKET, how, &r)
}

// Close ends all memberships.
func (g *Groups) Close() error { return unix.Close(g.fd) }

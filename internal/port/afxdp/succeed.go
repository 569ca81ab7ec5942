package afxdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/internal/pinned"
	"weir/internal/port"
)

// An engine's program outlives its director, if the flow table does: its link to the
// interface is kept beside that, and holds all that the program needs. The next director
// makes maps and programs of its own over the same table, and has them ready, with sockets
// and rules, before it puts them in the former's place: by one exchange of a pointer in
// the kernel (BPF_LINK_UPDATE), between two frames. So a start that fails takes nothing away, and
// of the engine's own maps nothing has to be as it was in the build before, but counters.

// AttachAfter is AttachTo where a former director may have left a program in keep. The new
// one then begins with Begin alone, which also has it outlive the process, if it is an
// engine's. keep may be nil.
func AttachAfter(keep *pinned.Dir, e *Engine, id uint16, ifname string, mode Mode) (*Program, error) {
	at, try, err := look(ifname, mode)
	if err != nil {
		return nil, err
	}
	former, err := formerLink(keep, at)
	if err != nil {
		return nil, err
	}
	pr := &Program{at: at, only: mode, id: id, keep: keep}
	if former == nil {
		if e != nil {
			e.begin(id)
		}
		if err := pr.attach(e, try); err != nil {
			return nil, err
		}
		return pr, nil
	}
	// The former is native, as all engines' are.
	pr.native = mode != Generic
	if pr.native {
		pr.engine = e
	}
	pr.link, pr.waits = former, true
	if err := pr.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("load the XDP program for interface %q: %w", ifname, err), former.Close())
	}
	pr.driver = "afxdp " + pr.modeName(false)
	return pr, nil
}

// formerLink returns the link that a former director left on an interface, or nil.
func formerLink(keep *pinned.Dir, at *port.Link) (link.Link, error) {
	l, err := keep.Link(at.Index)
	if l == nil || err != nil {
		return nil, err
	}
	if is, err := isOn(l, at); !is || err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// isOn reports whether a link is on an interface of the calling thread's network namespace:
// numbers of interfaces are a namespace's own, those of programs are not.
func isOn(l link.Link, at *port.Link) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("interface %q: ask about the program that the former weir left: %w", at.Name, err)
	}
	if x := info.XDP(); x == nil || int(x.Ifindex) != at.Index {
		return false, nil // its interface is gone
	}
	nl, err := netlink.LinkByIndex(at.Index)
	if err != nil {
		return false, fmt.Errorf("interface %q: ask which program it has: %w", at.Name, err)
	}
	x := nl.Attrs().Xdp
	return x != nil && x.ProgId == uint32(info.Program), nil
}

// Begin has the program take its place, if a former director's is there, and stay there
// when the process ends, if it is an engine's. Before, its sockets and the engine's rules
// have to be in place.
func (pr *Program) Begin() error {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.closed {
		return fmt.Errorf("interface %q is closed", pr.at.Name)
	}
	was := pr.waits
	if err := pr.ready(); err != nil {
		return fmt.Errorf("load the XDP program for interface %q: %w", pr.at.Name, err)
	}
	if pr.waits {
		if err := pr.replace(); err != nil {
			return fmt.Errorf("put the XDP program of interface %q in the place of the former weir's: %w", pr.at.Name, err)
		}
		pr.waits = false
	}
	if pr.keep == nil {
		return nil
	}
	if pr.engine == nil {
		return pr.keep.DropLink(pr.at.Index)
	}
	if was {
		pr.engine.begin(pr.id)
	} else {
		if err := pr.keep.KeepLink(pr.at.Index, pr.link); err != nil {
			return err
		}
	}
	pr.stays = true
	return nil
}

// replace has the interface run this program instead of the former.
func (pr *Program) replace() error {
	if pr.native {
		return pr.link.Update(pr.xdp)
	}
	// Both can't be there at once.
	if err := pr.link.Detach(); err != nil {
		return err
	}
	next, err := link.AttachXDP(link.XDPOptions{Program: pr.xdp, Interface: pr.at.Index, Flags: link.XDPGenericMode})
	if err != nil {
		return attachError(pr.at.Name, link.XDPGenericMode, err)
	}
	err = pr.link.Close()
	pr.link = next
	return err
}

// Stays reports whether the program goes on when the process ends.
func (pr *Program) Stays() bool {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.stays
}

// TakeAway takes programs off interfaces that a former director left there, but those that
// are in the places of these.
func TakeAway(keep *pinned.Dir, but []*Program) error {
	kept, err := keep.Links()
	if err != nil {
		return err
	}
	for _, pr := range but {
		for i, ifindex := range kept {
			if pr.Stays() && ifindex == pr.at.Index {
				kept[i] = 0
			}
		}
	}
	for _, ifindex := range kept {
		if ifindex != 0 {
			err = errors.Join(err, takeAway(keep, ifindex))
		}
	}
	return err
}

func takeAway(keep *pinned.Dir, ifindex int) error {
	l, err := keep.Link(ifindex)
	if err != nil {
		return err
	}
	if l != nil {
		// That its interface is gone is fine.
		if e := l.Detach(); e != nil && !errors.Is(e, unix.ENOLINK) {
			err = fmt.Errorf("take the program off interface %d: %w", ifindex, e)
		}
		err = errors.Join(err, l.Close())
	}
	return errors.Join(err, keep.DropLink(ifindex))
}

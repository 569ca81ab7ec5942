package rsagent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// attachHooks attaches programs to the cgroup. A hook that is pinned there already
// gets the new program by one store of a pointer, so that no packet meets none.
// Hooks that are not wanted any more go last.
func attachHooks(p *pinDir, c cgroup, programs map[string]*ebpf.Program, wanted []hook) error {
	for _, h := range wanted {
		if err := attachHook(p, c, h, programs[h.program]); err != nil {
			return fmt.Errorf("attach %s to %s: %w", h.name, c.path, err)
		}
	}
	names, err := pins(p.links())
	if err != nil {
		return err
	}
	for _, n := range names {
		if slices.ContainsFunc(wanted, func(h hook) bool { return h.name == n }) {
			continue
		}
		if err := detach(p.link(n)); err != nil {
			return fmt.Errorf("detach %s: %w", n, err)
		}
	}
	return nil
}

func attachHook(p *pinDir, c cgroup, h hook, program *ebpf.Program) error {
	pin := p.link(h.name)
	old, err := link.LoadPinnedLink(pin, nil)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return attachNew(pin, c, h, program)
	case err != nil:
		return err
	}
	defer letGo(old)
	if at(old) == c.id {
		return old.Update(program)
	}
	// It is attached to another folder, or its folder is gone. The new one comes
	// first; for a moment both may run, which does no harm: what one has done the
	// other does again.
	fresh, err := link.AttachCgroup(link.CgroupOptions{Path: c.path, Attach: h.attach, Program: program})
	if err != nil {
		return err
	}
	defer letGo(fresh)
	if err := errors.Join(old.Unpin(), fresh.Pin(pin)); err != nil {
		return err
	}
	return release(old)
}

func attachNew(pin string, c cgroup, h hook, program *ebpf.Program) error {
	l, err := link.AttachCgroup(link.CgroupOptions{Path: c.path, Attach: h.attach, Program: program})
	if err != nil {
		return err
	}
	defer letGo(l) // the pin holds it
	return l.Pin(pin)
}

// letGo closes what was held; the kernel gives no reason to look at.
func letGo(c io.Closer) { _ = c.Close() }

// at returns the id of the cgroup that a link is attached to; 0 for none.
func at(l link.Link) uint64 {
	info, err := l.Info()
	if err != nil {
		return 0
	}
	if c := info.Cgroup(); c != nil {
		return c.CgroupId
	}
	return 0
}

// detach removes a pinned link, whoever else may hold it.
func detach(pin string) error {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer letGo(l)
	return errors.Join(l.Unpin(), release(l))
}

// release detaches a link; that there is nothing left to detach it from is fine.
func release(l link.Link) error {
	err := l.Detach()
	if errors.Is(err, link.ErrNotSupported) || errors.Is(err, unix.ENOLINK) {
		return nil // before Linux 5.9; it goes when nobody holds it
	}
	return err
}

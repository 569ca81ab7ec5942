package pinned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf/link"
)

// A link holds a program on an interface of a network namespace, and with it all that the
// program needs. One that is pinned goes on when its director has ended, until the next one
// puts another program in its place, or takes it away.

// links is what their names begin with, before the interface's number.
const links = "xdp-"

// Link returns the link that is kept for the interface of that number; nil if there is none.
// Whether it still is on an interface, and of which namespace, is for the caller to find out.
func (d *Dir) Link(ifindex int) (link.Link, error) {
	if d == nil {
		return nil, nil
	}
	l, err := link.LoadPinnedLink(d.linkPath(ifindex), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the program that the former weir left on interface %d: %w", ifindex, err)
	}
	return l, nil
}

// KeepLink has a link go on without its process.
func (d *Dir) KeepLink(ifindex int, l link.Link) error {
	if d == nil {
		return nil
	}
	// What is there under that name is of an interface that is gone.
	if err := d.DropLink(ifindex); err != nil {
		return err
	}
	if err := l.Pin(d.linkPath(ifindex)); err != nil {
		return fmt.Errorf("keep the program on interface %d: %w", ifindex, err)
	}
	return nil
}

// DropLink has the link of an interface go with whoever has it open.
func (d *Dir) DropLink(ifindex int) error {
	if err := d.Unpin(linkName(ifindex)); err != nil {
		return fmt.Errorf("take the program off interface %d: %w", ifindex, err)
	}
	return nil
}

// Links are the numbers of the interfaces for which links are kept.
func (d *Dir) Links() (all []int, err error) {
	names, err := d.Names(links)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if i, err := strconv.Atoi(n[len(links):]); err == nil {
			all = append(all, i)
		}
	}
	return all, nil
}

func linkName(ifindex int) string { return links + strconv.Itoa(ifindex) }

func (d *Dir) linkPath(ifindex int) string { return filepath.Join(d.path, linkName(ifindex)) }

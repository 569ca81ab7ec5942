package rsagent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Stop detaches everything that is pinned in a folder and removes it. ErrNothing if
// there is nothing. It knows no layout: what any version left can be removed.
func Stop(pinPath string) error {
	p, err := openPinDir(pinPath)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s", ErrNothing, pinPath)
	}
	if err != nil {
		return err
	}
	if err := p.hold(); err != nil {
		if errors.Is(err, errRuns) {
			return fmt.Errorf("an agent runs with the pins in %s and would miss them: end it first (systemctl stop weir-rs), then stop", pinPath)
		}
		return err
	}
	defer p.release()
	if err := removeFilters(p); err != nil {
		return err
	}
	if err := p.clear(); err != nil {
		return err
	}
	// The folder itself may have been made by root for somebody who can't remove it.
	err = os.Remove(p.path)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EBUSY) {
		return nil
	}
	return err
}

// removeFilters removes what is not pinned: filters and qdiscs at devices.
func removeFilters(p *pinDir) error {
	m, err := openRecord(p)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	defer letGo(m)
	rec, err := m.read()
	if err != nil || len(rec.Filters) == 0 {
		return nil // nothing that can be read says where
	}
	netns, err := ownNetns()
	if err != nil {
		return err
	}
	if netns != rec.Netns {
		return errors.New("the agent ran in another network namespace and left filters at its devices: run `weir-rs stop' there")
	}
	f := &filters{at: rec.Filters, qdiscs: rec.Qdiscs}
	return f.keep(func(int) bool { return false })
}

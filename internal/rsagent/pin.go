package rsagent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pinDir is the folder of a bpffs where everything is that outlives the agent.
type pinDir struct {
	path string
	lock *os.File // the folder itself, which one agent at a time holds
	made bool     // by us, now: if the start fails, all of it goes again
}

func (p *pinDir) record() string            { return filepath.Join(p.path, "record") }
func (p *pinDir) maps() string              { return filepath.Join(p.path, "maps") }
func (p *pinDir) links() string             { return filepath.Join(p.path, "links") }
func (p *pinDir) opp() string               { return filepath.Join(p.path, "opp") }
func (p *pinDir) link(hook string) string   { return filepath.Join(p.links(), hook) }
func (p *pinDir) device(ifindex int) string { return filepath.Join(p.opp(), strconv.Itoa(ifindex)) }

// errRuns means that somebody else holds the folder.
var errRuns = errors.New("another weir-rs holds it")

// makePinDir makes the folder, if it is not there, and locks it.
func makePinDir(path string) (*pinDir, error) {
	p := &pinDir{path: path}
	// The folder above has to be a bpffs; it says so more clearly than a failed pin.
	if err := onBPFFS(filepath.Dir(path)); err != nil {
		return nil, err
	}
	switch err := os.Mkdir(path, 0o700); {
	case err == nil:
		p.made = true
	case errors.Is(err, os.ErrExist):
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("make the folder for pins: %w: let root make it and give it to the user of weir-rs (mkdir -m 700 %s && chown USER %s), or name another with --pin", err, path, path)
	default:
		return nil, fmt.Errorf("make the folder for pins: %w", err)
	}
	if err := p.hold(); err != nil {
		return nil, err
	}
	for _, sub := range []string{p.maps(), p.links(), p.opp()} {
		if err := os.Mkdir(sub, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, errors.Join(fmt.Errorf("make the folder for pins: %w", err), p.undo())
		}
	}
	return p, nil
}

// openPinDir opens a folder that is there; os.ErrNotExist if it is not.
func openPinDir(path string) (*pinDir, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	if err := onBPFFS(path); err != nil {
		return nil, err
	}
	return &pinDir{path: path}, nil
}

func onBPFFS(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("the folder for pins: %s: %w", dir, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("%s is no bpffs, which is where programs are pinned: `mount -t bpf bpffs /sys/fs/bpf' as root, or name a folder of a bpffs with --pin", dir)
	}
	return nil
}

// hold locks the folder until release, or errRuns. Who only looks holds it for
// microseconds (held), so a second try is worth while.
func (p *pinDir) hold() error {
	err := p.tryHold()
	for tries := 10; errors.Is(err, errRuns) && tries > 0; tries-- {
		time.Sleep(20 * time.Millisecond)
		err = p.tryHold()
	}
	return err
}

func (p *pinDir) tryHold() error {
	f, err := os.Open(p.path)
	if err != nil {
		return fmt.Errorf("the folder for pins: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errRuns
		}
		return fmt.Errorf("lock %s: %w", p.path, err)
	}
	p.lock = f
	return nil
}

// held reports whether an agent holds the folder.
func (p *pinDir) held() (bool, error) {
	err := p.tryHold()
	if errors.Is(err, errRuns) {
		return true, nil
	}
	p.release()
	return false, err
}

func (p *pinDir) release() {
	if p.lock != nil {
		_ = p.lock.Close()
		p.lock = nil
	}
}

// undo gives the folder back, and removes it if it was not there before.
func (p *pinDir) undo() error {
	defer p.release()
	if !p.made {
		return nil
	}
	if err := os.RemoveAll(p.path); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// clear removes everything in the folder, the record last: until then a second try
// works. Links are detached, whoever else may hold them.
func (p *pinDir) clear() error {
	for _, dir := range []string{p.links(), p.opp()} {
		names, err := pins(dir)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := detach(filepath.Join(dir, n)); err != nil {
				return fmt.Errorf("detach %s: %w", n, err)
			}
		}
	}
	for _, path := range []string{p.links(), p.opp(), p.maps(), p.record()} {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove pins: %w", err)
		}
	}
	return nil
}

// pins lists the names in a folder of pins.
func pins(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list pins: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

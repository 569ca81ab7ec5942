package pinned

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Where a director's folder is: under weir/ in the machine's bpffs, one for each API socket,
// so that two directors never meet. `ip netns exec` hides that file system behind a new
// /sys, which goes with the command: then it is reached, and mounted if nobody did yet,
// where process 1 has it.

const (
	bpffs = "/sys/fs/bpf"
	first = "/proc/1/root" // what process 1 sees
)

// Place returns the folder of the director whose API socket this is, for Open. It mounts
// the machine's bpffs if that is not mounted.
func Place(socket string) (string, error) {
	top, mounted := find()
	if !mounted {
		if err := mount(); err != nil {
			return "", fmt.Errorf("mount a bpffs for what outlives weir on %s (mount -t bpf bpffs %[1]s): %w", bpffs, err)
		}
		if top, mounted = find(); !mounted {
			return "", fmt.Errorf("%s is no bpffs, and nothing can outlive weir: mount -t bpf bpffs %[1]s", bpffs)
		}
	}
	dir := filepath.Join(top, "weir")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make the folder for what outlives weir: %w", err)
	}
	return filepath.Join(dir, nameOf(socket)), nil
}

// Placed returns that folder if it is there.
func Placed(socket string) (path string, there bool) {
	top, mounted := find()
	if !mounted {
		return "", false
	}
	path = filepath.Join(top, "weir", nameOf(socket))
	_, err := os.Stat(path)
	return path, err == nil
}

// nameOf makes a socket's path a name in a bpffs, which has no dots.
func nameOf(socket string) string {
	if abs, err := filepath.Abs(socket); err == nil {
		socket = abs
	}
	return strings.NewReplacer("_", "__", "/", "_", ".", "-").Replace(strings.TrimSuffix(strings.TrimPrefix(socket, "/"), ".sock"))
}

func find() (top string, mounted bool) {
	for _, top := range []string{bpffs, first + bpffs} {
		if onBPFFS(top) == nil {
			return top, true
		}
	}
	return "", false
}

// mount mounts a bpffs where process 1 sees it. Mounts belong to threads: the one that
// changes its view ends.
func mount() error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- func() error {
			f, err := os.Open("/proc/1/ns/mnt")
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNS); err != nil {
				return err
			}
			return unix.Mount("bpffs", bpffs, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
		}()
	}()
	return <-done
}

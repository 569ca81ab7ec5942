package rsagent

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup2Root finds where cgroup v2 is mounted. On a machine with both versions
// that is often not /sys/fs/cgroup.
func cgroup2Root(mounts []byte) (string, error) {
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) >= 3 && f[2] == "cgroup2" {
			return unescape(f[1]), nil
		}
	}
	return "", errors.New("cgroup v2 is not mounted, and programs attach to its folders: mount -t cgroup2 none /sys/fs/cgroup/unified (make the folder first), or boot with systemd.unified_cgroup_hierarchy=1")
}

// unescape undoes what the kernel does to a path in the list of mounts.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// cgroup is a folder to attach to.
type cgroup struct {
	path string
	id   uint64 // the kernel's, which is the folder's inode
}

// findCgroup returns the folder that the options want.
func findCgroup(k Kernel, path string) (cgroup, error) {
	if path == "" {
		mounts, err := k.Mounts()
		if err != nil {
			return cgroup{}, fmt.Errorf("look for cgroup v2: %w", err)
		}
		if path, err = cgroup2Root(mounts); err != nil {
			return cgroup{}, err
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return cgroup{}, fmt.Errorf("cgroup %s: %w", path, err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return cgroup{}, fmt.Errorf("%s is no folder of cgroup v2: `findmnt -t cgroup2' says where those are", path)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return cgroup{}, fmt.Errorf("cgroup %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return cgroup{}, fmt.Errorf("%s is a file of cgroup v2, not a folder", path)
	}
	return cgroup{path: path, id: st.Ino}, nil
}

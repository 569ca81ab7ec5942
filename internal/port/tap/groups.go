package tap

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"weir/internal/port"
)

// Groups lists the multicast MAC addresses whose frames Linux wants from the twin,
// in Linux's order: those that its programs joined (OSPF, VRRP) and that IP itself
// needs. The port has to take the same ones from the wire (port.Groups). Kernels
// before 6.14 tell nobody when the list changes, so the director asks again.
func (d *Device) Groups() ([]port.MAC, error) {
	text, err := readAll(d.groups)
	if err != nil {
		return nil, fmt.Errorf("TAP %q: read its multicast groups: %w", d.Link.Name, err)
	}
	return groupsIn(text, d.Link.Index), nil
}

// groupsIn reads /proc/net/dev_mcast: a line is index, name, users, of them global,
// and address. A name has no spaces.
func groupsIn(text []byte, index int) (macs []port.MAC) {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		var m port.MAC
		if len(f) != 5 || len(f[4]) != 2*len(m) {
			continue // not Ethernet
		}
		if i, err := strconv.Atoi(string(f[0])); err != nil || i != index {
			continue
		}
		if _, err := hex.Decode(m[:], f[4]); err == nil {
			macs = append(macs, m)
		}
	}
	return macs
}

// readAll reads a file of /proc from its beginning.
func readAll(fd int) ([]byte, error) {
	var text []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Pread(fd, buf, int64(len(text)))
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return text, nil
		}
		text = append(text, buf[:n]...)
	}
}

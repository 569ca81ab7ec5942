package port

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a device does with frames by itself, by the names that `ethtool -k` has.

// Features that keep VLAN tags from who reads frames before Linux does.
const (
	FeatureVLANStrip       = "rx-vlan-hw-parse" // of 802.1Q; ethtool calls it rx-vlan-offload as well
	FeatureVLANFilter      = "rx-vlan-filter"
	FeatureVLANStripOuter  = "rx-vlan-stag-hw-parse" // of 802.1ad
	FeatureVLANFilterOuter = "rx-vlan-stag-filter"
)

// Of linux/ethtool.h.
const (
	featureStrings = 4  // ETH_SS_FEATURES
	stringLen      = 32 // ETH_GSTRING_LEN
	gssetInfo      = 0x37
	getFeatures    = 0x3a // ETHTOOL_GFEATURES
	setFeatures    = 0x3b
)

// SwitchOff switches a feature of the device off and reports whether it was on; a device
// that does not have it has nothing to switch. The error says so if the device keeps it.
func (l *Link) SwitchOff(feature string) (was bool, err error) { return l.setFeature(feature, false) }

// SwitchOn switches it on (again).
func (l *Link) SwitchOn(feature string) error {
	_, err := l.setFeature(feature, true)
	return err
}

func (l *Link) setFeature(name string, on bool) (was bool, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	bit, blocks, err := l.findFeature(fd, name)
	if err != nil || bit < 0 {
		return false, err
	}
	now, err := l.isOn(fd, bit, blocks)
	if err != nil || now == on {
		return now, err
	}
	// struct ethtool_sfeatures: for each 32 of them, which are meant, and which are on.
	b := make([]byte, 8+8*blocks)
	binary.NativeEndian.PutUint32(b, setFeatures)
	binary.NativeEndian.PutUint32(b[4:], uint32(blocks))
	at := b[8+8*(bit/32):]
	binary.NativeEndian.PutUint32(at, 1<<(bit%32))
	if on {
		binary.NativeEndian.PutUint32(at[4:], 1<<(bit%32))
	}
	if err := l.ethtool(fd, unsafe.Pointer(&b[0])); err != nil {
		return now, fmt.Errorf("interface %q: change %s: %w", l.Name, name, err)
	}
	if then, err := l.isOn(fd, bit, blocks); err != nil || then == now {
		return now, fmt.Errorf("interface %q does not change %s (ethtool -k says [fixed]?)", l.Name, name)
	}
	return now, nil
}

// findFeature returns a feature's number, -1 if there is none of that name, and how many
// words of 32 the device's features take.
func (l *Link) findFeature(fd int, name string) (bit, blocks int, err error) {
	// struct ethtool_sset_info with room for one count.
	ask := make([]byte, 24)
	binary.NativeEndian.PutUint32(ask, gssetInfo)
	binary.NativeEndian.PutUint64(ask[8:], 1<<featureStrings)
	if err := l.ethtool(fd, unsafe.Pointer(&ask[0])); err != nil {
		return -1, 0, fmt.Errorf("interface %q: how many features it has: %w", l.Name, err)
	}
	n := int(binary.NativeEndian.Uint32(ask[16:]))
	if n == 0 || n > 1024 {
		return -1, 0, nil
	}
	// struct ethtool_gstrings.
	b := make([]byte, 12+n*stringLen)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_GSTRINGS)
	binary.NativeEndian.PutUint32(b[4:], featureStrings)
	binary.NativeEndian.PutUint32(b[8:], uint32(n))
	if err := l.ethtool(fd, unsafe.Pointer(&b[0])); err != nil {
		return -1, 0, fmt.Errorf("interface %q: what features it has: %w", l.Name, err)
	}
	for i := range n {
		text := string(b[12+i*stringLen:][:stringLen])
		if word, _, _ := strings.Cut(text, "\x00"); word == name {
			return i, (n + 31) / 32, nil
		}
	}
	return -1, 0, nil
}

// isOn reads struct ethtool_gfeatures: available, requested, active, never changed.
func (l *Link) isOn(fd, bit, blocks int) (bool, error) {
	b := make([]byte, 8+16*blocks)
	binary.NativeEndian.PutUint32(b, getFeatures)
	binary.NativeEndian.PutUint32(b[4:], uint32(blocks))
	if err := l.ethtool(fd, unsafe.Pointer(&b[0])); err != nil {
		return false, fmt.Errorf("interface %q: which features are on: %w", l.Name, err)
	}
	active := binary.NativeEndian.Uint32(b[8+16*(bit/32)+8:])
	return active>>(bit%32)&1 != 0, nil
}

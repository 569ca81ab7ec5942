package rsagent

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Mode says what becomes of UOA.
type Mode string

// The modes.
const (
	Off         Mode = "off"         // TCP alone
	Getsockopt  Mode = "getsockopt"  // programs ask by DPVS's socket option
	Transparent Mode = "transparent" // programs see the client and answer to it
)

// Modes are all modes.
var Modes = []Mode{Off, Getsockopt, Transparent}

// Defaults and bounds.
const (
	DefaultPinDir  = "/sys/fs/bpf/weir-rs"
	DefaultEntries = 65536
	DefaultTimeout = 360 * time.Second // DPVS's

	maxEntries = 1 << 24
	maxTrust   = 4096 // entries of the trusted map
)

// Options of the agent.
type Options struct {
	Trust      []netip.Prefix // the directors' local addresses; see ParseTrust
	UOA        Mode
	NAT64      bool          // answer getsockopt(IPPROTO_IP, 4096), with UOA 2048 too; always with Getsockopt
	Entries    int           // UDP flows that are remembered
	Timeout    time.Duration // for how long after their last use
	DropEmpty  bool          // drop datagrams that carry UOA alone
	SaveSYN    bool          // look for TOA in the SYN too
	OPPDevices []string      // where to translate the option protocol; nil: everywhere
	Cgroup     string        // folder of the programs concerned; "": the root, all of them
	PinDir     string        // a folder of a bpffs
	Version    string        // of the program
}

// sockopt reports whether getsockopt(2) has to be watched.
func (o *Options) sockopt() bool { return o.NAT64 || o.UOA == Getsockopt }

// opp reports whether the option protocol is to be translated on some device.
func (o *Options) opp() bool {
	return o.UOA != Off && (o.OPPDevices == nil || len(o.OPPDevices) > 0)
}

// onDevice reports whether the option protocol is to be translated on a device.
func (o *Options) onDevice(name string) bool {
	return o.UOA != Off && (o.OPPDevices == nil || slices.Contains(o.OPPDevices, name))
}

// validate says what is wrong with the options.
func (o *Options) validate() error {
	switch {
	case len(o.Trust) == 0:
		return ErrNoTrust
	case len(o.Trust) > maxTrust:
		return fmt.Errorf("%d prefixes are trusted, and there is room for %d: give shorter prefixes", len(o.Trust), maxTrust)
	case !slices.Contains(Modes, o.UOA):
		return fmt.Errorf("--uoa %s is no mode: write off, getsockopt or transparent", o.UOA)
	case o.Entries < 1 || o.Entries > maxEntries:
		return fmt.Errorf("--uoa-entries %d is not within 1-%d", o.Entries, maxEntries)
	case o.Timeout < time.Second || o.Timeout > math.MaxInt32*time.Second:
		return fmt.Errorf("--uoa-timeout %s is less than a second, or more than 68 years", o.Timeout)
	case !filepath.IsAbs(o.PinDir):
		return fmt.Errorf("--pin %s is no absolute path", o.PinDir)
	case o.DropEmpty && o.UOA == Off:
		return errors.New("--uoa-drop-empty needs --uoa getsockopt or transparent: without UOA nothing is known of datagrams")
	}
	return nil
}

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); slices.Contains(Modes, m) {
		return m, nil
	}
	return "", fmt.Errorf("--uoa %s is no mode: write off, getsockopt or transparent", s)
}

// ParseDevices reads a list of devices: nil for "all", empty for "none".
func ParseDevices(s string) ([]string, error) {
	switch s {
	case "all":
		return nil, nil
	case "none":
		return []string{}, nil
	}
	names := strings.Split(s, ",")
	for _, n := range names {
		// The kernel's bound is 15 bytes (IFNAMSIZ).
		if n == "" || len(n) > 15 || strings.ContainsAny(n, "/ \t\n:") {
			return nil, fmt.Errorf("--opp-dev %s: %q is no name of a device: write all, none, or names with commas between", s, n)
		}
	}
	return names, nil
}

package spec

import (
	"slices"
	"strconv"
	"strings"
)

// Bond is a bonding block of dpvs.conf: one port of several devices. Its settings may be
// changed at run time (`dpip link set`); which devices are its members may not, but each
// of them may be taken out and put back.
type Bond struct {
	Name    string
	Members []string // devices, in the order of the file; fixed
	Out     []string // members that were taken out
	KNIName string   // fixed

	Mode       uint8  // 0 to 4: balance-rr, active-backup, balance-xor, broadcast, 802.3ad
	Primary    string // member that is used whenever its link is up, in mode 1; "": none
	XmitPolicy string // layer2, layer23, layer34

	// In milliseconds: how often the links are looked at, and how long one has to be up
	// before it is used, and down before it is given up.
	MonitorInterval, UpDelay, DownDelay uint32

	// Of mode 4 (IEEE 802.1AX).
	LACPFast       bool   // lacp_rate fast
	ADSelect       string // stable, bandwidth, count
	SystemPriority uint16
}

// Bounds of a bond's settings.
const (
	MaxBondMembers     = 16
	MaxMonitorInterval = 10_000 // ms
	MaxLinkDelay       = 60_000 // ms
)

// The words of a bond's settings.
var (
	XmitPolicies = []string{"layer2", "layer23", "layer34"}
	ADSelections = []string{"stable", "bandwidth", "count"}
)

// DefaultBond is a bond of which nothing is said.
func DefaultBond(name string) Bond {
	return Bond{
		Name: name, KNIName: name + ".kni", XmitPolicy: "layer34", MonitorInterval: 10,
		LACPFast: true, ADSelect: "stable", SystemPriority: 65535,
	}
}

func (b *Bond) clone() Bond {
	c := *b
	c.Out = slices.Clone(b.Out)
	return c
}

// WhyNoMode says why a mode of DPVS's is none here; "" if it is one.
func WhyNoMode(mode int) string {
	switch mode {
	case 5:
		return "mode 5 (balance-tlb) is not supported: it needs the load of each member; use mode 4, or 2 where the switch has a static group"
	case 6:
		return "mode 6 (balance-alb) is not supported: it needs a MAC address of its own for each member and answers ARP with them in turn, and a VIP has one; use mode 4, or 1 without a word to the switch"
	}
	if mode < 0 || mode > 6 {
		return "the modes are 0 (balance-rr), 1 (active-backup), 2 (balance-xor), 3 (broadcast) and 4 (802.3ad)"
	}
	return ""
}

// FindBond returns the bond of that name, or nil.
func (s *Spec) FindBond(name string) *Bond {
	i := slices.IndexFunc(s.Bonds, func(b Bond) bool { return b.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Bonds[i]
}

// BondOf returns the bond that has a device for a member, even if that was taken out, or nil.
func (s *Spec) BondOf(device string) *Bond {
	i := slices.IndexFunc(s.Bonds, func(b Bond) bool { return slices.Contains(b.Members, device) })
	if i < 0 {
		return nil
	}
	return &s.Bonds[i]
}

// BondItems are the items of [Spec.SetLink] that are of bonds.
var BondItems = []string{
	"bond-mode", "bond-primary", "bond-xmit-policy", "bond-monitor-interval", "bond-link-up-prop", "bond-link-down-prop",
	"bond-slave-add", "bond-slave-del",
}

// setBond changes a setting of a bond.
func (s *Spec) setBond(name, item, value string) error {
	b := s.FindBond(name)
	if b == nil {
		if err := s.device(name); err != nil {
			return err
		}
		return refuse(Invalid, "link", "%s is no bond: a bond is a bonding block in dpvs.conf", name)
	}
	number := func(dst *uint32, lo, hi int) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < lo || n > hi {
			return refuse(Invalid, "link", "%s takes %d to %d milliseconds, not %q", item, lo, hi, value)
		}
		*dst = uint32(n)
		return nil
	}
	switch item {
	case "bond-mode":
		n, err := strconv.Atoi(value)
		if err != nil {
			return refuse(Invalid, "link", "bond-mode takes a number, not %q: %s", value, WhyNoMode(-1))
		}
		if why := WhyNoMode(n); why != "" {
			return refuse(NotSupported, "link", "%s", why)
		}
		b.Mode = uint8(n)
	case "bond-primary":
		if value != "none" && !slices.Contains(b.Members, value) {
			return refuse(Invalid, "link", "%s is no member of %s: it has %s; none takes the primary away", value, name, strings.Join(b.Members, ", "))
		}
		b.Primary = value
		if value == "none" {
			b.Primary = ""
		}
	case "bond-xmit-policy":
		if !slices.Contains(XmitPolicies, value) {
			return refuse(Invalid, "link", "bond-xmit-policy takes %s, not %q", strings.Join(XmitPolicies, ", "), value)
		}
		b.XmitPolicy = value
	case "bond-monitor-interval":
		return number(&b.MonitorInterval, 1, MaxMonitorInterval)
	case "bond-link-up-prop":
		return number(&b.UpDelay, 0, MaxLinkDelay)
	case "bond-link-down-prop":
		return number(&b.DownDelay, 0, MaxLinkDelay)
	case "bond-slave-add":
		return s.addMember(b, value)
	case "bond-slave-del":
		return s.delMember(b, value)
	default:
		return refuse(Invalid, "link", "%q is no setting of a bond", item)
	}
	return nil
}

func (s *Spec) addMember(b *Bond, device string) error {
	i := slices.Index(b.Out, device)
	switch {
	case i >= 0:
		b.Out = slices.Delete(b.Out, i, i+1)
		return nil
	case slices.Contains(b.Members, device):
		return refuse(Exists, "link", "already exist: %s is a member of %s", device, b.Name)
	case s.BondOf(device) != nil:
		return refuse(NotSupported, "link", "%s is a member of %s by dpvs.conf: name it in the block of %s there and start weir again", device, s.BondOf(device).Name, b.Name)
	case slices.Contains(s.Ports, device):
		return refuse(NotSupported, "link", "%s is a port of its own: name it as a slave of %s in dpvs.conf and start weir again", device, b.Name)
	}
	return refuse(NoDevice, "link", "no such device: %s; the members of %s are %s", device, b.Name, strings.Join(b.Members, ", "))
}

func (s *Spec) delMember(b *Bond, device string) error {
	switch {
	case !slices.Contains(b.Members, device) || slices.Contains(b.Out, device):
		return refuse(NotExists, "link", "not exist: %s is no member of %s", device, b.Name)
	case len(b.Out)+1 == len(b.Members):
		return refuse(Busy, "link", "%s is the last member of %s: take the bond down with link set %s link down", device, b.Name, b.Name)
	}
	b.Out = append(b.Out, device)
	return nil
}

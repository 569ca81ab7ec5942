package netns

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a veth pair.
type End struct {
	In   *Namespace
	Name string
	// Queues is the number of receive and of transmit queues; 0 means 1.
	Queues int
	// MTU in bytes; 0 means the kernel's 1500.
	MTU int
}

func (e End) queues() int { return max(e.Queues, 1) }

// Veth joins two ends with a cable and brings both up. Offloads are as Linux has
// them: checksum and segmentation offload on.
func Veth(a, b End) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = a.Name
	attrs.MTU = a.MTU
	attrs.NumRxQueues, attrs.NumTxQueues = a.queues(), a.queues()
	veth := netlink.NewVeth(attrs)
	veth.PeerName = b.Name
	veth.PeerNamespace = netlink.NsFd(b.In.ns)
	veth.PeerMTU = uint32(b.MTU)
	veth.PeerNumRxQueues, veth.PeerNumTxQueues = uint32(b.queues()), uint32(b.queues())
	if err := a.In.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth %s/%s to %s/%s: %w", a.In.name, a.Name, b.In.name, b.Name, err)
	}
	if err := a.In.LinkUp(a.Name); err != nil {
		return err
	}
	return b.In.LinkUp(b.Name)
}

// Bridge makes a switch, up, without spanning tree: its ports forward at once. It
// does not look into multicast and asks no questions of its own.
func (n *Namespace) Bridge(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	snooping := false
	if err := n.links.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
		return fmt.Errorf("bridge %s/%s: %w", n.name, name, err)
	}
	return n.LinkUp(name)
}

// Attach plugs a link into a bridge of the same namespace.
func (n *Namespace) Attach(link, bridge string) error {
	return n.withLink(link, "attach to "+bridge, func(l netlink.Link) error {
		b, err := n.links.LinkByName(bridge)
		if err != nil {
			return err
		}
		return n.links.LinkSetMaster(l, b)
	})
}

// LinkUp and LinkDown switch a link on and off.
func (n *Namespace) LinkUp(link string) error {
	return n.withLink(link, "set up", n.links.LinkSetUp)
}

// LinkDown switches a link off.
func (n *Namespace) LinkDown(link string) error {
	return n.withLink(link, "set down", n.links.LinkSetDown)
}

// Address gives a link an address: prefix is the address with its subnet's length.
// An IPv6 address is there at once: nobody is asked first whether he has it.
func (n *Namespace) Address(link string, prefix netip.Prefix) error {
	flags := 0
	if prefix.Addr().Is6() {
		flags = unix.IFA_F_NODAD
	}
	return n.withLink(link, "add address "+prefix.String(), func(l netlink.Link) error {
		return n.links.AddrAdd(l, &netlink.Addr{IPNet: ipNet(prefix), Flags: flags})
	})
}

// addresses gives a link all of its addresses; those of IPv6 on a machine that has it.
func (n *Namespace) addresses(link string, prefixes []netip.Prefix) error {
	for _, prefix := range prefixes {
		if prefix.Addr().Is6() && !n.ipv6 {
			continue
		}
		if err := n.Address(link, prefix); err != nil {
			return err
		}
	}
	return nil
}

// Route routes a prefix by way of a gateway.
func (n *Namespace) Route(to netip.Prefix, via netip.Addr) error {
	err := n.links.RouteAdd(&netlink.Route{Dst: ipNet(to.Masked()), Gw: via.AsSlice()})
	if err != nil {
		return fmt.Errorf("%s: route %s via %s: %w", n.name, to, via, err)
	}
	return nil
}

// MAC returns a link's hardware address.
func (n *Namespace) MAC(link string) (mac net.HardwareAddr, err error) {
	err = n.withLink(link, "look up", func(l netlink.Link) error {
		mac = l.Attrs().HardwareAddr
		return nil
	})
	return mac, err
}

// XDP returns the id of the XDP program that is attached to a link; 0 for none.
func (n *Namespace) XDP(link string) (id uint32, err error) {
	err = n.withLink(link, "look up", func(l netlink.Link) error {
		if x := l.Attrs().Xdp; x != nil && x.Attached {
			id = x.ProgId
		}
		return nil
	})
	return id, err
}

func (n *Namespace) withLink(link, what string, f func(netlink.Link) error) error {
	l, err := n.links.LinkByName(link)
	if err == nil {
		err = f(l)
	}
	if err != nil {
		return fmt.Errorf("%s: link %s: %s: %w", n.name, link, what, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

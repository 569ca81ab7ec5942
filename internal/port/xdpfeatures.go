package port

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// XDPFeatures is what an interface's driver can do with XDP, as Linux says
// (linux/netdev.h). It may change: a veth takes redirected frames while its other end
// has GRO on or a program.
type XDPFeatures uint64

// The features.
const (
	XDPBasic    XDPFeatures = 1 << iota // native XDP
	XDPRedirect                         // a program may send frames elsewhere
	XDPSend                             // it sends frames that programs elsewhere redirect to it
	XDPZeroCopy                         // AF_XDP without copying
)

// ErrXDPUnknown says that this Linux does not tell what drivers can do.
var ErrXDPUnknown = errors.New("this Linux does not tell what drivers can do with XDP: 6.3 and newer do")

// Of linux/netdev.h.
const (
	netdevFamily      = "netdev"
	netdevDevGet      = 1
	netdevIfIndex     = 1
	netdevXDPFeatures = 3
)

// genlHeader is struct genlmsghdr: command, version, and two bytes that must be 0.
// nl.Genlmsg has no such bytes and sends what lies behind it in memory.
type genlHeader [nl.SizeofGenlmsg]byte

// Len is the length in bytes.
func (h genlHeader) Len() int { return len(h) }

// Serialize returns the header's bytes.
func (h genlHeader) Serialize() []byte { return h[:] }

// AskXDP returns what the interface's driver can do, or ErrXDPUnknown.
func (l *Link) AskXDP() (XDPFeatures, error) {
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		if errors.Is(err, unix.ENOENT) {
			return 0, ErrXDPUnknown
		}
		return 0, fmt.Errorf("interface %q: ask what it can do with XDP: %w", l.Name, err)
	}
	ask := nl.NewNetlinkRequest(int(family.ID), 0)
	ask.AddData(genlHeader{netdevDevGet, 1})
	ask.AddData(nl.NewRtAttr(netdevIfIndex, nl.Uint32Attr(uint32(l.Index))))
	answers, err := ask.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return 0, fmt.Errorf("interface %q: ask what it can do with XDP: %w", l.Name, err)
	}
	for _, a := range answers {
		attrs, err := nl.ParseRouteAttr(a[nl.SizeofGenlmsg:])
		if err != nil {
			return 0, err
		}
		for _, at := range attrs {
			if at.Attr.Type&nl.NLA_TYPE_MASK == netdevXDPFeatures && len(at.Value) >= 8 {
				return XDPFeatures(binary.NativeEndian.Uint64(at.Value)), nil
			}
		}
	}
	return 0, ErrXDPUnknown
}

// Has reports whether all of the features are there.
func (f XDPFeatures) Has(all XDPFeatures) bool { return f&all == all }

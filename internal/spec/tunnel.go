package spec

import (
	"net/netip"
	"slices"
)

// Tunnel devices: IP packets in IP packets, or in GRE, to one machine that may be
// anywhere. What they may be is what Linux's are (ip tunnel), with IPv6 as well.

// TunnelKind is a tunnel's mode, in dpip's word.
type TunnelKind string

// The kinds.
const (
	TunnelIPIP TunnelKind = "ipip" // RFC 2003, 4213, 2473: IPv4 or IPv6 in either
	TunnelGRE  TunnelKind = "gre"  // RFC 2784, 2890
)

// TunnelFlags are what of GRE's optional words is expected, or sent.
type TunnelFlags struct {
	Checksum, Keyed, Sequence bool
	Key                       uint32 // if Keyed
}

// TunnelDevice is a device of `dpip tunnel`. Its key is its name; no two may want the same packets.
type TunnelDevice struct {
	Name          string
	Kind          TunnelKind
	Local, Remote netip.Addr // ends of the tunnel; zero: any
	Link          string     // the device that its packets leave by; "": as routes say
	TTL           uint8      // of its packets; 0: that of what they carry
	TOS           uint8      // of its packets, without ECN; bit 0: that of what they carry
	In, Out       TunnelFlags
}

// Is6 reports whether the tunnel's own packets are IPv6.
func (t *TunnelDevice) Is6() bool { return t.Local.Is6() || t.Remote.Is6() }

// FindTunnel returns the tunnel of that name, or nil.
func (s *Spec) FindTunnel(name string) *TunnelDevice {
	i := slices.IndexFunc(s.Tunnels, func(t TunnelDevice) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Tunnels[i]
}

// AddTunnel adds a tunnel.
func (s *Spec) AddTunnel(t TunnelDevice) error {
	if t.Name == "" {
		return refuse(Invalid, "tunnel", "missing tunnel dev name.: give one, as in `tunnel add gre1 mode gre'")
	}
	if err := s.newName("tunnel", t.Name); err != nil {
		return err
	}
	if err := s.checkTunnel(&t); err != nil {
		return err
	}
	s.Tunnels = append(s.Tunnels, t)
	s.Ports = append(s.Ports, t.Name)
	return nil
}

// TunnelChange is a change of a tunnel that is there; its name and kind stay.
type TunnelChange struct {
	Name string
	Edit func(*TunnelDevice)
}

// ChangeTunnel makes one change.
func (s *Spec) ChangeTunnel(name string, edit func(*TunnelDevice)) error {
	_, err := s.ChangeTunnels([]TunnelChange{{name, edit}})
	return err
}

// ChangeTunnels makes changes as one: a tunnel may take the ends that another gives up. With an
// error nothing is changed, and refused is the one that can't be.
func (s *Spec) ChangeTunnels(changes []TunnelChange) (refused int, err error) {
	before := slices.Clone(s.Tunnels)
	defer func() {
		if err != nil {
			s.Tunnels = before
		}
	}()
	for i, c := range changes {
		t := s.FindTunnel(c.Name)
		if t == nil {
			return i, refuse(NotExists, "tunnel", "not exist: no tunnel is called %s", c.Name)
		}
		kind := t.Kind
		c.Edit(t)
		if t.Name != c.Name || t.Kind != kind {
			return i, refuse(Invalid, "tunnel", "%s is of mode %s, which can't be changed: delete it and add it anew", c.Name, kind)
		}
	}
	for i, c := range changes {
		if err := s.checkTunnel(s.FindTunnel(c.Name)); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// DeleteTunnel removes a tunnel with its addresses, routes and neighbours.
func (s *Spec) DeleteTunnel(name string) error {
	if s.FindTunnel(name) == nil {
		return refuse(NotExists, "tunnel", "not exist: no tunnel is called %s", name)
	}
	if err := s.removeDevice(name); err != nil {
		return err
	}
	s.Tunnels = slices.DeleteFunc(s.Tunnels, func(t TunnelDevice) bool { return t.Name == name })
	return nil
}

// checkTunnel refuses a tunnel that can't be.
func (s *Spec) checkTunnel(t *TunnelDevice) error {
	if t.Kind != TunnelIPIP && t.Kind != TunnelGRE {
		return refuse(Invalid, "tunnel", "missing tunnel type.: give `mode ipip' or `mode gre'")
	}
	for _, end := range []struct {
		role string
		addr netip.Addr
	}{{"the local end of a tunnel", t.Local}, {"the remote end of a tunnel", t.Remote}} {
		if end.addr.IsValid() {
			if err := routable("tunnel", end.role, end.addr); err != nil {
				return err
			}
		}
	}
	switch {
	case t.Local.IsValid() && t.Remote.IsValid() && !sameFamily(t.Local, t.Remote):
		return refuse(Invalid, "tunnel", "local %s and remote %s must be of one family", t.Local, t.Remote)
	case t.Local.IsValid() && t.Local == t.Remote:
		return refuse(Invalid, "tunnel", "local and remote are both %s: a tunnel has two ends", t.Local)
	case t.Kind == TunnelIPIP && (t.In != TunnelFlags{} || t.Out != TunnelFlags{}):
		return refuse(Invalid, "tunnel", "keys, csum and seq are of GRE: leave them out, or use mode gre")
	case !t.In.Keyed && t.In.Key != 0 || !t.Out.Keyed && t.Out.Key != 0:
		return refuse(Invalid, "tunnel", "a key is given and not used")
	}
	if t.Link != "" {
		if err := s.device(t.Link); err != nil {
			return err
		}
		if t.Link == t.Name || s.FindTunnel(t.Link) != nil {
			return refuse(NotSupported, "tunnel", "dev %s is a tunnel: packets of a tunnel leave by another device", t.Link)
		}
	}
	for i := range s.Tunnels {
		if o := &s.Tunnels[i]; o.Name != t.Name && o.wants() == t.wants() {
			return refuse(Exists, "tunnel", "already exist: %s is the %s tunnel between these ends%s", o.Name, o.Kind, keyWords(o))
		}
	}
	return nil
}

// wants is what a tunnel's packets are known by: a tunnel with the local end 10.0.0.1
// and one with any may be beside each other.
func (t *TunnelDevice) wants() TunnelDevice {
	return TunnelDevice{Kind: t.Kind, Local: t.Local, Remote: t.Remote, Link: t.Link, In: TunnelFlags{Keyed: t.In.Keyed, Key: t.In.Key}}
}

func keyWords(t *TunnelDevice) string {
	switch {
	case t.In.Keyed:
		return " with that key"
	case t.Kind == TunnelGRE:
		return " without a key"
	}
	return ""
}

// onDevice returns a tunnel whose packets leave by a device, or nil.
func (s *Spec) onDevice(name string) *TunnelDevice {
	for i := range s.Tunnels {
		if s.Tunnels[i].Link == name {
			return &s.Tunnels[i]
		}
	}
	return nil
}

// routedInto returns the tunnel device by which the route to an address leaves, as far as
// routes are wanted; nil: it is another device, there is none, or two are as good.
func (s *Spec) routedInto(to netip.Addr) *TunnelDevice {
	if len(s.Tunnels) == 0 {
		return nil
	}
	var best *TunnelDevice
	bits, metric := -1, uint32(0)
	see := func(p netip.Prefix, device string, m uint32) {
		if !p.Contains(to) || p.Bits() < bits || p.Bits() == bits && m > metric {
			return
		}
		t := s.FindTunnel(device)
		if p.Bits() == bits && m == metric && t == nil {
			best = nil
			return
		}
		if p.Bits() > bits || m < metric {
			best, bits, metric = t, p.Bits(), m
		}
	}
	for i := range s.Routes {
		see(s.Routes[i].Prefix, s.Routes[i].Port, s.Routes[i].Metric)
	}
	for i := range s.Addresses {
		see(s.Addresses[i].Prefix.Masked(), s.Addresses[i].Port, 0)
	}
	return best
}

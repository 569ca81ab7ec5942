package spec

import (
	"slices"
	"strconv"
	"strings"
)

// Devices that are made at run time, on others: VLANs.

// MaxPorts bounds the devices of all kinds: package port has room for so many.
const MaxPorts = 64

// MaxName is the longest name of a device, as Linux has it (IFNAMSIZ less the 0).
const MaxName = 15

// Protocols of a VLAN's tag, as they stand in a frame.
const (
	Proto8021Q  = 0x8100 // a customer's tag (IEEE 802.1Q)
	Proto8021AD = 0x88a8 // a provider's (802.1ad, QinQ)
)

// VLAN is the frames of a device that have a tag. Its key is its name, or Link, Proto
// and ID.
type VLAN struct {
	Name  string
	Link  string // whose frames have the tag: a device of dpvs.conf, or a bond
	Proto uint16
	ID    uint16 // 1 to 4094
}

// FindVLAN returns the VLAN of that name, or nil.
func (s *Spec) FindVLAN(name string) *VLAN {
	i := slices.IndexFunc(s.VLANs, func(v VLAN) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return &s.VLANs[i]
}

// AddVLAN adds a VLAN. Without a name it gets that of its link and its number,
// dpdk0.100, as Linux and DPVS name it.
func (s *Spec) AddVLAN(v VLAN) error {
	if v.Link == "" {
		return refuse(Invalid, "vlan", "missing real device: add `link DEV`, one of %s", strings.Join(s.Ports, ", "))
	}
	if err := s.device(v.Link); err != nil {
		return err
	}
	if v.Proto == 0 {
		v.Proto = Proto8021Q
	}
	switch {
	case v.ID < 1 || v.ID > 4094:
		return refuse(Invalid, "vlan", "id %d: must be 1 to 4094", v.ID)
	case v.Proto != Proto8021Q && v.Proto != Proto8021AD:
		return refuse(Invalid, "vlan", "proto %#x: must be 802.1q or 802.1ad", v.Proto)
	case s.FindVLAN(v.Link) != nil:
		return refuse(NotSupported, "vlan", "%s is a VLAN: there is no VLAN on a VLAN, give the device below, %s", v.Link, s.FindVLAN(v.Link).Link)
	}
	if v.Name == "" {
		v.Name = v.Link + "." + strconv.Itoa(int(v.ID))
	}
	if err := s.newName("vlan", v.Name); err != nil {
		return err
	}
	if old := s.vlanOf(v.Link, v.Proto, v.ID); old != nil {
		return refuse(Exists, "vlan", "already exist: id %d of %s is %s", v.ID, v.Link, old.Name)
	}
	s.VLANs = append(s.VLANs, v)
	s.Ports = append(s.Ports, v.Name)
	return nil
}

// DeleteVLAN removes a VLAN, by its name or else by Link, Proto and ID, with its
// addresses, routes and neighbours.
func (s *Spec) DeleteVLAN(v VLAN) error {
	old := s.FindVLAN(v.Name)
	if v.Name == "" {
		if err := s.device(v.Link); err != nil {
			return err
		}
		if v.Proto == 0 {
			v.Proto = Proto8021Q
		}
		old = s.vlanOf(v.Link, v.Proto, v.ID)
	}
	if old == nil {
		if v.Name != "" {
			return refuse(NotExists, "vlan", "not exist: %s is no VLAN", v.Name)
		}
		return refuse(NotExists, "vlan", "not exist: id %d of %s", v.ID, v.Link)
	}
	name := old.Name
	if err := s.removeDevice(name); err != nil {
		return err
	}
	s.VLANs = slices.DeleteFunc(s.VLANs, func(o VLAN) bool { return o.Name == name })
	return nil
}

func (s *Spec) vlanOf(link string, proto, id uint16) *VLAN {
	for i := range s.VLANs {
		if v := &s.VLANs[i]; v.Link == link && v.Proto == proto && v.ID == id {
			return v
		}
	}
	return nil
}

// newName refuses what can't be the name of a new device.
func (s *Spec) newName(object, name string) error {
	switch {
	case len(name) > MaxName:
		return refuse(Invalid, object, "%s: the name of a device has at most %d characters", name, MaxName)
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r"):
		return refuse(Invalid, object, "%q is no name for a device: no spaces, slashes or colons", name)
	case strings.HasSuffix(name, ".kni"):
		return refuse(Invalid, object, "%s: names that end in .kni are those of the devices' Linux twins", name)
	case slices.Contains(s.Ports, name):
		return refuse(Exists, object, "already exist: there is a device %s", name)
	case len(s.Ports) >= MaxPorts:
		return refuse(NoResource, object, "there are %d devices: no room for another", MaxPorts)
	}
	return nil
}

// removeDevice takes a device that was made at run time out, and all that is on it: its
// addresses, routes, neighbours and switches. What others need can't go.
func (s *Spec) removeDevice(name string) error {
	for i := range s.Services {
		if k := &s.Services[i].ServiceKey; k.Match.In == name || k.Match.Out == name {
			return refuse(Busy, "link", "resource busy: service %s is about packets of %s; remove it first (ipvsadm -D)", k, name)
		}
	}
	for _, a := range slices.Clone(s.Addresses) {
		if a.Port == name {
			if err := s.DeleteAddress(a.Prefix, name); err != nil {
				return err
			}
		}
	}
	if i := slices.IndexFunc(s.Addresses, func(a Address) bool { return a.Port == name }); i >= 0 {
		return refuse(Busy, "link", "resource busy: %s on %s is held by a program (keepalived); stop that first", s.Addresses[i].Prefix.Addr(), name)
	}
	s.Routes = slices.DeleteFunc(s.Routes, func(r Route) bool { return r.Port == name })
	s.Neighbours = slices.DeleteFunc(s.Neighbours, func(n Neighbour) bool { return n.Port == name })
	delete(s.Links, name)
	s.Ports = slices.DeleteFunc(s.Ports, func(p string) bool { return p == name })
	return nil
}

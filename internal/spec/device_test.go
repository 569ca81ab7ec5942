package spec

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func vlanBed(t *testing.T) *Spec {
	t.Helper()
	s := &Spec{Ports: []string{"dpdk0", "dpdk1"}, Links: map[string]Link{}}
	if err := s.AddVLAN(VLAN{Link: "dpdk0", ID: 100}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVLANs(t *testing.T) {
	s := vlanBed(t)
	if want := []VLAN{{"dpdk0.100", "dpdk0", Proto8021Q, 100}}; !reflect.DeepEqual(s.VLANs, want) {
		t.Errorf("%v, want %v", s.VLANs, want)
	}
	if err := s.AddVLAN(VLAN{Name: "lan", Link: "dpdk0", ID: 100, Proto: Proto8021AD}); err != nil {
		t.Errorf("the same number of the other protocol: %v", err)
	}
	if err := s.AddAddress(Address{Port: "dpdk0.100", Prefix: netip.MustParsePrefix("10.0.0.1/24")}, false); err != nil {
		t.Fatal(err)
	}
	if err := s.AddRoute(Route{Port: "dpdk0.100", Prefix: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.0.0.9")}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddNeighbour(Neighbour{Port: "dpdk0.100", Addr: netip.MustParseAddr("10.0.0.9"), MAC: [6]byte{2, 0, 0, 0, 0, 9}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetLink("dpdk0.100", "link", "down"); err != nil {
		t.Fatal(err)
	}
	before := s.Clone()
	if err := s.DeleteVLAN(VLAN{Link: "dpdk0", ID: 100}); err != nil {
		t.Fatal(err)
	}
	if len(s.Addresses)+len(s.Routes)+len(s.Neighbours)+len(s.Links) != 0 || !reflect.DeepEqual(s.Ports, []string{"dpdk0", "dpdk1", "lan"}) {
		t.Errorf("of a VLAN that was deleted there is left %+v", s)
	}
	if len(before.Addresses) != 1 || len(before.Ports) != 4 || len(before.VLANs) != 2 {
		t.Errorf("an edit changed the state it was made from: %+v", before)
	}
}

func TestVLANRefusals(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(*Spec) error
		code Code
		why  string
	}{
		{"no link", func(s *Spec) error { return s.AddVLAN(VLAN{ID: 1}) }, Invalid, "missing real device"},
		{"no such link", func(s *Spec) error { return s.AddVLAN(VLAN{Link: "dpdk7", ID: 1}) }, NoDevice, "dpdk7"},
		{"number 0", func(s *Spec) error { return s.AddVLAN(VLAN{Link: "dpdk0"}) }, Invalid, "1 to 4094"},
		{"number 4095", func(s *Spec) error { return s.AddVLAN(VLAN{Link: "dpdk0", ID: 4095}) }, Invalid, "1 to 4094"},
		{"protocol", func(s *Spec) error { return s.AddVLAN(VLAN{Link: "dpdk0", ID: 1, Proto: 0x9100}) }, Invalid, "802.1q or 802.1ad"},
		{"on a VLAN", func(s *Spec) error { return s.AddVLAN(VLAN{Link: "dpdk0.100", ID: 1}) }, NotSupported, "no VLAN on a VLAN"},
		{"twice", func(s *Spec) error { return s.AddVLAN(VLAN{Link: "dpdk0", ID: 100}) }, Exists, "dpdk0.100"},
		{"by another name", func(s *Spec) error { return s.AddVLAN(VLAN{Name: "x", Link: "dpdk0", ID: 100}) }, Exists, "is dpdk0.100"},
		{"the name of another", func(s *Spec) error { return s.AddVLAN(VLAN{Name: "dpdk1", Link: "dpdk0", ID: 5}) }, Exists, "dpdk1"},
		{"a long name", func(s *Spec) error { return s.AddVLAN(VLAN{Name: "a123456789012345", Link: "dpdk0", ID: 5}) }, Invalid, "15 characters"},
		{"a name with a slash", func(s *Spec) error { return s.AddVLAN(VLAN{Name: "a/b", Link: "dpdk0", ID: 5}) }, Invalid, "slashes"},
		{"the name of a twin", func(s *Spec) error { return s.AddVLAN(VLAN{Name: "dpdk0.kni", Link: "dpdk0", ID: 5}) }, Invalid, "Linux twins"},
		{"delete: none of that name", func(s *Spec) error { return s.DeleteVLAN(VLAN{Name: "dpdk0"}) }, NotExists, "no VLAN"},
		{"delete: none of that number", func(s *Spec) error { return s.DeleteVLAN(VLAN{Link: "dpdk0", ID: 7}) }, NotExists, "id 7 of dpdk0"},
		{"delete: a match names it", func(s *Spec) error {
			k := ServiceKey{Proto: TCP, Match: Match{Family: 4, Out: "dpdk0.100", Src: Range{First: netip.MustParseAddr("10.0.0.1"), Last: netip.MustParseAddr("10.0.0.9")}}}
			if err := s.AddService(Service{ServiceKey: k, Scheduler: "rr"}); err != nil {
				return err
			}
			return s.DeleteVLAN(VLAN{Name: "dpdk0.100"})
		}, Busy, "oif=dpdk0.100"},
		{"delete: a program holds its address", func(s *Spec) error {
			if err := s.Hold([]Address{{Port: "dpdk0.100", Prefix: netip.MustParsePrefix("10.0.0.1/32")}}); err != nil {
				return err
			}
			return s.DeleteVLAN(VLAN{Name: "dpdk0.100"})
		}, Busy, "keepalived"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.edit(vlanBed(t))
			r, ok := err.(*Refusal)
			if !ok || r.Code != row.code || !strings.Contains(r.Why, row.why) {
				t.Errorf("%v, want code %d and %q", err, row.code, row.why)
			}
		})
	}
}

func TestDeviceBound(t *testing.T) {
	s := &Spec{Ports: []string{"dpdk0"}}
	for id := uint16(1); len(s.Ports) < MaxPorts; id++ {
		if err := s.AddVLAN(VLAN{Link: "dpdk0", ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddVLAN(VLAN{Link: "dpdk0", ID: 4000}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("beyond %d devices: %v", MaxPorts, err)
	}
}

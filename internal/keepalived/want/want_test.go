package want

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/api/weirv1"
	"weir/internal/config/keepalivedconf"
	"weir/internal/health"
	"weir/internal/spec"
)

// load reads a file and makes its plan.
func load(t *testing.T, text string) (string, *Plan, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	conf, at, _, err := keepalivedconf.Load(path, "")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Compile(conf, at)
	return path, plan, err
}

func virtualServer(head, lines string) string {
	return "virtual_server " + head + " {\nprotocol TCP\nlb_algo rr\nlb_kind FNAT\n" + lines + "\n}\n"
}

func realServer(addr string) string { return "real_server " + addr + " {\nweight 1\n}\n" }

func tunnels(entries ...string) string {
	return "tunnel_group g {\n" + strings.Join(entries, "") + "}\n"
}

func entry(name, lines string) string {
	return "tunnel_entry " + name + " {\n" + lines + "\n}\n"
}

// TestRefusedOnPaper: what no director takes is told with its line before one is asked.
func TestRefusedOnPaper(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"fwmark", virtualServer("fwmark 9", realServer("10.0.0.2 80")), ":1: virtual_server: fwmark 9: packets have no mark"},
		{"fwmark in a group", "virtual_server_group g {\nfwmark 9\n}\n" + virtualServer("group g", ""), ":4: virtual_server: group g: fwmark 9"},
		{"a service twice", "virtual_server_group g {\n10.0.0.1 80\n}\n" + virtualServer("group g", "") + virtualServer("10.0.0.1 80", ""), ":10: virtual_server: service already exists"},
		{"a set", "deny_address_group d {\nipset:bad\n}\n" + virtualServer("10.0.0.1 80", "daddr_group_name d"), ":4: daddr_group_name d: ipset:bad: sets of the kernel"},
		{"too many addresses", "deny_address_group d {\n2001:db8::/64\n}\n" + virtualServer("2001:db8::1 80", "daddr_group_name d"), ":4: daddr_group_name d: 2001:db8::-2001:db8::ffff:ffff:ffff:ffff: a group has at most 65536"},
		{"lists of a match", "deny_address_group d {\n10.0.0.9\n}\nvirtual_server match m {\nprotocol TCP\nlb_algo rr\nsrc-range 10.0.0.1-10.0.0.9\ndaddr_group_name d\n}\n", ":4: virtual_server match m: daddr_group_name"},
		{"a real server that is an address of ours", "local_address_group l {\n10.0.0.2 dpdk0\n}\n" + virtualServer("10.0.0.1 80", "laddr_group_name l\n"+realServer("10.0.0.2 80")), ":9: real_server: 10.0.0.2 is an address of this box"},
		{"a sorry server on this machine", virtualServer("10.0.0.1 80", "sorry_server 127.0.0.1 80"), ":1: sorry_server: 127.0.0.1 can't be a real server"},
		{"flags", virtualServer("10.0.0.1 80", "mh-port"), ":1: virtual_server: flag mh-port"},
		{"GUE", virtualServer("10.0.0.1 80", "lvs_method TUN type gue port 6080"), ":1: virtual_server: lb_kind TUN type gue is not supported"},
		{"two tunnels of the same ends", tunnels(entry("t", "kind gre\nlocal 10.0.0.1\nremote 10.0.0.2"), entry("u", "kind gre\nlocal 10.0.0.1\nremote 10.0.0.2")), ":7: tunnel_entry u: already exist: t is the gre tunnel between these ends"},
		{"a tunnel in another", tunnels(entry("t", "kind gre\nlocal 10.0.0.1\nremote 10.0.0.2\nif u"), entry("u", "kind gre\nlocal 10.0.0.1\nremote 10.0.0.3")), ":2: tunnel_entry t: if u is a tunnel"},
		{"a tunnel called as a port", tunnels(entry("dpdk0", "kind gre\nlocal 10.0.0.1\nremote 10.0.0.2\nif dpdk0")), ":2: tunnel_entry dpdk0: if dpdk0 is a tunnel"},
		{"a tunnel of multicast", tunnels(entry("t", "kind ipip\nlocal 10.0.0.1\nremote 224.0.0.1")), ":2: tunnel_entry t: "},
		{"a tunnel's name", tunnels(entry("a-name-too-long-for-it", "kind ipip\nlocal 10.0.0.1\nremote 10.0.0.2")), ":2: tunnel_entry a-name-too-long-for-it: "},
		{"port of DR", "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind DR\n" + realServer("10.0.0.2 81") + "}\n", ":5: real_server: 10.0.0.2:81: with Route the real server is asked at the service's own port"},
		{"a local address on two ports", "local_address_group l {\n10.0.0.2 dpdk0\n}\nlocal_address_group m {\n10.0.0.2 dpdk1\n}\n" + virtualServer("10.0.0.1 80", "laddr_group_name l") + virtualServer("10.0.0.1 81", "laddr_group_name m"), ":13: laddr_group_name m: already exist: 10.0.0.2 is an address of dpdk0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, _, err := load(t, row.text)
			if err == nil || !strings.HasPrefix(err.Error(), path+row.want) {
				t.Errorf("refused with %v, want %s", err, row.want)
			}
		})
	}
}

// TestPlan: a group is a service for each of its addresses, lists go to the services of their
// family, real servers of DR get the service's port.
func TestPlan(t *testing.T) {
	_, plan, err := load(t, `
local_address_group l {
 192.168.0.200-202 dpdk0
 2001:db8::200 dpdk0
}
deny_address_group d {
 203.0.113.1-3
 2001:db8:1::1
}
virtual_server_group g {
 10.0.0.1-2 80
 2001:db8::1 81
}
virtual_server group g {
 protocol TCP
 lb_algo wlc
 lb_kind FNAT
 laddr_group_name l
 daddr_group_name d
 real_server 192.168.0.2 8080 {
  weight 3
 }
 sorry_server 192.168.0.9 80
}
virtual_server 10.0.0.9 443 {
 protocol UDP
 lb_algo rr
 lb_kind DR
 real_server 192.168.0.2 0 {
  weight 3
 }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range plan.Virtuals {
		for i := range v.Services {
			s := v.Services[i].With([]int{3}, SorryWeight)
			got = append(got, fmt.Sprint(s.ServiceKey, " ", s.Scheduler, " ", s.Dests, " ", s.Locals, " ", s.Blacklist))
		}
	}
	want := `TCP 10.0.0.1:80 wlc [{192.168.0.2:8080 FullNat 3 0 0} {192.168.0.9:80 FullNat 1 0 0}] [{192.168.0.200 dpdk0} {192.168.0.201 dpdk0} {192.168.0.202 dpdk0} {2001:db8::200 dpdk0}] [203.0.113.1 203.0.113.2 203.0.113.3]
TCP 10.0.0.2:80 wlc [{192.168.0.2:8080 FullNat 3 0 0} {192.168.0.9:80 FullNat 1 0 0}] [{192.168.0.200 dpdk0} {192.168.0.201 dpdk0} {192.168.0.202 dpdk0} {2001:db8::200 dpdk0}] [203.0.113.1 203.0.113.2 203.0.113.3]
TCP [2001:db8::1]:81 wlc [{192.168.0.2:8080 FullNat 3 0 0} {192.168.0.9:80 FullNat 1 0 0}] [{192.168.0.200 dpdk0} {192.168.0.201 dpdk0} {192.168.0.202 dpdk0} {2001:db8::200 dpdk0}] [2001:db8:1::1]
UDP 10.0.0.9:443 rr [{192.168.0.2:443 Route 3 0 0}] [] []`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if s := plan.Virtuals[0].Services[0].With([]int{health.Absent}, health.Absent); len(s.Dests) != 0 {
		t.Errorf("absent servers are there: %v", s.Dests)
	}
}

// TestDiffOrder: what goes does so before what comes, and nothing is done for what is the same.
func TestDiffOrder(t *testing.T) {
	key := func(port uint16) spec.ServiceKey {
		return spec.ServiceKey{Proto: spec.TCP, Virtual: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port)}
	}
	dest := func(last byte, f spec.Forward, weight uint32) spec.Dest {
		return spec.Dest{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 0, last}), 80), Forward: f, Weight: weight}
	}
	same := spec.Service{ServiceKey: key(1), Scheduler: "rr", Dests: []spec.Dest{dest(2, spec.FullNAT, 1)}}
	have := Have{
		key(1): same,
		key(2): {ServiceKey: key(2), Scheduler: "rr", Dests: []spec.Dest{dest(2, spec.FullNAT, 1), dest(3, spec.Masq, 1), dest(4, spec.FullNAT, 1)}},
		key(3): {ServiceKey: key(3), Scheduler: "rr"},
	}
	wanted := []spec.Service{
		same,
		{ServiceKey: key(2), Scheduler: "wlc", Dests: []spec.Dest{dest(2, spec.FullNAT, 5), dest(3, spec.FullNAT, 1)}},
		{ServiceKey: key(4), Scheduler: "rr", Whitelist: []netip.Addr{netip.MustParseAddr("10.9.9.9")}, Dests: []spec.Dest{dest(2, spec.FullNAT, 1)}},
	}
	steps := Diff(have, wanted)
	var got []string
	for i := range steps {
		got = append(got, fmt.Sprintf("%d %s %s", steps[i].Key.Virtual.Port(), strings.TrimPrefix(fmt.Sprintf("%T", steps[i].Msg.GetChange()), "*weirv1.Step_"), steps[i].What))
	}
	want := `3 DeleteService service
2 DeleteDest real server 192.168.0.3:80
2 DeleteDest real server 192.168.0.4:80
2 EditService service
2 EditDest real server 192.168.0.2:80
2 AddDest real server 192.168.0.3:80
4 AddService service
4 AddAccess whitelist of 1 addresses
4 AddDest real server 192.168.0.2:80`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	for i := range steps {
		have.Did(&steps[i])
	}
	if left := Diff(have, wanted); len(left) != 0 {
		t.Errorf("%d steps are left: %s", len(left), left[0].What)
	}
}

// TestConvert: what is said to the director and what it lists are the same.
func TestConvert(t *testing.T) {
	addr := netip.MustParseAddr
	for _, s := range []spec.Service{
		{
			ServiceKey: spec.ServiceKey{Proto: spec.TCP, Virtual: netip.MustParseAddrPort("10.0.0.1:80")}, Scheduler: "conhash", HashTarget: "sip",
			Persistent: 60, PersistentMask: addr("255.255.0.0"), ConnTimeout: 9, ProxyProtocol: "v2", ExpireQuiescent: true,
			Dests:     []spec.Dest{{Addr: netip.MustParseAddrPort("192.168.0.2:80"), Forward: spec.FullNAT, Weight: 7, UThreshold: 9, LThreshold: 2}},
			Locals:    []spec.LocalAddress{{Addr: addr("192.168.0.200"), Port: "dpdk0"}},
			Blacklist: []netip.Addr{addr("203.0.113.1")}, Whitelist: []netip.Addr{addr("198.51.100.1")},
		},
		{
			ServiceKey: spec.ServiceKey{Proto: spec.UDP, Virtual: netip.MustParseAddrPort("[2001:db8::1]:53")}, Scheduler: "rr", OnePacket: true, QUIC: true, UOA: "opp",
			Persistent: 60, PersistentMask: spec.Mask(netip.IPv6Unspecified(), 64),
		},
		{ServiceKey: spec.ServiceKey{Proto: spec.ICMP, Match: spec.Match{Family: 4, Src: spec.Range{First: addr("10.0.0.1"), Last: addr("10.0.0.9"), FirstPort: 1, LastPort: 9}, In: "a", Out: "b"}}, Scheduler: "wrr"},
	} {
		m := fromService(&s)
		for _, d := range s.Dests {
			m.Dests = append(m.Dests, fromDest(d))
		}
		for _, l := range s.Locals {
			m.Locals = append(m.Locals, fromLocal(l))
		}
		var lists []*weirv1.AccessList
		for kind, list := range map[spec.ListKind][]netip.Addr{spec.Blacklist: s.Blacklist, spec.Whitelist: s.Whitelist} {
			l := &weirv1.AccessList{Key: fromKey(s.ServiceKey), Kind: weirv1.AccessKind(kind)}
			for _, a := range list {
				l.Entries = append(l.Entries, a.String())
			}
			lists = append(lists, l)
		}
		all, err := Services([]*weirv1.Service{m}, lists)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%+v", all); got != fmt.Sprintf("%+v", map[spec.ServiceKey]spec.Service{s.ServiceKey: s}) {
			t.Errorf("%v becomes %v", s, got)
		}
		if left := Diff(all, []spec.Service{s}); len(left) != 0 {
			t.Errorf("%s: %d steps to itself, %s", s.ServiceKey, len(left), left[0].What)
		}
	}
}

package ipvsadm

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"weir/api/weirv1"
)

// families are services of both, and from one to the other.
func families() []*weirv1.Service {
	const long = "2001:db8:1111:2222:3333:4444:5555:6666"
	return []*weirv1.Service{
		{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "2001:db8::100", Port: 80},
			Scheduler: "wrr", Persistent: 360, PersistentMask: "64",
			Dests: []*weirv1.Dest{
				{Address: long, Port: 65535, Forward: weirv1.Forward_FORWARD_FULLNAT, Weight: 1, ActiveConns: 2, UThreshold: 9, LThreshold: 8, PersistentConns: 7,
					Counters: &weirv1.Counters{Conns: 1, InPkts: 2}},
				{Address: "2001:db8:1::2", Port: 80, Forward: weirv1.Forward_FORWARD_FULLNAT, Weight: 1},
				{Address: "192.168.100.2", Port: 80, Forward: weirv1.Forward_FORWARD_FULLNAT, Weight: 1},
			},
			Locals: []*weirv1.LocalAddress{{Address: "2001:db8:1::200", Device: "dpdk0", Conns: 3}, {Address: "192.168.100.200", Device: "dpdk0"}},
		},
		{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_UDP, Address: "2001:db8::99", Port: 53},
			Scheduler: "rr", Persistent: 5, PersistentMask: "128",
		},
		{Key: &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.100", Port: 80}, Scheduler: "rr",
			Dests: []*weirv1.Dest{{Address: "2001:db8:1::2", Port: 80, Forward: weirv1.Forward_FORWARD_TUNNEL, Weight: 1}}},
		{
			Key: &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_ICMPV6, Match: &weirv1.Match{Family: 6, Oif: "dpdk1",
				Src: &weirv1.AddressRange{First: "2001:db8:1::", Last: "2001:db8:1::ff"}}},
			Scheduler: "rr",
			Dests:     []*weirv1.Dest{{Address: "2001:db8::7", Forward: weirv1.Forward_FORWARD_SNAT, Weight: 100}},
		},
	}
}

func TestListings6(t *testing.T) {
	for _, tc := range []struct{ name, line, want string }{
		{"plain, by family", "-ln", `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
MATCH icmpv6,from=[2001:db8:1::-2001:db8:1::ff]:0-0,oif=dpdk1 rr
  -> [2001:db8::7]:0              SNAT    100    0          0
TCP  10.0.0.100:80 rr
  -> [2001:db8:1::2]:80           Tunnel  1      0          0
TCP  [2001:db8::100]:80 wrr persistent 360 mask 64
  -> 192.168.100.2:80             FullNat 1      0          0
  -> [2001:db8:1::2]:80           FullNat 1      0          0
  -> [2001:db8:1111:2222:3333:4444:5555:6666]:65535 FullNat 1      2          0
UDP  [2001:db8::99]:53 rr persistent 5
`},
		{"names", "-l -t [2001:db8::100]:80", `Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  six.example.com:http wrr persistent 360 mask 64
  -> 192.168.100.2:http           FullNat 1      0          0
  -> [2001:db8:1::2]:http         FullNat 1      0          0
  -> [2001:db8:1111:2222:3333:4444:5555:6666]:65535 FullNat 1      2          0
`},
		{"stats", "-ln --stats -t [2001:db8::100]:80", `Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  [2001:db8::100]:80                  1        2        0        0        0
  -> 192.168.100.2:80                    0        0        0        0        0
  -> [2001:db8:1::2]:80                  0        0        0        0        0
  -> [2001:db8:1111:2222:3333:4444:5555:6666]:65535        1        2        0        0        0
`},
		{"thresholds", "-ln --thresholds -t [2001:db8::100]:80 --nosort", `Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn
  -> RemoteAddress:Port
TCP  [2001:db8::100]:80 wrr persistent 360 mask 64
  -> [2001:db8:1111:2222:3333:4444:5555:6666]:65535 9          8          2          0
  -> [2001:db8:1::2]:80           0          0          0          0
  -> 192.168.100.2:80             0          0          0          0
`},
		{"local addresses", "-G -t [2001:db8::100]:80", `VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS
[2001:db8::100]:80   2
                              2001:db8:1::200      0          3
                              192.168.100.200      0          0
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := run(t, start(t, &fake{services: families()}), "", strings.Fields(tc.line)...)
			if r != (result{tc.want, "", 0}) {
				t.Errorf("exit %d: %s\ngot\n%s\nwant\n%s", r.exit, r.stderr, r.stdout, tc.want)
			}
		})
	}
}

func TestConnections6(t *testing.T) {
	f := &fake{conns: [][]*weirv1.Connection{{{
		Worker: 4, Protocol: weirv1.Protocol_PROTOCOL_TCP, TimeoutSeconds: 7, State: "TIME_WAIT",
		Client: "[2001:db8::1]:5000", Virtual: "[2001:db8::100]:80", Local: "192.168.100.200:1025", Real: "192.168.100.2:80",
	}, {
		Worker: 4, Protocol: weirv1.Protocol_PROTOCOL_ICMPV6, TimeoutSeconds: 3, State: "ICMP_NORMAL",
		Client: "[2001:db8:1::2]:77", Virtual: "[2001:db8::9]:77", Local: "[2001:db8::9]:77", Real: "[2001:db8::7]:77",
	}}}}
	c := start(t, f)
	const want = `[4]tcp 7s     TIME_WAIT   [2001:db8::1]:5000 [2001:db8::100]:80 192.168.100.200:1025 192.168.100.2:80
[4]icmpv6 3s     ICMP_NORMAL [2001:db8:1::2]:77 [2001:db8::9]:77   [2001:db8::9]:77   [2001:db8::7]:77
`
	if r := run(t, c, "", "-lnc"); r != (result{want, "", 0}) {
		t.Errorf("-lnc: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if r := run(t, c, "", "-lc"); !strings.Contains(r.stdout, " six.example.com:http ") {
		t.Errorf("-lc: %s", r.stdout)
	}
	for _, row := range []struct {
		pair string
		want *weirv1.ListConnectionsRequest
	}{
		{"tcp:[2001:db8::1]:5000:[2001:DB8::100]:80", &weirv1.ListConnectionsRequest{
			Protocol: weirv1.Protocol_PROTOCOL_TCP, Source: "[2001:db8::1]:5000", Target: "[2001:db8::100]:80"}},
		{"icmpv6:[2001:db8::1]:7:[2001:db8::100]:7", &weirv1.ListConnectionsRequest{
			Protocol: weirv1.Protocol_PROTOCOL_ICMPV6, Source: "[2001:db8::1]:7", Target: "[2001:db8::100]:7"}},
	} {
		if r := run(t, c, "", "-lnc", "--sockpair", row.pair); r.exit != 0 || !proto.Equal(f.asked, row.want) {
			t.Errorf("%s: exit %d: %s, asked for %v", row.pair, r.exit, r.stderr, f.asked)
		}
	}
}

// A match service has no address of its own.
func TestLocalAddressesOfMatch(t *testing.T) {
	f := &fake{services: []*weirv1.Service{
		{Key: &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Match: &weirv1.Match{Family: 4}}},
		{Key: &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Match: &weirv1.Match{Family: 6}}},
	}}
	want := "VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS\n0.0.0.0:0            0\n[::]:0               0\n"
	if r := run(t, start(t, f), "", "-G"); r != (result{want, "", 0}) {
		t.Errorf("exit %d: %s\ngot\n%s\nwant\n%s", r.exit, r.stderr, r.stdout, want)
	}
}

package ipvsadm

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"weir/api/weirv1"
)

// saved is a box as -S writes it: what -R makes of it is written the same way.
const saved = `dpip vlan add dpdk0.100 link dpdk0 proto 802.1q id 100
dpip tunnel add ipip1 mode ipip remote 2.2.2.2 local 1.1.1.1
dpip tunnel add gre1 mode gre remote 2.2.2.2 local 1.1.1.1 dev dpdk0 ttl 9 tos 16 ikey 7 icsum okey 0 oseq
dpip tunnel add gre6 mode gre remote 2001:db8::2 tos inherit
dpip route add 192.168.101.0/24 dev dpdk0
dpip route add 192.168.102.0/24 dev dpdk0 src 192.168.102.1 mtu 1300
dpip addr add 10.0.0.100/32 dev dpdk1
dpip addr add 10.0.0.1/16 dev dpdk1 broadcast 10.0.255.255 valid_lft 60 preferred_lft 30 scope link
dpip addr add 192.168.100.210/32 dev dpdk0 sapool
dpip addr add 192.168.100.211/24 dev dpdk0 sapool
dpip addr add 192.168.101.1/24 dev dpdk0
dpip addr add 192.168.102.1/24 dev dpdk0
dpip addr add 2001:db8::100/128 dev dpdk1
dpip addr add 2001:db8::1/64 dev dpdk1 scope site
dpip addr add fe80::1/64 dev dpdk1
dpip addr add fe80::1/64 dev dpdk0 scope global
dpip addr add 2001:db8:1::211/64 dev dpdk0 sapool
dpip route add 192.168.0.0/16 dev dpdk0
dpip route add default via 10.0.0.254 dev dpdk1 src 10.0.0.1
dpip route add 172.16.0.0/12 via 192.168.100.254 dev dpdk0 mtu 1400
dpip route add 172.10.0.2/32 dev dpdk1 scope kni_host
dpip route add ::/0 via fe80::254 dev dpdk1 src 2001:db8::1
dpip route add ::/0 dev dpdk0
dpip route add 2001:db8:172::/48 via 2001:db8:1::254 dev dpdk0 mtu 1400
dpip route add 2001:db8::9/128 dev dpdk1 scope kni_host
dpip neigh add 192.168.100.2 lladdr 02:00:00:00:00:02 dev dpdk0
dpip neigh add fe80::2 lladdr 02:00:00:00:00:02 dev dpdk0
--set 0 120 0
-A -t 10.0.0.100:80 -s rr
-P -t 10.0.0.100:80 -z 192.168.100.200 -F dpdk0
-P -t 10.0.0.100:80 -z 192.168.100.211 -F dpdk0
-a -t 10.0.0.100:80 -r 192.168.100.3:80 -b -w 1
-a -t 10.0.0.100:80 -r 192.168.100.2:8080 -b -w 65535 -x 100 -y 90
-A -u 10.0.0.9:53 -s wlc -p 360 -M 255.255.255.0 --pe sip --ops --expire-quiescent --conn-timeout 60
-U -u 10.0.0.9:53 -k 1.2.3.4
-U -u 10.0.0.9:53 -k 1.2.3.3
-O -u 10.0.0.9:53 -2 1.2.3.4
-P -u 10.0.0.9:53 -z 192.168.100.200 -F dpdk0
-a -u 10.0.0.9:53 -r 192.168.100.4:53 -m -w 0
-A -t 10.0.0.1:0 -s wrr -p 5
-a -t 10.0.0.1:0 -r 192.168.100.4:0 -b -w 1
-A -t 10.0.0.100:81 -s rr --toa disable
-A -t 10.0.0.100:82 -s rr --proxy-protocol v1
-A -t 10.0.0.100:83 -s rr --conn-timeout 5 --proxy-protocol v2-insecure --toa disable
-A -u 10.0.0.100:81 -s rr --uoa ipo
-A -u 10.0.0.100:82 -s rr --uoa opp
-A -u 10.0.0.100:83 -s rr --proxy-protocol v2
-A --sctp-service 10.0.0.100:2905 -s rr --conn-timeout 60
-P --sctp-service 10.0.0.100:2905 -z 192.168.100.200 -F dpdk0
-a --sctp-service 10.0.0.100:2905 -r 192.168.100.2:2905 -b -w 1
-A --sctp-service [2001:db8::100]:2905 -s wlc
-a --sctp-service [2001:db8::100]:2905 -r [2001:db8:1::2]:2905 -b -w 1
-A -t [2001:db8::100]:80 -s wrr -p 5 -M 64
-U -t [2001:db8::100]:80 -k 2001:db8::9
-O -t [2001:db8::100]:80 -2 2001:db8::8
-P -t [2001:db8::100]:80 -z 2001:db8:1::200 -F dpdk0
-P -t [2001:db8::100]:80 -z 192.168.100.200 -F dpdk0
-a -t [2001:db8::100]:80 -r [2001:db8:1::2]:8080 -b -w 1
-a -t [2001:db8::100]:80 -r 192.168.100.2:8080 -b -w 2 -x 100 -y 90
-A -t 10.0.0.100:84 -s rr
-P -t 10.0.0.100:84 -z 2001:db8:1::200 -F dpdk0
-a -t 10.0.0.100:84 -r [2001:db8:1::2]:80 -b -w 1
-a -t 10.0.0.100:84 -r [2001:db8:1::3]:84 -i -w 1
-A -u [2001:db8::100]:53 -s rr --uoa ipo
-A -H proto=icmpv6,src-range=[2001:db8:1::-2001:db8:1::ff],oif=dpdk1 -s rr
-a -H proto=icmpv6,src-range=[2001:db8:1::-2001:db8:1::ff],oif=dpdk1 -r [2001:db8::7]:0 -J -w 1
-A -H proto=tcp,af=ipv6,oif=dpdk1 -s rr
`

func TestSaveRestore(t *testing.T) {
	f := &fake{}
	c := start(t, f)
	if r := run(t, c, saved, "-R"); r.exit != 0 || r.stderr != "" || r.stdout != "" {
		t.Fatalf("-R: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	// What the director does by itself, and a neighbour that was learnt, are not saved.
	f.addresses = append([]*weirv1.Address{{Prefix: "10.9.9.9/32", Device: "dpdk0", Holders: 1, HeldOnly: true}}, f.addresses...) // nor what somebody holds
	f.addresses = append([]*weirv1.Address{{Prefix: "fe80::ff:fe00:1/64", Device: "dpdk0", Scope: weirv1.Scope_SCOPE_LINK, Automatic: true}}, f.addresses...)
	f.routes = append(f.routes, &weirv1.Route{Prefix: "fe80::/64", Device: "dpdk0", Mtu: 1500, Scope: weirv1.Scope_SCOPE_LINK, Proto: "auto", Derived: true})
	f.neighbours = append(f.neighbours, &weirv1.Neighbour{Address: "192.168.100.9", Lladdr: "02:00:00:00:00:09", Device: "dpdk0"})
	for _, line := range []string{"-S", "-Sn", "--save --numeric"} {
		if r := run(t, c, "", strings.Fields(line)...); r.stdout != saved || r.exit != 0 {
			t.Errorf("%s: exit %d: %s\ngot\n%s\nwant\n%s", line, r.exit, r.stderr, r.stdout, saved)
		}
	}
}

func TestSaveNothing(t *testing.T) {
	if r := run(t, start(t, &fake{}), "", "-S"); r != (result{}) {
		t.Errorf("got %+v", r)
	}
}

// Any service that can be added is saved as lines that make it again.
func TestSaveAnyService(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		number := func(name string, most uint32) uint32 { return rapid.Uint32Range(0, most).Draw(rt, name) }
		s := &weirv1.Service{
			Key:             &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: anyAddress(rt, "vip"), Port: number("port", 65535)},
			Scheduler:       rapid.SampledFrom([]string{"rr", "wrr", "wlc", "lc", "sed", "nq", "fo", "sh", "dh", "mh", "conhash"}).Draw(rt, "scheduler"),
			Persistent:      number("persistent", maxTimeout-1) + 1,
			Pe:              rapid.SampledFrom([]string{"", "sip"}).Draw(rt, "pe"),
			ExpireQuiescent: rapid.Bool().Draw(rt, "expire"),
			ConnTimeout:     number("timeout", maxConnTimeout),
		}
		if strings.Contains(s.Key.Address, ":") {
			s.PersistentMask = rapid.SampledFrom([]string{"", "1", "64", "127"}).Draw(rt, "mask")
		} else {
			s.PersistentMask = rapid.SampledFrom([]string{"", "255.255.0.0"}).Draw(rt, "mask")
		}
		if check := rapid.SampledFrom([]string{"", "default", "2,3s", "1,2,3s,4-5s"}).Draw(rt, "check"); check != "" {
			s.DestCheck = []string{check}
		}
		if rapid.Bool().Draw(rt, "udp") {
			s.Key.Protocol = weirv1.Protocol_PROTOCOL_UDP
			s.OnePacket = rapid.Bool().Draw(rt, "ops")
			s.Quic = rapid.Bool().Draw(rt, "quic")
			if s.Scheduler == "conhash" {
				s.HashTarget = rapid.SampledFrom([]string{"", "sip", "qid"}).Draw(rt, "target")
			}
			s.ProxyProtocol = rapid.SampledFrom([]string{"", "v2", "v2-insecure"}).Draw(rt, "proxy")
			if s.ProxyProtocol == "" {
				s.Uoa = rapid.SampledFrom([]string{"", "ipo", "opp"}).Draw(rt, "uoa")
			}
		} else {
			s.ProxyProtocol = rapid.SampledFrom(append(proxyProtocols, "")).Draw(rt, "proxy")
			s.NoToa = rapid.Bool().Draw(rt, "notoa")
		}
		if s.Key.Port != 0 && rapid.Bool().Draw(rt, "fleeting") {
			s.Persistent = 0
		}
		for i := range rapid.IntRange(0, 3).Draw(rt, "dests") {
			s.Dests = append(s.Dests, &weirv1.Dest{
				Address: anyAddress(rt, "rs"), Port: uint32(i), Weight: number("weight", maxWeight),
				Forward:    rapid.SampledFrom([]weirv1.Forward{weirv1.Forward_FORWARD_MASQ, weirv1.Forward_FORWARD_FULLNAT, weirv1.Forward_FORWARD_SNAT}).Draw(rt, "forward"),
				UThreshold: number("upper", maxThreshold), LThreshold: number("lower", maxThreshold),
			})
		}
		for _, address := range []string{"192.168.100.200", "2001:db8:1::200", "192.168.100.201", "2001:db8:1::201"}[:rapid.IntRange(0, 4).Draw(rt, "locals")] {
			s.Locals = append(s.Locals, &weirv1.LocalAddress{Address: address, Device: "dpdk0"})
		}
		var access []*weirv1.AccessList
		for _, kind := range []weirv1.AccessKind{weirv1.AccessKind_ACCESS_KIND_BLACKLIST, weirv1.AccessKind_ACCESS_KIND_WHITELIST} {
			if rapid.Bool().Draw(rt, "listed") {
				access = append(access, &weirv1.AccessList{Key: s.Key, Kind: kind, Entries: []string{anyAddress(rt, "client")}})
			}
		}
		f := &fake{}
		c := inProcess(f)
		if r := run(t, c, strings.Join(append(serviceLines(s), accessLines(access)...), ""), "-R"); r.exit != 0 || r.stderr != "" {
			rt.Fatalf("exit %d: %s", r.exit, r.stderr)
		}
		if len(f.services) != 1 || !proto.Equal(f.services[0], s) {
			rt.Errorf("got  %v\nwant %v", f.services, s)
		}
		if !slices.EqualFunc(f.access, access, func(a, b *weirv1.AccessList) bool { return proto.Equal(a, b) }) {
			rt.Errorf("lists: got  %v\nwant %v", f.access, access)
		}
	})
}

// anyAddress is one of either family.
func anyAddress(rt *rapid.T, name string) string {
	if rapid.Bool().Draw(rt, name+" of IPv6") {
		b := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, name))
		b[0] = 0x20
		return netip.AddrFrom16(b).String()
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(rt, name)}).String()
}

// Any match of either family is saved as a line that makes it again.
func TestSaveAnyMatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &weirv1.Match{Family: rapid.SampledFrom([]uint32{4, 6}).Draw(rt, "family")}
		span := func(name string) *weirv1.AddressRange {
			if !rapid.Bool().Draw(rt, name+" given") {
				return nil
			}
			a := netip.MustParseAddr(anyAddress(rt, name))
			for a.Is4() != (m.Family == 4) {
				a = netip.MustParseAddr(anyAddress(rt, name))
			}
			r := &weirv1.AddressRange{First: a.String(), Last: a.String()}
			if n := a.Next(); n.IsValid() {
				r.Last = n.String()
			}
			if rapid.Bool().Draw(rt, name+" ports") {
				r.FirstPort, r.LastPort = 1, uint32(rapid.Uint16Range(1, 65535).Draw(rt, name+" last"))
			}
			return r
		}
		m.Src, m.Dst = span("src"), span("dst")
		m.Iif = rapid.SampledFrom([]string{"", "dpdk0"}).Draw(rt, "iif")
		m.Oif = rapid.SampledFrom([]string{"", "dpdk1"}).Draw(rt, "oif")
		icmp := map[uint32]weirv1.Protocol{4: weirv1.Protocol_PROTOCOL_ICMP, 6: weirv1.Protocol_PROTOCOL_ICMPV6}[m.Family]
		s := &weirv1.Service{Scheduler: "rr", Key: &weirv1.ServiceKey{
			Protocol: rapid.SampledFrom([]weirv1.Protocol{weirv1.Protocol_PROTOCOL_TCP, weirv1.Protocol_PROTOCOL_UDP, icmp}).Draw(rt, "proto"), Match: m,
		}}
		f := &fake{}
		if r := run(t, inProcess(f), strings.Join(serviceLines(s), ""), "-R"); r.exit != 0 || r.stderr != "" {
			rt.Fatalf("exit %d: %s", r.exit, r.stderr)
		}
		if len(f.services) != 1 || !proto.Equal(f.services[0], s) {
			rt.Errorf("got  %v\nwant %v", f.services, s)
		}
	})
}

func TestRestore(t *testing.T) {
	const service = "-A -t 10.0.0.100:80 -s rr\n"
	for _, tc := range []struct {
		name, stdin, stdout, stderr string
		exit                        int
		changes                     []string
	}{
		{name: "nothing"},
		{name: "comments and blank lines", stdin: "\n  \n# ipvsadm -C\n\t#x\n"},
		{
			name:    "leading words",
			stdin:   "ipvsadm -A -t 10.0.0.1:80\n./ipvsadm -A -t 10.0.0.2:80\n  weir\t-A -t 10.0.0.3:80  \r\n" + service,
			changes: []string{"AddService", "AddService", "AddService", "AddService"},
		},
		{
			name:    "no newline at the end",
			stdin:   "-C",
			changes: []string{"FlushServices"},
		},
		{
			name:    "lines of dpip",
			stdin:   "./dpip addr add 10.0.0.100/32 dev dpdk1\n" + service,
			changes: []string{"AddAddress", "AddService"},
		},
		{
			name:   "a refusal is told, and nothing is changed",
			stdin:  service + "\n" + service + "-D -t 10.0.0.9:80\n-C\n",
			stderr: "line 3: service 10.0.0.100:80 already exists\nnothing was changed\n",
			exit:   253,
		},
		{
			name:    "an address may be there",
			stdin:   "dpip addr add 10.0.0.100/32 dev dpdk1\n" + service + "dpip addr add 10.0.0.100/32 dev dpdk1\n",
			changes: []string{"AddAddress", "AddService"},
		},
		{
			name:   "a line of dpip that is wrong",
			stdin:  service + "dpip addr add dev\n",
			stderr: "line 2: dpip: missing argument for `dev'\nnothing was changed\n",
			exit:   1,
		},
		{
			name:    "what was there goes, and comes, in one change",
			stdin:   service + "-C\n" + service,
			changes: []string{"AddService", "FlushServices", "AddService"},
		},
		{
			name:   "a wrong line ends it before anything is changed",
			stdin:  service + "-a -t 10.0.0.100:80 -r 192.168.100.2 -w x\n",
			stderr: "line 2: illegal weight specified\nnothing was changed\n",
			exit:   2,
		},
		{
			name:   "an unknown option as well",
			stdin:  "# x\n\n-A -t 10.0.0.100:80 -!\n" + service,
			stderr: "line 3: -!: unknown option\nnothing was changed\n",
			exit:   2,
		},
		{
			name:   "a restore in a restore",
			stdin:  "-R\n",
			stderr: "line 1: a restored file cannot restore\nnothing was changed\n",
			exit:   2,
		},
		{
			name:   "bytes that are no text",
			stdin:  service + "dpip addr add 10.0.0.1/32 dev \xff\n",
			stderr: "line 2: the line is not UTF-8\nnothing was changed\n",
			exit:   2,
		},
		{
			name:   "a line without end",
			stdin:  service + strings.Repeat("x", maxLine+1),
			stderr: "line 2: cannot read standard input: bufio.Scanner: token too long\nnothing was changed\n",
			exit:   2,
		},
		{
			name:    "listings are printed",
			stdin:   service + "-Ln\n",
			stdout:  "IP Virtual Server version 0.0.0 (size=0)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\nTCP  10.0.0.100:80 rr\n",
			changes: []string{"AddService"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fake{}
			r := run(t, start(t, f), tc.stdin, "-R")
			if want := (result{tc.stdout, tc.stderr, tc.exit}); r != want {
				t.Errorf("got %+v\nwant %+v", r, want)
			}
			if got := f.changes(); !slices.Equal(got, tc.changes) {
				t.Errorf("changes: got %v, want %v", got, tc.changes)
			}
		})
	}
}

// TestRestoreListsAfterwards: what a file shows is what all of it made.
func TestRestoreListsAfterwards(t *testing.T) {
	r := run(t, start(t, &fake{}), "dpip addr show\n-Ln\n-Z\n-A -t 10.0.0.100:80 -s rr\ndpip addr add 10.0.0.100/32 dev dpdk1\n", "-R")
	if r.exit != 0 || r.stderr != "" || !strings.Contains(r.stdout, "10.0.0.100/32") || !strings.Contains(r.stdout, "TCP  10.0.0.100:80 rr\n") {
		t.Errorf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
}

package ipvsadm

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"weir/api/weirv1"
)

// someServices are two services in an order that is not the sorted one.
func someServices() []*weirv1.Service {
	return []*weirv1.Service{
		{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_UDP, Address: "10.0.0.9", Port: 53},
			Scheduler: "wlc", OnePacket: true, ConnTimeout: 7, Uoa: "opp", ExpireQuiescent: true,
		},
		{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.100", Port: 80},
			Scheduler: "wrr", Persistent: 360, PersistentMask: "255.255.255.0", Pe: "sip", ExpireQuiescent: true,
			Rates: &weirv1.Rates{Cps: 3, InPps: 1234567890, OutPps: 5, InBps: 100000000, OutBps: 7},
			Dests: []*weirv1.Dest{
				{
					Rates:   &weirv1.Rates{Cps: 2, InPps: 1234567889, OutPps: 4, InBps: 99999999, OutBps: 6},
					Address: "192.168.100.10", Port: 8080, Forward: weirv1.Forward_FORWARD_FULLNAT, Weight: 65535,
					ActiveConns: 1234567890, InactiveConns: 3, PersistentConns: 12, Inhibited: true, Overloaded: true,
					UThreshold: 1000, LThreshold: 900,
					Counters: &weirv1.Counters{Conns: 99999999, InPkts: 100000000, OutPkts: 999999999, InBytes: 1000000000, OutBytes: 99999999999},
				},
				{
					Address: "192.168.100.2", Port: 80, Forward: weirv1.Forward_FORWARD_MASQ, Overloaded: true,
					Counters: &weirv1.Counters{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 99900000000000, OutBytes: 100000000000000},
				},
			},
		},
		{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.9", Port: 443},
			Scheduler: "conhash", HashTarget: "sip", SynProxy: true, ProxyProtocol: "v2-insecure", NoToa: true, Quic: true,
			DestCheck: []string{"default", "tcp", "ping"},
			Dests:     []*weirv1.Dest{{Address: "192.168.100.4", Port: 443, Forward: weirv1.Forward_FORWARD_TUNNEL, Weight: 1, Inhibited: true}},
		},
	}
}

func TestListings(t *testing.T) {
	for _, tc := range []struct{ name, line, want string }{
		{"plain, sorted", "-ln", `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.9:443 conhash sip synproxy ppv2-insecure notoa quic dest-check internal:default external:tcp,ping
  -> 192.168.100.4:443            Tunnel  0      0          0          inhibited
TCP  10.0.0.100:80 wrr persistent 360 mask 255.255.255.0 pe sip expire-quiescent
  -> 192.168.100.2:80             Masq    0      0          0          overload
  -> 192.168.100.10:8080          FullNat 0      1234567890 3          inhibited,overload
UDP  10.0.0.9:53 wlc ops conn-timeout 7 uoa-opp expire-quiescent
`},
		{"names", "--list --sort", `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.9:443 conhash sip synproxy ppv2-insecure notoa quic dest-check internal:default external:tcp,ping
  -> 192.168.100.4:443            Tunnel  0      0          0          inhibited
TCP  www.example.com:http wrr persistent 360 mask 255.255.255.0 pe sip expire-quiescent
  -> 192.168.100.2:http           Masq    0      0          0          overload
  -> 192.168.100.10:8080          FullNat 0      1234567890 3          inhibited,overload
UDP  10.0.0.9:53 wlc ops conn-timeout 7 uoa-opp expire-quiescent
`},
		{"one service, in the director's order", "-L -n --nosort -t 10.0.0.100:80", `Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.100:80 wrr persistent 360 mask 255.255.255.0 pe sip expire-quiescent
  -> 192.168.100.10:8080          FullNat 0      1234567890 3          inhibited,overload
  -> 192.168.100.2:80             Masq    0      0          0          overload
`},
		{"rate", "-ln --rate -t 10.0.0.100:80", `Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
TCP  10.0.0.100:80                       3 1234567890        5  100000K        7
  -> 192.168.100.2:80                    0        0        0        0        0
  -> 192.168.100.10:8080                 2 1234567889        4 99999999        6
`},
		{"rate, exact", "-ln --rate -X -t 10.0.0.100:80", `Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS
  -> RemoteAddress:Port
TCP  10.0.0.100:80                       3 1234567890        5 100000000        7
  -> 192.168.100.2:80                    0        0        0        0        0
  -> 192.168.100.10:8080                 2 1234567889        4 99999999        6
`},
		{"stats", "-ln --stats", `IP Virtual Server version 0.0.0 (size=0)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.0.0.9:443                        0        0        0        0        0
  -> 192.168.100.4:443                   0        0        0        0        0
TCP  10.0.0.100:80                 100000K  100000K    1000M   99901G     100T
  -> 192.168.100.2:80                    1        2        3   99900G     100T
  -> 192.168.100.10:8080          99999999  100000K  999999K    1000M   99999M
UDP  10.0.0.9:53                         0        0        0        0        0
`},
		{"stats, exact", "-ln --stats --exact -t 10.0.0.100:80", `Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.0.0.100:80                100000000 100000002 1000000002 99901000000000 100099999999999
  -> 192.168.100.2:80                    1        2        3 99900000000000 100000000000000
  -> 192.168.100.10:8080          99999999 100000000 999999999 1000000000 99999999999
`},
		{"thresholds", "-ln --thresholds -t 10.0.0.100:80", `Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn
  -> RemoteAddress:Port
TCP  10.0.0.100:80 wrr persistent 360 mask 255.255.255.0 pe sip expire-quiescent
  -> 192.168.100.2:80             0          0          0          0
  -> 192.168.100.10:8080          1000       900        1234567890 3
`},
		{"persistent connections", "-ln --persistent-conn -t 10.0.0.100:80", `Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn
  -> RemoteAddress:Port
TCP  10.0.0.100:80 wrr persistent 360 mask 255.255.255.0 pe sip expire-quiescent
  -> 192.168.100.2:80             0         0           0          0
  -> 192.168.100.10:8080          0         12          1234567890 3
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fake{services: someServices()}
			r := run(t, start(t, f), "", strings.Fields(tc.line)...)
			if r.exit != 0 || r.stderr != "" {
				t.Fatalf("exit %d: %s", r.exit, r.stderr)
			}
			if r.stdout != tc.want {
				t.Errorf("got\n%s\nwant\n%s", r.stdout, tc.want)
			}
			if len(f.calls) != 1 {
				t.Errorf("a listing is one call, got %v", f.calls)
			}
		})
	}
}

// Without arguments the table is listed, with names.
func TestNoArguments(t *testing.T) {
	c := start(t, &fake{services: someServices()})
	if bare, named := run(t, c, ""), run(t, c, "", "-l"); bare != named || bare.exit != 0 {
		t.Errorf("got exit %d\n%s\nwant\n%s", bare.exit, bare.stdout, named.stdout)
	}
}

func TestConnections(t *testing.T) {
	f := &fake{conns: [][]*weirv1.Connection{
		{{
			Worker: 4, Protocol: weirv1.Protocol_PROTOCOL_TCP, TimeoutSeconds: 7, RemainingSeconds: 3, State: "TIME_WAIT",
			Client: "1.1.1.1:5000", Virtual: "2.2.2.2:80", Local: "3.3.3.3:1025", Real: "4.4.4.4:80",
		}},
		{{
			Worker: 12, Protocol: weirv1.Protocol_PROTOCOL_UDP, TimeoutSeconds: 300, State: "UDP_NORM",
			Client: "100.100.100.100:50000", Virtual: "10.0.0.100:53", Local: "192.168.100.200:65535", Real: "192.168.100.2:53",
		}},
		{{
			Worker: 1, Protocol: weirv1.Protocol_PROTOCOL_SCTP, TimeoutSeconds: 900, State: "SCTP_ESTABLISHED",
			Client: "1.1.1.1:5000", Virtual: "2.2.2.2:2905", Local: "3.3.3.3:1025", Real: "4.4.4.4:2905",
		}},
	}}
	c := start(t, f)
	const want = `[4]tcp 7s     TIME_WAIT   1.1.1.1:5000       2.2.2.2:80         3.3.3.3:1025       4.4.4.4:80
[12]udp 300s   UDP_NORM    100.100.100.100:50000 10.0.0.100:53      192.168.100.200:65535 192.168.100.2:53
[1]sctp 900s   SCTP_ESTABLISHED 1.1.1.1:5000       2.2.2.2:2905       3.3.3.3:1025       4.4.4.4:2905
`
	if r := run(t, c, "", "-lnc"); r.stdout != want || r.exit != 0 {
		t.Errorf("-lnc: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	if r := run(t, c, "", "-lc"); !strings.Contains(r.stdout, "2.2.2.2:http ") || !strings.Contains(r.stdout, "www.example.com:53 ") {
		t.Errorf("-lc: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}

	pair := []string{"-lnc", "--sockpair", "udp:100.100.100.100:50000:10.0.0.100:53"}
	if r := run(t, c, "", pair...); r.exit != 0 {
		t.Errorf("--sockpair: exit %d: %s", r.exit, r.stderr)
	}
	asked := &weirv1.ListConnectionsRequest{
		Protocol: weirv1.Protocol_PROTOCOL_UDP, Source: "100.100.100.100:50000", Target: "10.0.0.100:53",
	}
	if !proto.Equal(f.asked, asked) {
		t.Errorf("--sockpair asked for %v", f.asked)
	}

	f.conns = nil
	if r := run(t, c, "", pair...); r.stderr != "connection specified not found\n" || r.exit != 252 {
		t.Errorf("--sockpair of nothing: exit %d: %q", r.exit, r.stderr)
	}
	if r := run(t, c, "", "-lnc"); r.stdout != "" || r.stderr != "" || r.exit != 0 {
		t.Errorf("-lnc of nothing: exit %d: %q %q", r.exit, r.stdout, r.stderr)
	}
}

func TestLargeNumber(t *testing.T) {
	for _, tc := range []struct {
		n    uint64
		want string
	}{
		{0, "        0"},
		{99999999, " 99999999"},
		{100000000, "  100000K"},
		{999999999, "  999999K"},
		{1000000000, "    1000M"},
		{99999999999, "   99999M"},
		{100000000000, "     100G"},
		{99999999999999, "   99999G"},
		{100000000000000, "     100T"},
		{18446744073709551615, "18446744T"},
	} {
		if got := largeNumber(tc.n); got != tc.want {
			t.Errorf("largeNumber(%d): got %q, want %q", tc.n, got, tc.want)
		}
	}
}

func TestServicesFile(t *testing.T) {
	got := readServices(strings.NewReader(`# comment
http		80/tcp		www		# WorldWideWeb
www-too	80/tcp
domain  53/udp
broken
worse   53
`))
	if len(got) != 2 || got["tcp/80"] != "http" || got["udp/53"] != "domain" {
		t.Errorf("got %v", got)
	}
}

// silent is a resolver whose name server does not answer.
type silent struct{ fakeNames }

func (silent) Host(ctx context.Context, _ netip.Addr) string {
	<-ctx.Done()
	return ""
}

// A dead name server costs a listing one second, however many addresses it shows.
func TestSilentNameServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs := map[netip.Addr]bool{}
		for addr, i := netip.MustParseAddr("10.0.0.1"), 0; i < 1000; i++ {
			addrs[addr] = true
			addr = addr.Next()
		}
		n := namer{names: silent{}}
		n.ask(t.Context(), addrs) // hangs, and the bubble fails, if the time is not bounded
		if got := n.endpoint("10.0.0.1", 80, "tcp"); got != "10.0.0.1:http" {
			t.Errorf("got %q", got)
		}
	})
}

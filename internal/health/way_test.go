package health

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// street is two namespaces with a cable between them: ours and the server's.
func street(t *testing.T) (us, server *netns.Namespace) {
	t.Helper()
	w, err := netns.New("health-test")
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	us, err = w.Namespace("us")
	must(t, err)
	server, err = w.Namespace("server")
	must(t, err)
	must(t, netns.Veth(netns.End{In: us, Name: "eth0"}, netns.End{In: server, Name: "eth0"}))
	for _, a := range []string{"10.9.0.1/24", "10.9.0.2/24", "fd09::1/64", "fd09::2/64"} {
		must(t, us.Address("eth0", netip.MustParsePrefix(a)))
	}
	must(t, server.Address("eth0", netip.MustParsePrefix("10.9.0.9/24")))
	must(t, server.Address("eth0", netip.MustParsePrefix("fd09::9/64")))
	for _, n := range []*netns.Namespace{us, server} {
		must(t, n.LinkUp("lo"))
	}
	return us, server
}

// ip runs iproute2 in a namespace.
func ip(t *testing.T, n *netns.Namespace, line string) {
	t.Helper()
	if out, err := n.Run(context.Background(), "ip", strings.Fields(line)...); err != nil {
		t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

// expectIn asks from within a namespace: a check makes its socket on the thread it runs on.
func expectIn(t *testing.T, n *netns.Namespace, p Probe, want string) {
	t.Helper()
	must(t, n.Do(func() error { expect(t, p, want); return nil }))
}

// A check comes from where it is told to, by TCP and UDP, in both families.
func TestSource(t *testing.T) {
	us, server := street(t)
	for _, tc := range []struct {
		name, to, from string
		want           string // the source that the server sees, up to its port
	}{
		{"the kernel's choice", "10.9.0.9", "", "10.9.0.1:"},
		{"bindto", "10.9.0.9", "10.9.0.2:0", "10.9.0.2:"},
		{"bindto and bind_port", "10.9.0.9", "10.9.0.2:7777", "10.9.0.2:7777"},
		{"bindto, IPv6", "fd09::9", "[fd09::1]:0", "[fd09::1]:"},
		{"another, IPv6", "fd09::9", "[fd09::2]:0", "[fd09::2]:"},
		{"bindto and bind_port, IPv6", "fd09::9", "[fd09::2]:7777", "[fd09::2]:7777"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			way := Way{Timeout: patient}
			if tc.from != "" {
				way.From = netip.MustParseAddrPort(tc.from)
			}
			saw := func(who string) {
				if !strings.HasPrefix(who, tc.want) {
					t.Errorf("the server was asked by %s, want %s", who, tc.want)
				}
			}

			l, err := server.Listen("tcp", net.JoinHostPort(tc.to, "0"))
			must(t, err)
			defer l.Close()
			way.To = netip.MustParseAddrPort(l.Addr().String())
			// The second finds a given port in TIME_WAIT, or not yet closed by the server.
			for range 2 {
				expectIn(t, us, TCP{way}, "")
				c, err := l.Accept()
				must(t, err)
				saw(c.RemoteAddr().String())
				c.Close()
			}

			u, err := server.ListenPacket("udp", net.JoinHostPort(tc.to, "0"))
			must(t, err)
			defer u.Close()
			way.To, way.Timeout = netip.MustParseAddrPort(u.LocalAddr().String()), hasty
			expectIn(t, us, UDP{Way: way}, "")
			_, from, err := u.ReadFrom(make([]byte, 100))
			must(t, err)
			saw(from.String())
		})
	}
	// bind_port alone leaves the address to the kernel.
	for to, want := range map[string]string{"10.9.0.9:1": "0.0.0.0:5", "[fd09::9]:1": "[::]:5"} {
		w := Way{To: netip.MustParseAddrPort(to), From: netip.AddrPortFrom(netip.Addr{}, 5)}
		if got := w.source().String(); got != want {
			t.Errorf("to %s with a port alone: from %s, want %s", to, got, want)
		}
	}
}

// bind_if and fwmark decide the route of what a check sends.
func TestDeviceAndMark(t *testing.T) {
	us, server := street(t)
	for _, family := range []struct{ flag, to string }{{"-4", "10.9.0.9"}, {"-6", "fd09::9"}} {
		l, err := server.Listen("tcp", net.JoinHostPort(family.to, "0"))
		must(t, err)
		defer l.Close()
		u, err := server.ListenPacket("udp", net.JoinHostPort(family.to, "0"))
		must(t, err)
		defer u.Close()
		ip(t, us, family.flag+" rule add fwmark 7 prohibit")
		for _, tc := range []struct {
			name string
			way  Way
			want string
		}{
			{"the device of the route", Way{Device: "eth0"}, ""},
			{"a device that does not lead there", Way{Device: "lo"}, "-"},
			{"no such device", Way{Device: "eth9"}, "no such device"},
			{"a mark that nothing is said of", Way{Mark: 8}, ""},
			{"a mark that is forbidden", Way{Mark: 7}, "permission denied"},
		} {
			t.Run(family.flag+" "+tc.name, func(t *testing.T) {
				tc.way.Timeout = patient
				if tc.want == "-" { // silence or no route, as the family has it
					tc.way.Timeout, tc.want = hasty, "dial"
				}
				tc.way.To = netip.MustParseAddrPort(l.Addr().String())
				expectIn(t, us, TCP{tc.way}, tc.want)
				if tc.way.Device == "lo" {
					return // a datagram into lo is lost in silence, which is well for UDP
				}
				expectIn(t, us, Ping{tc.way}, tc.want)
				tc.way.To, tc.way.Timeout = netip.MustParseAddrPort(u.LocalAddr().String()), hasty
				expectIn(t, us, UDP{Way: tc.way}, tc.want)
			})
		}
	}
}

// A router that says that there is no such host takes a server down that may be
// silent, and so does a server that answers no ping.
func TestUnreachable(t *testing.T) {
	us, server := street(t)
	must(t, server.WriteSysctl("ipv4/ip_forward", "1"))
	must(t, server.WriteSysctl("ipv6/conf/all/forwarding", "1"))
	// Each error counts here, also the fourth within a second.
	must(t, server.WriteSysctl("ipv4/icmp_ratelimit", "0"))
	must(t, server.WriteSysctl("ipv6/icmp/ratelimit", "0"))
	ip(t, us, "route add 10.8.0.0/24 via 10.9.0.9")
	ip(t, us, "-6 route add fd08::/64 via fd09::9")
	ip(t, server, "route add unreachable 10.8.0.0/24")
	ip(t, server, "-6 route add unreachable fd08::/64")
	for _, tc := range []struct{ to, want string }{
		{"10.8.0.1:53", "no route to host"},
		{"[fd08::1]:53", "unreachable"}, // RFC 4443, section 3.1, code 0
	} {
		way := Way{To: netip.MustParseAddrPort(tc.to), Timeout: patient}
		// TCP first: it says again what a cable loses that was plugged in just now.
		for _, p := range []Probe{TCP{way}, UDP{Way: way}, DNS{Way: way}, Ping{way}} {
			expectIn(t, us, p, tc.want)
		}
	}
	must(t, server.WriteSysctl("ipv4/icmp_echo_ignore_all", "1"))
	must(t, server.WriteSysctl("ipv6/icmp/echo_ignore_all", "1"))
	for _, to := range []string{"10.9.0.9:0", "[fd09::9]:0"} {
		expectIn(t, us, Ping{Way{To: netip.MustParseAddrPort(to), Timeout: hasty}}, timedOut)
	}
}

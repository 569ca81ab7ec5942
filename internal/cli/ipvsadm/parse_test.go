package ipvsadm

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"weir/api/weirv1"
)

// What a line says, in all the ways to write it.
func TestParseService(t *testing.T) {
	key := &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.100", Port: 80}
	udp := &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_UDP, Address: "10.0.0.100", Port: 53}
	key6 := &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "2001:db8::100", Port: 80}
	rr := &weirv1.Service{Key: key, Scheduler: "rr"}
	sticky := func(seconds uint32) *weirv1.Service {
		return &weirv1.Service{Key: key, Scheduler: "rr", Persistent: seconds}
	}
	out := &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_UDP, Match: &weirv1.Match{Family: 4}}
	for _, tc := range []struct {
		line string
		want *weirv1.Service
	}{
		{"-A -H proto=udp,af=ipv4 -s rr", &weirv1.Service{Key: out, Scheduler: "rr"}},
		{"-A -t 10.0.0.100:80 -s rr", rr},
		{"-At 10.0.0.100:80 -s rr", rr},
		{"-At10.0.0.100:80 -srr", rr},
		{"-At=10.0.0.100:80 -s=rr", rr},
		{"--add-service --tcp-service 10.0.0.100:80 --scheduler rr", rr},
		{"--add-service --tcp-service=10.0.0.100:80 --scheduler=rr", rr},
		{"-A -s rr -t www.example.com:http", rr},
		{"-A -t 10.0.0.100:80 -s rr -j disable --proxy-protocol disable --dest-check disable", rr},
		{"-E -t 10.0.0.100:80 -s rr", rr},
		{"-E -t 10.0.0.100:80", &weirv1.Service{Key: key, Scheduler: "wlc"}},
		{"-A -p -t 10.0.0.100:80 -s rr", sticky(360)},
		{"-A -t 10.0.0.100:80 -s rr -p", sticky(360)},
		{"-A -t 10.0.0.100:80 -s rr -p 300", sticky(300)},
		{"-A -p300 -t 10.0.0.100:80 -s rr", sticky(300)},
		{"-A --persistent -t 10.0.0.100:80 -s rr", sticky(360)},
		{"-A --persistent=1 -t 10.0.0.100:80 -s rr", sticky(1)},
		{"-A --persistent 2678400 -t 10.0.0.100:80 -s rr", sticky(2678400)},
		{"-A -t 10.0.0.100 -p 5", &weirv1.Service{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.100"},
			Scheduler: "wlc", Persistent: 5,
		}},
		{"-A -u 10.0.0.100:53 -s wrr -o --pe sip -p 9 -M 255.255.255.0 --conn-timeout 60 --expire-quiescent", &weirv1.Service{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_UDP, Address: "10.0.0.100", Port: 53},
			Scheduler: "wrr", OnePacket: true, Pe: "sip", Persistent: 9, PersistentMask: "255.255.255.0",
			ConnTimeout: 60, ExpireQuiescent: true,
		}},

		{"-A -t [2001:db8::100]:80 -s rr", &weirv1.Service{Key: key6, Scheduler: "rr"}},
		{"-At[2001:DB8:0::100]:http -srr", &weirv1.Service{Key: key6, Scheduler: "rr"}},
		{"-A -t six.example.com:80 -s rr", &weirv1.Service{Key: key6, Scheduler: "rr"}},
		{"-A -t both.example.com:80 -s rr", rr},
		{"-A -t 2001:db8::100 -s rr -p 5 -M 64", &weirv1.Service{
			Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "2001:db8::100"},
			Scheduler: "rr", Persistent: 5, PersistentMask: "64",
		}},
		{"-A -M 1 -p 5 -s rr -t [2001:db8::100]:80", &weirv1.Service{Key: key6, Scheduler: "rr", Persistent: 5, PersistentMask: "1"}},

		{"-A -t 10.0.0.100:80 -s rr --dest-check default", &weirv1.Service{Key: key, Scheduler: "rr", DestCheck: []string{"default"}}},
		{"-A -t 10.0.0.100:80 -s rr --dest-check=1,1,3s,5-3600s", &weirv1.Service{Key: key, Scheduler: "rr", DestCheck: []string{"1,1,3s,5-3600s"}}},
		{"-E -t 10.0.0.100:80 -s rr --dest-check 1,3s", &weirv1.Service{Key: key, Scheduler: "rr", DestCheck: []string{"1,3s"}}},

		{"-A -t 10.0.0.100:80 -s conhash", &weirv1.Service{Key: key, Scheduler: "conhash"}},
		{"-A -t 10.0.0.100:80 -s conhash --hash-target sip", &weirv1.Service{Key: key, Scheduler: "conhash", HashTarget: "sip"}},
		{"-E --hash-target=qid -u 10.0.0.100:53 --quic --scheduler conhash", &weirv1.Service{Key: udp, Scheduler: "conhash", HashTarget: "qid", Quic: true}},
		{"-A -u 10.0.0.100:53 -s mh --quic", &weirv1.Service{Key: udp, Scheduler: "mh", Quic: true}},

		{"-A -H proto=udp,af=ipv4 -s rr --mapping endpoint-independent", &weirv1.Service{Key: out, Scheduler: "rr", EndpointIndependent: true}},
		{"-E -H proto=udp,af=ipv4 -s rr --mapping=address-and-port-dependent", &weirv1.Service{Key: out, Scheduler: "rr"}},

		{"-A -t 10.0.0.100:80 -s rr --toa enable", rr},
		{"-A -t 10.0.0.100:80 -s rr --toa enable --proxy-protocol disable", rr},
		{"-A --toa=disable -t 10.0.0.100:80 -s rr", &weirv1.Service{Key: key, Scheduler: "rr", NoToa: true}},
		{"-E -t 10.0.0.100:80 -s rr --toa disable", &weirv1.Service{Key: key, Scheduler: "rr", NoToa: true}},
		{"-A -t 10.0.0.100:80 -s rr --proxy-protocol v1", &weirv1.Service{Key: key, Scheduler: "rr", ProxyProtocol: "v1"}},
		{"-E -t 10.0.0.100:80 -s rr --proxy-protocol=v1-insecure", &weirv1.Service{Key: key, Scheduler: "rr", ProxyProtocol: "v1-insecure"}},
		{"-A -t 10.0.0.100:80 -s rr --proxy-protocol v2 --toa disable", &weirv1.Service{Key: key, Scheduler: "rr", ProxyProtocol: "v2", NoToa: true}},
		{"-A -u 10.0.0.100:53 -s rr --uoa disable", &weirv1.Service{Key: udp, Scheduler: "rr"}},
		{"-A -u 10.0.0.100:53 -s rr --uoa opp", &weirv1.Service{Key: udp, Scheduler: "rr", Uoa: "opp"}},
		{"-E --uoa=ipo -u 10.0.0.100:53 -s rr --proxy-protocol disable", &weirv1.Service{Key: udp, Scheduler: "rr", Uoa: "ipo"}},
		{"-A -u 10.0.0.100:53 -s rr --proxy-protocol v2-insecure --uoa disable", &weirv1.Service{Key: udp, Scheduler: "rr", ProxyProtocol: "v2-insecure"}},
	} {
		t.Run(tc.line, func(t *testing.T) {
			l, err := parse(t.Context(), strings.Fields(tc.line), fakeNames{})
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(l.service, tc.want) {
				t.Errorf("got  %s\nwant %s", prototext.Format(l.service), prototext.Format(tc.want))
			}
		})
	}
}

func TestParseDest(t *testing.T) {
	dest := func(port uint32, f weirv1.Forward, weight, u, l uint32) *weirv1.Dest {
		return &weirv1.Dest{Address: "192.168.100.2", Port: port, Forward: f, Weight: weight, UThreshold: u, LThreshold: l}
	}
	dest6 := func(a string, port uint32, f weirv1.Forward) *weirv1.Dest {
		return &weirv1.Dest{Address: a, Port: port, Forward: f, Weight: 1}
	}
	const fullNAT, route = weirv1.Forward_FORWARD_FULLNAT, weirv1.Forward_FORWARD_ROUTE
	for _, tc := range []struct {
		line string
		want *weirv1.Dest
	}{
		{"-at 10.0.0.100:80 -r 192.168.100.2 -b", dest(80, fullNAT, 1, 0, 0)},
		{"-a -r 192.168.100.2 -b -t 10.0.0.100:80", dest(80, fullNAT, 1, 0, 0)},
		{"-a -t 10.0.0.100:80 -r 192.168.100.2:8080 -bw 5 -x 100 -y 90", dest(8080, fullNAT, 5, 100, 90)},
		{"-e -t 10.0.0.100:80 --real-server=192.168.100.2:http --fullnat --weight=0", dest(80, fullNAT, 0, 0, 0)},
		{"-a -t 10.0.0.100:80 -r 192.168.100.2:0 -b -w 65535", dest(0, fullNAT, 65535, 0, 0)},
		{"-a -t 10.0.0.100:80 -r 192.168.100.2 -m", dest(80, weirv1.Forward_FORWARD_MASQ, 1, 0, 0)},
		{"-a -t 10.0.0.100:80 -r 192.168.100.2 -J", dest(80, weirv1.Forward_FORWARD_SNAT, 1, 0, 0)},
		{"-a -t 10.0.0.100:80 -r 192.168.100.2", dest(80, route, 1, 0, 0)},
		// Not rewritten, so the service's port whatever is said.
		{"-a -t 10.0.0.100:80 -r 192.168.100.2:8080 -g", dest(80, route, 1, 0, 0)},
		{"-a -t 10.0.0.100:80 -r 192.168.100.2:8080 -i", dest(80, weirv1.Forward_FORWARD_TUNNEL, 1, 0, 0)},
		{"-d -t 10.0.0.100:80 -r 192.168.100.2:8080", dest(8080, route, 1, 0, 0)},
		// Of IPv6, and from one family to the other.
		{"-a -t [2001:db8::100]:80 -r [2001:db8:1::2]:8080 -m", dest6("2001:db8:1::2", 8080, weirv1.Forward_FORWARD_MASQ)},
		{"-a -t [2001:db8::100]:80 -r 2001:db8:1::2 -b", dest6("2001:db8:1::2", 80, fullNAT)},
		{"-a -t [2001:db8::100]:80 -r [2001:db8:1::2]:8080 -g", dest6("2001:db8:1::2", 80, route)},
		{"-a -t [2001:db8::100]:80 -r 192.168.100.2 -b", dest(80, fullNAT, 1, 0, 0)},
		{"-a -t 10.0.0.100:80 -r [2001:db8:1::2] -b", dest6("2001:db8:1::2", 80, fullNAT)},
		{"-a -t [2001:db8::100]:80 -r both.example.com -b", dest6("2001:db8::100", 80, fullNAT)},
		{"-a -t 10.0.0.100:80 -r six.example.com -b", dest6("2001:db8::100", 80, fullNAT)},
	} {
		t.Run(tc.line, func(t *testing.T) {
			l, err := parse(t.Context(), strings.Fields(tc.line), fakeNames{})
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(l.dest, tc.want) {
				t.Errorf("got  %s\nwant %s", prototext.Format(l.dest), prototext.Format(tc.want))
			}
		})
	}
}

// What -E does not name goes back to its default.
func TestEditTakesBack(t *testing.T) {
	f := &fake{}
	c := start(t, f)
	for _, tc := range []struct{ service, options string }{
		{"-t 10.0.0.100:80", "--toa disable"},
		{"-t 10.0.0.100:80", "--proxy-protocol v1"},
		{"-u 10.0.0.100:53", "--uoa opp"},
		{"-u 10.0.0.100:53", "--proxy-protocol v2 --conn-timeout 5"},
	} {
		f.services = nil
		must(t, c, "-A "+tc.service+" -s rr")
		plain := proto.Clone(f.services[0])
		must(t, c, "-E "+tc.service+" -s rr "+tc.options)
		if proto.Equal(f.services[0], plain) {
			t.Errorf("-E %s %s changed nothing", tc.service, tc.options)
		}
		must(t, c, "-E "+tc.service+" -s rr")
		if !proto.Equal(f.services[0], plain) {
			t.Errorf("-E without %s left %v", tc.options, f.services[0])
		}
	}
}

// Each command that changes something is one call, the right one.
func TestOneCall(t *testing.T) {
	for _, tc := range []struct{ line, call string }{
		{"-A -t 10.0.0.101:80", "AddService"},
		{"-E -t 10.0.0.100:80", "EditService"},
		{"-D -t 10.0.0.100:80", "DeleteService"},
		{"-C", "FlushServices"},
		{"--clear", "FlushServices"},
		{"-Z", "ZeroCounters"},
		{"-Z -t 10.0.0.100:80", "ZeroCounters"},
		{"-a -t 10.0.0.100:80 -r 192.168.100.3 -b", "AddDest"},
		{"-e -t 10.0.0.100:80 -r 192.168.100.2 -b", "EditDest"},
		{"-d -t 10.0.0.100:80 -r 192.168.100.2", "DeleteDest"},
		{"-P -t 10.0.0.100:80 -z 192.168.100.201 -F dpdk0", "AddLocalAddress"},
		{"-Q -t 10.0.0.100:80 -z 192.168.100.200 -F dpdk0", "DeleteLocalAddress"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			f := &fake{}
			c := start(t, f)
			must(t, c,
				"-A -t 10.0.0.100:80",
				"-a -t 10.0.0.100:80 -r 192.168.100.2 -b",
				"-P -t 10.0.0.100:80 -z 192.168.100.200 -F dpdk0",
			)
			f.calls = nil
			must(t, c, tc.line)
			if len(f.calls) != 1 || f.calls[0] != tc.call {
				t.Errorf("got calls %v, want %s", f.calls, tc.call)
			}
		})
	}
}

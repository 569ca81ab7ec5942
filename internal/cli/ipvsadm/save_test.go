package ipvsadm

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"weir/api/weirv1"
)

// saved is a box as -S writes it: what -R makes of it is written the same way.
const saved = `dpip route add 192.168.101.0/24 dev dpdk0
dpip route add 192.168.102.0/24 dev dpdk0 src 192.168.102.1 mtu 1300
dpip addr add 10.0.0.100/32 dev dpdk1
dpip addr add 10.0.0.1/16 dev dpdk1 broadcast 10.0.255.255 valid_lft 60 preferred_lft 30 scope link
dpip addr add 192.168.100.210/32 dev dpdk0 sapool
dpip addr add 192.168.100.211/24 dev dpdk0 sapool
dpip addr add 192.168.101.1/24 dev dpdk0
dpip addr add 192.168.102.1/24 dev dpdk0
dpip route add 192.168.0.0/16 dev dpdk0
dpip route add default via 10.0.0.254 dev dpdk1 src 10.0.0.1
dpip route add 172.16.0.0/12 via 192.168.100.254 dev dpdk0 mtu 1400
dpip route add 172.10.0.2/32 dev dpdk1 scope kni_host
dpip neigh add 192.168.100.2 lladdr 02:00:00:00:00:02 dev dpdk0
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
`

func TestSaveRestore(t *testing.T) {
	f := &fake{}
	c := start(t, f)
	if r := run(t, c, saved, "-R"); r.exit != 0 || r.stderr != "" || r.stdout != "" {
		t.Fatalf("-R: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
	// A neighbour that was learnt is not saved.
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
			Key:             &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: "10.0.0.100", Port: number("port", 65535)},
			Scheduler:       rapid.SampledFrom([]string{"rr", "wrr", "wlc", "lc", "sed", "nq", "fo", "sh", "dh", "mh", "conhash"}).Draw(rt, "scheduler"),
			Persistent:      number("persistent", maxTimeout-1) + 1,
			PersistentMask:  rapid.SampledFrom([]string{"", "255.255.0.0"}).Draw(rt, "mask"),
			Pe:              rapid.SampledFrom([]string{"", "sip"}).Draw(rt, "pe"),
			ExpireQuiescent: rapid.Bool().Draw(rt, "expire"),
			ConnTimeout:     number("timeout", maxConnTimeout),
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
				Address: "192.168.100.2", Port: uint32(i), Weight: number("weight", maxWeight),
				Forward:    rapid.SampledFrom([]weirv1.Forward{weirv1.Forward_FORWARD_MASQ, weirv1.Forward_FORWARD_FULLNAT, weirv1.Forward_FORWARD_SNAT}).Draw(rt, "forward"),
				UThreshold: number("upper", maxThreshold), LThreshold: number("lower", maxThreshold),
			})
		}
		for _, address := range []string{"192.168.100.200", "192.168.100.201"}[:rapid.IntRange(0, 2).Draw(rt, "locals")] {
			s.Locals = append(s.Locals, &weirv1.LocalAddress{Address: address, Device: "dpdk0"})
		}
		f := &fake{}
		c := inProcess(f)
		if r := run(t, c, strings.Join(serviceLines(s), ""), "-R"); r.exit != 0 || r.stderr != "" {
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
			name:    "a refusal is told and passed over",
			stdin:   service + "\n" + service + "-D -t 10.0.0.9:80\n-C\n",
			stderr:  "line 3: service 10.0.0.100:80 already exists\nline 4: there is no service tcp 10.0.0.9:80\n",
			changes: []string{"AddService", "AddService", "DeleteService", "FlushServices"},
		},
		{
			name:    "the exit code is the last line's",
			stdin:   "-C\n" + service + service,
			stderr:  "line 3: service 10.0.0.100:80 already exists\n",
			exit:    253,
			changes: []string{"FlushServices", "AddService", "AddService"},
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

// A line of dpip that is refused is told with its number, too.
func TestRestoreDpipRefused(t *testing.T) {
	c := start(t, &fake{})
	const add = "dpip addr add 10.0.0.100/32 dev dpdk1\n"
	r := run(t, c, add+add, "-R")
	if r.exit == 0 || !strings.HasPrefix(r.stderr, "line 2: dpip: ") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("got exit %d: %q", r.exit, r.stderr)
	}
}

package ipvsadm

import (
	"path/filepath"
	"strings"
	"testing"

	"weir/api/client"
)

// A line that is wrong by its words: the exact sentence, the exit code, and no call.
func TestWrongLines(t *testing.T) {
	const try = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n"
	const zero = "Zero port specified for no-match and non-persistent service: "
	const virtual = "illegal virtual server address[:port] specified\n"
	const real = "illegal real server address[:port] specified\n"
	const match = "illegal match specified\n"
	const pair = "illegal sockpair<af:sip:sport:tip:tport> specified\n"
	const destCheck = "invalid dest_check config\n"
	const blklst = "illegal blacklist entry format, require [ IP | ipset:NAME ]\n"

	for _, tc := range []struct {
		line string
		exit int
		want string
	}{
		// The command comes first.
		{"foo", 255, try},
		{"-t 10.0.0.100:80 -A", 255, try},
		{"--nothing", 255, try},
		{"-n", 255, try},
		{"--", 255, try},
		{"-", 255, try},
		{"--add-service=x", 255, try},
		{"-A -t 10.0.0.100:80 -E", 2, "multiple commands specified\n"},
		{"-lL", 2, "multiple commands specified\n"},
		{"-l --help", 2, "multiple commands specified\n"},

		// popt's own.
		{"-l -!", 255, "-!: unknown option\n"},
		{"-l --nothing", 255, "--nothing: unknown option\n"},
		{"-l --tcp 10.0.0.100:80", 255, "--tcp: unknown option\n"},
		{"-ln7", 255, "-7: unknown option\n"},
		{"-lné", 255, "-é: unknown option\n"},
		{"-A -t", 255, "-t: missing argument\n"},
		{"-At", 255, "-t: missing argument\n"},
		{"-A --tcp-service", 255, "--tcp-service: missing argument\n"},
		{"-l --numeric=yes", 255, "--numeric: option does not take an argument\n"},
		{"-l foo", 2, "unexpected argument foo\n"},
		{"foo -l", 2, "unexpected argument foo\n"},
		{"-l -- -n", 2, "unexpected argument -n\n"},
		{"-l -", 2, "unexpected argument -\n"},

		{"-A -t 10.0.0.100:80 -s \xff", 2, "argument \"\\xff\" is not UTF-8\n"},

		// Options and commands.
		{"-l -n -n", 2, "multiple 'numeric' options specified\n"},
		{"-A -t 10.0.0.100:80 -u 10.0.0.100:80", 2, "multiple 'service-address' options specified\n"},
		{"-a -t 10.0.0.100:80 -r 1.1.1.1 -b -m", 2, "multiple 'forwarding-method' options specified\n"},
		{"-A -t 10.0.0.100:80 -p 5 -p", 2, "multiple 'persistent' options specified\n"},
		{"-A", 2, "You need to supply the 'service-address' option for the 'add-service' command\n"},
		{"-E -s rr", 2, "You need to supply the 'service-address' option for the 'edit-service' command\n"},
		{"-D", 2, "You need to supply the 'service-address' option for the 'delete-service' command\n"},
		{"-a -t 10.0.0.100:80", 2, "You need to supply the 'real-server' option for the 'add-server' command\n"},
		{"-e -r 1.1.1.1", 2, "You need to supply the 'service-address' option for the 'edit-server' command\n"},
		{"-d -t 10.0.0.100:80", 2, "You need to supply the 'real-server' option for the 'delete-server' command\n"},
		{"-P -t 10.0.0.100:80", 2, "You need to supply the 'local-address' option for the 'add-laddr' command\n"},
		{"-Pt 10.0.0.100:80 -z 1.1.1.1", 2, "You need to supply the 'ifname' option for the 'add-laddr' command\n"},
		{"-Q -t 10.0.0.100:80 -F dpdk0", 2, "You need to supply the 'local-address' option for the 'del-laddr' command\n"},
		{"-U -t 10.0.0.100:80", 2, "You need to supply the 'blklst-address' option for the 'add-blklst' command\n"},
		{"-Y -t 10.0.0.100:80", 2, "You need to supply the 'whtlst-address' option for the 'del-whtlst' command\n"},
		{"-A -t 10.0.0.100:80 -w 1", 2, "Illegal 'weight' option with the 'add-service' command\n"},
		{"-A -t 10.0.0.100:80 -n", 2, "Illegal 'numeric' option with the 'add-service' command\n"},
		{"-D -t 10.0.0.100:80 -s rr", 2, "Illegal 'scheduler' option with the 'delete-service' command\n"},
		{"-D -t 10.0.0.100:80 --conn-timeout 3", 2, "Illegal 'conn-timeout' option with the 'delete-service' command\n"},
		{"-d -t 10.0.0.100:80 -r 1.1.1.1 -b", 2, "Illegal 'forwarding-method' option with the 'delete-server' command\n"},
		{"-C -n", 2, "Illegal 'numeric' option with the 'flush' command\n"},
		{"-S -t 10.0.0.100:80", 2, "Illegal 'service-address' option with the 'save' command\n"},
		{"-R -n", 2, "Illegal 'numeric' option with the 'restore' command\n"},
		{"-Z -r 1.1.1.1", 2, "Illegal 'real-server' option with the 'zero' command\n"},
		{"-G -n", 2, "Illegal 'numeric' option with the 'get-laddr' command\n"},
		{"-l -s rr", 2, "Illegal 'scheduler' option with the 'list' command\n"},
		{"-lc -t 10.0.0.100:80", 2, "The option 'service-address' conflicts with the 'connection' option in the 'list' command\n"},
		{"-l --daemon --timeout", 2, "The option 'daemon' conflicts with the 'timeout' option in the 'list' command\n"},
		{"-ln --stats --rate", 2, "options conflicts in the list command\n"},
		{"-lnc --stats", 2, "options conflicts in the list command\n"},
		{"-l --timeout --thresholds", 2, "options conflicts in the list command\n"},
		{"-l --sockpair tcp:1.1.1.1:1:2.2.2.2:2", 2, "You need to supply the 'connection' option for the 'sockpair' option\n"},

		// The tutorial's slips.
		{"-A -t 192.168.0.89:80 -s -rr", 2, "illegal scheduler `-rr' specified\ndid you mean -s rr?\n"},
		{"-A -t 192.168.0.89:80 -r 10.140.18.33 -m", 2, "Illegal 'real-server' option with the 'add-service' command\ndid you mean -a?\n"},
		{"-E -t 192.168.0.89:80 -r 10.140.18.33 -m", 2, "Illegal 'real-server' option with the 'edit-service' command\ndid you mean -e?\n"},
		{"-D -t 192.168.0.89:80 -r 10.140.18.33", 2, "Illegal 'real-server' option with the 'delete-service' command\ndid you mean -d?\n"},
		{"-A -t 10.0.0.100:80 -s -", 2, "illegal scheduler `-' specified\n"},
		{"-A -t 10.0.0.100:80 --scheduler=", 2, "illegal scheduler `' specified\n"},

		// Addresses.
		{"-A -t 10.0.0.300:80", 2, virtual},
		{"-A -t 10.0.0:80", 2, virtual},
		{"-A -t 010.0.0.1:80", 2, virtual},
		{"-A -t 10.0.0.100:", 2, virtual},
		{"-A -t 10.0.0.100:65536", 2, virtual},
		{"-A -t 10.0.0.100:-1", 2, virtual},
		{"-A -t 10.0.0.100:nope", 2, virtual},
		{"-A -u 10.0.0.100:http", 2, virtual},
		{"-A -t :80", 2, virtual},
		{"-A -t nowhere.example.com:80", 2, virtual},
		{"-A -t a,b:80", 2, virtual},
		{"-A -t [10.0.0.100]:80", 2, virtual},
		{"-A -t [::1", 2, virtual},
		{"-A -t [::1]80", 2, virtual},
		{"-a -t 10.0.0.100:80 -r 1.1.1", 2, real},
		{"-a -t 10.0.0.100:80 -r 1.1.1.1:99999", 2, real},
		{"-P -t 10.0.0.100:80 -z 1.1.1 -F dpdk0", 2, "illegal local address\n"},
		{"-P -t 10.0.0.100:80 -z 1.1.1.1:80 -F dpdk0", 2, "illegal local address\n"},
		{"-P -t 10.0.0.100:80 -z 1.1.1.1 -F -", 2, "illegal device name `-' specified\n"},
		{"-A -t [fe80::1%eth0]:80", 2, virtual},
		{"-A -t [2001:db8::1]:", 2, virtual},
		{"-A -t [2001:db8::1]:65536", 2, virtual},
		{"-A -t 2001:db8:::1", 2, virtual},
		{"-A -t five.example.com:80", 2, virtual},
		{"-a -t 10.0.0.100:80 -r [2001:db8::1]:x -b", 2, real},
		{"-P -t 10.0.0.100:80 -z [2001:db8::1] -F dpdk0", 2, "illegal local address\n"},

		// Values.
		{"-A -t 2001:db8::1", 2, zero + "give [ADDRESS]:PORT, with the brackets, or -p for all ports\n"},
		{"-A -t 2001:db8::1:80", 2, zero + "give [ADDRESS]:PORT, with the brackets, or -p for all ports\n"},
		{"-A -t [2001:db8::1]:80 -p -M 255.255.255.0", 2, "illegal ipv6 netmask specified\n"},
		{"-A -t [2001:db8::1]:80 -p -M 0", 2, "illegal virtual server persistent mask specified\n"},
		{"-A -t [2001:db8::1]:80 -p -M 129", 2, "illegal virtual server persistent mask specified\n"},
		{"-A -t [2001:db8::1]:80 -p -M ffff::", 2, "illegal virtual server persistent mask specified\n"},
		{"-A -t 10.0.0.100", 2, zero + "give ADDRESS:PORT, or -p for all ports\n"},
		{"-E -u 10.0.0.100:0", 2, zero + "give ADDRESS:PORT, or -p for all ports\n"},
		{"-A -t 10.0.0.100:80 -p 0", 2, "invalid timeout value `0' specified\n"},
		{"-A -t 10.0.0.100:80 -p 2678401", 2, "invalid timeout value `2678401' specified\n"},
		{"-A -t 10.0.0.100:80 -p x", 2, "invalid timeout value `x' specified\n"},
		{"-Apt 10.0.0.100:80", 2, "invalid timeout value `t' specified\n"},
		{"-A -t 10.0.0.100:80 --persistent=", 2, "invalid timeout value `' specified\n"},
		{"-A -t 10.0.0.100:80 --mapping endpoint-independent", 2, "--mapping is for match services (SNAT): leave it out, or give -H MATCH\n"},
		{"-A -H proto=udp,af=ipv4 --mapping eim", 2, "mapping must be endpoint-independent or address-and-port-dependent\n"},
		{"-D -H proto=udp,af=ipv4 --mapping endpoint-independent", 2, "Illegal 'mapping' option with the 'delete-service' command\n"},
		{"-A -t 10.0.0.100:80 --conn-timeout -1", 2, "invalid timeout value `-1' specified\n"},
		{"-A -t 10.0.0.100:80 -p -M 255.255", 2, "illegal virtual server persistent mask specified\n"},
		{"-A -t 10.0.0.100:80 -p -M 64", 2, "illegal virtual server persistent mask specified\n"},
		{"-A -t 10.0.0.100:80 -o", 2, "One-Packet Scheduling is only for UDP virtual services\n"},
		{"-A -t 10.0.0.100:80 -j on", 2, "synproxy switch must be enable or disable\n"},
		{"-A -t 10.0.0.100:80 --hash-target dip", 2, "hash target not support\n"},
		{"-A -t 10.0.0.100:80 --hash-target sip", 2, "hash target can only be set when schedule is conhash\n"},
		{"-A -u 10.0.0.100:80 -s mh --hash-target qid", 2, "hash target can only be set when schedule is conhash\n"},
		{"-E -t 10.0.0.100:80 -s mh --quic", 2, "QUIC is only for UDP virtual services: leave out --quic\n"},
		{"-A -t 10.0.0.100:80 -s conhash --hash-target qid", 2, "qid hash can only be set in udp service\n"},
		{"-A -t 10.0.0.100:80 --dest-check 1,2", 2, destCheck},
		{"-A -t 10.0.0.100:80 --dest-check 1,1,3s,5-3600", 2, destCheck},
		{"-A -t 10.0.0.100:80 --dest-check http", 2, destCheck},
		{"-A -t 10.0.0.100:80 --proxy-protocol v3", 2, "proxy protocol must be disable or one of v1 v2 v1-insecure v2-insecure\n"},
		{"-E -u 10.0.0.100:53 --proxy-protocol on", 2, "proxy protocol must be disable or one of v1 v2 v1-insecure v2-insecure\n"},
		{"-A -u 10.0.0.100:53 --proxy-protocol v1", 2, "proxy protocol v1 cannot carry UDP: use v2\n"},
		{"-E --proxy-protocol v1-insecure -u 10.0.0.100:53", 2, "proxy protocol v1-insecure cannot carry UDP: use v2-insecure\n"},
		{"-A -t 10.0.0.100:80 --toa on", 2, "toa switch must be enable or disable\n"},
		{"-A -t 10.0.0.100:80 --toa=", 2, "toa switch must be enable or disable\n"},
		{"-A -u 10.0.0.100:53 --toa disable", 2, "TOA is only for TCP virtual services: leave out --toa\n"},
		{"-E --toa enable -u 10.0.0.100:53", 2, "TOA is only for TCP virtual services: leave out --toa\n"},
		{"-A --sctp-service 10.0.0.100:80 --proxy-protocol v2", 2, "the PROXY protocol is only for TCP and UDP virtual services: leave out --proxy-protocol\n"},
		{"-A --sctp-service 10.0.0.100:80 --uoa ipo", 2, "UOA is only for UDP virtual services: leave out --uoa\n"},
		{"-A --sctp-service 10.0.0.100:80 -o", 2, "One-Packet Scheduling is only for UDP virtual services\n"},
		{"-A --sctp-service 10.0.0.100:80 --toa disable", 2, "TOA is only for TCP virtual services: leave out --toa\n"},
		{"-A -u 10.0.0.100:53 --uoa enable", 2, "uoa must be disable or one of ipo opp\n"},
		{"-A -u 10.0.0.100:53 --uoa OPP", 2, "uoa must be disable or one of ipo opp\n"},
		{"-A -t 10.0.0.100:80 --uoa opp", 2, "UOA is only for UDP virtual services: leave out --uoa\n"},
		{"-E -t 10.0.0.100:80 --uoa disable", 2, "UOA is only for UDP virtual services: leave out --uoa\n"},
		{"-A -t 10.0.0.100:80 --toa enable --proxy-protocol v2", 2, "a service that speaks the PROXY protocol sends no TOA: leave out --toa enable or --proxy-protocol v2\n"},
		{"-E -t 10.0.0.100:80 --proxy-protocol v1-insecure --toa enable", 2, "a service that speaks the PROXY protocol sends no TOA: leave out --toa enable or --proxy-protocol v1-insecure\n"},
		{"-A -u 10.0.0.100:53 --uoa ipo --proxy-protocol v2", 2, "a service that speaks the PROXY protocol sends no UOA: leave out --uoa ipo or --proxy-protocol v2\n"},
		{"-A -t 10.0.0.100:80 --toa disable --toa disable", 2, "multiple 'toa' options specified\n"},
		{"-A -u 10.0.0.100:53 --uoa opp --uoa ipo", 2, "multiple 'uoa' options specified\n"},
		{"-A -t 10.0.0.100:80 --proxy-protocol v1 --proxy-protocol v2", 2, "multiple 'proxy-protocol' options specified\n"},
		{"-D -t 10.0.0.100:80 --toa disable", 2, "Illegal 'toa' option with the 'delete-service' command\n"},
		{"-a -u 10.0.0.100:53 -r 1.1.1.1 -b --uoa opp", 2, "Illegal 'uoa' option with the 'add-server' command\n"},
		{"-l --uoa opp", 2, "Illegal 'uoa' option with the 'list' command\n"},
		{"-A -t 10.0.0.100:80 --toa", 255, "--toa: missing argument\n"},
		{"-A -u 10.0.0.100:53 --uoa", 255, "--uoa: missing argument\n"},
		{"-A -f 1 --toa disable", 2, "a service by firewall mark is not supported yet\n"},
		{"-A -H af=ipv4 --uoa opp", 2, "illegal match specified: it lacks proto=tcp, udp, sctp, icmp or icmpv6\n"},
		{"-A -t 10.0.0.100:80 --pe -s", 2, "illegal persistence engine `-s' specified\n"},
		{"-a -t 10.0.0.100:80 -r 1.1.1.1 -w 65536", 2, "illegal weight specified\n"},
		{"-a -t 10.0.0.100:80 -r 1.1.1.1 -w -1", 2, "illegal weight specified\n"},
		{"-a -t 10.0.0.100:80 -r 1.1.1.1 -w 1x", 2, "illegal weight specified\n"},
		{"-a -t 10.0.0.100:80 -r 1.1.1.1 -x 2147483648", 2, "illegal u_threshold specified\n"},
		{"-a -t 10.0.0.100:80 -r 1.1.1.1 -y y", 2, "illegal l_threshold specified\n"},
		{"-G --cpu x", 2, "invalid cpu value `x' specified\n"},
		{"-lc --sockpair tcp:1.1.1.1:1:2.2.2.2", 2, pair},
		{"-lc --sockpair ip:1.1.1.1:1:2.2.2.2:2", 2, pair},
		{"-lc --sockpair tcp:1.1.1.1:x:2.2.2.2:2", 2, pair},
		{"-lc --sockpair tcp:[::1]:1:2.2.2.2:2", 2, pair},
		{"-lc --sockpair tcp:[::1]:1:[::2]", 2, pair},
		{"-lc --sockpair tcp:[::1]1:[::2]:2", 2, pair},
		{"-lc --sockpair tcp:[::1]", 2, pair},
		{"-lc --sockpair tcp:[", 2, pair},
		{"-lc --sockpair tcp::1:1:::2:2", 2, pair},
		{"-lc --sockpair tcp:[::1]:1:[::2]:2:", 2, pair},
		{"-lc --sockpair tcp:[fe80::1%a]:1:[::2]:2", 2, pair},
		{"-A -6 -f 1", 2, "-6 used before -f\n"},
		{"-A -f 0", 2, "invalid fwmark value `0' specified\n"},
		{"-A -f 4294967296", 2, "invalid fwmark value `4294967296' specified\n"},
		{"-A -f x", 2, "invalid fwmark value `x' specified\n"},
		{"-A -H proto=tcp", 2, match},
		{"-A -H proto=tcp,iif=dpdk0,oif=dpdk1", 2, match},
		{"-A -H proto=gre,af=ipv4", 2, match},
		{"-A -H af=ipx", 2, match},
		{"-A -H src-range=1.1.1", 2, match},
		{"-A -H src-range=1.1.1.2-1.1.1.1", 2, match},
		{"-A -H src-range=1.1.1.1-254", 2, match},
		{"-A -H src-range=1.1.1.1:5-4", 2, match},
		{"-A -H src-range=1.1.1.1,src-range=1.1.1.1", 2, match},
		{"-A -H src-range=[::1-1.1.1.1]", 2, match},
		{"-A -H src-range=[::1", 2, match},
		{"-A -H src-range=[fe80::1%a-fe80::2%a]", 2, match},
		{"-A -H proto=tcp,af=ipv4,src-range=[::1-::2]", 2, match},
		{"-A -H what=1,af=ipv4", 2, match},
		{"-U -t 10.0.0.100:80 -k ipset:x", 2, "an ipset in a blacklist is not supported yet\n"},
		{"-Y -t 10.0.0.100:80 -2 ipset:x", 2, "an ipset in a whitelist is not supported yet\n"},
		{"-U -t 10.0.0.100:80 -k fe80::1%a", 2, blklst},
		{"-U -t 10.0.0.100:80 -k 2001:db8::/32", 2, blklst},
		{"-U -t 10.0.0.100:80 -k 1.2.3.0/24", 2, blklst},
		{"-U -t 10.0.0.100:80 -k x", 2, blklst},
		{"-U -t 10.0.0.100:80 -k ipset:", 2, blklst},
		{"-O -t 10.0.0.100:80 -2 x", 2, "illegal whitelist entry format, require [ IP | ipset:NAME ]\n"},
		{"--set 1 2", 2, "--set option requires 3 timeout values\n"},
		{"--set 1 2 x", 2, "invalid timeout value `x' specified\n"},
		{"--set 1 2 3 4", 2, "unexpected argument 4\n"},
		{"--start-daemon leader", 2, "illegal start_daemon parameter specified\n"},
		{"--stop-daemon leader", 2, "illegal stop_daemon specified\n"},
		{"--start-daemon master --syncid 256", 2, "illegal syncid specified\n"},

		// Right, and not there yet.
		{"-A -f 1 -s rr", 2, "a service by firewall mark is not supported yet\n"},
		{"-A -f 1 -6 -s rr", 2, "a service by firewall mark is not supported yet\n"},
		{"-l -H src-range=1.1.1.1:80", 2, "illegal match specified: it lacks proto=tcp, udp, sctp, icmp or icmpv6\n"},
		{"-A -H proto=tcp,af=ipv6,src-range=1.1.1.1", 2, "illegal match specified\n"},
		{"-A -q 10.0.0.100 -s rr", 2, "an ICMP service is not supported yet\n"},
		{"-A -1 2001:db8::1 -s rr", 2, "an ICMPv6 service is not supported yet\n"},
		{"-A -1 10.0.0.1 -s rr", 2, "an ICMPv6 service is not supported yet\n"},
		{"-A -t 10.0.0.100:80 -j enable", 2, "the 'synproxy' option is not supported yet\n"},
		{"-A -t 10.0.0.100:80 --dest-check default --dest-check tcp", 2, "an active health check (dest-check tcp) is not supported yet\n"},
		{"-A -t 10.0.0.100:80 --dest-check ping", 2, "an active health check (dest-check ping) is not supported yet\n"},
		{"-l --daemon", 2, noSync + "\n"},
		{"-ln --cpu 1", 2, "--cpu chooses one worker's table, and all workers of weir share one: leave it out\n"},
		{"--start-daemon=master --mcast-interface eth0 --syncid 1", 2, noSync + "\n"},
		{"--stop-daemon backup", 2, noSync + "\n"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			// A client that nobody answers: a call would be told by its sentence.
			r := run(t, client.New(filepath.Join(t.TempDir(), "none")), "", strings.Fields(tc.line)...)
			if r.stderr != tc.want || r.exit != tc.exit || r.stdout != "" {
				t.Errorf("got exit %d, %q\nwant exit %d, %q\nstdout %q", r.exit, r.stderr, tc.exit, tc.want, r.stdout)
			}
		})
	}
}

func TestDirectorRefuses(t *testing.T) {
	f := &fake{}
	c := start(t, f)
	must(t, c, "-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 192.168.100.2 -b")
	for _, tc := range []struct {
		line string
		exit int
		want string
	}{
		{"-A -t 10.0.0.100:80 -s rr", 253, "service 10.0.0.100:80 already exists\n"},
		{"-a -t 10.0.0.100:80 -r 192.168.100.2 -b", 253, "real server 192.168.100.2:80 already exists\n"},
		{"-a -t 10.0.0.100:80 -r 192.168.100.3", 242, "forwarding mode Route is not yet supported: use -b (full-NAT)\n"},
		{"-D -t 10.0.0.100:81", 252, "there is no service tcp 10.0.0.100:81\n"},
		{"-ln -u 10.0.0.100:80", 252, "there is no service udp 10.0.0.100:80\n"},
		{"-G -u 10.0.0.100:80", 252, "there is no service udp 10.0.0.100:80\n"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			r := run(t, c, "", strings.Fields(tc.line)...)
			if r.stderr != tc.want || r.exit != tc.exit || r.stdout != "" {
				t.Errorf("got exit %d, %q, stdout %q\nwant exit %d, %q", r.exit, r.stderr, r.stdout, tc.exit, tc.want)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	c := client.New(filepath.Join(t.TempDir(), "none"))
	const want = "Can't initialize ipvs: no such file or directory (/run/weir.sock)\nAre you sure that weir is running?\n"
	for _, line := range []string{"", "-ln", "-lnc", "-G", "-S", "-C", "-A -t 10.0.0.100:80"} {
		if r := run(t, c, "", strings.Fields(line)...); r.stderr != want || r.exit != 2 || r.stdout != "" {
			t.Errorf("%q: got exit %d, %q", line, r.exit, r.stderr)
		}
	}
	// Once, and not for every line.
	if r := run(t, c, "-C\ndpip addr show\n", "-R"); r.stderr != want || r.exit != 2 {
		t.Errorf("-R: got exit %d, %q", r.exit, r.stderr)
	}
	// These need nobody.
	if r := run(t, c, "", "-h"); r.exit != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "ipvsadm v1.2.3 ") ||
		!strings.Contains(r.stdout, "--add-laddr") {
		t.Errorf("-h: got exit %d, %q, %q", r.exit, r.stdout, r.stderr)
	}
	if r := run(t, c, "", "--version"); r.exit != 0 || r.stderr != "" || r.stdout != "ipvsadm v1.2.3 (weir; IPVS v0.0.0)\n" {
		t.Errorf("-v: got exit %d, %q, %q", r.exit, r.stdout, r.stderr)
	}
}

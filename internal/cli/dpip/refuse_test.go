package dpip

import (
	"strings"
	"testing"
)

// TestRefused says what each wrong line answers: one line on stderr, exit code 1,
// and nothing asked of the director.
func TestRefused(t *testing.T) {
	b := newBench(t)
	const (
		addrForm  = "[/PLEN] dev D [broadcast A] [valid_lft LFT] [preferred_lft LFT] [scope S] [sapool]"
		routeForm = "PREFIX [via A] dev D [scope S] [mtu N] [src A] [metric N] [local]"
		noDevice  = "no device specified: add `dev DEVICE'"
		noRouteOp = "route set is not supported: delete the route with `dpip route del' and add it anew"
		linkItems = "promisc, allmulticast, forward2kni, tc-egress, tc-ingress, lldp, link, addr, bond-mode, bond-primary, bond-xmit-policy, bond-monitor-interval, bond-link-up-prop, bond-link-down-prop"
	)
	for _, tc := range []struct{ line, want string }{
		// Objects and commands.
		{"foo", "invalid object, use `-h' for help."},
		{"foo show", "invalid object, use `-h' for help."},
		{"rs show", "invalid object, use `-h' for help."},
		{"ADDR show", "invalid object, use `-h' for help."},
		{"addrx show", "invalid object, use `-h' for help."},
		{"EMPTY", "invalid object, use `-h' for help."},
		{"vlan add dpdk0.100 id 100", "missing real device: add `link DEVICE'"},
		{"vlan add link dpdk0", "missing or invalid VLAN ID: add `id N', from 1 to 4094"},
		{"vlan add link dpdk0 id 4095", `missing or invalid VLAN ID: "4095" is no number from 1 to 4094`},
		{"vlan add link dpdk0 id", "missing argument for `id'"},
		{"vlan add link dpdk0 id 1 proto 802.3", `invalid proto "802.3": use 802.1q or 802.1ad`},
		{"vlan del", "missing both vlan and real device: give the VLAN's name, or `link DEVICE id N'"},
		{"vlan del link dpdk0", "missing or invalid VLAN ID: add `id N', from 1 to 4094"},
		{"vlan del dpdk0.100 id 100", "dpdk0.100 names the VLAN: leave out link, proto and id"},
		{"qsch show", `object "qsch" is not supported yet`},
		{"cls show", `object "cls" is not supported yet`},
		{"iftraf show", `object "iftraf" is not supported yet`},
		{"eal-mem show", `object "eal-mem" is not supported yet`},
		{"ipset show", `object "ipset" is not supported yet`},
		{"-F ipset show", `object "ipset" is not supported yet`},
		{"flow show", `object "flow" is not supported yet`},
		{"maddr add ff02::9 dev d", "invalid command add, use `dpip maddr help' for help."},
		{"maddr show d e", `unexpected word "e": write maddr show [dev D]`},
		{"lldp show", `object "lldp" is not supported yet`},
		{"addr frob", "invalid command frob, use `dpip addr help' for help."},
		{"addr EMPTY", "invalid command \"\", use `dpip addr help' for help."},
		{"addr test 10.0.0.1", "invalid command test, use `dpip addr help' for help."},
		{"neigh set 10.0.0.1 dev d", "invalid command set, use `dpip neigh help' for help."},
		{"link flush dpdk0", "invalid command flush, use `dpip link help' for help."},

		// Options.
		{"-x addr show", "invalid option \"-x\": use `-h' for help"},
		{"-sx addr show", "invalid option \"-x\": use `-h' for help"},
		{"addr show --frob", "invalid option \"--frob\": use `-h' for help"},
		{"--ver addr show", "option --ver is ambiguous: use `-h' for help"},
		{"--stats=1 link show", "option --stats takes no argument"},
		{"--fam inet7 addr show", `invalid family "inet7": use inet or inet6`},
		{"addr show -f", "missing argument for `-f'"},
		{"addr show --family", "missing argument for `--family'"},
		{"link show -i", "missing argument for `-i'"},
		{"link show -i 0", `invalid -i "0": give a number from 1 to 86400`},
		{"link show -i x", `invalid -i "x": give a number from 1 to 86400`},
		{"link show -i 86401", `invalid -i "86401": give a number from 1 to 86400`},
		{"link show -i 1 -c 0", `invalid -c "0": give a number from 1 to 1000000000`},
		{"link show -c 3", "missing option '-i': -c N counts the rounds of -i SECONDS"},
		{"link show -C", "missing option '-i': -C redraws the rounds of -i SECONDS"},
		{"addr show -i 1", "option -i repeats `link show' only: leave it out"},
		{"link set dpdk0 promisc on -i 1", "option -i repeats `link show' only: leave it out"},
		{"addr show -F", "option -F is for ipset only: leave it out"},
		{"-6 link show", "option -6 is for addr, route, neigh, maddr and tunnel: leave it out"},
		{"-4 -f inet6 link set d promisc on", "option -6 is for addr, route, neigh, maddr and tunnel: leave it out"},
		{"-6 addr add 10.0.0.1 dev d", "10.0.0.1 is no IPv6 address: leave -6 out"},
		{"-4 addr add 2001:db8::1 dev d", "2001:db8::1 is no IPv4 address: leave -4 out"},
		{"addr del 2001:db8::1 dev d -f inet", "2001:db8::1 is no IPv4 address: leave -4 out"},
		{"-6 neigh del 10.0.0.1 dev d", "10.0.0.1 is no IPv6 address: leave -6 out"},
		{"-6 route add 10.0.0.0/8 dev d", "10.0.0.0 is no IPv6 address: leave -6 out"},
		{"-4 route del 2001:db8::/32 dev d", "2001:db8:: is no IPv4 address: leave -4 out"},

		// addr
		{"addr add", "missing IFADDR: give the address as ADDR[/PLEN]"},
		{"addr add dev dpdk0", "missing IFADDR: give the address as ADDR[/PLEN]"},
		{"addr add 10.0.0.1", noDevice},
		{"addr del 10.0.0.1", noDevice},
		{"addr flush", noDevice},
		{"addr add 10.0.0.1 dev", "missing argument for `dev'"},
		{"addr add 10.0.0.1 dev EMPTY", "invalid device name \"\": `dpip link show' lists the devices"},
		{"addr add 10.0.0.1 dev a/b", "invalid device name \"a/b\": `dpip link show' lists the devices"},
		{"addr add 10.0.0.1 dev ÿ", "invalid device name \"ÿ\": `dpip link show' lists the devices"},
		{"addr add 10.0.0.1 dev 01234567890123456789012345678901", "invalid device name \"01234567890123456789012345678901\": `dpip link show' lists the devices"},
		{"addr add 10.0.0 dev d", `invalid ipaddress: "10.0.0" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add 10.0.0.256 dev d", `invalid ipaddress: "10.0.0.256" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add 010.0.0.1 dev d", `invalid ipaddress: "010.0.0.1" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add host.example dev d", `invalid ipaddress: "host.example" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add EMPTY dev d", `invalid ipaddress: "" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add /24 dev d", `invalid ipaddress: "" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add ::ffff:10.0.0.1 dev d", "invalid ipaddress ::ffff:10.0.0.1: an IPv4-mapped address; write 10.0.0.1"},
		{"addr add fe80::1%d/64 dev d", "invalid ipaddress fe80::1%d: leave %d out; `dev' names the link"},
		{"addr add 2001:db8::1/129 dev d", `invalid prefix length "129": give a number from 0 to 128`},
		{"addr add 2001:db8::1/ffff:: dev d", `invalid prefix length "ffff::": give a number from 0 to 128`},
		{"addr add 2001:db8:::1 dev d", `invalid ipaddress: "2001:db8:::1" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add :: dev d", "invalid ipaddress ::: the address of no host; give a unicast address"},
		{"addr add ff02::1 dev d", "invalid ipaddress ff02::1: a multicast address; give a unicast address"},
		{"addr add ::1 dev d", "invalid ipaddress ::1: a loopback address; give a unicast address"},
		{"addr add 2001:db8::1/64 dev d broadcast 2001:db8::ffff", "invalid broadcast 2001:db8::ffff: IPv6 has none; leave it out"},
		{"addr add 10.0.0.1/33 dev d", `invalid prefix length "33": give a number from 0 to 32`},
		{"addr add 10.0.0.1/-1 dev d", `invalid prefix length "-1": give a number from 0 to 32`},
		{"addr add 10.0.0.1/ dev d", `invalid prefix length "": give a number from 0 to 32`},
		{"addr add 10.0.0.1/+8 dev d", `invalid prefix length "+8": give a number from 0 to 32`},
		{"addr add 10.0.0.1/24/8 dev d", `invalid prefix length "24/8": give a number from 0 to 32`},
		{"addr add 10.0.0.1/255.255.255.0 dev d", `invalid prefix length "255.255.255.0": give a number from 0 to 32`},
		{"addr add 0.0.0.0 dev d", "invalid ipaddress 0.0.0.0: the address of no host; give a unicast address"},
		{"addr add 224.0.0.1 dev d", "invalid ipaddress 224.0.0.1: a multicast address; give a unicast address"},
		{"addr add 127.0.0.1/8 dev d", "invalid ipaddress 127.0.0.1: a loopback address; give a unicast address"},
		{"addr add 255.255.255.255 dev d", "invalid ipaddress 255.255.255.255: the broadcast address; give a unicast address"},
		{"addr set 224.0.0.1 dev d", "invalid ipaddress 224.0.0.1: a multicast address; give a unicast address"},
		{"addr add 10.0.0.1 10.0.0.2 dev d", `unexpected word "10.0.0.2": write addr add ADDR` + addrForm},
		{"addr add 10.0.0.1 dev d frob", `unexpected word "frob": write addr add ADDR` + addrForm},
		{"addr add 10.0.0.1 dev d sapol", `unexpected word "sapol": write addr add ADDR` + addrForm},
		{"addr set 10.0.0.1 dev d frob", `unexpected word "frob": write addr set ADDR` + addrForm},
		{"addr del 10.0.0.1 dev d frob", `unexpected word "frob": write addr del ADDR` + addrForm},
		{"addr add 10.0.0.1 dev d dev e", "`dev' is given twice: leave one out"},
		{"addr add 10.0.0.1 dev d sapool sapool", "`sapool' is given twice: leave one out"},
		{"addr add 10.0.0.1 dev d preferred_lft 1 prefered_lft 1", "`preferred_lft' is given twice: leave one out"},
		{"addr add 10.0.0.1/24 dev d broadcast", "missing argument for `broadcast'"},
		{"addr add 10.0.0.1/24 dev d broadcast x", `invalid ipaddress: "x" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"addr add 10.0.0.1/24 dev d broadcast 10.0.1.255", "invalid broadcast 10.0.1.255: that of 10.0.0.0/24 is 10.0.0.255"},
		{"addr add 10.0.0.1 dev d broadcast 10.0.0.1", "invalid broadcast 10.0.0.1: a /32 has no broadcast address; leave it out"},
		{"addr add 10.0.0.1/31 dev d broadcast 10.0.0.1", "invalid broadcast 10.0.0.1: a /31 has no broadcast address; leave it out"},
		{"addr add 10.0.0.1 dev d valid_lft 0", "invalid valid_lft \"0\": give `forever' or seconds from 1 to 4294967295"},
		{"addr add 10.0.0.1 dev d valid_lft 4294967296", "invalid valid_lft \"4294967296\": give `forever' or seconds from 1 to 4294967295"},
		{"addr add 10.0.0.1 dev d prefered_lft never", "invalid preferred_lft \"never\": give `forever' or seconds from 1 to 4294967295"},
		{"addr add 10.0.0.1 dev d valid_lft", "missing argument for `valid_lft'"},
		{"addr add 10.0.0.1 dev d valid_lft 10 preferred_lft 11", "preferred_lft 11 is longer than valid_lft 10: give a shorter one"},
		{"addr add 10.0.0.1 dev d valid_lft 10", "preferred_lft forever is longer than valid_lft 10: give a shorter one"},
		{"addr add 10.0.0.1 dev d scope nowhere", `invalid scope "nowhere": use host, link, global, site, or one of the numbers 0 (global), 253 (link), 254 (host)`},
		{"addr add 10.0.0.1 dev d scope kni_host", `invalid scope "kni_host": use host, link, global, site, or one of the numbers 0 (global), 253 (link), 254 (host)`},
		{"addr add 10.0.0.1 dev d scope 7", `invalid scope "7": use host, link, global, site, or one of the numbers 0 (global), 253 (link), 254 (host)`},
		{"addr flush dpdk0", `unexpected word "dpdk0": write addr flush dev D`},
		{"addr flush dev dpdk0 now", `unexpected word "now": write addr flush dev D`},
		{"addr show dpdk0 dpdk1", `unexpected word "dpdk1": write addr show [dev D]`},
		{"addr show dpdk0 dev dpdk1", `two devices are given, dpdk0 and "dpdk1": leave one out`},
		{"addr show dev dpdk0 dpdk1", `two devices are given, dpdk0 and "dpdk1": leave one out`},
		{"addr show dev", "missing argument for `dev'"},

		// route
		{"route add", "missing prefix: give `default' or A[/LEN]"},
		{"route add dev dpdk0", "missing prefix: give `default' or A[/LEN]"},
		{"route add default via 10.0.0.1", noDevice},
		{"route del 10.0.0.0/8", noDevice},
		{"route flush", noDevice},
		{"route add 10.0.0.1/16 dev d", "invalid prefix 10.0.0.1/16: it has bits beyond its length; did you mean 10.0.0.0/16?"},
		{"route del 10.0.0.1/16 dev d", "invalid prefix 10.0.0.1/16: it has bits beyond its length; did you mean 10.0.0.0/16?"},
		{"route add 10.0.0.1/0 dev d", "invalid prefix 10.0.0.1/0: it has bits beyond its length; did you mean 0.0.0.0/0?"},
		{"route add 0.0.0.0 dev d", "invalid prefix 0.0.0.0: the address of no host; did you mean default?"},
		{"route add 224.0.0.0/4 dev d", "invalid prefix 224.0.0.0: a multicast address; give a unicast address"},
		{"route add 127.0.0.0/8 dev d", "invalid prefix 127.0.0.0: a loopback address; give a unicast address"},
		{"route add 2001:db8::1/32 dev d", "invalid prefix 2001:db8::1/32: it has bits beyond its length; did you mean 2001:db8::/32?"},
		{"route add :: dev d", "invalid prefix ::: the address of no host; did you mean default?"},
		{"route add ff00::/8 dev d", "invalid prefix ff00::: a multicast address; give a unicast address"},
		{"route add 2001:db8::/32 via 10.0.0.1 dev d", "invalid gateway 10.0.0.1: a route to 2001:db8::/32 needs one of its own family"},
		{"route add 10.0.0.0/8 via fe80::1 dev d", "invalid gateway fe80::1: a route to 10.0.0.0/8 needs one of its own family"},
		{"route add default via fe80::1 src 10.0.0.1 dev d", "invalid src 10.0.0.1: a route to ::/0 needs one of its own family"},
		{"-4 route add default via fe80::1 dev d", "invalid gateway fe80::1: a route to 0.0.0.0/0 needs one of its own family"},
		{"-6 route add default via 10.0.0.1 dev d", "invalid gateway 10.0.0.1: a route to ::/0 needs one of its own family"},
		{"route add 2001:db8::/32 dev d mtu 1279", "invalid mtu 1279: give a number from 1280 to 65535, as IPv6 has it"},
		{"route add 2001:db8::/32 dev d scope kni_host", "scope kni_host is for one address: the prefix must be a /128, not 2001:db8::/32"},
		{"route add default6 dev d", `invalid ipaddress: "default6" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"route add 10.0.0.0/99 dev d", `invalid prefix length "99": give a number from 0 to 32`},
		{"route add default 10.0.0.0/8 dev d", `unexpected word "10.0.0.0/8": write route add ` + routeForm},
		{"route add default via 10.0.0.1 dev d frob", `unexpected word "frob": write route add ` + routeForm},
		{"route del default dev d frob", `unexpected word "frob": write route del ` + routeForm},
		{"route add default via", "missing argument for `via'"},
		{"route add default via dev d", `invalid ipaddress: "dev" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"route add default via 0.0.0.0 dev d", "invalid gateway 0.0.0.0: the address of no host; give a unicast address"},
		{"route add default via 224.0.0.1 dev d", "invalid gateway 224.0.0.1: a multicast address; give a unicast address"},
		{"route add default via 10.0.0.1 via 10.0.0.2 dev d", "`via' is given twice: leave one out"},
		{"route add default dev d src 127.0.0.1", "invalid src 127.0.0.1: a loopback address; give a unicast address"},
		{"route add default dev d mtu 67", `invalid mtu "67": give a number from 68 to 65535`},
		{"route add default dev d mtu 65536", `invalid mtu "65536": give a number from 68 to 65535`},
		{"route add default dev d mtu", "missing argument for `mtu'"},
		{"route add default dev d metric x", `invalid metric "x": give a number from 0 to 4294967295`},
		{"route add default dev d metric 4294967296", `invalid metric "4294967296": give a number from 0 to 4294967295`},
		{"route add default dev d scope site", `invalid scope "site": use host, link, global, kni_host, or one of the numbers 0 (global), 253 (link), 254 (host)`},
		{"route add 172.10.0.0/30 dev d scope kni_host", "scope kni_host is for one address: the prefix must be a /32, not 172.10.0.0/30"},
		{"route add 172.10.0.0/30 dev d scope host", "scope host is for one address: the prefix must be a /32, not 172.10.0.0/30"},
		{"route add 172.10.0.0/30 dev d local", "scope host is for one address: the prefix must be a /32, not 172.10.0.0/30"},
		{"route add 10.0.0.1 dev d local scope link", "`local' means scope host, not link: leave one out"},
		{"route add 10.0.0.1 dev d local local", "`local' is given twice: leave one out"},
		{"route add 10.0.0.1 via 10.0.0.2 dev d scope kni_host", "a route via a gateway has scope global, not kni_host: leave `via' or the scope out"},
		{"route add default via 10.0.0.2 dev d scope link", "a route via a gateway has scope global, not link: leave `via' or the scope out"},
		{"route set default via 10.0.0.1 dev d", noRouteOp},
		{"route change default via 10.0.0.1 dev d", noRouteOp},
		{"route replace default via 10.0.0.1 dev d", noRouteOp},
		{"route show table 1", `unexpected word "1": write route show [dev D]`},

		// neigh
		{"neigh add", "missing ipaddress: give the neighbour's address"},
		{"neigh add 10.0.0.1 dev d", "invalid link layer addr: none is given; add `lladdr xx:xx:xx:xx:xx:xx'"},
		{"neigh add 10.0.0.1 lladdr 00:16:3e:00:00:01", noDevice},
		{"neigh del 10.0.0.1", noDevice},
		{"neigh add 10.0.0.1 lladdr", "missing argument for `lladdr'"},
		{"neigh add 10.0.0.1 lladdr x dev d", `invalid link layer addr: "x" is not six hexadecimal pairs such as 00:16:3e:00:00:01`},
		{"neigh add 10.0.0.1 lladdr 00:16:3e:00:00 dev d", `invalid link layer addr: "00:16:3e:00:00" is not six hexadecimal pairs such as 00:16:3e:00:00:01`},
		{"neigh add 10.0.0.1 lladdr 00:16:3e:00:00:01:02:03 dev d", `invalid link layer addr: "00:16:3e:00:00:01:02:03" is not six hexadecimal pairs such as 00:16:3e:00:00:01`},
		{"neigh add 10.0.0.1 lladdr 0016.3e00.0001 dev d", `invalid link layer addr: "0016.3e00.0001" is not six hexadecimal pairs such as 00:16:3e:00:00:01`},
		{"neigh add 10.0.0.1 lladdr 01:00:5e:00:00:01 dev d", "invalid link layer addr: 01:00:5e:00:00:01 is a multicast address; give the address of one machine"},
		{"neigh add 10.0.0.1 lladdr ff:ff:ff:ff:ff:ff dev d", "invalid link layer addr: ff:ff:ff:ff:ff:ff is a multicast address; give the address of one machine"},
		{"neigh add 10.0.0.1 lladdr 00:00:00:00:00:00 dev d", "invalid link layer addr: 00:00:00:00:00:00 is the address of no machine"},
		{"neigh add 10.0.0.1/24 lladdr 00:16:3e:00:00:01 dev d", `invalid ipaddress: "10.0.0.1/24" is not an address such as 192.168.100.200 or 2001:db8::200`},
		{"neigh add 224.0.0.1 lladdr 00:16:3e:00:00:01 dev d", "invalid ipaddress 224.0.0.1: a multicast address; give a unicast address"},
		{"neigh add 10.0.0.1 lladdr 00:16:3e:00:00:01 dev d nud permanent", `unexpected word "nud": write neigh add ADDR lladdr MAC dev D`},

		// link
		{"link set", "no device specified: write link set DEV ITEM VALUE"},
		{"link set dpdk0", "nothing to set: name one of " + linkItems},
		{"link set dpdk0 promisc", "missing argument for `promisc'"},
		{"link set dpdk0 promisc yes", "invalid value \"yes\" for `promisc': use on or off"},
		{"link set dpdk0 link on", "invalid value \"on\" for `link': use up or down"},
		{"link set dpdk0 addr zz", `invalid link layer addr: "zz" is not six hexadecimal pairs such as 00:16:3e:00:00:01`},
		{"link set dpdk0 up", `cannot set "up": write link set dpdk0 link up`},
		{"link set dpdk0 mtu 9000", `cannot set "mtu": use one of ` + linkItems},
		{"link set dpdk0 promisc on lldp on", `unexpected word "lldp": write link set DEV ITEM VALUE, one item at a time`},
		{"link set a/b promisc on", "invalid device name \"a/b\": `dpip link show' lists the devices"},
		{"link set bond0 bond-mode 7", "invalid value \"7\" for `bond-mode': use a number from 0 to 6"},
		{"link set bond0 bond-mode lacp", "invalid value \"lacp\" for `bond-mode': use a number from 0 to 6"},
		{"link set bond0 bond-primary a/b", "invalid device name \"a/b\": `dpip link show' lists the devices"},
		{"link set bond0 bond-xmit-policy layer4", "invalid value \"layer4\" for `bond-xmit-policy': use layer2, layer23 or layer34"},
		{"link set bond0 bond-monitor-interval soon", "invalid value \"soon\" for `bond-monitor-interval': use a number from 0 to 2147483647"},
		{"link set bond0 bond-slave dpdk0", `cannot set "bond-slave": write link add bond0 bond-slave DEV, or link del`},
		{"link add", "no device specified: write link add BOND bond-slave DEV"},
		{"link add bond0 dpdk0", "nothing to add: write link add BOND bond-slave DEV"},
		{"link del bond0 bond-slave", "nothing to del: write link del BOND bond-slave DEV"},
		{"link del bond0 bond-slave dpdk0 dpdk1", `unexpected word "dpdk1": write link del BOND bond-slave DEV, one device at a time`},
		{"link show dpdk0 frob", `unexpected word "frob": write link show [DEV [status] | cpu | cpuN]`},
		{"link show cpu frob", `unexpected word "frob": write link show [DEV [status] | cpu | cpuN]`},
		{"link show cpu/1", "invalid device name \"cpu/1\": `dpip link show' lists the devices"},
	} {
		t.Run(tc.line, func(t *testing.T) {
			args := strings.Fields(tc.line)
			for i, arg := range args {
				if arg == "EMPTY" {
					args[i] = ""
				}
			}
			got := b.run(t.Context(), args...)
			if want := (result{1, "", "dpip: " + tc.want + "\n"}); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if calls := b.take(); len(calls) != 0 {
				t.Errorf("asked the director: %v", calls)
			}
		})
	}
}

// TestHelp says which lines print help, all on stderr, and their exit codes.
func TestHelp(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		line string
		want result
	}{
		{"", result{0, "", usage}},
		{"-h", result{0, "", usage}},
		{"--help", result{0, "", usage}},
		{"help", result{0, "", usage}},
		{"-s", result{1, "", usage}},
		{"addr", result{1, "", addrHelp}},
		{"addr -v", result{1, "", addrHelp}},
		{"addr help", result{0, "", addrHelp}},
		{"addr h", result{0, "", addrHelp}},
		{"addr -h", result{0, "", addrHelp}},
		{"addr add -h", result{0, "", addrHelp}},
		{"-h route", result{0, "", routeHelp}},
		{"route help", result{0, "", routeHelp}},
		{"neigh help", result{0, "", neighHelp}},
		{"maddr help", result{0, "", maddrHelp}},
		{"link help", result{0, "", linkHelp}},
		{"-6 addr help", result{0, "", addrHelp}},
		{"-V", result{0, "dpip-1.2.3\n", ""}},
		{"--version", result{0, "dpip-1.2.3\n", ""}},
		{"addr show -V", result{0, "dpip-1.2.3\n", ""}},
		{"-hV", result{0, "dpip-1.2.3\n", ""}},
	} {
		t.Run(tc.line, func(t *testing.T) {
			if got := b.run(t.Context(), strings.Fields(tc.line)...); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
			if calls := b.take(); len(calls) != 0 {
				t.Errorf("asked the director: %v", calls)
			}
		})
	}
}

package dpvsconf

import (
	"testing"

	"weir/internal/spec"
)

// both has two devices, a master and a slave, and room for more in worker_defs.
const both = `netif_defs {
 device dpdk0 { }
 device dpdk1 { }
}
worker_defs {
 worker cpu0 { type master
  cpu_id 0 }
 worker cpu1 { type slave
  cpu_id 1
  port dpdk0 { rx_queue_ids 0 }
  port dpdk1 { } }
`

// bonded is the beginning of a bond of a and b, which are devices.
const bonded = "netif_defs {\n device a { }\n device b { }\n bonding bond0 {\n"

// TestRefuse is the table of wrong files: all of them are refused whole, with
// exactly these words.
func TestRefuse(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty file", "", "conf:1: no device: add \"device NAME { ... }\" to netif_defs for each interface that weir is to drive"},
		{"not well formed", "netif_defs {", "conf:1: block netif_defs is not closed: add a '}'"},
		{"include in bytes", "include x", "conf:1: include is possible only in a file"},

		{"block without braces", quick + "neigh_defs", "conf:5: neigh_defs is a block: write \"neigh_defs { ... }\""},
		{"block with a name", quick + "neigh_defs x { }", "conf:5: block neigh_defs takes no name: remove x"},
		{"value missing", quick + "neigh_defs {\n timeout\n}", "conf:6: timeout needs a value"},
		{"value is a block", quick + "neigh_defs {\n timeout { }\n}", "conf:6: timeout takes a value, not a block"},
		{"two keywords on a line", quick + "neigh_defs { timeout 5 unres_queue_length 16 }", "conf:5: timeout takes one value, not 3: put each keyword on a line of its own"},
		{"not a number", quick + "neigh_defs {\n timeout soon\n}", "conf:6: timeout soon is not a number from 1 to 3600 (default: 60)"},
		{"below the range", quick + "neigh_defs {\n unres_queue_length 15\n}", "conf:6: unres_queue_length 15 is not a number from 16 to 8192 (default: 128)"},
		{"above the range", quick + "ipv4_defs {\n default_ttl 256\n}", "conf:6: default_ttl 256 is not a number from 1 to 255 (default: 64)"},
		{"larger than any number", quick + "ipv4_defs {\n default_ttl 99999999999999999999\n}", "conf:6: default_ttl 99999999999999999999 is not a number from 1 to 255 (default: 64)"},
		{"empty value", quick + "ipv4_defs {\n default_ttl \"\"\n}", "conf:6: default_ttl \"\" is not a number from 1 to 255 (default: 64)"},
		{"long value", quick + "ipv4_defs {\n default_ttl 1234567890123456789012345678901234567890123\n}", "conf:6: default_ttl 1234567890123456789012345678901234567890... is not a number from 1 to 255 (default: 64)"},
		{"timeout of an established connection", quick + "ipvs_defs { tcp { timeout {\n established 31536000\n} } }", "conf:6: established 31536000 is not a number from 1 to 31535999 (default: 900)"},
		{"link-local addresses", quick + "ipv6_defs {\n addr_gen_mode eui48\n}", "conf:6: addr_gen_mode eui48 is not one of eui64, none, stable-privacy, random (default: eui64)"},
		{"secret", quick + "ipv6_defs {\n stable_secret 0011\n}", "conf:6: stable_secret is not 32 hexadecimal digits (default: none)"},
		{"secret that is no number", quick + "ipv6_defs {\n stable_secret 00112233445566778899aabbccddeefg\n}", "conf:6: stable_secret is not 32 hexadecimal digits (default: none)"},
		{"no secret", quick + "ipv6_defs {\n addr_gen_mode stable-privacy\n}", "conf:1: addr_gen_mode stable-privacy needs a secret: add \"stable_secret\" with 32 hexadecimal digits to ipv6_defs, as openssl rand -hex 16 makes them"},
		{"IPv6 half disabled", quick + "ipv6_defs {\n disable half\n}", "conf:6: disable half is neither on nor off (default: off)"},
		{"carrier of UOA", quick + "ipvs_defs { udp {\n uoa_mode tcp\n} }", "conf:6: uoa_mode tcp is not one of opp, ipo"},
		{"no carrier of UOA", quick + "ipvs_defs { udp {\n uoa_mode\n} }", "conf:6: uoa_mode needs a value"},
		{"datagrams with UOA", quick + "ipvs_defs { udp {\n uoa_max_trail 256\n} }", "conf:6: uoa_max_trail 256 is not a number from 0 to 255 (default: 3)"},
		{"less than no datagrams with UOA", quick + "ipvs_defs { udp {\n uoa_max_trail -1\n} }", "conf:6: uoa_max_trail -1 is not a number from 0 to 255 (default: 3)"},
		{"connections of IPv6", quick + "ipvs_defs { conn {\n conn_pool_ipv6 0\n} }", "conf:6: conn_pool_ipv6 0 is not a number from 1024 to 67108863 (default: conn_pool_size)"},
		{"more connections of IPv6 than of all", quick + "ipvs_defs { conn {\n conn_pool_ipv6 2097152\n} }", "conf:6: conn_pool_ipv6 2097152 is more than conn_pool_size, which is 2097151: it is how many of these may be of IPv6"},
		{"connections", quick + "ipvs_defs { conn {\n conn_pool_size 1000\n} }", "conf:6: conn_pool_size 1000 is not a number from 65536 to 67108863 (default: 2097151)"},
		{"frames", quick + "netif_defs {\n pktpool_size 9\n}", "conf:6: pktpool_size 9 is not a number from 1023 to 134217727 (default: 16384)"},
		{"switch", quick + "global_defs {\n busy_poll yes\n}", "conf:6: busy_poll yes is neither on nor off (default: off)"},
		{"nice", quick + "global_defs {\n nice -21\n}", "conf:6: nice -21 is not a number from -20 to 19 (default: -20, with busy_poll 0)"},
		{"real-time priority", quick + "global_defs {\n rt_priority 100\n}", "conf:6: rt_priority 100 is not a number from 0 to 99 (default: 1)"},
		{"offload", quick + "global_defs {\n offload maybe\n}", "conf:6: offload maybe is not one of auto, on, off (default: auto)"},
		{"switch that is on", quick + "global_defs {\n kni no\n}", "conf:6: kni no is neither on nor off (default: on)"},
		{"log level", quick + "global_defs {\n log_level LOUD\n}", "conf:6: log_level LOUD is not one of EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG (default: WARNING)"},
		{"log file", quick + "global_defs {\n log_file dpvs.log\n}", "conf:6: log_file dpvs.log does not begin with '/': give the whole path (default: standard error)"},
		{"ports backwards", quick + "sa_pool {\n port_range 2000-1999\n}", "conf:6: port_range 2000-1999 is not FIRST-LAST within 1-65535 (default: 1025-65535)"},
		{"port 0", quick + "sa_pool {\n port_range 0-1999\n}", "conf:6: port_range 0-1999 is not FIRST-LAST within 1-65535 (default: 1025-65535)"},
		{"port beyond the last", quick + "sa_pool {\n port_range 1025-65536\n}", "conf:6: port_range 1025-65536 is not FIRST-LAST within 1-65535 (default: 1025-65535)"},
		{"one port", quick + "sa_pool {\n port_range 2000\n}", "conf:6: port_range 2000 is not FIRST-LAST within 1-65535 (default: 1025-65535)"},
		{"open range", quick + "sa_pool {\n port_range 2000-\n}", "conf:6: port_range 2000- is not FIRST-LAST within 1-65535 (default: 1025-65535)"},
		{"three ports", quick + "sa_pool {\n port_range 1-2-3\n}", "conf:6: port_range 1-2-3 is not FIRST-LAST within 1-65535 (default: 1025-65535)"},
		{"ports with signs", quick + "sa_pool {\n port_range +1-+2\n}", "conf:6: port_range +1-+2 is not FIRST-LAST within 1-65535 (default: 1025-65535)"},
		{"range with spaces", quick + "sa_pool {\n port_range 1 - 2\n}", "conf:6: port_range takes one value, not 3: put each keyword on a line of its own"},
		{"range missing", quick + "sa_pool {\n port_range\n}", "conf:6: port_range needs a value"},
		{"timeout of a state that is not used yet", quick + "ipvs_defs { tcp { timeout {\n synack 0\n} } }", "conf:6: synack 0 is not a number from 1 to 31535999 (default: 30)"},
		{"rings of packet sockets", "netif_defs {\n device a { driver afpacket\n rx {\n descriptor_number 8\n } } }", "conf:4: descriptor_number 8 is not a number from 16 to 8192 (default: 4096)"},

		{"device without a name", "netif_defs {\n device { }\n}", "conf:2: device needs one name: write \"device NAME { ... }\""},
		{"device without a block", "netif_defs {\n device dpdk0\n}", "conf:2: device dpdk0 needs a block: write \"device dpdk0 { ... }\""},
		{"device twice", "netif_defs {\n device dpdk0 { }\n device dpdk0 { }\n}", "conf:3: device dpdk0 is already at conf:2: give each device one block"},
		{"device name", "netif_defs {\n device a/b { }\n}", "conf:2: device a/b can't be the name of an interface: use letters, digits, '.', '-' and '_'"},
		{"long device name", "netif_defs {\n device port0123456789ab { }\n}", "conf:2: device port0123456789ab is longer than 15 bytes, the most Linux allows for an interface"},
		{"long twin name", "netif_defs {\n device port01234567 { }\n}", "conf:2: device port01234567: port01234567.kni is longer than 15 bytes: give it a shorter kni_name"},
		{"interface twice", "netif_defs {\n device a { interface eth0 }\n device b { interface eth0 }\n}", "conf:3: device b drives interface eth0, which device a drives already: give each device an interface of its own"},
		{"interface is another's name", "netif_defs {\n device a { }\n device b { interface a }\n}", "conf:3: device b drives interface a, which device a drives already: give each device an interface of its own"},
		{"twin twice", "netif_defs {\n device a { kni_name k }\n device b { kni_name k }\n}", "conf:3: device b: kni_name k is that of device a as well"},
		{"twin is an interface", "netif_defs {\n device a { kni_name b }\n device b { }\n}", "conf:2: device a: kni_name b is the interface that device b drives"},
		{"driver", "netif_defs {\n device a {\n driver pipe\n } }", "conf:3: driver pipe is not one of auto, afxdp, afpacket (default: auto)"},
		{"mode", "netif_defs {\n device a {\n xdp_mode fast\n } }", "conf:3: xdp_mode fast is not one of auto, zerocopy, native, generic (default: auto)"},
		{"mode without AF_XDP", "netif_defs {\n device a {\n driver afpacket\n xdp_mode native\n } }", "conf:2: device a: xdp_mode native needs driver afxdp, not afpacket: remove one of them"},
		{"busy polling", "netif_defs {\n device a {\n napi_busy_poll\n } }", "conf:3: napi_busy_poll needs a value"},
		{"busy polling by halves", "netif_defs {\n device a {\n napi_busy_poll half\n } }", "conf:3: napi_busy_poll half is not one of off, auto, on (default: off)"},
		{"busy polling without AF_XDP", "netif_defs {\n device a {\n driver afpacket\n napi_busy_poll on\n } }", "conf:2: device a: napi_busy_poll on needs driver afxdp, not afpacket: remove one of them"},
		{"packets in a poll", "netif_defs {\n device a {\n napi_busy_poll_budget 0\n } }", "conf:3: napi_busy_poll_budget 0 is not a number from 1 to 1024 (default: 64)"},
		{"polls without an interrupt", "netif_defs {\n device a {\n napi_defer_hard_irqs 1001\n } }", "conf:3: napi_defer_hard_irqs 1001 is not a number from 1 to 1000 (default: 2)"},
		{"time without a poll", "netif_defs {\n device a {\n gro_flush_timeout 9999\n } }", "conf:3: gro_flush_timeout 9999 is not a number from 10000 to 10000000 (default: 200000)"},
		{"receive queues", "netif_defs {\n device a { rx {\n queue_number 17\n } } }", "conf:3: queue_number 17 is not a number from 0 to 16 (default: as many as the interface has)"},
		{"transmit ring", "netif_defs {\n device a { tx {\n descriptor_number 15\n } } }", "conf:3: descriptor_number 15 is not a number from 16 to 8192 (default: 1024)"},
		{"mtu", "netif_defs {\n device a {\n mtu 67\n } }", "conf:3: mtu 67 is not a number from 68 to 9000 (default: the interface's)"},

		{"no master", quick + "worker_defs { worker a { type slave\n cpu_id 1\n port dpdk0 { } } }", "conf:1: no worker is of type master: add \"worker cpu0 { type master cpu_id 0 }\", each keyword on a line of its own"},
		{"only a master", quick + "worker_defs { worker a { type master\n cpu_id 1 } }", "conf:1: no worker is of type slave, so none would forward packets: add one with its ports"},
		{"second master", both + " worker cpu2 { type master\n cpu_id 2 } }", "conf:12: worker cpu2 is a second master beside cpu0: make it a slave"},
		{"worker twice", both + " worker cpu1 { } }", "conf:12: worker cpu1 is already at conf:8: give each worker a name of its own"},
		{"cpu twice", both + " worker cpu2 { type slave\n cpu_id 1\n port dpdk1 { } } }", "conf:12: worker cpu2 has cpu_id 1, which worker cpu1 has already: give each worker a CPU of its own"},
		{"no type", both + " worker cpu2 {\n cpu_id 2 } }", "conf:12: worker cpu2 has no type: add \"type master\" or \"type slave\""},
		{"no cpu", both + " worker cpu2 {\n type slave } }", "conf:12: worker cpu2 has no cpu_id: add \"cpu_id N\", the CPU it runs on"},
		{"bad type is said once", both + " worker cpu2 {\n type boss\n cpu_id 2 } }", "conf:13: type boss is not one of master, slave, kni"},
		{"bad cpu is said once", both + " worker cpu2 {\n type slave\n cpu_id 1024 } }", "conf:14: cpu_id 1024 is not a number from 0 to 1023 (default: none)"},
		{"master with a port", quick + "worker_defs { worker a {\n type master\n cpu_id 1\n port dpdk0 { } } }", "conf:8: worker a is the master, which serves no port: move the port to a worker of type slave"},
		{"slave without a port", both + " worker cpu2 { type slave\n cpu_id 2 } }", "conf:12: worker cpu2 has no port: add \"port NAME { }\" for each device it serves"},
		{"no such port", both + " worker cpu2 { type slave\n cpu_id 2\n port wan { } } }", "conf:14: worker cpu2 serves wan, but there is no such device: add \"device wan { ... }\" to netif_defs"},
		{"mistyped port", both + " worker cpu2 { type slave\n cpu_id 2\n port dpkd1 { } } }", "conf:14: worker cpu2 serves dpkd1, but there is no such device: did you mean dpdk1?"},
		{"slave of a bond served", bonded + " slave b\n} }\nworker_defs { worker w { type slave\n cpu_id 2\n port b { } }\n worker m { type master\n cpu_id 0\n } }", "conf:9: worker w serves b, which is a slave of bond0: name bond0 here, and the worker serves that queue of all its slaves"},
		{"bond twice", bonded + " slave b\n}\nbonding bond0 { slave a } }", "conf:7: bonding bond0 is already at conf:4: give each bond one block"},
		{"bond of no slave", bonded + " } }", "conf:4: bonding bond0 has no slave: add \"slave NAME\" for each device that it is made of"},
		{"slave that is no device", bonded + " slave wan7\n} }", "conf:5: bonding bond0 has slave wan7, but there is no such device: add \"device wan7 { ... }\" to netif_defs"},
		{"mistyped slave", "netif_defs {\n device dpdk0 { }\n bonding bond0 {\n slave dpkd0\n} }", "conf:4: bonding bond0 has slave dpkd0, but there is no such device: did you mean dpdk0?"},
		{"slave twice", bonded + " slave a\n slave a\n} }", "conf:6: bonding bond0 has slave a twice"},
		{"slave of two bonds", bonded + " slave a\n}\nbonding bond1 {\n slave a\n} }", "conf:8: device a is a slave of bond0 already: it can be in one bond"},
		{"slave without a name", bonded + " slave\n slave a\n} }", "conf:5: slave needs the name of a device"},
		{"bond with the name of a device", "netif_defs {\n device a { }\n bonding a { slave a }\n}", "conf:3: bonding a has the name of the device at conf:2: give it another"},
		{"bond's twin", "netif_defs {\n device a { }\n device b { }\n bonding bond0 { slave a\n kni_name b }\n}", "conf:4: bonding bond0: kni_name b is the interface that device b drives"},
		{"primary that is no slave", bonded + " mode 1\n slave a\n primary b\n} }", "conf:7: primary b is no slave of bonding bond0"},
		{"mode", bonded + " slave a\n mode 7\n} }", "conf:6: mode 7 is not a number from 0 to 6 (default: 0)"},
		{"balance-tlb", bonded + " slave a\n mode 5\n} }", "conf:6: " + spec.WhyNoMode(5)},
		{"balance-alb", bonded + " slave a\n mode 6\n} }", "conf:6: " + spec.WhyNoMode(6)},
		{"policy", bonded + " slave a\n xmit_policy layer4\n} }", "conf:6: xmit_policy layer4 is not one of layer2, layer23, layer34 (default: layer34)"},
		{"interval", bonded + " slave a\n link_monitor_interval 0\n} }", "conf:6: link_monitor_interval 0 is not a number from 1 to 10000 (default: 10)"},
		{"bond's option", bonded + " slave a\n options speed=1\n} }", "conf:6: options: speed is none; there is dedicated_queues=on|off"},
		{"bond's option's value", bonded + " slave a\n options dedicated_queues=yes\n} }", "conf:6: options: dedicated_queues is on or off, not yes"},
		{"port twice", both + " worker cpu2 { type slave\n cpu_id 2\n port dpdk1 { }\n port dpdk1 { } } }", "conf:15: worker cpu2 has port dpdk1 twice: put all its queues into one block"},
		{"queue of two workers", both + " worker cpu2 { type slave\n cpu_id 2\n port dpdk0 { rx_queue_ids 1 0 } } }", "conf:14: worker cpu2 serves rx queue 0 of dpdk0, which worker cpu1 serves already: give each queue to one worker"},
		{"queue listed twice", both + " worker cpu2 { type slave\n cpu_id 2\n port dpdk0 { tx_queue_ids 1 1 } } }", "conf:14: tx_queue_ids lists queue 1 twice"},
		{"queue number", both + " worker cpu2 { type slave\n cpu_id 2\n port dpdk1 { tx_queue_ids 16 } } }", "conf:14: tx_queue_ids 16 is not a number from 0 to 15 (default: queues that no worker lists)"},
		{"no queues", both + " worker cpu2 { type slave\n cpu_id 2\n port dpdk1 { rx_queue_ids } } }", "conf:14: rx_queue_ids needs one or more queue numbers from 0 to 15"},

		{
			"all that is wrong, in order", "neigh_defs {\n timeout 0\n}\n" + quick + "ipv4_defs {\n default_ttl 0\n}",
			"conf:2: timeout 0 is not a number from 1 to 3600 (default: 60)\nconf:9: default_ttl 0 is not a number from 1 to 255 (default: 64)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := ParseBytes("conf", []byte(tt.text))
			if err == nil {
				t.Fatalf("accepted, want %q", tt.want)
			}
			if err.Error() != tt.want {
				t.Errorf("error\n got %s\nwant %s", err, tt.want)
			}
			if c != nil {
				t.Errorf("a config came with the error: %+v", c)
			}
		})
	}
}

package dpvsconf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/spec"
)

// quick is the least file there is: all else has a default.
const quick = "netif_defs {\n device dpdk0 {\n }\n}\n"

func device(name string) spec.Device {
	return spec.Device{
		Name: name, Interface: name, Driver: spec.DriverAuto, XDPMode: spec.XDPAuto,
		RxDesc: 4096, TxDesc: 1024, KNIName: name + ".kni",
	}
}

// on is device of another interface than its name says.
func on(name, ifName string) spec.Device {
	d := device(name)
	d.Interface = ifName
	return d
}

func mustParse(t *testing.T, text string) (*Config, []string) {
	t.Helper()
	c, warnings, err := ParseBytes("conf", []byte(text))
	if err != nil {
		t.Fatalf("ParseBytes: %v", err)
	}
	var said []string
	for _, w := range warnings {
		said = append(said, w.String())
	}
	return c, said
}

func TestSamples(t *testing.T) {
	master := spec.Worker{Name: "cpu0", Type: "master"}
	bond := spec.DefaultBond("bond0")
	bond.Members, bond.Mode = []string{"dpdk0", "dpdk1"}, 4
	tests := []struct {
		file    string
		devices []spec.Device
		bonds   []spec.Bond
		workers []spec.Worker
	}{
		{
			"dpvs.bond.conf.sample",
			[]spec.Device{device("dpdk0"), device("dpdk1")},
			[]spec.Bond{bond},
			[]spec.Worker{master, {Name: "cpu1", Type: "slave", CPU: 1, Ports: []spec.WorkerPort{{Port: "bond0"}}}},
		},
		{
			"dpvs.conf.sample",
			[]spec.Device{device("dpdk0"), device("dpdk1")},
			nil,
			[]spec.Worker{master, {Name: "cpu1", Type: "slave", CPU: 1, Ports: []spec.WorkerPort{{Port: "dpdk0"}, {Port: "dpdk1"}}}},
		},
		{
			"dpvs.conf.single-nic.sample",
			[]spec.Device{device("dpdk0")},
			nil,
			[]spec.Worker{master, {Name: "cpu1", Type: "slave", CPU: 1, Ports: []spec.WorkerPort{{Port: "dpdk0"}}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got, warnings, err := Parse(filepath.Join("../../../conf", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range warnings {
				t.Errorf("warning: %s", w)
			}
			want := defaults() // the samples say what is the default anyway
			want.Boot.Devices, want.Boot.Bonds, want.Boot.Workers = tt.devices, tt.bonds, tt.workers
			for i := range want.Boot.Devices {
				want.Boot.Devices[i].RxSaid = true
			}
			if d := cmp.Diff(&want, got); d != "" {
				t.Errorf("config (-want +got):\n%s", d)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	got, warnings := mustParse(t, quick)
	want := &Config{
		Boot: spec.Boot{
			Devices: []spec.Device{device("dpdk0")},
			Workers: []spec.Worker{
				{Name: "cpu0", Type: "master"},
				{Name: "cpu1", Type: "slave", CPU: 1, Ports: []spec.WorkerPort{{Port: "dpdk0"}}},
			},
			ConnPool: 2097151, PktPool: 16384, NeighQueue: 128, KNI: true, Offload: spec.OffloadAuto,
			Fragments: spec.Fragments{Buckets: 4096, BucketEntries: 16, Entries: 4096, TTL: 1},
			IPv6:      spec.IPv6{AddrGenMode: "eui64"},
		},
		Tunables: spec.Tunables{
			LogLevel: "WARNING", DefaultTTL: 64, NeighTimeout: 60, UOATrail: 3, Nice: -20, RTPriority: 1,
			Timeouts: spec.Timeouts{
				TCP: spec.TCPTimeouts{
					None: 2, Established: 900, SynSent: 3, SynRecv: 30, FinWait: 7, TimeWait: 7, Close: 3,
					CloseWait: 7, LastAck: 7, Listen: 120, SynAck: 30,
				},
				UDP: spec.UDPTimeouts{OneWay: 300, Normal: 300},
			},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings: %q", warnings)
	}
}

// TestWholeGrammar reads a file that has every keyword of DPVS and of Weir, each
// used one with a value that is not its default. The fields that keep theirs are
// those of keywords that do nothing, and the golden file has a warning for each.
func TestWholeGrammar(t *testing.T) {
	c, warnings, err := Parse("testdata/whole.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Boot: spec.Boot{
			Devices: []spec.Device{
				{
					Name: "dpdk0", Interface: "eth0", Driver: "afxdp", XDPMode: "native", RxDesc: 512, RxSaid: true,
					TxDesc: 256, MTU: 9000, Promisc: true, AllMulticast: true, KNIName: "lan.kni",
					NAPI: spec.NAPI{BusyPoll: "auto", Budget: 128, DeferHardIRQs: 100, FlushTimeout: 50000},
				},
				{
					Name: "dpdk1", Interface: "eth1", Driver: "afpacket", XDPMode: "auto", RxDesc: 2048, RxSaid: true,
					TxDesc: 1024, KNIName: "dpdk1.kni",
				},
				on("dpdk2", "eth2"), on("dpdk3", "eth3"),
			},
			Bonds: []spec.Bond{{
				Name: "bond0", Members: []string{"dpdk2", "dpdk3"}, Primary: "dpdk3", Mode: 4, KNIName: "bond.kni", XmitPolicy: "layer23",
				MonitorInterval: 50, UpDelay: 300, DownDelay: 100, ADSelect: "bandwidth", SystemPriority: 100,
			}},
			Workers: []spec.Worker{
				{Name: "cpu0", Type: "master"},
				{Name: "cpu1", Type: "slave", CPU: 1, Ports: []spec.WorkerPort{
					{Port: "dpdk0", RxQueues: []int{0, 1, 2}},
					{Port: "dpdk1", RxQueues: []int{0}},
				}},
				{Name: "cpu2", Type: "slave", CPU: 5, Ports: []spec.WorkerPort{
					{Port: "dpdk0", RxQueues: []int{7, 3}},
				}},
			},
			Offload: spec.OffloadOn, ConnPool: 4194304, ConnPool6: 1048576, PktPool: 32768, NeighQueue: 256, LocalFirst: 10000, LocalLast: 19999,
			Fragments: spec.Fragments{Buckets: 8192, BucketEntries: 8, Entries: 2048, TTL: 30},
			IPv6: spec.IPv6{Disable: true, AddrGenMode: "stable-privacy", StableSecret: [16]byte{
				0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
			}},
		},
		Tunables: spec.Tunables{
			LogLevel: "DEBUG", LogFile: "/var/log/dpvs log", LogTimestamp: true, BusyPoll: true, Nice: 5, RTPriority: 12,
			Timeouts: spec.Timeouts{
				TCP: spec.TCPTimeouts{
					None: 11, Established: 12, SynSent: 13, SynRecv: 14, FinWait: 15, TimeWait: 16, Close: 17,
					CloseWait: 18, LastAck: 19, Listen: 120, SynAck: 21,
				},
				UDP: spec.UDPTimeouts{OneWay: 31, Normal: 32},
			},
			Forwarding: true, Forwarding6: true, DefaultTTL: 128, NeighTimeout: 30, UOATrail: 5,
			QuiescentTemplates: true, DefenceTCP: true, DefenceUDP: true,
		},
	}
	if d := cmp.Diff(&want, c); d != "" {
		t.Errorf("config (-want +got):\n%s", d)
	}
	golden, err := os.ReadFile("testdata/whole.warnings")
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for _, w := range warnings {
		got = append(got, w.String()+"\n"...)
	}
	if d := cmp.Diff(string(golden), string(got)); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"unknown block", "xy_defs { a\n b\n }", []string{"conf:5: unknown keyword xy_defs in the file is ignored"}},
		{"near block", "netif_def { }", []string{"conf:5: unknown keyword netif_def in the file is ignored: did you mean netif_defs?"}},
		{"near keyword", "ipvs_defs {\n conn {\n conn_pool_sise 1\n }\n }", []string{"conf:7: unknown keyword conn_pool_sise in conn is ignored: did you mean conn_pool_size?"}},
		{"not needed", "netif_defs {\n fdir_mode perfect\n }", []string{"conf:6: fdir_mode is not needed by weir and is ignored: no flow rules of the NIC are used, any worker can forward any packet"}},
		{"not yet", "global_defs { lldp on }", []string{"conf:5: lldp is not supported yet and is ignored"}},
		{"twins", "global_defs { kni on }", nil},
		{"no twins", "global_defs { kni off }", nil},
		{"twins that are wanted no more", "global_defs {\n kni on\n kni off\n }", []string{
			"conf:7: kni is said again in global_defs: this line counts, not conf:6",
		}},
		{"twin's name", "netif_defs { device a {\n kni_name k\n } }", nil},
		{"number of queues", "netif_defs { device a { rx {\n queue_number 2\n } } }", []string{"conf:6: queue_number is not needed by weir and is ignored: every queue of the interface is served; ethtool -L sets how many it has"}},
		{"busy polling of packet sockets, if it can be", "netif_defs { device a {\n napi_busy_poll auto\n driver afpacket\n napi_defer_hard_irqs 9\n } }", nil},
		{"numbers for busy polling, and none", "netif_defs { device a {\n napi_busy_poll_budget 8\n napi_defer_hard_irqs 9\n gro_flush_timeout 20000\n } }", []string{
			"conf:6: napi_busy_poll_budget is ignored: napi_busy_poll is off, and the interface keeps what it has",
			"conf:7: napi_defer_hard_irqs is ignored: napi_busy_poll is off, and the interface keeps what it has",
			"conf:8: gro_flush_timeout is ignored: napi_busy_poll is off, and the interface keeps what it has",
		}},
		{"rings of packet sockets", "netif_defs { device a { tx {\n descriptor_number 64\n }\n driver AFpacket\n } }", []string{"conf:6: descriptor_number is not needed by weir and is ignored: packet sockets have no rings of its size"}},
		{"rings of AF_XDP", "netif_defs { device a {\n driver afpacket\n tx { descriptor_number 64 }\n driver afxdp\n } }", []string{"conf:8: driver is said again in device a: this line counts, not conf:6"}},
		{"port_range", "sa_pool { port_range 5000-5999 }", nil},
		{"UOA for all", "ipvs_defs { udp {\n uoa_mode opp\n uoa_max_trail 2\n } }", []string{"conf:6: uoa_mode is ignored: UOA is off until a UDP service asks for it; do so with ipvsadm -E -u VIP:PORT ... --uoa opp"}},
		{"UOA in options for all", "ipvs_defs { udp {\n uoa_mode IPO\n } }", []string{"conf:6: uoa_mode is ignored: UOA is off until a UDP service asks for it; do so with ipvsadm -E -u VIP:PORT ... --uoa ipo"}},
		{"unknown inside an ignored block", "ipv6_defs { route6 {\n lpm {\n lpm6_max_rule 9\n }\n }\n }", []string{
			"conf:6: lpm is not needed by weir and is ignored: its tables grow as they need",
			"conf:7: unknown keyword lpm6_max_rule in lpm is ignored: did you mean lpm6_max_rules?",
		}},
		{"IPv6", "ipv6_defs {\n disable\n forwarding on\n addr_gen_mode RANDOM\n }", nil},
		{"secret of nothing", "ipv6_defs {\n stable_secret 00112233445566778899aabbccddeeff\n addr_gen_mode none\n }", []string{"conf:6: stable_secret is ignored: addr_gen_mode is none, not stable-privacy"}},
		{"routes of DPVS", "ipv6_defs { route6 {\n method lpm\n recycle_time 5\n } }", []string{
			"conf:6: method is not needed by weir and is ignored: one table of prefixes holds both families",
			"conf:7: recycle_time is not needed by weir and is ignored: a table that nobody reads any more is freed by itself",
		}},
		{"an ignored keyword may have any value", "timer_defs {\n schedule_interval -1 x\n }", []string{"conf:6: schedule_interval is not needed by weir and is ignored: timers follow the clock, not a count of loops"}},
		{"said twice", "global_defs {\n log_level INFO\n log_level DEBUG\n }", []string{"conf:7: log_level is said again in global_defs: this line counts, not conf:6"}},
		{"pool of a NUMA node", "netif_defs {\n pktpool_size 524287\n }", []string{"conf:6: pktpool_size 524287 is for a NUMA node of DPVS: a worker of weir takes 65535 frames, its most"}},
		{"kni worker", "worker_defs {\n worker m { type master\n cpu_id 0 }\n worker s { type slave\n cpu_id 1\n port dpdk0 { } }\n worker k {\n type kni\n cpu_id 2\n } }", []string{"conf:11: worker k of type kni is not needed by weir and is ignored: every worker passes packets to the host"}},
		{"inside a kni worker", both + "worker k {\n type KNI\n port nowhere { rx_queue_ids x\n tx_queue_isd 1 }\n } }", []string{
			"conf:12: worker k of type kni is not needed by weir and is ignored: every worker passes packets to the host",
			"conf:15: unknown keyword tx_queue_isd in port is ignored: did you mean tx_queue_ids?",
		}},
		{"block said twice", "neigh_defs { timeout 5 }\nneigh_defs { timeout 6 }", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := quick + tt.text
			if strings.HasPrefix(tt.text, both) {
				text = tt.text
			}
			_, got := mustParse(t, text)
			if !slices.Equal(got, tt.want) {
				t.Errorf("warnings\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestSwitches(t *testing.T) {
	for text, want := range map[string]bool{"busy_poll": true, "busy_poll on": true, "busy_poll off": false, "busy_poll \"on\"": true} {
		c, _ := mustParse(t, quick+"global_defs {\n"+text+"\n}")
		if c.Tunables.BusyPoll != want {
			t.Errorf("%s: BusyPoll = %v", text, c.Tunables.BusyPoll)
		}
		if nice := map[bool]int{true: 0, false: -20}[want]; c.Tunables.Nice != nice {
			t.Errorf("%s: Nice = %d, want %d", text, c.Tunables.Nice, nice)
		}
		if c, _ := mustParse(t, quick+"global_defs {\nnice -5\n"+text+"\n}"); c.Tunables.Nice != -5 {
			t.Errorf("nice -5, %s: Nice = %d", text, c.Tunables.Nice)
		}
	}
}

// A worker that never sleeps gets no real-time priority: who asks for both is told.
func TestRTPriority(t *testing.T) {
	for text, want := range map[string]struct{ priority, warnings int }{
		"":                             {1, 0},
		"rt_priority 0":                {0, 0},
		"rt_priority 50":               {50, 0},
		"busy_poll on":                 {1, 0},
		"busy_poll on\nrt_priority 0":  {0, 0},
		"busy_poll on\nrt_priority 50": {50, 1},
	} {
		c, warnings := mustParse(t, quick+"global_defs {\n"+text+"\n}")
		if c.Tunables.RTPriority != want.priority || len(warnings) != want.warnings {
			t.Errorf("%q: RTPriority = %d, warnings %q", text, c.Tunables.RTPriority, warnings)
		}
	}
}

func TestUOATrail(t *testing.T) {
	for text, want := range map[string]uint8{"": 3, "uoa_max_trail 0": 0, "uoa_max_trail 1": 1, "uoa_max_trail 255": 255} {
		c, warnings := mustParse(t, quick+"ipvs_defs { udp {\n"+text+"\n} }")
		if c.Tunables.UOATrail != want || len(warnings) != 0 {
			t.Errorf("%q: UOATrail = %d, warnings %q", text, c.Tunables.UOATrail, warnings)
		}
	}
}

func TestPortRange(t *testing.T) {
	tests := []struct {
		name, text  string
		first, last uint16
	}{
		{"not said", "", 1025, 65535},
		{"a part", "port_range 20000-29999", 20000, 29999},
		{"all there are", "port_range 1-65535", 1, 65535},
		{"one", "port_range 4000-4000", 4000, 4000},
		{"quoted", "port_range \"4000-4001\"", 4000, 4001},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, warnings := mustParse(t, quick+"sa_pool {\n"+tt.text+"\n}")
			if first, last := c.Boot.LocalPorts(); first != tt.first || last != tt.last {
				t.Errorf("local ports %d-%d, want %d-%d", first, last, tt.first, tt.last)
			}
			if len(warnings) != 0 {
				t.Errorf("warnings: %q", warnings)
			}
		})
	}
}

func TestParseMissingFile(t *testing.T) {
	_, _, err := Parse("testdata/none.conf")
	if want := "can't read testdata/none.conf: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("Parse = %v, want %s", err, want)
	}
}

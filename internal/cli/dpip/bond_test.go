package dpip

import (
	"strings"
	"testing"

	"weir/api/weirv1"
)

// bonded is a bond of three members: one carries traffic, one has no partner, one was taken out.
func bonded() *weirv1.Link {
	info := func(mac string, port, state uint32, words string) *weirv1.LACPInfo {
		return &weirv1.LACPInfo{SystemPriority: 65535, System: mac, Key: 309, PortPriority: 255, Port: port, State: state, StateWords: words}
	}
	return &weirv1.Link{
		Number: 4, Name: "bond0", Interface: "bond0", Driver: "bonding", Addr: "a0:36:9f:74:ec:f0", Mtu: 1500, RxQueues: 8, TxQueues: 8, Up: true, Speed: 10000, FullDuplex: true,
		Bond: &weirv1.Bond{
			Mode: 4, XmitPolicy: "layer34", MonitorInterval: 10, LinkUpDelay: 300, LinkDownDelay: 100, Primary: "dpdk1", LacpFast: true, AdSelect: "stable", SystemPriority: 65535, Aggregator: 1,
			Members: []*weirv1.BondMember{
				{Name: "dpdk0", Addr: "a0:36:9f:74:ec:f0", Up: true, Active: true, Speed: 10000, FullDuplex: true, Failures: 1, Lacp: &weirv1.LACPPort{
					Actor: info("a0:36:9f:74:ec:f0", 1, 63, "all"), Partner: info("02:00:00:00:00:02", 7, 61, "slow"), Receive: "CURRENT", Mux: "DISTRIBUTING",
					Heard: true, Aggregator: 1, ActorChurn: "none", PartnerChurn: "none", Rx: 5, Tx: 6, Markers: 1,
				}},
				{Name: "dpdk1", Addr: "a0:36:9f:74:ec:f1", Up: true, Lacp: &weirv1.LACPPort{
					Actor: info("a0:36:9f:74:ec:f0", 2, 71, "alone"), Partner: info("", 0, 0, ""), Receive: "DEFAULTED", Mux: "WAITING", Standby: true, ActorChurn: "monitoring", PartnerChurn: "none", Illegal: 2, Loops: 3,
				}},
				{Name: "dpdk2", Addr: "a0:36:9f:74:ec:f2", Out: true},
			},
		},
	}
}

const bondText = `    --- bonding status ---
    mode 4 mac_addr A0:36:9F:74:EC:F0 xmit_policy layer34 link_monitor 10ms
    ative/slaves 1/3 link_down_prop_delay 100ms link_up_prop_delay 300ms
    slaves: dpdk0(A0:36:9F:74:EC:F0, active) dpdk1(A0:36:9F:74:EC:F1, inactive, primary) dpdk2(A0:36:9F:74:EC:F2, out)
`

const bondDetailText = `    lacp_rate fast ad_select stable system_priority 65535 aggregator 1
    dpdk0: UP 10000 Mbps full-duplex failures 1
        aggregator 1 receive CURRENT mux DISTRIBUTING churn none partner-churn none
        actor   system 65535,A0:36:9F:74:EC:F0 key 309 port 255,1 state 63 (all)
        partner system 65535,02:00:00:00:00:02 key 309 port 255,7 state 61 (slow)
        lacpdus rx 5 tx 6 illegal 0 own 0 markers 1
    dpdk1: UP 0 Mbps half-duplex failures 0
        aggregator none standby receive DEFAULTED mux WAITING churn monitoring partner-churn none
        actor   system 65535,A0:36:9F:74:EC:F0 key 309 port 255,2 state 71 (alone)
        partner none: nothing is heard of it
        lacpdus rx 0 tx 0 illegal 2 own 3 markers 0
    dpdk2: DOWN 0 Mbps half-duplex failures 0
`

// TestBondStatus holds the layout of a bond's status.
func TestBondStatus(t *testing.T) {
	b := newBench(t)
	member := physical()
	member.Master = "bond0"
	for _, tc := range []struct {
		line string
		link *weirv1.Link
		want result
	}{
		{"link show bond0 status", bonded(), result{0, bondText, ""}},
		{"-v link show bond0 status", bonded(), result{0, bondText + bondDetailText, ""}},
		{"link show dpdk0 status", physical(), result{1, "", "dpip: dpdk0 is no bond: a bond is a bonding block in dpvs.conf\n"}},
		{"link show dpdk0 -v", member, result{0, physicalText + strings.Replace(detailText, "    Queue", "    bond\n    bond0\n    Queue", 1), ""}},
	} {
		t.Run(tc.line, func(t *testing.T) {
			b.workers = threeWorkers()
			b.links = func() []*weirv1.Link { return []*weirv1.Link{tc.link} }
			if got := b.run(t.Context(), strings.Fields(tc.line)...); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

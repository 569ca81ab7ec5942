package worker_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/internal/testkit/story"
)

// bursts are told in bursts, and numbers without identifications.
func bursts(why string) story.How  { return story.How{Bursts: true, Why: why} }
func numbers(why string) story.How { return story.How{Numbers: true, Why: why} }

// told are the stories that are told in another way than frame by frame with the same answers.
var told = map[string]story.How{
	"arp": {Differs: []story.Differs{{
		Answer: `lan > rs1: ip 192.168.1.200 > 192.168.1.2 ttl=63 / udp 1025 > 53 data=4
lan > rs1: arp request who=192.168.1.2 tell=192.168.1.1
forwarded=1 answered=1
`,
		Instead: `lan > rs1: ip 192.168.1.200 > 192.168.1.2 ttl=63 / udp 1025 > 53 data=4
forwarded=1
`,
		Why: "XDP asks nobody: the director does once a second",
	}}},
	"drops":        bursts("how many resets a worker sends in the time of a burst"),
	"kni":          bursts("how many frames Linux gets in the time of a burst"),
	"two_workers":  bursts("both workers have frames at once"),
	"two_workers6": bursts("both workers have frames at once"),
	"nat46":        numbers("IPv6 that becomes IPv4"),
	"nat64":        numbers("IPv6 that becomes IPv4"),
	"proxy6_udp":   numbers("IPv6 that becomes IPv4"),
	"uoa6":         numbers("IPv6 that becomes IPv4"),
}

// notCarried are the stories of which XDP forwards nothing, by the reason.
var notCarried = map[string]string{
	"no connection gets past its first packets, which are the workers'":                                           "all_ports all_ports6 defence defence6 dr6_waiting dr_waiting full no_route_back no_route_back6 offload64 persistence persistence6 persistence_workers sched_hash sched_least sched_quic thresholds thresholds6 tunnel_from tunnel_numbers",
	"its packets open, close and reset connections, or are of real servers that left":                             "dest_check dest_check6 quiescent quiescent6 reused_port reused_port6",
	"nothing is forwarded that has a flow: packets for the director itself, for Linux, for others, or wrong ones": "drops forward6 icmp_own kni kni6 nd ping6 too_big6",
	"fragments are the workers'": "fragments fragments6",
	"ICMP is the workers', and the flows it is about are at their first packets": "icmp_errors icmp_errors6 icmp_errors64 tunnel_errors",
	"SCTP, GRE and IP in IP are the workers'":                                    "sctp sctp6 sctp_full sctp_snat sctp_snat6 snat_gre tunnel_devices tunnel_devices6 tunnel_fnat",
	"the client's address has still to be told, or sequence numbers have moved":  "proxy_tcp proxy6_tcp",
	"each flow has a packet each way at most, or a ping's":                       "snat snat6 vlan vlan6",
}

// TestOffloadedStories tells the stories with offload on: XDP forwards what it can.
func TestOffloadedStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	carried, ran := map[string]uint64{}, map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		carried[name] = 0
		t.Run(name, func(t *testing.T) {
			ran[name] = true
			c := story.RunCarried(t, file, told[name])
			carried[name] = c.Frames
			t.Logf("XDP forwarded %d frames, and left others for %v", c.Frames, c.Left)
		})
	}
	for name := range told {
		if _, is := carried[name]; !is {
			t.Errorf("told says how %s is told, which is no story", name)
		}
	}
	if len(ran) < len(carried) || t.Failed() {
		return
	}
	for _, bad := range badCarriedList(carried, notCarried) {
		t.Error(bad)
	}
}

// badCarriedList returns a sentence for each story of which XDP forwards nothing and nobody says
// why, and for each that is listed and need not, or can't, be.
func badCarriedList(carried map[string]uint64, reasons map[string]string) (bad []string) {
	listed := map[string]bool{}
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		for _, name := range strings.Fields(reasons[why]) {
			switch n, is := carried[name]; {
			case !is:
				bad = append(bad, fmt.Sprintf("notCarried says why XDP forwards nothing of %s, which is no story", name))
			case why == "":
				bad = append(bad, fmt.Sprintf("notCarried does not say why XDP forwards nothing of %s", name))
			case n > 0:
				bad = append(bad, fmt.Sprintf("XDP forwards %d frames of %s: it need not be in notCarried", n, name))
			case listed[name]:
				bad = append(bad, fmt.Sprintf("%s is in notCarried twice", name))
			}
			listed[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(carried)) {
		if carried[name] == 0 && !listed[name] {
			bad = append(bad, fmt.Sprintf("XDP forwards nothing of %s, and notCarried does not say why", name))
		}
	}
	return bad
}

func TestCarriedLawCanFail(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reasons map[string]string
		want    string
	}{
		{"fine", map[string]string{"why": "none"}, ""},
		{"nobody says why", nil, "XDP forwards nothing of none, and notCarried does not say why"},
		{"no reason", map[string]string{"": "none"}, "notCarried does not say why XDP forwards nothing of none"},
		{"stale", map[string]string{"why": "none some"}, "XDP forwards 3 frames of some: it need not be in notCarried"},
		{"gone", map[string]string{"why": "none other"}, "notCarried says why XDP forwards nothing of other, which is no story"},
		{"twice", map[string]string{"why": "none", "x": "none"}, "none is in notCarried twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(badCarriedList(map[string]uint64{"none": 0, "some": 3}, tt.reasons), "\n"); got != tt.want {
				t.Errorf("law says %q, want %q", got, tt.want)
			}
		})
	}
}

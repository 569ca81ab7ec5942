package ipvsadm

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"weir/api/weirv1"
)

// TestMatches: what is read is saved as it was written, or in full, and listed as
// DPVS lists it.
func TestMatches(t *testing.T) {
	for _, row := range []struct{ in, saved, listed string }{
		{
			"proto=tcp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1", "",
			"tcp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1",
		},
		{"proto=icmp,src-range=192.168.100.0-192.168.100.254,oif=dpdk1", "", "icmp,from=192.168.100.0-192.168.100.254:0-0,oif=dpdk1"},
		{
			"proto=tcp,src-range=192.168.0.0-192.168.0.254,dst-range=0.0.0.0:1-1024,oif=dpdk1",
			"proto=tcp,src-range=192.168.0.0-192.168.0.254,dst-range=0.0.0.0-0.0.0.0:1-1024,oif=dpdk1",
			"tcp,from=192.168.0.0-192.168.0.254:0-0,to=0.0.0.0-0.0.0.0:1-1024,oif=dpdk1",
		},
		{"proto=udp,src-range=10.0.0.1,iif=dpdk0", "proto=udp,src-range=10.0.0.1-10.0.0.1,iif=dpdk0", "udp,from=10.0.0.1-10.0.0.1:0-0,iif=dpdk0"},
		{"proto=udp,dst-range=10.0.0.1:53", "proto=udp,dst-range=10.0.0.1-10.0.0.1:53-53", "udp,to=10.0.0.1-10.0.0.1:53-53"},
		{"proto=udp,af=ipv4,iif=dpdk0,oif=dpdk1", "", "udp,iif=dpdk0,oif=dpdk1"},
		{"proto=icmpv6,src-range=[2001:db8:1::-2001:db8:1::ffff],oif=dpdk1", "", "icmpv6,from=[2001:db8:1::-2001:db8:1::ffff]:0-0,oif=dpdk1"},
		{
			"proto=udp,src-range=[2001:db8::1],dst-range=[::]:53,iif=dpdk0", "proto=udp,src-range=[2001:db8::1-2001:db8::1],dst-range=[::-::]:53-53,iif=dpdk0",
			"udp,from=[2001:db8::1-2001:db8::1]:0-0,to=[::-::]:53-53,iif=dpdk0",
		},
		{"proto=tcp,af=ipv6,oif=dpdk1", "", "tcp,af=ipv6,oif=dpdk1"},
		{"proto=tcp,src-range=[2001:db8::1-2001:db8::9]:1-2", "", "tcp,from=[2001:db8::1-2001:db8::9]:1-2"},
	} {
		m, p, ok := parseMatch(row.in)
		if !ok {
			t.Errorf("%s can't be read", row.in)
			continue
		}
		k := &weirv1.ServiceKey{Protocol: p, Match: m}
		want := row.saved
		if want == "" {
			want = row.in
		}
		if got := matchWords(k); got != want {
			t.Errorf("%s is saved as %s", row.in, got)
		}
		if got := matchName(k); got != row.listed {
			t.Errorf("%s is listed as %s, want %s", row.in, got, row.listed)
		}
		again, p2, ok := parseMatch(matchWords(k))
		if !ok || p2 != p || !proto.Equal(again, m) {
			t.Errorf("%s comes back as %v", row.in, again)
		}
	}
}

// TestMapping: it is listed behind the scheduler, and saved.
func TestMapping(t *testing.T) {
	s := &weirv1.Service{
		Key:       &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_UDP, Match: &weirv1.Match{Family: 4, Oif: "dpdk1"}},
		Scheduler: "sh", EndpointIndependent: true,
		Dests: []*weirv1.Dest{{Address: "123.1.2.3", Forward: weirv1.Forward_FORWARD_SNAT, Weight: 1}},
	}
	if got := flags(s); got != " endpoint-independent" {
		t.Errorf("listed as %q", got)
	}
	want := "-A -H proto=udp,af=ipv4,oif=dpdk1 -s sh --mapping endpoint-independent\n-a -H proto=udp,af=ipv4,oif=dpdk1 -r 123.1.2.3:0 -J -w 1\n"
	if got := strings.Join(serviceLines(s), ""); got != want {
		t.Errorf("saved as\n%swant\n%s", got, want)
	}
	l, err := parse(t.Context(), strings.Fields(strings.SplitN(want, "\n", 2)[0]), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Dests = nil
	if !proto.Equal(l.service, s) {
		t.Errorf("comes back as %v", l.service)
	}
}

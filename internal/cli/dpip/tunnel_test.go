package dpip

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"weir/api/weirv1"
)

func TestTunnelChanges(t *testing.T) {
	add := func(m *weirv1.Tunnel) proto.Message { return &weirv1.AddTunnelRequest{Tunnel: m} }
	b := newBench(t)
	for _, tc := range []struct {
		line string
		want proto.Message
	}{
		// The tutorial's own lines.
		{"tunnel add mode ipip ipip1 local 1.1.1.1 remote 2.2.2.2", add(&weirv1.Tunnel{Name: "ipip1", Mode: "ipip", Local: "1.1.1.1", Remote: "2.2.2.2"})},
		{"tunnel add gre1 mode gre local 1.1.1.1 remote 2.2.2.2 dev dpdk0",
			add(&weirv1.Tunnel{Name: "gre1", Mode: "gre", Local: "1.1.1.1", Remote: "2.2.2.2", Device: "dpdk0"})},

		{"tunnel add gre1 kind gre local any remote 2.2.2.2 ttl inherit tos inherit", add(&weirv1.Tunnel{Name: "gre1", Mode: "gre", Remote: "2.2.2.2", Tos: 1})},
		{"tunnel add type gre local 2001:db8::1 remote 2001:db8::2 ttl 9 tos 0x10 name gre6",
			add(&weirv1.Tunnel{Name: "gre6", Mode: "gre", Local: "2001:db8::1", Remote: "2001:db8::2", Ttl: 9, Tos: 16})},
		{"tunnel add gre1 mode gre key 0.0.1.2 seq csum", add(&weirv1.Tunnel{Name: "gre1", Mode: "gre",
			In: &weirv1.TunnelWords{Keyed: true, Key: 258, Sequence: true, Checksum: true}, Out: &weirv1.TunnelWords{Keyed: true, Key: 258, Sequence: true, Checksum: true}})},
		{"tunnel add gre1 mode gre ikey 1 okey 4294967295 icsum oseq", add(&weirv1.Tunnel{Name: "gre1", Mode: "gre",
			In: &weirv1.TunnelWords{Keyed: true, Key: 1, Checksum: true}, Out: &weirv1.TunnelWords{Keyed: true, Key: 4294967295, Sequence: true}})},
		{"-6 tunnel add mode ipip t6 remote 2001:db8::2", add(&weirv1.Tunnel{Name: "t6", Mode: "ipip", Remote: "2001:db8::2"})},
		{"tunnel change gre1 remote 3.3.3.3 ttl 9", &weirv1.ChangeTunnelRequest{Tunnel: &weirv1.Tunnel{Name: "gre1", Remote: "3.3.3.3", Ttl: 9}, Fields: []string{"remote", "ttl"}}},
		{"tunnel change gre1 remote any", &weirv1.ChangeTunnelRequest{Tunnel: &weirv1.Tunnel{Name: "gre1"}, Fields: []string{"remote"}}},
		{"tunnel replace gre1 mode gre remote 3.3.3.3", &weirv1.ChangeTunnelRequest{Tunnel: &weirv1.Tunnel{Name: "gre1", Mode: "gre", Remote: "3.3.3.3"}}},
		{"tunnel del gre1", &weirv1.DeleteTunnelRequest{Name: "gre1"}},
		{"tunnel del gre1 mode gre local 1.1.1.1 remote 2.2.2.2", &weirv1.DeleteTunnelRequest{Name: "gre1"}},
	} {
		got := b.run(t.Context(), strings.Fields(tc.line)...)
		calls := b.take()
		if got != (result{}) || len(calls) != 1 || !proto.Equal(calls[0], tc.want) {
			t.Errorf("dpip %s: %+v, asked %v, want %v", tc.line, got, calls, tc.want)
		}
	}
}

func TestTunnelRefused(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct{ line, want string }{
		{"tunnel add gre1 local 1.1.1.1 remote 2.2.2.2", "missing tunnel type."},
		{"tunnel add mode gre local 1.1.1.1 remote 2.2.2.2", "missing tunnel dev name."},
		{"tunnel change mode gre", "missing tunnel dev name."},
		{"tunnel del", "missing tunnel dev name."},
		{"tunnel change gre1", "nothing to change"},
		{"tunnel add gre1 mode gre remote x", "invalid remote address: `x'"},
		{"tunnel add gre1 mode gre local 1.1.1.1/24", "invalid local address: `1.1.1.1/24'"},
		{"tunnel add gre1 mode gre local 224.0.0.1", "multicast"},
		{"tunnel add gre1 mode gre gre2", "Is `gre1' or `gre2' garbage ?"},
		{"tunnel add gre1 mode gre gre2 gre3", "Is `gre1' or `gre2' garbage ?"},
		{"tunnel add gre1 mode vti", `invalid tunnel type "vti"`},
		{"tunnel add gre1 mode gre ttl 0", `invalid ttl "0"`},
		{"tunnel add gre1 mode gre ttl 256", `invalid ttl "256"`},
		{"tunnel add gre1 mode gre tos x", `invalid tos "x"`},
		{"tunnel add gre1 mode gre key 1.2.3", `invalid key "1.2.3"`},
		{"tunnel add gre1 mode gre key", "missing argument for `key'"},
		{"tunnel add gre1 mode gre seq seq", "given twice"},
		{"-6 tunnel add gre1 mode gre remote 2.2.2.2", "leave -6 out"},
		{"tunnel flush", "invalid command flush"},
	} {
		got := b.run(t.Context(), strings.Fields(tc.line)...)
		if got.code != 1 || !strings.HasPrefix(got.stderr, "dpip: ") || !strings.Contains(got.stderr, tc.want) || len(b.take()) != 0 {
			t.Errorf("dpip %s: %+v, want %q", tc.line, got, tc.want)
		}
	}
}

func TestTunnelShow(t *testing.T) {
	b := newBench(t)
	b.tunnels = []*weirv1.Tunnel{
		{Name: "gre1", Mode: "gre", Local: "1.1.1.1", Remote: "2.2.2.2", Device: "dpdk0"},
		{Name: "ipip1", Mode: "ipip", Local: "1.1.1.1", Ttl: 9, Tos: 16},
		{Name: "gre6", Mode: "gre", Local: "2001:db8::1", Remote: "2001:db8::2", Tos: 1,
			In: &weirv1.TunnelWords{Keyed: true, Key: 7, Checksum: true}, Out: &weirv1.TunnelWords{Keyed: true, Key: 258, Sequence: true}},
	}
	const gre1 = "gre1:  gre remote 2.2.2.2 local 1.1.1.1 dev dpdk0 ttl inherit\n"
	const ipip1 = "ipip1: ipip remote any local 1.1.1.1 ttl 9 tos 0x10\n"
	const gre6 = "gre6:  gre remote 2001:db8::2 local 2001:db8::1 ttl inherit tos inherit i_flags 0x5 o_flags 0xc i_key 0x7 o_key 0x102\n"
	for _, tc := range []struct{ line, want string }{
		{"tunnel show", gre1 + ipip1 + gre6},
		{"tunnel show mode gre", gre1 + gre6},
		{"-6 tunnel show", gre6},
		{"-4 tunnel show dev dpdk0", gre1},
		{"tunnel list remote 2.2.2.2", gre1},
	} {
		if got := b.run(t.Context(), strings.Fields(tc.line)...); got != (result{0, tc.want, ""}) {
			t.Errorf("dpip %s: %+v\nwant %s", tc.line, got, tc.want)
		}
	}
}

package worker_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/testkit/words"
	"weir/internal/wire"
)

// association is one of many, as its test sees it.
type association struct {
	client uint16
	local  uint16 // what the director chose
}

// sctpFamily is what the test says in either family.
type sctpFamily struct {
	name                        string
	ip, client, vip, local, own string
	real                        string
	l3                          int // length of the IP header
}

var sctpFamilies = []sctpFamily{
	{"IPv4", "ip", "5.6.7.8", "10.0.0.100", "192.168.1.200", "10.0.0.100/32", "192.168.1.2", wire.IPv4MinLen},
	{"IPv6", "ip6", "2001:db8:a::8", "2001:db8::100", "2001:db8:1::200", "2001:db8::100/128", "2001:db8:1::2", wire.IPv6Len},
}

// TestNoAssociationIsLost: two workers, and each packet of many associations comes in
// on one of them by chance, in any order. Every packet arrives, with the ports of its
// association and a right checksum; all are established at once; and when their time is
// over nothing is left of them.
func TestNoAssociationIsLost(t *testing.T) {
	const many = 300
	for _, f := range sctpFamilies {
		t.Run(f.name, func(t *testing.T) {
			key := spec.ServiceKey{Proto: spec.SCTP, Virtual: netip.AddrPortFrom(netip.MustParseAddr(f.vip), 80)}
			w := newWorld(t, 2, 1024, 2000, func(s *spec.Spec) { serveSCTP(t, s, &f, key) })
			rnd := rand.New(rand.NewPCG(1, 2))
			all := make([]association, many)
			for i := range all {
				all[i].client = uint16(20000 + i)
			}
			in := func(chunks string) {
				t.Helper()
				w.everybody(t, rnd, &f, all, func(a *association) string {
					return fmt.Sprintf("%s %s > %s / sctp %d > 80 %s", f.ip, f.client, f.vip, a.client, chunks)
				}, func(a *association, s wire.SCTP) bool {
					if a.local == 0 {
						a.local = s.SrcPort()
					}
					return s.SrcPort() == a.local && s.DstPort() == 5000
				})
			}
			out := func(chunks string) {
				t.Helper()
				w.everybody(t, rnd, &f, all, func(a *association) string {
					return fmt.Sprintf("%s %s > %s / sctp 5000 > %d %s", f.ip, f.real, f.local, a.local, chunks)
				}, func(a *association, s wire.SCTP) bool { return s.SrcPort() == 80 && s.DstPort() == a.client })
			}
			in("tag=0 <init 7>")
			out("tag=7 <init-ack 9>")
			in("tag=9 <cookie-echo 0x01020304,data 20>")
			out("tag=7 <cookie-ack,data 3>")
			for range 3 {
				in("tag=9 <sack 0x000000010000ffff00000000,data 100>")
				out("tag=7 <data 50,data 7>")
			}
			if active, inactive := w.load(t, key); active != many || inactive != 0 {
				t.Fatalf("%d active and %d inactive associations of %d", active, inactive, many)
			}
			seen := map[uint16]bool{}
			for _, a := range all {
				seen[a.local] = true
			}
			if len(seen) != many {
				t.Errorf("%d local ports", len(seen))
			}
			in("tag=9 <shutdown 0x00000001>")
			out("tag=7 <shutdown-ack>")
			in("tag=9 <shutdown-complete>")
			if active, inactive := w.load(t, key); active != 0 || inactive != many {
				t.Errorf("%d active and %d inactive associations of %d that are over", active, inactive, many)
			}
			var s stat.Worker
			for _, l := range w.Lanes() {
				if l.Stats().NewConns == 0 {
					t.Error("one worker did all the work")
				}
			}
			for range 70 {
				w.nanos += 1e9
				w.breathe()
			}
			for _, l := range w.Lanes() {
				s.Add(l.Stats())
			}
			if s.NewConns != many || s.Expired != many {
				t.Errorf("%d connections, %d expired, of %d", s.NewConns, s.Expired, many)
			}
			if used, _, _, ok := w.LocalCounts(netip.MustParseAddr(f.local)); !ok || used != 0 {
				t.Errorf("%d local ports are not given back (%v)", used, ok)
			}
			if active, inactive := w.load(t, key); active != 0 || inactive != 0 {
				t.Errorf("%d active and %d inactive associations are left", active, inactive)
			}
			w.check()
		})
	}
}

// serveSCTP adds a full-NAT service to a world, whose clients are beyond lan.
func serveSCTP(t *testing.T, s *spec.Spec, f *sctpFamily, key spec.ServiceKey) {
	via := netip.MustParseAddr(f.real)
	beyond, err := netip.MustParseAddr(f.client).Prefix(24)
	if err != nil {
		t.Fatal(err)
	}
	if s.FindAddress(key.Virtual.Addr()) == nil {
		err = s.AddAddress(spec.Address{Port: "wan", Prefix: netip.MustParsePrefix(f.own)}, false)
	}
	if beyond.Addr().Is6() {
		beyond = netip.PrefixFrom(netip.MustParseAddr("2001:db8:a::"), 48)
	}
	_ = s.DeleteService(key) // the world may have it already
	for _, e := range []error{
		err,
		s.AddRoute(spec.Route{Prefix: beyond, Port: "lan", Via: via}),
		s.AddService(spec.Service{ServiceKey: key, Scheduler: "rr"}),
		s.AddDest(key, spec.Dest{Addr: netip.AddrPortFrom(via, 5000), Forward: spec.FullNAT, Weight: 1}),
	} {
		if e != nil {
			t.Fatal(e)
		}
	}
	if _, err := s.AddLocal(key, spec.LocalAddress{Addr: netip.MustParseAddr(f.local), Port: "lan"}); err != nil {
		t.Fatal(err)
	}
}

// everybody sends a packet of each association, in any order, and sees each arrive.
func (w *world) everybody(t *testing.T, rnd *rand.Rand, f *sctpFamily, all []association, line func(*association) string, arrives func(*association, wire.SCTP) bool) {
	t.Helper()
	order := rnd.Perm(len(all))
	for len(order) > 0 {
		// Where many wait before one queue at once, the workers breathe in turn; a
		// few at a time so that what leaves can be told apart.
		batch := order[:1+rnd.IntN(min(port.Burst, len(order)))]
		order = order[len(batch):]
		got := 0
		w.drainAll(func([]byte) { t.Fatal("a frame nobody asked for") })
		for _, i := range batch {
			frame, err := words.Parse(line(&all[i]), nil, macRS, words.MAC(macLan))
			if err != nil {
				t.Fatal(err)
			}
			w.put(w.lan, rnd.IntN(2), frame)
			if all[i].local == 0 { // only by what comes out do we learn whose it is
				w.breathe()
				w.drainAll(func(d []byte) { got += w.arrived(t, f, d, &all[i], arrives) })
			}
		}
		w.breathe()
		w.drainAll(func(d []byte) {
			for _, i := range batch {
				if s := wire.SCTP(d[wire.EthernetLen+f.l3:]); arrives(&all[i], s) {
					got += w.arrived(t, f, d, &all[i], arrives)
					return
				}
			}
			t.Fatalf("for nobody: %s", words.Print(words.Frame{Data: d}, nil))
		})
		if got != len(batch) {
			t.Fatalf("%d of %d packets arrived", got, len(batch))
		}
	}
}

func (w *world) arrived(t *testing.T, f *sctpFamily, d []byte, a *association, arrives func(*association, wire.SCTP) bool) int {
	t.Helper()
	s := wire.SCTP(d[wire.EthernetLen+f.l3:])
	if !arrives(a, s) || !s.ChecksumOK() || binary.BigEndian.Uint16(d[12:14]) == 0 {
		t.Fatalf("%s", words.Print(words.Frame{Data: d}, nil))
	}
	return 1
}

// load is what a service's real servers bear.
func (w *world) load(t *testing.T, key spec.ServiceKey) (active, inactive int64) {
	t.Helper()
	views, err := w.Services(func(k spec.ServiceKey) bool { return k == key })
	if err != nil || len(views) != 1 {
		t.Fatalf("%d services, %v", len(views), err)
	}
	for _, d := range views[0].Dests {
		active += int64(d.Active)
		inactive += int64(d.Inactive)
	}
	return active, inactive
}

// TestQuoteOfAnAssociation: an ICMP error that quotes but the beginning of a packet
// bears the checksum that its reader gave the whole.
func TestQuoteOfAnAssociation(t *testing.T) {
	w := newWorld(t, 1, 256, 100, nil)
	w.wan.Inject(frame(t, "ip 1.2.3.4 > 10.0.0.100 / sctp 40000 > 80 tag=0 <init 7>", false))
	w.breathe()
	w.drain(w.lan, nil)
	sent := frame(t, "ip 192.168.1.2 > 192.168.1.200 / sctp 80 > 1025 tag=7 <data 1400>", true)
	w.wan.Inject(frame(t, "ip 7.7.7.7 > 10.0.0.100 / icmp frag-needed mtu=1400 cut=60 / ip 10.0.0.100 > 1.2.3.4 df / sctp 80 > 40000 tag=7 <data 1400>", false))
	w.breathe()
	const quoted = wire.EthernetLen + 20 + 8 + 20
	n := w.drain(w.lan, func(d []byte) {
		got, want := wire.SCTP(d[quoted:]), wire.SCTP(sent[wire.EthernetLen+20:])
		if len(got) != 40 || got.DstPort() != want.DstPort() || got.Checksum() != want.Checksum() {
			t.Errorf("%s: checksum %#x, want %#x", words.Print(words.Frame{Data: d}, nil), got.Checksum(), want.Checksum())
		}
	})
	if n != 1 {
		t.Errorf("%d errors came through", n)
	}
}

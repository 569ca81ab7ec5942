package sched

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write down what mh chooses now")

var hashing = []Kind{SH, DH, MH, Conhash}

// farm makes n servers of weights that weight gives, and their candidates.
func farm(n int, weight func(i int) uint32) ([]Server, []Candidate) {
	ss, cs := make([]Server, n), make([]Candidate, n)
	a := netip.MustParseAddr("192.168.0.1")
	for i := range ss {
		ss[i] = Server{netip.AddrPortFrom(a, uint16(80+i%3)), weight(i)}
		cs[i] = Candidate{Weight: ss[i].Weight, Load: &Load{}}
		a = a.Next()
	}
	return ss, cs
}

func equally(int) uint32 { return 1 }

func fill(c *Candidate) { c.Limit = 1; c.Load.Active.Store(1) }

func v4(n uint32) Addr { return IPv4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) }

// shares returns how many slots each server has.
func shares(slots []uint16, n int) []int {
	got := make([]int, n)
	for _, i := range slots {
		got[i]++
	}
	return got
}

// TestMaglevAgainstTurns holds the table to the slow way: whole permutations, and
// round after round in which each server takes a slot if its share is due.
func TestMaglevAgainstTurns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 9))
	for _, m := range []int{7, 251, 1021} {
		for range 60 {
			ss, _ := farm(1+rnd.IntN(12), func(int) uint32 { return uint32(rnd.IntN(4) * rnd.IntN(40)) })
			rnd.Shuffle(len(ss), func(i, j int) { ss[i], ss[j] = ss[j], ss[i] })
			order := Build(Config{Kind: DH, Servers: ss}, nil).order
			most := 0
			for _, s := range ss {
				most = max(most, int(s.Weight))
			}
			got := maglev(ss, order, uint32(m))
			if most == 0 {
				if got != nil {
					t.Fatal("a table of servers without weight")
				}
				continue
			}
			want, left := make([]int, m), m
			for i := range want {
				want[i] = None
			}
			taken := make([]int, len(ss))
			for round := 0; left > 0; round++ {
				for _, i := range order {
					// Due is round·weight/most, begun ones included.
					for left > 0 && ss[i].Weight > 0 && taken[i]*most < (round+1)*int(ss[i].Weight) {
						a, port := AddrOf(ss[i].Addr.Addr()), uint64(ss[i].Addr.Port())
						at := scale(hash(forOffset, a, port), m)
						for want[at] != None {
							at = (at + 1 + scale(hash(forSkip, a, port), m-1)) % m
						}
						want[at] = int(i)
						taken[i]++
						left--
					}
				}
			}
			for at := range got {
				if int(got[at]) != want[at] {
					t.Fatalf("servers %v: slot %d of %d is of %d, want %d", ss, at, m, got[at], want[at])
				}
			}
		}
	}
}

// TestMaglevShares: everyone's share is its weight's, within 1 % or one slot.
func TestMaglevShares(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 9))
	for _, row := range []struct {
		name   string
		n      int
		weight func(i int) uint32
	}{
		{"1 2 3", 3, func(i int) uint32 { return uint32(i + 1) }},
		{"100 equal", 100, equally},
		{"100 of 1 to 100", 100, func(i int) uint32 { return uint32(i + 1) }},
		{"20 at random", 20, func(int) uint32 { return 1 + rnd.Uint32N(65535) }},
		{"one heavy", 50, func(i int) uint32 { return uint32(1 + i/49*65534) }},
		{"1000 equal", 1000, equally},
	} {
		t.Run(row.name, func(t *testing.T) {
			ss, _ := farm(row.n, row.weight)
			_, sum := heaviest(ss)
			for i, n := range shares(Build(Config{Kind: MH, Servers: ss}, nil).slots, len(ss)) {
				due := float64(ss[i].Weight) * maglevSlots / float64(sum)
				if off := math.Abs(float64(n) - due); off > max(1, due/100) {
					t.Errorf("server %d of weight %d has %d slots, %.1f are its share", i, ss[i].Weight, n, due)
				}
			}
		})
	}
}

// TestMaglevDisruption: when one of 100 servers goes, under 2 % of the others'
// clients move; weight 0 is the same as gone; full moves none of the others'.
func TestMaglevDisruption(t *testing.T) {
	for _, row := range []struct {
		name   string
		weight func(i int) uint32
	}{{"equal", equally}, {"of 1 to 10", func(i int) uint32 { return uint32(1 + i%10) }}} {
		t.Run(row.name, func(t *testing.T) {
			ss, cs := farm(100, row.weight)
			before := Build(Config{Kind: MH, Servers: ss}, nil)
			worst := 0.0
			for gone := 0; gone < len(ss); gone += 16 {
				less := slices.Clone(ss)
				less[gone].Weight = 0
				after := Build(Config{Kind: MH, Servers: less}, nil)
				without := Build(Config{Kind: MH, Servers: slices.Delete(slices.Clone(ss), gone, gone+1)}, nil)
				moved, others := 0, 0
				for at, i := range before.slots {
					if j := int(without.slots[at]); j+b2i(j >= gone) != int(after.slots[at]) {
						t.Fatalf("server %d: weight 0 is not the same as gone", gone)
					}
					if int(i) != gone {
						others++
						moved += b2i(after.slots[at] != i)
					}
				}
				worst = max(worst, float64(moved)/float64(others))
			}
			t.Logf("at most %.2f %% of the others' slots moved", 100*worst)
			if worst >= 0.02 {
				t.Errorf("%.2f %% of the others' slots moved", 100*worst)
			}
			fill(&cs[5])
			was := before.slots
			for n := range uint32(20000) {
				k := Key{Client: v4(n * 2654435761)}
				home := int(was[scale(hash(forClient, k.Client, 0), maglevSlots)])
				if got := before.Pick(&k, cs); (got == home) != (home != 5) || got == None {
					t.Fatalf("client %d of server %d went to %d while 5 is full", n, home, got)
				}
			}
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestMaglevGolden: what mh chooses is written down. If it changes, clients of
// running services change servers, and directors of two versions disagree.
func TestMaglevGolden(t *testing.T) {
	ss, cs := farm(7, func(i int) uint32 { return uint32(i) })
	table := Build(Config{Kind: MH, Servers: ss}, nil)
	var b strings.Builder
	h := sha256.New()
	for _, i := range table.slots {
		fmt.Fprintln(h, ss[i].Addr)
	}
	fmt.Fprintf(&b, "%d slots, SHA-256 of their servers, a line each: %x\n", len(table.slots), h.Sum(nil))
	for i, n := range shares(table.slots, len(ss)) {
		fmt.Fprintf(&b, "%s weight %d: %d slots\n", ss[i].Addr, ss[i].Weight, n)
	}
	for n := range 40 {
		a := netip.AddrFrom4([4]byte{10, byte(n * n), byte(n / 2), byte(n)})
		if n >= 32 {
			a = netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 7: byte(n * 7), 15: byte(n)})
		}
		k := Key{Client: AddrOf(a), Port: uint16(40000 + n)}
		byPort := Build(Config{Kind: MH, ByPort: true, Servers: ss}, nil)
		fmt.Fprintf(&b, "%s: %s, with port %d %s\n", a, ss[table.Pick(&k, cs)].Addr, k.Port, ss[byPort.Pick(&k, cs)].Addr)
	}
	const file = "testdata/mh.golden"
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != b.String() {
		t.Errorf("mh chooses differently (%v):\n%s", err, b.String())
	}
}

// TestTablesDoNotDependOnOrder: two directors on which the same servers were added
// in different order agree on every client.
func TestTablesDoNotDependOnOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 9))
	for _, kind := range hashing {
		t.Run(kind.String(), func(t *testing.T) {
			for range 5 {
				ss, cs := farm(1+rnd.IntN(20), func(int) uint32 { return uint32(rnd.IntN(5)) })
				for i := range cs {
					if rnd.IntN(4) == 0 {
						fill(&cs[i])
					}
				}
				perm := rnd.Perm(len(ss))
				ss2, cs2 := make([]Server, len(ss)), make([]Candidate, len(ss))
				for i, j := range perm {
					ss2[j], cs2[j] = ss[i], cs[i]
				}
				one, two := Build(Config{Kind: kind, Servers: ss}, nil), Build(Config{Kind: kind, Servers: ss2}, nil)
				for range 500 {
					k := Key{Client: v4(rnd.Uint32()), Virtual: v4(rnd.Uint32())}
					i, j := one.Pick(&k, cs), two.Pick(&k, cs2)
					if (i == None) != (j == None) || i != None && perm[i] != j {
						t.Fatalf("one director chose %d, the other %d", i, j)
					}
				}
			}
		})
	}
}

// TestHashingWithFullServers: a client is refused only if nobody is usable (dh: if
// its own is not), keeps its server while that is usable, and otherwise always
// gets the same other one.
func TestHashingWithFullServers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 9))
	for _, kind := range hashing {
		t.Run(kind.String(), func(t *testing.T) {
			for range 60 {
				ss, cs := farm(1+rnd.IntN(30), func(int) uint32 { return uint32(rnd.IntN(3)) })
				table := Build(Config{Kind: kind, Servers: ss}, nil)
				k := Key{Client: v4(rnd.Uint32()), Virtual: v4(rnd.Uint32()), ID: uint64(rnd.IntN(2)) * rnd.Uint64()}
				home := table.Pick(&k, cs)
				usable := 0
				for i := range cs {
					if i != home && rnd.IntN(3) > 0 {
						fill(&cs[i])
					}
					usable += b2i(cs[i].Usable())
				}
				if got := table.Pick(&k, cs); got != home {
					t.Fatalf("the client went to %d, then to %d, and %d has room", home, got, home)
				}
				if home == None {
					if usable > 0 && kind != DH {
						t.Fatalf("refused, with %d usable servers", usable)
					}
					continue
				}
				fill(&cs[home])
				got := table.Pick(&k, cs)
				switch {
				case got != table.Pick(&k, cs):
					t.Fatal("the second choice changes")
				case kind == DH || usable == 1:
					if got != None {
						t.Fatalf("went to %d", got)
					}
				case got == None || !cs[got].Usable():
					t.Fatalf("went to %d, with %d usable servers", got, usable-1)
				}
			}
		})
	}
}

// TestHashingOneOfMany: when only one of 1000 has room, it is found.
func TestHashingOneOfMany(t *testing.T) {
	for _, kind := range []Kind{SH, MH, Conhash} {
		ss, cs := farm(1000, equally)
		for i := range cs {
			if i != 777 {
				fill(&cs[i])
			}
		}
		table := Build(Config{Kind: kind, Servers: ss}, nil)
		for n := range uint32(300) {
			if got := table.Pick(&Key{Client: v4(n << 11)}, cs); got != 777 {
				t.Fatalf("%s: client %d went to %d", kind, n, got)
			}
		}
	}
}

func TestHashingNobody(t *testing.T) {
	for _, kind := range hashing {
		for _, weights := range [][]uint32{nil, {0}, {0, 0, 0}} {
			ss, cs := farm(len(weights), func(i int) uint32 { return weights[i] })
			if got := Build(Config{Kind: kind, Servers: ss}, nil).Pick(&Key{Client: v4(1), Virtual: v4(2)}, cs); got != None {
				t.Errorf("%s of %v picked %d", kind, weights, got)
			}
		}
	}
}

// TestBuckets holds sh and dh to LVS's tables, written out: servers in order, a
// row of buckets for each (sh: as many as its weight), anew until 256 are full.
func TestBuckets(t *testing.T) {
	ss, cs := farm(4, func(i int) uint32 { return []uint32{3, 0, 1, 100}[i] })
	for _, row := range []struct {
		kind Kind
		rows []int
	}{{SH, []int{3, 1, 1, 100}}, {DH, []int{1, 1, 1, 1}}} {
		var want []uint16
		for len(want) < 256 {
			for i, n := range row.rows {
				want = append(want, slices.Repeat([]uint16{uint16(i)}, n)...)
			}
		}
		want = want[:256]
		table := Build(Config{Kind: row.kind, Servers: ss}, nil)
		if !slices.Equal(table.slots, want) {
			t.Errorf("%s: %v", row.kind, table.slots)
		}
		for n := range uint32(5000) {
			addr := n * 2654435761
			at := addr * 0x61C88647 >> 24 // hash_32(addr, 8)
			k := Key{Client: v4(addr), Virtual: v4(1)}
			if row.kind == DH {
				k = Key{Client: v4(1), Virtual: v4(addr)}
			}
			home := int(want[at])
			if home == 1 { // weight 0: sh-fallback, offset by offset
				home = None
				for off := uint32(0); off < 256 && row.kind == SH && home == None; off++ {
					if i := int(want[((off+at)%256+at)%256]); i != 1 {
						home = i
					}
				}
			}
			if got := table.Pick(&k, cs); got != home {
				t.Fatalf("%s: %#x went to %d, want %d", row.kind, addr, got, home)
			}
		}
	}
}

// TestBucketsGrow: weights that 256 buckets can't hold get more, and all of them
// a share.
func TestBucketsGrow(t *testing.T) {
	for _, row := range []struct {
		kind    Kind
		n       int
		weight  uint32
		buckets int
	}{{SH, 3, 100, 512}, {SH, 300, 1, 512}, {SH, 300, 65535, 65536}, {DH, 256, 9, 256}, {DH, 257, 9, 512}, {SH, 65536, 65535, 65536}, {DH, 65536, 1, 65536}} {
		ss, _ := farm(row.n, func(int) uint32 { return row.weight })
		table := Build(Config{Kind: row.kind, Servers: ss}, nil)
		got := shares(table.slots, row.n)
		if len(table.slots) != row.buckets || slices.Min(got) == 0 {
			t.Errorf("%s of %d of weight %d: %d buckets, %d to %d each", row.kind, row.n, row.weight, len(table.slots), slices.Min(got), slices.Max(got))
		}
	}
}

func TestByPort(t *testing.T) {
	ss, cs := farm(10, equally)
	for _, kind := range []Kind{SH, MH} {
		for _, byPort := range []bool{false, true} {
			table := Build(Config{Kind: kind, ByPort: byPort, Servers: ss}, nil)
			got := map[int]bool{}
			for port := range uint16(200) {
				got[table.Pick(&Key{Client: v4(0x01020304), Port: port * 100}, cs)] = true
			}
			if (len(got) == 10) != byPort || !byPort && len(got) != 1 {
				t.Errorf("%s by port %v: a client's connections went to %d servers", kind, byPort, len(got))
			}
		}
	}
}

// TestRingAgainstScan: the next point is found by looking at all.
func TestRingAgainstScan(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 9))
	for range 20 {
		ss, cs := farm(1+rnd.IntN(6), func(int) uint32 { return 2 * uint32(1+rnd.IntN(3)) })
		table := Build(Config{Kind: Conhash, Servers: ss}, nil)
		unit := uint32(2)
		if g := slices.MinFunc(ss, func(a, b Server) int { return int(a.Weight) - int(b.Weight) }).Weight; !slices.ContainsFunc(ss, func(s Server) bool { return s.Weight%g != 0 }) {
			unit = g
		}
		for i := range ss {
			n := 0
			for _, p := range table.ring {
				n += b2i(int(p.server) == i)
			}
			if n != int(160*ss[i].Weight/unit) {
				t.Fatalf("weights %v: server %d has %d points", ss, i, n)
			}
		}
		for range 300 {
			k := Key{Client: v4(rnd.Uint32()), ID: uint64(rnd.IntN(2)) * rnd.Uint64()}
			h := uint32(hash(forClient, k.Client, 0) >> 32)
			if k.ID != 0 {
				h = uint32(k.ID >> 32)
			}
			best, least := None, uint32(0)
			for _, p := range table.ring {
				if d := p.hash - h; best == None || d < least {
					best, least = int(p.server), d
				}
			}
			if got := table.Pick(&k, cs); got != best {
				t.Fatalf("%#x went to %d, the next point is of %d", h, got, best)
			}
		}
	}
}

// TestRingIsConsistent: with a server gone, the others keep all their clients.
func TestRingIsConsistent(t *testing.T) {
	ss, cs := farm(100, equally)
	before := Build(Config{Kind: Conhash, Servers: ss}, nil)
	ss[7].Weight, cs[7].Weight = 0, 0
	after := Build(Config{Kind: Conhash, Servers: ss}, nil)
	if before == after {
		t.Fatal("the ring was not built anew")
	}
	cs[7].Weight = 1
	for n := range uint32(50000) {
		k := Key{Client: v4(n * 2654435761)}
		if i, j := before.Pick(&k, cs), after.Pick(&k, cs); (i == j) != (i != 7) {
			t.Fatalf("client of %d went to %d", i, j)
		}
	}
}

// TestRingShares: with 160 points each, servers of one weight get about the same.
func TestRingShares(t *testing.T) {
	ss, _ := farm(100, equally)
	ring := Build(Config{Kind: Conhash, Servers: ss}, nil).ring
	share := make([]float64, len(ss))
	for at, p := range ring {
		before := ring[(at+len(ring)-1)%len(ring)].hash
		share[p.server] += float64(p.hash-before) / (1 << 32) * 100
	}
	squares := 0.0
	for _, s := range share {
		squares += (s - 1) * (s - 1)
	}
	deviation := math.Sqrt(squares / 100)
	t.Logf("shares are %.2f to %.2f of what is due, standard deviation %.3f", slices.Min(share), slices.Max(share), deviation)
	if deviation > 0.12 {
		t.Errorf("the standard deviation of shares is %.3f of a share", deviation)
	}
}

func TestRingIsBounded(t *testing.T) {
	ss, _ := farm(1000, func(i int) uint32 { return uint32(1 + i%2*65534) })
	ring := Build(Config{Kind: Conhash, Servers: ss}, nil).ring
	got := make([]int, len(ss))
	for _, p := range ring {
		got[p.server]++
	}
	if len(ring) > mostPoints+len(ss) || slices.Min(got) != 1 || got[1] < 200 {
		t.Errorf("%d points, %d to %d each", len(ring), slices.Min(got), slices.Max(got))
	}
}

func TestBuildKeepsWhatIsTheSame(t *testing.T) {
	ss, _ := farm(3, equally)
	old := Build(Config{Kind: MH, Servers: ss}, nil)
	if Build(Config{Kind: MH, Servers: slices.Clone(ss)}, old) != old {
		t.Error("the same servers got another table")
	}
	other := slices.Clone(ss)
	other[1].Weight = 2
	for name, c := range map[string]Config{
		"weight": {Kind: MH, Servers: other}, "fewer": {Kind: MH, Servers: ss[1:]}, "kind": {Kind: SH, Servers: ss}, "port": {Kind: MH, ByPort: true, Servers: ss},
	} {
		if Build(c, old) == old {
			t.Errorf("%s: the old table was kept", name)
		}
	}
}

func TestTablesAllocateNothing(t *testing.T) {
	ss, cs := farm(9, equally)
	fill(&cs[2])
	for _, kind := range hashing {
		table, n := Build(Config{Kind: kind, ByPort: true, Servers: ss}, nil), uint32(0)
		if a := testing.AllocsPerRun(1000, func() {
			n += 2654435761
			k := Key{Client: v4(n), Virtual: v4(n), Port: uint16(n), ID: IDOf([]byte{byte(n), 2, 3, 4})}
			table.Pick(&k, cs)
		}); a != 0 {
			t.Errorf("%s: %v allocations", kind, a)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, kind := range []Kind{RR, WRR, WLC, LC, SED, NQ, FO, SH, DH, MH, Conhash} {
		b.Run(kind.String(), func(b *testing.B) {
			ss, cs := farm(100, equally)
			table, n := Build(Config{Kind: kind, Servers: ss}, nil), uint32(0)
			var cursor atomic.Uint64
			for b.Loop() {
				n += 2654435761
				if kind.Hashes() {
					k := Key{Client: v4(n), Virtual: v4(n)}
					table.Pick(&k, cs)
				} else {
					kind.Pick(&cursor, cs, 1)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, kind := range hashing {
		for _, n := range []int{2, 100, 10000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				ss, _ := farm(n, func(i int) uint32 { return uint32(1 + i%100) })
				for b.Loop() {
					Build(Config{Kind: kind, Servers: ss}, nil)
				}
			})
		}
	}
}

package laddr

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"weir/internal/flow"
)

var lip = netip.MustParseAddr("192.168.1.200")

func swap(p uint16) uint16 { return p<<8 | p>>8 }

func newSet(t testing.TB, first, last uint16) *Set {
	t.Helper()
	s, err := NewSet(first, last)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func add(t testing.TB, s *Set, ip netip.Addr) *Address {
	t.Helper()
	a, err := s.Add(ip)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestFigures are those of dpip: 16 pools of ports 1025-65535.
func TestFigures(t *testing.T) {
	a := add(t, newSet(t, FirstPort, LastPort), lip)
	if used, free, miss := a.Counts(); used != 0 || free != 1032176 || miss != 0 {
		t.Fatalf("fresh: %d used, %d free, %d missed", used, free, miss)
	}
	if _, _, ok := take(a, 3, 1); ok {
		t.Error("a pool that nobody prepared gave a port")
	}
	a.Prepare(3)
	a.Prepare(3)
	port, recent, ok := take(a, 3, 1)
	if !ok || port != FirstPort || recent {
		t.Errorf("first port: %d, recently used: %v, %v", port, recent, ok)
	}
	if used, free, miss := a.Counts(); used != 1 || free != 1032175 || miss != 1 {
		t.Errorf("after one: %d used, %d free, %d missed", used, free, miss)
	}
}

// TestPoolOf: the last two bytes of the real server's address, plus its port,
// modulo 16, all as numbers (DPVS's sapool).
func TestPoolOf(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 10_000 {
		ip, port := netip.AddrFrom4([4]byte{byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}), uint16(rnd.Uint32())
		b := ip.As4()
		want := (uint32(b[2])<<8 + uint32(b[3]) + uint32(port)) % 16
		if got := PoolOf(flow.AddrOf(ip), swap(port)); uint32(got) != want {
			t.Fatalf("%s port %d is in pool %d, want %d", ip, port, got, want)
		}
	}
	if got := PoolOf(flow.AddrOf(netip.MustParseAddr("192.168.1.2")), swap(80)); got != (0x0102+80)%16 {
		t.Errorf("192.168.1.2:80 is in pool %d", got)
	}
}

// TestAgainstQueue holds a pool to a slow and obvious queue: the port unused for
// longest comes first, and is recent if it came back less than a minute ago.
func TestAgainstQueue(t *testing.T) {
	t.Run("one worker", func(t *testing.T) { againstQueue(t, 1) })
	t.Run("several", func(t *testing.T) { againstQueue(t, 2) })
}

func againstQueue(t *testing.T, workers int) {
	type entry struct {
		port uint16
		at   int // second of release, -1 never
	}
	s := newSet(t, 2000, 2099)
	s.Workers(workers)
	a := add(t, s, lip)
	a.Prepare(0)
	var model []entry
	for p := uint16(2000); p <= 2099; p++ {
		model = append(model, entry{p, -1})
	}
	var held []uint16
	rnd := rand.New(rand.NewPCG(2, 3))
	now, misses := 500, uint64(0)
	for range 300_000 { // twice round the ring
		switch n := rnd.IntN(20); {
		case n == 0:
			now += rnd.IntN(40)
		case n < 11:
			port, recent, ok := take(a, 0, Second(uint64(now)))
			if len(model) == 0 {
				misses++
				if ok {
					t.Fatalf("port %d from an empty pool", port)
				}
				continue
			}
			e := model[0]
			model = model[1:]
			// A stamp is odd: an age is right to 2 seconds.
			age := now - e.at
			certain := e.at < 0 || age < TimeWait-2 || age > TimeWait+2
			if !ok || port != e.port || certain && recent != (e.at >= 0 && age < TimeWait) {
				t.Fatalf("got port %d, recently used: %v, %v; the oldest is %d, released %d s ago (-: never)", port, recent, ok, e.port, age)
			}
			held = append(held, port)
		case len(held) > 0:
			i := rnd.IntN(len(held))
			port := held[i]
			held = slices.Delete(held, i, i+1)
			give(a, 0, port, Second(uint64(now)))
			model = append(model, entry{port, now})
		}
		if now > 60_000 {
			now = 500 // a stamp wraps after 18 hours; that is another test
			for i := range model {
				model[i].at = -1
			}
			for range model {
				port, _, _ := take(a, 0, Second(uint64(now)))
				give(a, 0, port, never)
			}
		}
	}
	used, free, miss := a.Counts()
	if used != uint64(len(held)) || free != uint64(16*100-len(held)) || miss != misses {
		t.Errorf("%d used, %d free, %d missed; the model has %d, %d, %d", used, free, miss, len(held), 16*100-len(held), misses)
	}
}

// TestSecond: a stamp is never that of a fresh port, and ages are right across
// the turn of its 16 bits.
func TestSecond(t *testing.T) {
	a := add(t, newSet(t, 7, 7), lip)
	a.Prepare(0)
	for _, row := range []struct {
		name      string
		give, now uint64
		recent    bool
	}{
		{"at once", 100, 100, true},
		{"a minute less a bit", 100, 157, true},
		{"a minute and a bit", 100, 163, false},
		{"across the turn", 65530, 65550, true},
		{"long across the turn", 65500, 65600, false},
		{"second 0", 0, 10, true},
		{"second 65536", 65536, 65540, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if Second(row.give) == never {
				t.Error("the stamp looks as if the port was never used")
			}
			port, _, _ := take(a, 0, Second(row.give))
			give(a, 0, port, Second(row.give))
			_, recent, _ := take(a, 0, Second(row.now))
			give(a, 0, port, Second(row.now))
			if recent != row.recent {
				t.Errorf("released at %d, taken at %d: recent %v", row.give, row.now, recent)
			}
		})
	}
}

// TestConcurrent: no port is in two hands, and none is lost.
func TestConcurrent(t *testing.T) {
	a := add(t, newSet(t, 1, 65535), lip)
	a.Prepare(5)
	var owner [65536]sync.Mutex
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 9))
			var held []uint16
			for range 50_000 {
				if len(held) == 0 || rnd.IntN(2) == 0 && len(held) < 20_000 {
					port, _, ok := take(a, 5, 9)
					if !ok {
						t.Error("no port left, though not all are out")
						return
					}
					if !owner[port].TryLock() {
						t.Errorf("port %d is in two hands", port)
						return
					}
					held = append(held, port)
					continue
				}
				port := held[len(held)-1]
				held = held[:len(held)-1]
				owner[port].Unlock()
				give(a, 5, port, 9)
			}
			for _, port := range held {
				owner[port].Unlock()
				give(a, 5, port, 9)
			}
		})
	}
	wg.Wait()
	seen := map[uint16]bool{}
	for {
		port, _, ok := take(a, 5, 9)
		if !ok {
			break
		}
		if seen[port] {
			t.Fatalf("port %d is there twice", port)
		}
		seen[port] = true
	}
	if len(seen) != 65535 {
		t.Errorf("%d ports are left of 65535", len(seen))
	}
}

// TestSetLife: an address in use outlives its removal, comes back as it is, and
// its index is used again only after Sweep.
func TestSetLife(t *testing.T) {
	s := newSet(t, 1000, 1001)
	a := add(t, s, lip)
	a.Prepare(0)
	port, _, _ := take(a, 0, 1)
	s.Remove(lip)
	s.Sweep()
	if s.Find(lip) != nil || len(s.Configured()) != 0 {
		t.Error("a removed address is found")
	}
	if s.At(a.Index) != a {
		t.Fatal("a removed address with a connection is forgotten")
	}
	other := add(t, s, netip.MustParseAddr("192.168.1.201"))
	if other.Index == a.Index {
		t.Error("two addresses have one index")
	}
	if again := add(t, s, lip); again != a || s.Find(lip) != a {
		t.Error("the address that came back is another one")
	}
	s.Remove(lip)
	give(a, 0, port, 2)
	s.Sweep()
	if s.At(a.Index) != nil {
		t.Error("an address that nobody uses is kept")
	}
	third := add(t, s, netip.MustParseAddr("192.168.1.202"))
	if third.Index != a.Index {
		t.Errorf("index %d, want the free %d", third.Index, a.Index)
	}
	if used, free, _ := third.Counts(); used != 0 || free != 32 {
		t.Errorf("%d used, %d free", used, free)
	}
}

func TestSetIsBounded(t *testing.T) {
	s := newSet(t, 1, 1)
	for i := range Max {
		if _, err := s.Add(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Add(lip); err == nil {
		t.Error("one more than there is room for was added")
	}
}

func TestBadRange(t *testing.T) {
	for _, r := range [][2]uint16{{0, 5}, {9, 8}} {
		if _, err := NewSet(r[0], r[1]); err == nil {
			t.Errorf("ports %d-%d were taken", r[0], r[1])
		}
	}
}

func TestTakeAndGiveAllocateNothing(t *testing.T) {
	a := add(t, newSet(t, FirstPort, LastPort), lip)
	a.Prepare(1)
	if n := testing.AllocsPerRun(100, func() {
		port, _, _ := take(a, 1, 3)
		give(a, 1, port, 3)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func take(a *Address, pool uint8, second uint16) (port uint16, recent, ok bool) {
	l, ok := a.Take(pool, second)
	return l.Port, l.Recent, ok
}

func give(a *Address, pool uint8, port, second uint16) { a.Give(pool, port, second, 0) }

// What the real server expected next comes back with the port.
func TestSeen(t *testing.T) {
	t.Run("one worker", func(t *testing.T) { seenAgain(t, 1) })
	t.Run("several", func(t *testing.T) { seenAgain(t, 2) })
}

func seenAgain(t *testing.T, workers int) {
	s := newSet(t, 2000, 2001)
	s.Workers(workers)
	a := add(t, s, lip)
	a.Prepare(0)
	for _, seen := range []uint32{0, 7, 1<<32 - 1} {
		first, ok := a.Take(0, 1)
		if !ok {
			t.Fatal("no port")
		}
		a.Give(0, first.Port, 1, seen)
		other, _ := a.Take(0, 1)
		a.Give(0, other.Port, 1, 99)
		again, _ := a.Take(0, 1)
		if again.Port != first.Port || again.Seen != seen {
			t.Errorf("took %+v, want port %d with %d", again, first.Port, seen)
		}
		a.Give(0, again.Port, 1, 0)
		if l, _ := a.Take(0, 1); l.Seen != 99 {
			t.Errorf("took %+v, want 99", l)
		} else {
			a.Give(0, l.Port, 1, 0)
		}
	}
}

// Who tries for a port counts no miss, and gets what Take would give.
func TestTry(t *testing.T) {
	a := add(t, newSet(t, 2000, 2001), lip)
	if _, ok := a.Try(0, 1); ok {
		t.Error("a pool that nobody prepared gave a port")
	}
	a.Prepare(0)
	one, ok := a.Try(0, 1)
	two, ok2 := a.Take(0, 1)
	if !ok || !ok2 || one.Port != 2000 || two.Port != 2001 {
		t.Errorf("took %+v, %v, then %+v, %v", one, ok, two, ok2)
	}
	if l, ok := a.Try(0, 1); ok {
		t.Errorf("took %+v of nothing", l)
	}
	if used, _, miss := a.Counts(); used != 2 || miss != 0 {
		t.Errorf("%d used, %d missed", used, miss)
	}
	a.Miss()
	if _, _, miss := a.Counts(); miss != 1 {
		t.Errorf("%d missed, want one", miss)
	}
}

// Many rings that no process leaves behind lie at different places of their pages.
func TestRingsBeside(t *testing.T) {
	s := newSet(t, 2000, 2001)
	places := map[uintptr]bool{}
	for i := range 16 {
		a := add(t, s, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		a.Prepare(0)
		places[uintptr(unsafe.Pointer(a.pools[0].Load()))%4096] = true
		for _, want := range []uint16{2000, 2001} {
			if port, _, ok := take(a, 0, 1); !ok || port != want {
				t.Errorf("address %d: port %d, %v, want %d", i, port, ok, want)
			}
		}
		give(a, 0, 2001, 1)
	}
	if len(places) != 16 {
		t.Errorf("16 rings lie at %d places", len(places))
	}
	s.Close()
}

package flow

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// Every comment in layout.go that gives an offset tells the truth.
func TestOffsets(t *testing.T) {
	structs := map[string]reflect.Type{
		"Header": reflect.TypeFor[Header](), "Half": reflect.TypeFor[Half](),
		"Wide": reflect.TypeFor[Wide](), "Addr": reflect.TypeFor[Addr](), "Conn": reflect.TypeFor[Conn](), "NextHop": reflect.TypeFor[NextHop](),
	}
	source, err := os.ReadFile("layout.go")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`^\t([A-Z]\w*(?:, [A-Z]\w*)*) +\[?[\w\]]+ +// (\d+(?:, \d+)*)\b`)
	var in string
	seen := map[string]int{}
	for line := range strings.Lines(string(source)) {
		if name, ok := strings.CutPrefix(line, "type "); ok && strings.HasSuffix(name, " struct {\n") {
			in = strings.TrimSuffix(name, " struct {\n")
		}
		if line == "}\n" {
			in = ""
		}
		m := field.FindStringSubmatch(line)
		if in == "" || m == nil {
			continue
		}
		names, offsets := strings.Split(m[1], ", "), strings.Split(m[2], ", ")
		if len(names) != len(offsets) {
			t.Errorf("%s: %d fields, %d offsets: %s", in, len(names), len(offsets), line)
			continue
		}
		for i, name := range names {
			f, ok := structs[in].FieldByName(name)
			if want, _ := strconv.Atoi(offsets[i]); !ok || f.Offset != uintptr(want) {
				t.Errorf("%s.%s lies at %d, its comment says %s", in, name, f.Offset, offsets[i])
			}
			seen[in]++
		}
	}
	for name, typ := range structs {
		n := 0
		for i := range typ.NumField() {
			if typ.Field(i).Name != "_" {
				n++
			}
		}
		if seen[name] != n {
			t.Errorf("%s: %d of its %d fields have an offset in their comment", name, seen[name], n)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, r := range []struct {
		name      string
		got, want uintptr
	}{
		{"Header", unsafe.Sizeof(Header{}), HeaderSize},
		{"Half", unsafe.Sizeof(Half{}), HalfSize},
		{"Wide", unsafe.Sizeof(Wide{}), WideSize},
		{"Addr", unsafe.Sizeof(Addr{}), 16},
		{"Conn", unsafe.Sizeof(Conn{}), ConnSize},
		{"NextHop", unsafe.Sizeof(NextHop{}), NextHopSize},
		{"Header is two cache lines", HeaderSize, 128},
		{"Half is a cache line", HalfSize, 64},
		{"Wide is two", WideSize, 2 * HalfSize},
		{"Wide begins with a Half", unsafe.Offsetof(Wide{}.Half), 0},
		{"Wide's addresses begin its second line", unsafe.Offsetof(Wide{}.Src), HalfSize},
		{"Half.Key1", unsafe.Offsetof(Half{}.Key1), 8},
		{"NextHop.Key is aligned", unsafe.Offsetof(NextHop{}.Key) % 8, 0},
	} {
		if r.got != r.want {
			t.Errorf("%s: %d, want %d", r.name, r.got, r.want)
		}
	}
	magic := Magic
	if s := string((*[8]byte)(unsafe.Pointer(&magic))[:]); s != "WEIRFLOW" {
		t.Errorf("magic in memory is %q, want WEIRFLOW", s)
	}
}

// The flags lie between key and generation, one bit each.
func TestFlagsDoNotOverlap(t *testing.T) {
	all := uint64(KeyMask)
	for _, f := range []uint64{FlagValid, FlagFast, FlagPending, FlagDead, FlagReply, FlagTunnel, FlagCross} {
		if all&f != 0 || f >= genOne {
			t.Errorf("flag %#x overlaps with %#x or the generation", f, all)
		}
		all |= f
	}
}

func TestHashGolden(t *testing.T) {
	f, err := os.Open("testdata/hash.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		var seed, k0, k1, want, homes, home uint64
		if _, err := fmt.Sscanf(s.Text(), "%x %x %x %x %x %x", &seed, &k0, &k1, &want, &homes, &home); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		if got := Hash(seed, k0, k1); got != want {
			t.Errorf("Hash(%#x, %#x, %#x) = %#x, want %#x", seed, k0, k1, got, want)
		}
		if got := Home(want, homes); got != home || got >= homes {
			t.Errorf("Home(%#x, %#x) = %#x, want %#x", want, homes, got, home)
		}
		rows++
	}
	if rows < 40 {
		t.Errorf("%d golden rows, want 40 at least", rows)
	}
}

// What a table says of itself is what it is.
func TestHeader(t *testing.T) {
	both(t, func(t *testing.T, b Backing) {
		tab := newTable(t, Config{Conns: 1000, Workers: 1, Backing: b, Seed: 77})
		h := tab.Header()
		want := Header{
			Magic: Magic, Version: LayoutVersion, HalfSize: 64, Homes: 4032, WideHomes: 2752, Seed: 77, Conns: 1000, WideConns: 1000, ConnSize: 64,
			NextHops: MaxNextHops, HopSize: 64, ProbeFast: ProbeFast, ProbeMax: ProbeMax, TickShift: 20, WideSize: 128,
		}
		is := *h
		if is.Alive = 0; is != want || h.Alive == 0 {
			t.Errorf("header %+v, want %+v and the time", *h, want)
		}
		if tab.Slots() != 4288 || tab.WideSlots() != 3008 || tab.Conns() != 1000 || tab.Seed() != 77 {
			t.Errorf("%d slots, %d connections, seed %d", tab.Slots(), tab.Conns(), tab.Seed())
		}
		if n := len(tab.Maps()); n != map[Backing]int{Anonymous: 0, BPFArray: 4}[b] {
			t.Errorf("%d maps", n)
		}
		for slot, there := range map[uint32]bool{
			0: true, 4287: true, 4288: false, WideBit: true, WideBit | 3007: true, WideBit | 3008: false, None: false,
		} {
			if tab.Has(slot) != there {
				t.Errorf("Has(%#x) is %t", slot, !there)
			}
			if there && slotOf(tab, tab.Half(slot)) != slot {
				t.Errorf("slot %#x lies at %#x", slot, slotOf(tab, tab.Half(slot)))
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"no connection":    {Conns: 0, Workers: 1},
		"too many":         {Conns: 1<<27 + 1, Workers: 1},
		"no worker":        {Conns: 1, Workers: 0},
		"too many workers": {Conns: 1, Workers: MaxWorkers + 1},
	} {
		if tab, err := New(c); err == nil {
			tab.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// At the table's rated fill a connection of IPv4 takes 320 bytes at most, in a table for ten
// million 244, so that 2.5 GiB hold all of such a process; one of IPv6 takes 416. An array none of whose slots is in use takes no memory, except of BPF.
func TestMemoryPerConnection(t *testing.T) {
	for _, r := range []struct{ conns, most int }{
		{100_000, 321}, {419_430, 321}, {1_000_000, 274}, {2_097_151, 257}, {5_000_000, 247}, {10_000_000, 244}, {67_108_863, 241},
	} {
		conns := r.conns
		tab := newTable(t, Config{Conns: conns, Workers: 1})
		if n := (tab.Slots()*HalfSize + tab.Conns()*ConnSize) / tab.Conns(); n > r.most {
			t.Errorf("%d connections: %d bytes each, want %d at most", tab.Conns(), n, r.most)
		}
		if n := (tab.WideSlots()*WideSize + tab.Conns()*ConnSize) / tab.Conns(); n > 416 {
			t.Errorf("%d connections of IPv6: %d bytes each, want 416 at most", tab.Conns(), n)
		}
		if tab.Conns() != conns {
			t.Errorf("room for %d connections, want %d", tab.Conns(), conns)
		}
		if h, w := tab.Bytes(), tab.WideBytes(); h-(tab.Slots()*HalfSize+tab.Conns()*ConnSize) >= 4096 || w != tab.WideSlots()*WideSize {
			t.Errorf("%d connections: %d bytes and %d for IPv6, which is not what the records take", tab.Conns(), h, w)
		}
	}
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"weir/internal/flow"
)

const committed = "../../../bpf/flow.h"

func TestCommittedHeaderIsCurrent(t *testing.T) {
	source, err := os.ReadFile("../layout.go")
	if err != nil {
		t.Fatal(err)
	}
	want, err := generate(source)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(committed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from layout.go: run `go generate ./internal/flow`", committed)
	}
}

// A C compiler sees what Go sees: sizes, offsets, constants, hash, fold.
func TestCAgreesWithGo(t *testing.T) {
	var c, want strings.Builder
	c.WriteString("#include <stdio.h>\n#include <stddef.h>\n#include \"flow.h\"\nint main(void)\n{\n")
	say := func(expr string, n uint64) {
		fmt.Fprintf(&c, "\tprintf(\"%%s %%llu\\n\", %q, (unsigned long long)(%s));\n", expr, expr)
		fmt.Fprintf(&want, "%s %d\n", expr, n)
	}
	for name, typ := range map[string]reflect.Type{
		"weir_header": reflect.TypeFor[flow.Header](), "weir_half": reflect.TypeFor[flow.Half](),
		"weir_wide": reflect.TypeFor[flow.Wide](), "weir_addr": reflect.TypeFor[flow.Addr](),
		"weir_conn": reflect.TypeFor[flow.Conn](), "weir_next_hop": reflect.TypeFor[flow.NextHop](),
	} {
		say("sizeof(struct "+name+")", uint64(typ.Size()))
		for i := range typ.NumField() {
			if f := typ.Field(i); f.Name != "_" {
				say(fmt.Sprintf("offsetof(struct %s, %s)", name, snake(f.Name)), uint64(f.Offset))
				say(fmt.Sprintf("sizeof(((struct %s *)0)->%s)", name, snake(f.Name)), uint64(f.Type.Size()))
			}
		}
	}
	for expr, n := range map[string]uint64{
		"WEIR_MAGIC": flow.Magic, "WEIR_LAYOUT_VERSION": flow.LayoutVersion, "WEIR_KEY_MASK": flow.KeyMask,
		"WEIR_FLAG_VALID": flow.FlagValid, "WEIR_FLAG_FAST": flow.FlagFast, "WEIR_FLAG_PENDING": flow.FlagPending,
		"WEIR_FLAG_DEAD": flow.FlagDead, "WEIR_FLAG_REPLY": flow.FlagReply, "WEIR_FLAG_TUNNEL": flow.FlagTunnel,
		"WEIR_FLAG_CROSS": flow.FlagCross, "WEIR_WIDE_BIT": uint64(flow.WideBit), "WEIR_WIDE_SIZE": flow.WideSize, "WEIR_MATCH_MASK": flow.KeyMask | flow.FlagValid,
		"WEIR_PROBE_FAST": flow.ProbeFast, "WEIR_PROBE_MAX": flow.ProbeMax, "WEIR_HOP_RESOLVED": uint64(flow.HopResolved),
		"WEIR_HOP_BACK": uint64(flow.HopBack), "WEIR_CONN_EXPIRE_NOW": uint64(flow.ConnExpireNow),
	} {
		say(expr, n)
	}
	golden, err := os.ReadFile("../testdata/hash.golden")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var seed, k0, k1, h, homes, home uint64
		if _, err := fmt.Sscanf(line, "%x %x %x %x %x %x", &seed, &k0, &k1, &h, &homes, &home); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		say(fmt.Sprintf("weir_hash(0x%xULL, 0x%xULL, 0x%xULL)", seed, k0, k1), h)
		say(fmt.Sprintf("weir_home(0x%xULL, 0x%xULL)", h, homes), home)
		// The same words in other places, of addresses.
		for _, w := range [][4]uint64{{k0, k1, h, 0}, {0, h, k0, k1}, {h, k0, ^k1, ^k0}, {^k0, ^h, k0 << 32, k1 << 24}} {
			say(fmt.Sprintf("weir_fold_words(0x%xULL, 0x%xULL, 0x%xULL, 0x%xULL, 0x%xULL)", seed, w[0], w[1], w[2], w[3]),
				flow.FoldWords(seed, w[0], w[1], w[2], w[3]))
		}
	}
	c.WriteString("\treturn 0;\n}\n")

	dir := t.TempDir()
	source, binary := filepath.Join(dir, "layout.c"), filepath.Join(dir, "layout")
	if err := os.WriteFile(source, []byte(c.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	include, err := filepath.Abs(filepath.Dir(committed))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I"+include, "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("the header does not compile: %v: %s", err, out)
	}
	out, err := exec.Command(binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(string(out), "\n"), strings.Split(want.String(), "\n")
	if len(got) != len(wanted) {
		t.Fatalf("C says %d lines, Go %d", len(got), len(wanted))
	}
	for i := range got {
		if got[i] != wanted[i] {
			t.Errorf("C: %s; Go: %s", got[i], wanted[i])
		}
	}
}

// What has no C twin is refused, not left out.
func TestGenerateRefuses(t *testing.T) {
	for name, source := range map[string]string{
		"no Go":           "pakage flow",
		"a slice":         "package flow\ntype Half struct { Words []uint64 }",
		"a signed field":  "package flow\ntype Half struct { Last int32 }",
		"no struct":       "package flow\ntype Half uint64",
		"a string":        "package flow\nconst Magic = \"WEIRFLOW\"",
		"a loop":          "package flow\nfunc Hash(a, b, c uint64) uint64 { for { } }",
		"a call":          "package flow\nfunc Hash(a, b, c uint64) uint64 { return Hash(a, b, c) }",
		"and-not":         "package flow\nfunc Hash(a, b, c uint64) uint64 { return a &^ b }",
		"a loop in fold":  "package flow\nfunc FoldWords(a, b, c, d, e uint64) uint64 { for { } }",
		"a pair assigned": "package flow\nfunc Hash(a, b, c uint64) uint64 { a, b = b, a; return a }",
		"an import":       "package flow\nimport \"unsafe\"\ntype Half struct { P unsafe.Pointer }",
		"a negative one":  "package flow\nconst Shift = -1",
	} {
		if _, err := generate([]byte(source)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"Key0": "key0", "NewAddrs": "new_addrs", "DeltaIP": "delta_ip", "DeltaL4": "delta_l4", "MTU": "mtu",
		"ServerISN": "server_isn", "DstSrc": "dst_src", "hashC1": "hash_c1", "HTTPPort": "http_port",
	} {
		if got := snake(in); got != want {
			t.Errorf("snake(%q) = %q, want %q", in, got, want)
		}
	}
}

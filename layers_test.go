// Package weir_test holds the laws of the house: who may import whom, and what
// the comment at the door of each package says.
package weir_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path that our own imports begin with.
const module = "weir/"

// floors is the house: a package imports only what lies on a lower floor, or in
// its own subtree. A package that is not in this list has no place and fails.
var floors = [][]string{
	// What all may know, and which knows nobody.
	{"internal/wire", "internal/spec", "internal/clock", "internal/config/block", "internal/lacp", "internal/pinned", "api/weirv1", "bpf"},
	// The parcel, the shared table, the files.
	{"internal/packet", "internal/flow", "internal/flow/genheader", "internal/config/dpvsconf", "internal/config/keepalivedconf", "api/client"},
	// What runs on a real server, and knows nothing of the director.
	{"internal/rsagent"},
	// What the stages use.
	{"internal/stat", "internal/port", "internal/route", "internal/lb/laddr", "internal/lb/sched", "internal/lb/proto", "internal/lb/acl", "internal/lb/template", "internal/lb/mapping"},
	// Port drivers, what a service is, the record of a walk.
	{
		"internal/port/afxdp", "internal/port/afpacket", "internal/port/tap", "internal/port/pipe",
		"internal/port/bond", "internal/port/vlan", "internal/port/tunnel", "internal/trace", "internal/lb/service",
	},
	{"internal/lb/forward", "internal/lb/synproxy"},
	// The stages of the walk.
	{"internal/ether", "internal/ip", "internal/neigh", "internal/lb", "internal/punt", "internal/tunnel"},
	{"internal/worker"},
	{"internal/director"},
	// Who asks the director.
	{"internal/control", "internal/metrics", "internal/health"},
	// What keepalived wants of the director, and the stock program beside it.
	{"internal/keepalived/want", "internal/keepalived/vrrp"},
	{"internal/keepalived"},
	{"internal/daemon"},
	// Who asks over the API.
	{"internal/cli/dpip"},
	{"internal/cli/ipvsadm", "internal/cli/weir", "internal/cli/keepalived", "internal/cli/weirrs"},
	// Helpers of tests, which may build a whole director.
	{"internal/testkit/netns", "internal/testkit/words", "internal/testkit/pcap"},
	{"internal/testkit/host", "internal/testkit/story", "internal/testkit/uml", "internal/testkit"},
	{"internal/demo"},
	{"cmd/weir", "cmd/dpip", "cmd/ipvsadm", "cmd/keepalived", "cmd/weir-rs"},
	{"e2e", "bench", "."},
}

// stages do not see each other, nor into each other's subtree.
var stages = []string{"internal/ether", "internal/ip", "internal/neigh", "internal/lb", "internal/punt", "internal/tunnel"}

// stdOnly are packages that import the standard library alone.
var stdOnly = []string{"internal/wire", "internal/spec", "internal/lacp", "internal/config/block"}

// only lists who alone may import a package (the key is a package and its
// subtree where it ends in "/..."), whatever the floors say.
var only = map[string][]string{
	"internal/ether": {"internal/worker"},
	"internal/ip":    {"internal/worker"},
	"internal/punt":  {"internal/worker"},
	// The director compiles their tables and does their housekeeping.
	"internal/neigh":  {"internal/worker", "internal/director", "bench/..."},
	"internal/lb":     {"internal/worker", "internal/director", "bench/..."},
	"internal/tunnel": {"internal/worker", "internal/director", "bench/..."},
	// The benchmarks breathe workers themselves.
	"internal/worker":      {"internal/director", "internal/testkit/...", "bench/..."},
	"internal/testkit/...": {"internal/testkit/...", "internal/demo", "e2e/...", "bench/..."},
	// The agent is a program of its own: the director and its tools know its wire formats alone.
	"internal/rsagent": {"internal/cli/weirrs", "bench/..."},
}

// sees lists all of our own packages that a package may import.
var sees = map[string][]string{
	"internal/cli/dpip":    {"api/..."},
	"internal/cli/ipvsadm": {"api/...", "internal/cli/dpip"},
	"internal/cli/weir":    {"api/..."},
	"cmd/dpip":             {"api/...", "internal/cli/dpip"},
	"cmd/ipvsadm":          {"api/...", "internal/cli/ipvsadm"},
	"internal/rsagent":     {"bpf"},
	// keepalived is a client of the director as the other commands are, with a file and
	// health checks of its own. spec is what the file's values are made of.
	"internal/keepalived/want": {"api/...", "internal/config/...", "internal/health", "internal/spec"},
	"internal/keepalived/vrrp": {"internal/config/keepalivedconf"},
	"internal/keepalived":      {"api/...", "internal/config/...", "internal/health", "internal/keepalived/...", "internal/spec"},
	"internal/cli/keepalived":  {"api/...", "internal/keepalived", "internal/keepalived/vrrp"},
	"cmd/keepalived":           {"api/...", "internal/cli/keepalived"},
	"internal/cli/weirrs":      {"internal/rsagent"},
	"cmd/weir-rs":              {"internal/cli/weirrs"},
}

// fences lists who may import a module of others, or a package of the standard
// library that needs care. A module that is not in this list is refused: a new
// dependency is a visible line here. An empty list means tests alone.
var fences = map[string][]string{
	"C":      {},
	"unsafe": {"api/weirv1", "internal/flow", "internal/packet", "internal/port/...", "internal/lb/...", "internal/testkit/...", "bench"},

	"golang.org/x/sys/unix": {
		"internal/clock", "internal/packet", "internal/flow", "internal/port/...", "internal/worker", "internal/director",
		"internal/daemon", "internal/health", "internal/rsagent", "internal/cli/keepalived", "internal/pinned", "internal/testkit/...", "bench/...",
	},
	"github.com/cilium/ebpf":         {"bpf", "internal/flow", "internal/pinned", "internal/port/afxdp", "internal/port/afpacket", "internal/rsagent", "internal/testkit/...", "bench/..."},
	"github.com/vishvananda/netlink": {"internal/port/...", "internal/rsagent", "internal/director", "internal/testkit/...", "bench/..."},
	"github.com/vishvananda/netns":   {"internal/testkit/...", "bench/..."},
	"github.com/gaissmai/bart":       {"internal/route"},
	"golang.org/x/net/bpf":           {"internal/port/afpacket", "internal/testkit/..."},
	// The messages of DNS_CHECK and PING_CHECK.
	"golang.org/x/net/dns/dnsmessage": {"internal/health"},
	"golang.org/x/net/icmp":           {"internal/health"},
	"golang.org/x/net/ipv4":           {"internal/health"},
	"golang.org/x/net/ipv6":           {"internal/health"},
	"golang.org/x/sync":               {"internal/director", "internal/control", "internal/demo", "cmd/weir"},

	"connectrpc.com/connect":            {"api/...", "internal/control", "internal/cli/...", "internal/keepalived", "bench"},
	"google.golang.org/protobuf":        {"api/...", "internal/control"},
	"github.com/spf13/cobra":            {"internal/cli/weir", "internal/cli/weirrs", "cmd/weir", "cmd/weir-rs"},
	"github.com/spf13/pflag":            {"internal/cli/ipvsadm", "internal/cli/weir", "cmd/weir"},
	"github.com/coreos/go-systemd/v22":  {"internal/daemon", "internal/rsagent", "internal/cli/keepalived"},
	"github.com/prometheus":             {"internal/metrics"},
	"github.com/gopacket/gopacket":      {"internal/testkit/...", "bench/..."},
	"gvisor.dev/gvisor":                 {"internal/testkit/..."},
	"github.com/cockroachdb/datadriven": {"internal/testkit/..."},
	"github.com/google/go-cmp":          {},
	"github.com/rogpeppe/go-internal":   {},
	"go.uber.org/goleak":                {},
	"pgregory.net/rapid":                {},
	"github.com/miekg/dns":              {},
}

// source is what the laws look at in a file.
type source struct {
	file    string // from the root
	test    bool   // *_test.go: held by no import law
	name    string // of the package
	imports []string
	doc     string // the package comment, if it stands in this file
}

func (s source) pkg() string { return path.Dir(s.file) }

// within reports whether pkg is meant by an entry of the lists: itself, or with
// "/..." at its end also its subtree.
func within(pkg, entry string) bool {
	base, tree := strings.CutSuffix(entry, "/...")
	return pkg == base || tree && strings.HasPrefix(pkg, base+"/")
}

func anyWithin(pkg string, entries []string) bool {
	return slices.ContainsFunc(entries, func(e string) bool { return within(pkg, e) })
}

// floorOf returns the floor of a package, from 0, or -1.
func floorOf(pkg string) int {
	return slices.IndexFunc(floors, func(f []string) bool { return slices.Contains(f, pkg) })
}

// stageOf returns the stage whose subtree a package lies in, or "".
func stageOf(pkg string) string {
	for _, s := range stages {
		if within(pkg, s+"/...") {
			return s
		}
	}
	return ""
}

// brokenImports returns a sentence for each import that a law forbids.
func brokenImports(sources []source) (broken []string) {
	for _, s := range sources {
		if floorOf(s.pkg()) < 0 {
			broken = append(broken, fmt.Sprintf("%s: package %s has no floor: give it one in layers_test.go", s.file, s.pkg()))
			continue
		}
		if s.test {
			continue
		}
		for _, imp := range s.imports {
			var why string
			if ours, ok := strings.CutPrefix(imp, module); ok {
				why = ourImport(s.pkg(), ours)
			} else {
				why = foreignImport(s.pkg(), imp)
			}
			if why != "" {
				broken = append(broken, s.file+": "+why)
			}
		}
	}
	return broken
}

// ourImport says which law forbids that pkg imports imp, or "".
func ourImport(pkg, imp string) string {
	if slices.Contains(stdOnly, pkg) {
		return fmt.Sprintf("%s imports the standard library only, not %s", pkg, imp)
	}
	if a, b := stageOf(pkg), stageOf(imp); a != "" && b != "" && a != b {
		return fmt.Sprintf("stage %s sees stage %s through %s: what one tells the next is a field of the packet", a, b, imp)
	}
	for entry, who := range only {
		if within(imp, entry) && !within(pkg, imp+"/...") && !anyWithin(pkg, who) {
			return fmt.Sprintf("%s imports %s, which is only for %s", pkg, imp, strings.Join(who, ", "))
		}
	}
	if allowed, bound := sees[pkg]; bound && !anyWithin(imp, allowed) {
		return fmt.Sprintf("%s imports %s, but may only import %s", pkg, imp, strings.Join(allowed, ", "))
	}
	if floorOf(imp) < 0 {
		return fmt.Sprintf("%s imports %s, which has no floor", pkg, imp)
	}
	if floorOf(imp) >= floorOf(pkg) && !strings.HasPrefix(imp, pkg+"/") {
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d): imports go downstairs", pkg, floorOf(pkg), imp, floorOf(imp))
	}
	return ""
}

// foreignImport says which law forbids that pkg imports a package of others.
func foreignImport(pkg, imp string) string {
	for fence, who := range fences {
		if within(imp, fence+"/...") {
			if anyWithin(pkg, who) {
				return ""
			}
			return fmt.Sprintf("%s imports %s, which is fenced: see layers_test.go for who may", pkg, imp)
		}
	}
	if first, _, _ := strings.Cut(imp, "/"); strings.Contains(first, ".") {
		return fmt.Sprintf("%s imports %s, a module without a fence: name in layers_test.go who may", pkg, imp)
	}
	return ""
}

// readSources parses every Go file of the module. Files are opened here, not by
// the go command, so that the test cache knows of them.
func readSources(t *testing.T) []source {
	t.Helper()
	var sources []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != "." && (strings.HasPrefix(n, ".") || n == "testdata" || n == "tools" || n == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		sources = append(sources, sourceOf(filepath.ToSlash(p), f))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Fatal("no Go file was seen: the laws would hold for anything")
	}
	return sources
}

func sourceOf(file string, f *ast.File) source {
	s := source{file: file, test: strings.HasSuffix(file, "_test.go"), name: f.Name.Name, doc: f.Doc.Text()}
	for _, i := range f.Imports {
		// The parser saw to it that this is a quoted string.
		p, _ := strconv.Unquote(i.Path.Value)
		s.imports = append(s.imports, p)
	}
	return s
}

func TestImportsGoDownstairs(t *testing.T) {
	for _, b := range brokenImports(readSources(t)) {
		t.Error(b)
	}
}

// TestImportLawCanFail plants one violation of each law.
func TestImportLawCanFail(t *testing.T) {
	tests := []struct{ name, file, imp, want string }{
		{"fine", "internal/ip/input4.go", "weir/internal/packet", ""},
		{"own subtree", "internal/lb/input4.go", "weir/internal/lb/service", ""},
		{"standard library", "internal/wire/ip4.go", "encoding/binary", ""},
		{"tests are free", "internal/wire/ip4_test.go", "weir/internal/director", ""},
		{"fence open", "internal/route/table.go", "github.com/gaissmai/bart", ""},

		{"upstairs", "internal/packet/pool.go", "weir/internal/worker", "internal/worker, which is only for internal/director"},
		{"same floor", "internal/flow/table.go", "weir/internal/packet", "imports go downstairs"},
		{"from below to above", "internal/config/dpvsconf/config.go", "weir/internal/director", "imports go downstairs"},
		{"no floor", "internal/helpers/x.go", "fmt", "internal/helpers has no floor"},
		{"imports what has no floor", "cmd/weir/main.go", "weir/internal/helpers", "which has no floor"},
		{"stage sees stage", "internal/neigh/input4.go", "weir/internal/ip", "stage internal/neigh sees stage internal/ip"},
		{"stage sees into a stage", "internal/ip/output4.go", "weir/internal/lb/laddr", "stage internal/ip sees stage internal/lb"},
		{"the order is known elsewhere", "internal/director/walk.go", "weir/internal/ether", "only for internal/worker"},
		{"a worker is made elsewhere", "internal/control/serve.go", "weir/internal/worker", "only for internal/director"},
		{"wire knows us", "internal/wire/ip4.go", "weir/internal/packet", "standard library only"},
		{"spec knows others", "internal/spec/spec.go", "golang.org/x/sys/unix", "which is fenced"},
		{"a tool reaches inside", "internal/cli/ipvsadm/add.go", "weir/internal/spec", "may only import api/..."},
		{"the agent knows the director", "internal/rsagent/load.go", "weir/internal/wire", "may only import bpf"},
		{"the director knows the agent", "internal/director/x.go", "weir/internal/rsagent", "only for internal/cli/weirrs"},
		{"a main reaches inside", "cmd/dpip/main.go", "weir/internal/control", "may only import api/..."},
		{"testkit in the product", "internal/director/director.go", "weir/internal/testkit/host", "internal/testkit/host, which is only for"},
		{"fence", "internal/ip/input4.go", "github.com/vishvananda/netlink", "which is fenced"},
		{"fence of a subpackage", "internal/lb/table.go", "github.com/cilium/ebpf/link", "which is fenced"},
		{"module without a fence", "cmd/weir/main.go", "github.com/pkg/errors", "a module without a fence"},
		{"cgo", "internal/port/afxdp/ring.go", "C", "which is fenced"},
		{"for tests alone", "internal/spec/spec.go", "github.com/google/go-cmp/cmp", "which is fenced"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			planted := source{file: tt.file, test: strings.HasSuffix(tt.file, "_test.go"), imports: []string{tt.imp}}
			got := strings.Join(brokenImports([]source{planted}), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("laws say %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFloorsNameEachPackageOnce guards the table itself.
func TestFloorsNameEachPackageOnce(t *testing.T) {
	seen := make(map[string]bool)
	for _, floor := range floors {
		for _, pkg := range floor {
			if seen[pkg] {
				t.Errorf("%s has two floors", pkg)
			}
			seen[pkg] = true
		}
	}
}

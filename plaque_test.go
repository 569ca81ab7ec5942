package weir_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// plaque is what the door of every package of the director says.
var plaque = []string{"Enters:", "Leaves:", "Owns:", "Drops:"}

// noNames are names of packages that say nothing, or are another field's words.
var noNames = []string{
	"util", "utils", "common", "base", "types", "helper", "helpers", "misc", "manager", "handler", "backend", "mbuf", "lcore", "slave",
}

// wantsPlaque reports whether a package has to say what enters and leaves: the
// director's own, not the tools around it.
func wantsPlaque(pkg string) bool {
	for _, tool := range []string{"internal/cli/...", "internal/demo", "internal/testkit/..."} {
		if within(pkg, tool) {
			return false
		}
	}
	return strings.HasPrefix(pkg, "internal/")
}

// badDoors returns a sentence for each package without a comment, without what
// the comment has to say, or with a name that says nothing.
func badDoors(sources []source) (bad []string) {
	docs := make(map[string][]string)
	for _, s := range sources {
		docs[s.pkg()] = append(docs[s.pkg()], s.doc)
		if slices.Contains(noNames, path.Base(s.pkg())) || slices.Contains(noNames, s.name) {
			bad = append(bad, fmt.Sprintf("%s: package %s needs a name that says what it is", s.file, s.name))
		}
	}
	for pkg, all := range docs {
		doc := strings.Join(all, "\n")
		if strings.TrimSpace(doc) == "" {
			bad = append(bad, pkg+": no package comment: say in doc.go what it is")
			continue
		}
		for _, p := range plaque {
			if wantsPlaque(pkg) && !strings.Contains(doc, p) {
				bad = append(bad, fmt.Sprintf("%s: the package comment has no %q", pkg, p))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

func TestEachPackageHasItsPlaque(t *testing.T) {
	for _, b := range badDoors(readSources(t)) {
		t.Error(b)
	}
}

func TestPlaqueLawCanFail(t *testing.T) {
	whole := "Package ip is a stage.\n\nEnters: a.\nLeaves: b.\nOwns: c.\nDrops: d.\n"
	tests := []struct {
		name string
		s    source
		want string
	}{
		{"fine", source{file: "internal/ip/doc.go", doc: whole}, ""},
		{"a tool needs only a comment", source{file: "cmd/weir/main.go", doc: "Weir is the director."}, ""},
		{"no comment", source{file: "cmd/weir/main.go"}, "no package comment"},
		{"no owner", source{file: "internal/ip/doc.go", doc: strings.Replace(whole, "Owns:", "Has:", 1)}, `no "Owns:"`},
		{"empty name", source{file: "internal/util/doc.go", doc: whole, name: "util"}, "needs a name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(badDoors([]source{tt.s}), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("law says %q, want %q", got, tt.want)
			}
		})
	}
}

package weir_test

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/internal/packet"
)

// reasonRows returns the names that stand first in a row of a table of the page.
func reasonRows(page string) (names []string) {
	for line := range strings.Lines(page) {
		rest, row := strings.CutPrefix(line, "| `")
		if name, _, closed := strings.Cut(rest, "`"); row && closed {
			names = append(names, name)
		}
	}
	return names
}

// badReasons compares a page's rows with the reasons there are: each has one row,
// in the order of the walk, and no row is about anything else.
func badReasons(page string, reasons []string) (bad []string) {
	rows := reasonRows(page)
	for i, r := range reasons {
		switch n := slices.Index(rows, r); {
		case n < 0:
			bad = append(bad, fmt.Sprintf("docs/drops.md has no row for %s: say what it means and what to do", r))
		case slices.Contains(rows[n+1:], r):
			bad = append(bad, fmt.Sprintf("docs/drops.md has two rows for %s", r))
		case i > 0 && n < slices.Index(rows, reasons[i-1]):
			bad = append(bad, fmt.Sprintf("docs/drops.md has %s before %s; `weir stats` prints it after", r, reasons[i-1]))
		}
	}
	for _, r := range rows {
		if !slices.Contains(reasons, r) {
			bad = append(bad, fmt.Sprintf("docs/drops.md has a row for %s, which is no drop reason", r))
		}
	}
	return bad
}

func TestDropsPageNamesEveryReason(t *testing.T) {
	page, err := os.ReadFile("docs/drops.md")
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for r := packet.NoReason + 1; r < packet.NumReasons; r++ {
		reasons = append(reasons, r.String())
	}
	for _, b := range badReasons(string(page), reasons) {
		t.Error(b)
	}
}

func TestDropsLawCanFail(t *testing.T) {
	reasons := []string{"a", "b"}
	tests := []struct{ name, page, want string }{
		{"fine", "| reason |\n| `a` | x |\n\n| `b` · | y |\n", ""},
		{"missing", "| `a` | x |\n", "no row for b"},
		{"twice", "| `a` | x |\n| `b` | y |\n| `a` | x |\n", "two rows for a"},
		{"out of order", "| `b` | y |\n| `a` | x |\n", "b before a"},
		{"unknown", "| `a` | x |\n| `b` | y |\n| `c` | z |\n", "row for c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(badReasons(tt.page, reasons), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("law says %q, want %q", got, tt.want)
			}
		})
	}
}

// badMarks says what is wrong with the lines of a page between which a command writes.
func badMarks(page, name string) string {
	begin, end := "<!-- "+name+" -->", "<!-- /"+name+" -->"
	i, j := strings.Index(page, begin), strings.Index(page, end)
	switch {
	case strings.Count(page, begin) != 1 || strings.Count(page, end) != 1:
		return fmt.Sprintf("want the lines %s and %s, each once", begin, end)
	case j < i:
		return fmt.Sprintf("%s stands before %s", end, begin)
	}
	return ""
}

func TestPagesHaveRoomForResults(t *testing.T) {
	for _, name := range []string{"README.md", "docs/performance.md"} {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bad := badMarks(string(page), "bench-peers"); bad != "" {
			t.Errorf("%s, which make bench-peers rewrites: %s", name, bad)
		}
	}
}

func TestMarksLawCanFail(t *testing.T) {
	tests := []struct{ name, page, want string }{
		{"fine", "a\n<!-- x -->\nb\n<!-- /x -->\n", ""},
		{"none", "a\n", "each once"},
		{"not closed", "<!-- x -->\n", "each once"},
		{"twice", "<!-- x --><!-- /x --><!-- x --><!-- /x -->", "each once"},
		{"the wrong way round", "<!-- /x --><!-- x -->", "stands before"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := badMarks(tt.page, "x"); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("law says %q, want %q", got, tt.want)
			}
		})
	}
}

// place is a Go file and perhaps what it declares, as ARCHITECTURE.md writes it:
// `worker/walk.go` or `worker/breathe.go inhale`.
var place = regexp.MustCompile("`([a-z0-9_./]+\\.go)(?: ([A-Za-z0-9_.]+))?`")

// badPlaces returns a sentence for each place that is not in the code. read
// returns a file's text, by its path from the root, or false.
func badPlaces(page string, read func(file string) (string, bool)) (bad []string) {
	for _, m := range place.FindAllStringSubmatch(page, -1) {
		file, what := m[1], m[2]
		text, ok := read(path.Join("internal", file))
		if !ok {
			text, ok = read(file)
		}
		if !ok {
			bad = append(bad, fmt.Sprintf("ARCHITECTURE.md names %s, which is neither here nor in internal", file))
			continue
		}
		name := what[strings.LastIndexByte(what, '.')+1:]
		declared := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |const |\t)` + regexp.QuoteMeta(name) + `\b`)
		if what != "" && !declared.MatchString(text) {
			bad = append(bad, fmt.Sprintf("ARCHITECTURE.md names %s in %s, which declares no such thing", what, file))
		}
	}
	return bad
}

func TestArchitectureNamesWhatIsThere(t *testing.T) {
	page, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(place.FindAllString(string(page), -1)); n < 40 {
		t.Errorf("only %d places were found in ARCHITECTURE.md", n)
	}
	bad := badPlaces(string(page), func(file string) (string, bool) {
		text, err := os.ReadFile(file)
		return string(text), err == nil
	})
	for _, b := range bad {
		t.Error(b)
	}
}

func TestPlacesLawCanFail(t *testing.T) {
	read := func(file string) (string, bool) {
		return "package ip\n\nfunc (s *Stack) Input4() {\n}\n\nconst (\n\tErrorRate = 1\n)\n", file == "internal/ip/input4.go"
	}
	tests := []struct{ name, page, want string }{
		{"file", "see `ip/input4.go`", ""},
		{"whole path", "see `internal/ip/input4.go`", ""},
		{"method", "see `ip/input4.go Stack.Input4`", ""},
		{"constant", "see `ip/input4.go ErrorRate`", ""},
		{"no such file", "see `ip/input5.go`", "neither here"},
		{"no such function", "see `ip/input4.go Input6`", "declares no such thing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(badPlaces(tt.page, read), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("law says %q, want %q", got, tt.want)
			}
		})
	}
}

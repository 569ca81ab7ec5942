package weir_test

import (
	"fmt"
	"os"
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

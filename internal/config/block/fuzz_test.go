package block

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse holds that no text makes the parser panic, that every node and every
// error has a place in the text, and that bounds are kept.
func FuzzParse(f *testing.F) {
	f.Add("a x {\n b 1 ! c\n}\n")
	f.Add("<init> a \"q\" {}\n{\n}")
	f.Add("include x\na ${B}\n")
	f.Add("}\n{\n\"\n<\n")
	f.Add(strings.Repeat("a{", 40))
	f.Fuzz(func(t *testing.T, src string) {
		nodes, err := Parse("f", []byte(src))
		lines := strings.Count(src, "\n") + 1
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Line > lines || e.File != "f" || strings.Contains(e.Text, "\n") {
				t.Fatalf("error %#v for %q", err, src)
			}
			return
		}
		checkTree(t, nodes, lines, 0)
	})
}

func checkTree(t *testing.T, nodes []Node, lines, depth int) {
	t.Helper()
	if depth > MaxDepth {
		t.Fatalf("tree of depth %d", depth)
	}
	before := 1
	for _, n := range nodes {
		if n.Pos.Line < before || n.Pos.Line > lines {
			t.Fatalf("%s lies at line %d of %d, after line %d", n.Keyword, n.Pos.Line, lines, before)
		}
		before = n.Pos.Line
		for _, w := range append([]string{n.Keyword}, n.Args...) {
			if len(w) > MaxWord || !utf8.ValidString(w) || strings.ContainsAny(w, "\n\"\x00") {
				t.Fatalf("word %q", w)
			}
		}
		checkTree(t, n.Block, lines, depth+1)
	}
}

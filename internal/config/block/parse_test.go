package block

import (
	"fmt"
	"strings"
	"testing"
)

// text writes a tree the way the tests below name it: keyword(arg arg)@line{ … }.
func text(nodes []Node) string {
	var parts []string
	for _, n := range nodes {
		s := fmt.Sprintf("%s%q@%d", n.Keyword, n.Args, n.Pos.Line)
		if n.IsBlock() {
			s += "{" + text(n.Block) + "}"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func TestParse(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"nothing", "", ``},
		{"byte order mark", "\ufeffa 1", `a["1"]@1`},
		{"lines", "a\nb 1 2\n\n  c\t3 \r\n", `a[]@1 b["1" "2"]@2 c["3"]@4`},
		{"comments", "a 1 ! one\n# two\n! three\nb#four\nc!five", `a["1"]@1 b[]@4 c[]@5`},
		{"no comment in quotes", `a "x # y ! z"`, `a["x # y ! z"]@1`},
		{"quotes", `"a b" "" c"d e"f`, `a b["" "cd ef"]@1`},
		{"braces in quotes", `a "{" "}" "<b>"`, `a["{" "}" "<b>"]@1`},
		{"text in angle brackets", "<init> a 1\nb <x y> 2<z>3", `a["1"]@1 b["2" "3"]@2`},
		{"a lone '>' is text", "a >b", `a[">b"]@1`},
		{"block", "a x {\n b 1\n}\nc", `a["x"]@1{b["1"]@2} c[]@4`},
		{"empty block", "a {}", `a[]@1{}`},
		{"block on one line", "a { b { c 1 } } d", `a[]@1{b[]@1{c["1"]@1}} d[]@1`},
		{"brace on the next line", "a x\n\n! note\n{\n b\n}", `a["x"]@1{b[]@5}`},
		{"braces that touch words", "a{b{c}}", `a[]@1{b[]@1{c[]@1}}`},
		{"braces of a variable", "a ${B} x${C}y {\n}", `a["${B}" "x${C}y"]@1{}`},
		{"include in quotes is a word", `"include" x`, `include["x"]@1`},
		{"include with a block is a word", `include { x }`, `include[]@1{x[]@1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes, err := Parse("f", []byte(tt.src))
			if err != nil {
				t.Fatal(err)
			}
			if got := text(nodes); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("a {\n", MaxDepth+1)
	tests := []struct{ name, src, want string }{
		{"unclosed block", "a {\n b {\n }\n", `f:1: block a is not closed: add a '}'`},
		{"inner unclosed block", "a {\n b {\n", `f:2: block b is not closed: add a '}'`},
		{"stray brace", "a {\n}\n}", `f:3: '}' closes no block: remove it, or look for a '{' missing above`},
		{"stray brace after a word", "a\nb }", `f:2: '}' closes no block: remove it, or look for a '{' missing above`},
		{"block without keyword", "\n{", `f:2: '{' without a keyword before it: write "keyword {"`},
		{"second block", "a {\n}\n{\n}", `f:3: '{' without a keyword before it: write "keyword {"`},
		{"block of a closed block", "a { b }\n{", `f:2: '{' without a keyword before it: write "keyword {"`},
		{"unclosed quote", "a\nb \"c\nd\"", `f:2: a quote is opened and not closed on the same line: add the missing '"'`},
		{"unclosed quote before the end of a DOS line", "b \"c\r\n", `f:1: a quote is opened and not closed on the same line: add the missing '"'`},
		{"unclosed angle bracket", "a <init\n>", `f:1: '<' without '>' on the same line: close it, or put the value in quotes`},
		{"unclosed angle bracket at the end", "a <", `f:1: '<' without '>' on the same line: close it, or put the value in quotes`},
		{"control character", "a\nb\x00", `f:2: character 0x00 can't stand in a configuration file: remove it`},
		{"control character in quotes", "a \"\x1b[0m\"", `f:1: character 0x1b can't stand in a configuration file: remove it`},
		{"not UTF-8", "a \xff", `f:1: a word is not valid UTF-8: save the file as UTF-8`},
		{"long word", "a " + strings.Repeat("x", MaxWord+1), `f:1: a word is longer than 1024 bytes: is a line end or a quote missing?`},
		{"too deep", deep, fmt.Sprintf(`f:%d: block a lies deeper than 32 blocks: is a '}' missing above?`, MaxDepth+1)},
		{"too large", strings.Repeat("\n", MaxSize+1), `f:1: file is larger than 4194304 bytes`},
		{"include", "include x", `f:1: include is possible only in a file`},
		{"include without a name", "include", `f:1: include takes one file name or pattern, not 0`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			nodes, err := Parse("f", []byte(tt.src))
			if err == nil {
				t.Fatalf("accepted as %s", text(nodes))
			}
			if err.Error() != tt.want {
				t.Errorf("\n got %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestDeepestBlock(t *testing.T) {
	src := strings.Repeat("a {\n", MaxDepth) + strings.Repeat("}\n", MaxDepth)
	if _, err := Parse("f", []byte(src)); err != nil {
		t.Errorf("%d blocks in one another: %v", MaxDepth, err)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"timeout", "conn_pool_size", "mtu", "type", "rx"}
	for typed, want := range map[string]string{
		"timeuot": "timeout", "timout": "timeout", "conn_pol_sise": "conn_pool_size", "mt": "", "mut": "mtu",
		"typ": "type", "interface": "", "": "", "tx": "", "timeoutxyz": "", "timeout": "timeout",
	} {
		if got := Nearest(typed, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}

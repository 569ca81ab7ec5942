package block

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folder writes files into a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, src := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := folder(t, map[string]string{
		"main.conf":     "a\ninclude conf.d/*.conf\nb {\n include one\n c\n}\ninclude none/*\n",
		"conf.d/2.conf": "two\ninclude ../one",
		"conf.d/1.conf": "first {\n}",
		"one":           "x 1",
	})
	nodes, err := Load(filepath.Join(dir, "main.conf"))
	if err != nil {
		t.Fatal(err)
	}
	want := `a[]@1 first[]@1{} two[]@1 x["1"]@1 b[]@3{x["1"]@1 c[]@5}`
	if got := text(nodes); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, want := nodes[1].Pos.File, filepath.Join(dir, "conf.d/1.conf"); got != want {
		t.Errorf("file of an included node is %s, want %s", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	chain := map[string]string{"f": "include f0"}
	for i := range MaxIncludes + 1 {
		chain[fmt.Sprintf("f%d", i)] = fmt.Sprintf("include f%d", i+1)
	}
	bush := map[string]string{"f": strings.Repeat("include g\n", 40), "g": strings.Repeat("include h\n", 40), "h": "x"}
	heavy := map[string]string{"f": strings.Repeat("include g\n", 5), "g": strings.Repeat("\n", MaxSize)}
	nested := map[string]string{"f": strings.Repeat("a {\n", 20) + "include g\n", "g": strings.Repeat("b {\n", 20)}
	tests := []struct {
		name  string
		files map[string]string
		want  string // DIR stands for the folder
	}{
		{"no such file", nil, "can't read DIR/f: no such file or directory"},
		{"no such include", map[string]string{"f": "a\ninclude g"}, "DIR/f:2: include: can't read DIR/g: no such file or directory"},
		{"a folder", map[string]string{"f": "include d", "d/x": ""}, "DIR/f:1: include: can't read DIR/d: is a directory"},
		{"itself", map[string]string{"f": "include f"}, "DIR/f:1: include: DIR/f includes itself: remove one of the include lines"},
		{"a circle", map[string]string{"f": "include g", "g": "\ninclude f"}, "DIR/g:2: include: DIR/f includes itself: remove one of the include lines"},
		{"an error inside", map[string]string{"f": "include g", "g": "\n}"}, "DIR/g:2: '}' closes no block: remove it, or look for a '{' missing above"},
		{"a block across files", map[string]string{"f": "include g\n}", "g": "a {"}, "DIR/g:1: block a is not closed: add a '}'"},
		{"a brace after an include", map[string]string{"f": "include g\n{\n}", "g": "a"}, "DIR/f:2: '{' without a keyword before it: write \"keyword {\""},
		{"a bad pattern", map[string]string{"f": "include [a"}, "DIR/f:1: include: pattern DIR/[a is not well formed: syntax error in pattern"},
		{"a long chain", chain, "DIR/f15:1: include: more than 16 files include one another"},
		{"too many files", bush, "DIR/g:39: include: more than 1024 files are included"},
		{"too many bytes", heavy, "DIR/f:4: include: the included files are larger than 16777216 bytes together"},
		{"too deep across files", nested, "DIR/g:13: block b lies deeper than 32 blocks: is a '}' missing above?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folder(t, tt.files)
			nodes, err := Load(filepath.Join(dir, "f"))
			if err == nil {
				t.Fatalf("accepted as %s", text(nodes))
			}
			if got := strings.ReplaceAll(err.Error(), dir, "DIR"); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestLoadThroughLinks(t *testing.T) {
	dir := folder(t, map[string]string{"f": "include link"})
	if err := os.Symlink("f", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	_, err := Load(filepath.Join(dir, "f"))
	if err == nil || !strings.Contains(err.Error(), "includes itself") {
		t.Errorf("a circle through a symbolic link: %v", err)
	}
}

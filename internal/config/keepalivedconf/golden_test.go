package keepalivedconf

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the files that tests compare with")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}

// TestGolden reads the tutorial's files as they stand there, and one with every
// keyword.
func TestGolden(t *testing.T) {
	for _, name := range []string{"tutorial-fnat", "tutorial-snat", "tutorial-snat-alpha", "whole"} {
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join("testdata", name+".conf"))
			if err != nil {
				t.Fatal(err)
			}
			cfg, warnings, err := ParseBytes(name+".conf", src, "")
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for _, w := range warnings {
				said.WriteString(w.String() + "\n")
			}
			var stock strings.Builder
			if err := cfg.WriteStock(&stock); err != nil {
				t.Fatal(err)
			}
			cfg.Stock = "" // a file of its own
			values, err := json.MarshalIndent(cfg, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".warnings", said.String())
			golden(t, name+".stock", stock.String())
			golden(t, name+".json", string(values)+"\n")
		})
	}
}

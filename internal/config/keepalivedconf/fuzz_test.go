package keepalivedconf

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"weir/internal/config/block"
)

// FuzzParse holds that no text makes the reader panic, that all it says has a
// place in the text, and that what is written for stock keepalived reads as what
// it came from.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"tutorial-fnat", "tutorial-snat", "tutorial-snat-alpha", "whole"} {
		src, err := os.ReadFile("testdata/" + name + ".conf")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src), "main")
	}
	f.Add("$A= \\\n b \\\n c\n$A ${A}\n", "")
	f.Add("$A=$A\n$A\n", "")
	f.Add("~SEQ(I, 1, 3) ~LST(J, a, b) static_routes { ${I} $J }\n", "")
	f.Add("vrrp_instance \"a b\" { { @x \\# 'y!' \"z#\" \"\" \\x41\\101\\cA }\n}\n", "x")
	f.Add("vrrp_script a { \"include\" x }\nvrrp_script b { $Q=1 }", "")
	f.Fuzz(func(t *testing.T, src, id string) {
		cfg, warnings, err := ParseBytes("f", []byte(src), id)
		lines := strings.Count(src, "\n") + 1
		placed := func(p block.Pos, text string) {
			if p.File != "f" || p.Line < 1 || p.Line > lines || text == "" {
				t.Fatalf("%v %q for %q", p, text, src)
			}
		}
		for _, w := range warnings {
			placed(w.Pos, w.Text)
		}
		if err != nil {
			joined, ok := err.(interface{ Unwrap() []error })
			if !ok || cfg != nil {
				t.Fatalf("error %v with %v", err, cfg)
			}
			for _, e := range joined.Unwrap() {
				var at *block.Error
				if !errors.As(e, &at) {
					t.Fatalf("error without a place: %v", e)
				}
				placed(at.Pos, at.Text)
			}
			return
		}
		again, _, err := ParseBytes("f", []byte(cfg.Stock), "another")
		if err != nil {
			t.Fatalf("what is written for stock is refused: %v\n%s", err, cfg.Stock)
		}
		if again.Stock != cfg.Stock {
			t.Fatalf("written\n%s\nreads as\n%s", cfg.Stock, again.Stock)
		}
		if cfg.Stock != "" && !sameAddresses(cfg.Instances, again.Instances) {
			t.Fatalf("instances %v read as %v", cfg.Instances, again.Instances)
		}
	})
}

// sameAddresses compares instances, but for the port that stock does not know.
func sameAddresses(a, b []Instance) bool {
	var want []Instance
	for _, in := range a {
		in.Port = ""
		want = append(want, in)
	}
	return reflect.DeepEqual(want, b)
}

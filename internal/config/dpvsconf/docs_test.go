package dpvsconf

import (
	"os"
	"strings"
	"testing"

	"weir/internal/config/block"
)

// TestPageNamesEveryKeyword holds that the user's page knows the whole grammar,
// as testdata/whole.conf has it. What stands in an ignored block is left out.
func TestPageNamesEveryKeyword(t *testing.T) {
	page, err := os.ReadFile("../../../docs/dpvs.conf.md")
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := block.Load("testdata/whole.conf")
	if err != nil {
		t.Fatal(err)
	}
	ignored := map[string]bool{
		"synproxy":   true,
		"timer_defs": true, "ctrl_defs": true, "ipset_defs": true,
	}
	named := 0
	var look func(nodes []block.Node)
	look = func(nodes []block.Node) {
		for _, n := range nodes {
			if !strings.Contains(string(page), n.Keyword) {
				t.Errorf("docs/dpvs.conf.md does not name %s", n.Keyword)
			}
			named++
			if !ignored[n.Keyword] {
				look(n.Block)
			}
		}
	}
	look(nodes)
	if named < 60 {
		t.Errorf("only %d keywords were looked for", named)
	}
}

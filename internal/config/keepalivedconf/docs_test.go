package keepalivedconf

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPageNamesEveryKeyword holds that the user's page knows the whole grammar.
func TestPageNamesEveryKeyword(t *testing.T) {
	page, err := os.ReadFile("../../../docs/keepalived.md")
	if err != nil {
		t.Fatal(err)
	}
	s := &serverReader{reader: new(reader)}
	var words []string
	for _, rs := range []rules{s.file(), s.rules(), s.tls(), s.endpointRules(new(Endpoint), nil), s.miscRules(new(Misc)), s.udpRules(new(UDP)), s.httpRules(&Checker{Kind: SSLGet}, nil)} {
		for word := range rs {
			words = append(words, word)
		}
	}
	for _, k := range kinds {
		words = append(words, string(k))
	}
	slices.Sort(words)
	for _, word := range words {
		if !strings.Contains(string(page), "`"+word+"`") && !strings.Contains(string(page), "`"+word+" ") {
			t.Errorf("docs/keepalived.md does not name %s", word)
		}
	}
	if len(words) < 100 {
		t.Errorf("only %d keywords were looked for", len(words))
	}
}

package keepalivedconf

import (
	"regexp"
	"strings"
	"testing"
)

// What PCRE finds with an option, RE2 finds with what we make of it.
func TestPattern(t *testing.T) {
	for _, row := range []struct {
		name, pcre, options string
		finds, not          []string
	}{
		{"plain", "well", "", []string{"all well"}, []string{"Well"}},
		{"caseless", "well", "caseless", []string{"WELL"}, []string{"wel"}},
		{"two options", "^a.b$", "multiline dotall", []string{"x\na\nb\nx"}, []string{"xa.b"}},
		{"the end is before a last newline", "^well$", "", []string{"well", "well\n"}, []string{"well\n\n", "well\nx"}},
		{"in each branch", "(^a$|b$)", "", []string{"a\n", "xb\n"}, []string{"a\nb\nc"}},
		{"dollar_endonly", "^well$", "dollar_endonly", []string{"well"}, []string{"well\n"}},
		{"the very end", `well\\z`, "", []string{"well"}, []string{"well\n"}},
		{"multiline", "^well$", "multiline", []string{"x\nwell\ny"}, []string{"well x"}},
		{"a dollar in a class", "a[$]", "", []string{"a$b"}, []string{"a"}},
		{"a dollar that is one", `a\\$`, "", []string{"a$b"}, []string{"a"}},
		{"extended", "a b # two\n[ ]c\\ d\\#", "extended", []string{"ab c d#"}, []string{"a b c d#"}},
		{"extended, a bracket in a class", "[]# ] x[^] ]", "extended", []string{"]xa", "#xa", " xa"}, []string{"ax", "]x]"}},
		{"options that change nothing here", "a(b)", "no_auto_capture utf use_offset_limit no_auto_possess", []string{"ab"}, []string{"a"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			re, err := pattern(strings.ReplaceAll(row.pcre, `\\`, `\`), strings.Fields(row.options))
			if err != nil {
				t.Fatal(err)
			}
			r := regexp.MustCompile(re)
			for _, text := range row.finds {
				if !r.MatchString(text) {
					t.Errorf("%s, as %s, does not find %q", row.pcre, re, text)
				}
			}
			for _, text := range row.not {
				if r.MatchString(text) {
					t.Errorf("%s, as %s, finds %q", row.pcre, re, text)
				}
			}
		})
	}
}

// Whatever the expression, there is another or a sentence.
func FuzzPattern(f *testing.F) {
	f.Add("^(a|b$)[ ]# c\\", "extended caseless")
	f.Add("(?=x)", "")
	f.Add("[", "extended")
	f.Fuzz(func(t *testing.T, pcre, options string) {
		re, err := pattern(pcre, strings.Fields(options))
		if err != nil {
			return
		}
		if _, err := regexp.Compile(re); err != nil {
			t.Errorf("%q became %q: %v", pcre, re, err)
		}
	})
}

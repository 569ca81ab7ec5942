package keepalivedconf

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// Expressions of keepalived.conf are PCRE's. Ours are RE2's, which take time in proportion
// to the text, whatever the expression. Most mean the same in both; what does not is made to
// (free spacing, "$"), or refused: back-references, looking around, possessive quantifiers,
// and options that change the meaning in another way.

// reFlags are the options of PCRE that RE2 has as flags of its own; reOwn we do ourselves;
// reVoid change how PCRE works, and not what it finds: limits, caches, what we refuse anyway.
var (
	reFlags = map[string]string{"caseless": "i", "multiline": "m", "dotall": "s", "ungreedy": "U"}
	reOwn   = []string{"extended", "dollar_endonly"}
	reVoid  = []string{
		"utf", "never_utf", "never_ucp", "never_backslash_c", "no_auto_capture", "no_auto_possess", "no_dotstar_anchor",
		"no_start_optimize", "auto_callout", "match_unset_backref", "use_offset_limit",
	}
)

// rePossible are all options that are taken.
func rePossible() string {
	all := slices.Concat(reOwn, reVoid)
	for o := range reFlags {
		all = append(all, o)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (s *serverReader) regexOptions(dst *[]string) rule {
	return func(n *node) {
		*dst = nil
		for _, v := range n.args {
			if reFlags[v] == "" && !slices.Contains(reOwn, v) && !slices.Contains(reVoid, v) {
				s.errorf(n.pos, "regex_options %s is not supported: %s are", shown(v), rePossible())
				continue
			}
			*dst = append(*dst, v)
		}
	}
}

// pattern makes an expression of PCRE one of RE2 that finds the same.
func pattern(pcre string, options []string) (string, error) {
	has := func(o string) bool { return slices.Contains(options, o) }
	if has("extended") {
		pcre = withoutSpacing(pcre)
	}
	flags := ""
	for _, o := range options {
		if f := reFlags[o]; !strings.Contains(flags, f) {
			flags += f
		}
	}
	if flags != "" {
		pcre = "(?" + flags + ")" + pcre
	}
	tree, err := syntax.Parse(pcre, syntax.Perl)
	if err != nil {
		return "", fmt.Errorf("is not an expression of RE2 (without back-references and looking around): %w", err)
	}
	re := pcre
	if !has("dollar_endonly") && beforeLastNewline(tree) {
		re = tree.String()
	}
	if _, err := regexp.Compile(re); err != nil {
		return "", fmt.Errorf("is not an expression of RE2: %w", err)
	}
	return re, nil
}

// beforeLastNewline makes "$" what it is in PCRE: the end, or before a newline that ends the
// text. It reports whether there is one.
func beforeLastNewline(re *syntax.Regexp) (changed bool) {
	for _, sub := range re.Sub {
		changed = beforeLastNewline(sub) || changed
	}
	if re.Op != syntax.OpEndText || re.Flags&syntax.WasDollar == 0 {
		return changed
	}
	end := &syntax.Regexp{Op: syntax.OpEndText}
	newline := &syntax.Regexp{Op: syntax.OpQuest, Sub: []*syntax.Regexp{{Op: syntax.OpLiteral, Rune: []rune{'\n'}}}}
	re.Op, re.Sub, re.Flags = syntax.OpConcat, []*syntax.Regexp{newline, end}, re.Flags&^syntax.WasDollar
	return true
}

// withoutSpacing takes out what option extended has PCRE pass over: white space and
// comments, but in classes and behind a backslash.
func withoutSpacing(pcre string) string {
	var out strings.Builder
	class := false
	for i := 0; i < len(pcre); i++ {
		c := pcre[i]
		switch {
		case c == '\\' && i+1 < len(pcre):
			out.WriteByte(c)
			i++
			if pcre[i] == ' ' || pcre[i] == '#' { // which RE2 takes no backslash before
				out.WriteString(fmt.Sprintf("x%02x", pcre[i]))
				continue
			}
			c = pcre[i]
		case class:
			class = c != ']'
		case c == '[':
			class = true
			if strings.HasPrefix(pcre[i+1:], "]") || strings.HasPrefix(pcre[i+1:], "^]") { // the first ] is one
				n := strings.IndexByte(pcre[i:], ']')
				out.WriteString(pcre[i : i+n])
				i += n
				c = ']'
			}
		case strings.IndexByte(" \t\n\v\f\r", c) >= 0:
			continue
		case c == '#':
			for i < len(pcre) && pcre[i] != '\n' {
				i++
			}
			continue
		}
		out.WriteByte(c)
	}
	return out.String()
}

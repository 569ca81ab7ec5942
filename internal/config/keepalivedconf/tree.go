package keepalivedconf

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"weir/internal/config/block"
)

// node is one keyword with its values, and with its block if it has one.
type node struct {
	keyword string
	args    []string // quotes and escapes taken off
	raw     []string // keyword and values as written
	pos     block.Pos
	block   []node // nil: no braces; empty but not nil: "{ }"
}

func (n *node) isBlock() bool { return n.block != nil }

// word is a keyword, a value or a brace of a line.
type word struct {
	text, raw string
	brace     byte // '{' or '}', or 0
}

// words cuts a line. what says what is wrong with it, or is "".
func words(s string) (out []word, what string) {
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t', '\r':
			i++
		case '{', '}':
			out = append(out, word{raw: s[i : i+1], brace: c})
			i++
		default:
			w, what := cut(s[i:])
			if what != "" {
				return nil, what
			}
			out = append(out, w)
			i += len(w.raw)
		}
	}
	return out, ""
}

// cut returns the word that s begins with.
func cut(s string) (w word, what string) {
	var text strings.Builder
	var quote byte
	i := 0
scan:
	for i < len(s) {
		c := s[i]
		switch {
		case c == '\\':
			r, size := escape(s[i:])
			if size == 0 {
				return w, `a '\' stands at the end of a line or before an unusable character: only definitions go on over lines`
			}
			text.WriteString(r)
			i += size
			continue
		case quote != 0 && c == quote:
			quote = 0
			i++
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
			i++
			continue
		case quote != 0:
		case c == '$' && strings.HasPrefix(s[i+1:], "{") && strings.IndexByte(s[i:], '}') > 0:
			end := i + strings.IndexByte(s[i:], '}') + 1 // an unknown ${NAME} stays as it is
			if !isName(s[i+2 : end-1]) {
				break
			}
			text.WriteString(s[i:end])
			i = end
			continue
		case strings.IndexByte(" \t\r{}", c) >= 0:
			break scan
		}
		text.WriteByte(c)
		i++
	}
	w = word{text: text.String(), raw: s[:i]}
	switch {
	case quote != 0:
		return w, "a quote is opened and not closed on the same line: add the missing " + string(rune(quote))
	case len(w.text) > block.MaxWord || len(w.raw) > 2*block.MaxWord:
		return w, "a word is longer than " + strconv.Itoa(block.MaxWord) + " bytes: is a line end or a quote missing?"
	case !utf8.ValidString(w.text) || strings.ContainsRune(w.text, 0):
		return w, "an escape makes a word that is not valid UTF-8, or holds a zero byte"
	}
	return w, ""
}

// plain are the escapes of one letter.
var plain = map[byte]string{'a': "\a", 'b': "\b", 'E': "\x1b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// escape returns what the escape at the beginning of s stands for, and its
// length, 0 for none.
func escape(s string) (string, int) {
	if len(s) < 2 {
		return "", 0
	}
	c := s[1]
	if r, ok := plain[c]; ok {
		return r, 2
	}
	digits := func(from, most, base int) (string, int) {
		end := from
		for end < len(s) && end < from+most {
			if _, err := strconv.ParseUint(s[end:end+1], base, 8); err != nil {
				break
			}
			end++
		}
		v, err := strconv.ParseUint(s[from:end], base, 8)
		if err != nil {
			return "", 0
		}
		return string([]byte{byte(v)}), end
	}
	switch {
	case c == 'c' && len(s) > 2:
		return string([]byte{s[2] & 0x1f}), 3
	case c == 'c':
		return "", 0
	case c == 'x':
		return digits(2, 2, 16)
	case '0' <= c && c <= '7':
		return digits(1, 3, 8)
	}
	_, size := utf8.DecodeRuneInString(s[1:])
	return s[1 : 1+size], 1 + size
}

// tree builds nodes of lines.
type tree struct {
	l     *loader
	at    int    // the line
	words []word // what is left of it
	pos   block.Pos
}

// tree returns the nodes of all lines. What is not well formed is an error of
// the loader's.
func (l *loader) tree() []node {
	if l.full {
		return nil
	}
	t := tree{l: l}
	return t.block(nil, 0)
}

// more takes the next line that has words. It reports whether there is one.
func (t *tree) more() bool {
	for len(t.words) == 0 {
		if t.at == len(t.l.lines) {
			return false
		}
		ln := t.l.lines[t.at]
		t.at++
		ws, what := words(ln.text)
		if what != "" {
			t.l.errorf(ln.pos, "%s", what)
			continue
		}
		t.words, t.pos = ws, ln.pos
	}
	return true
}

// block reads up to the end (owner nil) or to the brace that ends the owner's
// block. It returns a slice that is never nil.
func (t *tree) block(owner *node, depth int) []node {
	nodes := []node{}
	if depth > block.MaxDepth {
		t.l.errorf(owner.pos, "block %s lies deeper than %d blocks: is a '}' missing above?", shown(owner.keyword), block.MaxDepth)
		t.at, t.words, t.l.full = len(t.l.lines), nil, true
		return nodes
	}
	bare := false // the last node is a plain line: a '{' on a line of its own belongs to it
	for t.more() {
		w := t.words[0]
		switch w.brace {
		case '}':
			t.words = t.words[1:]
			if owner != nil {
				return nodes
			}
			t.l.errorf(t.pos, "'}' closes no block: remove it, or look for a '{' missing above")
		case '{':
			t.words = t.words[1:]
			if !bare {
				t.l.errorf(t.pos, "'{' without a keyword before it: write \"keyword {\"")
				nodes = append(nodes, node{pos: t.pos})
			}
			last := &nodes[len(nodes)-1]
			last.block = t.block(last, depth+1)
			bare = false
		default:
			n := node{keyword: w.text, pos: t.pos}
			for len(t.words) > 0 && t.words[0].brace == 0 {
				n.args = append(n.args, t.words[0].text)
				n.raw = append(n.raw, t.words[0].raw)
				t.words = t.words[1:]
			}
			n.args = n.args[1:]
			nodes = append(nodes, n)
			bare = true
		}
	}
	if owner != nil && !t.l.full {
		t.l.stop(owner.pos, "block %s is not closed: add a '}'", shown(owner.keyword))
	}
	return nodes
}

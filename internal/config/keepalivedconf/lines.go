package keepalivedconf

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"weir/internal/config/block"
)

// Bounds of what definitions and sequences may grow to, and of what is reported.
const (
	maxLines  = 1 << 18 // lines of a file and all it includes, definitions put in
	maxNested = 32      // definitions in definitions
	maxPut    = 256     // definitions put into one line
	maxLine   = 1 << 16 // bytes of a line, definitions put in
	maxErrors = 20      // lines of errors reported
	maxShown  = 40      // bytes of a user's word repeated in a message
)

// line is one line as the grammar sees it: definitions put in, conditions held.
type line struct {
	pos  block.Pos
	text string
}

// loader turns files into lines.
type loader struct {
	id      string              // of conditions
	defs    map[string][]string // lines of each $NAME
	lines   []line
	errors  []*block.Error
	open    bool     // include may open files
	reading []string // the files being read, without symbolic links
	dir     string   // of the file being read, for ${_PWD}
	files   int
	bytes   int
	grown   int  // lines and bytes that definitions made
	full    bool // a bound was passed: nothing more is read
}

func newLoader(id string) *loader {
	return &loader{id: id, defs: map[string][]string{
		"_HASH": {hash}, "_BANG": {bang}, "_INSTANCE": {id},
	}}
}

// What ${_HASH} and ${_BANG} stand for: characters that begin no comment.
const (
	hash = "#"
	bang = "!"
)

func (l *loader) errorf(at block.Pos, format string, args ...any) {
	l.errors = append(l.errors, at.Errorf(format, args...))
}

// stop is errorf for a bound: what follows is not read.
func (l *loader) stop(at block.Pos, format string, args ...any) {
	if !l.full {
		l.errorf(at, format, args...)
	}
	l.full = true
}

// text takes the lines of one file.
func (l *loader) text(name string, src []byte) {
	at := block.Pos{File: name, Line: 1}
	if len(src) > block.MaxSize {
		l.stop(at, "file is larger than %d bytes", block.MaxSize)
		return
	}
	rows := strings.Split(strings.TrimPrefix(string(src), "\ufeff"), "\n")
	for i := 0; i < len(rows) && !l.full; i++ {
		at.Line = i + 1
		if c := strings.IndexFunc(rows[i], control); c >= 0 {
			l.errorf(at, "character 0x%02x can't stand in a configuration file: remove it", rows[i][c])
			continue
		}
		if strings.ToValidUTF8(rows[i], "") != rows[i] {
			l.errorf(at, "a word is not valid UTF-8: save the file as UTF-8")
			continue
		}
		text := uncomment(rows[i])
		if name, value, defines := definition(l.met(text)); defines && strings.HasSuffix(value, `\`) {
			first := i
			many := []string{strings.TrimSpace(strings.TrimSuffix(value, `\`))}
			for i+1 < len(rows) {
				i++
				more := strings.TrimSpace(uncomment(rows[i]))
				body, again := strings.CutSuffix(more, `\`)
				many = append(many, strings.TrimSpace(body))
				if !again {
					break
				}
			}
			if strings.ContainsFunc(strings.Join(many, ""), control) || strings.ToValidUTF8(strings.Join(many, ""), "") != strings.Join(many, "") {
				l.errorf(at, "definition of $%s from line %d on holds a character that can't stand in a configuration file", name, first+1)
				continue
			}
			l.defs[name] = slices.DeleteFunc(many, func(s string) bool { return s == "" })
			continue
		}
		l.line(at, text, 0)
	}
}

// control reports characters that no file of words needs.
func control(c rune) bool { return c < ' ' && c != '\t' && c != '\r' || c == 0x7f }

// uncomment cuts a line before its comment. As in a shell a character after '\'
// and what stands in quotes begins none.
func uncomment(s string) string {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '"' || c == '\'':
			quote = c
		case c == '#' || c == '!':
			return s[:i]
		}
	}
	return s
}

// met returns what follows the conditions of a line, or "" if one does not hold.
func (l *loader) met(s string) string {
	for {
		s = strings.TrimSpace(s)
		rest, conditional := strings.CutPrefix(s, "@")
		if !conditional {
			return s
		}
		rest, not := strings.CutPrefix(rest, "^")
		word, rest := cutWord(rest)
		if (word == l.id) == not {
			return ""
		}
		s = rest
	}
}

// cutWord parts a line after its first word.
func cutWord(s string) (first, rest string) {
	if i := strings.IndexAny(s, " \t\r"); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// definition parts "$NAME=value".
func definition(s string) (name, value string, ok bool) {
	rest, dollar := strings.CutPrefix(s, "$")
	name, value, equals := strings.Cut(rest, "=")
	if !dollar || !equals || !isName(name) {
		return "", "", false
	}
	return name, strings.TrimSpace(value), true
}

// isName reports whether s can be the name of a definition.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// line takes one line without comment: it holds conditions, remembers
// definitions, puts them in, and follows includes.
func (l *loader) line(at block.Pos, text string, depth int) {
	if depth > maxNested {
		l.stop(at, "definitions hold one another more than %d deep: does one hold itself?", maxNested)
	}
	for put := 0; !l.full; put++ {
		if put > maxPut {
			l.stop(at, "a line puts in more than %d definitions: does one hold itself?", maxPut)
			return
		}
		text = l.met(text)
		if text == "" {
			return
		}
		if name, value, defines := definition(text); defines {
			l.defs[name] = []string{value}
			return
		}
		if strings.HasPrefix(text, "~SEQ") || strings.HasPrefix(text, "~LST") {
			l.sequence(at, text, depth)
			return
		}
		before, value, after, found := l.substitution(at, text)
		if !found {
			break
		}
		if l.grown += len(text) + 1; l.grown > block.MaxTotal {
			l.stop(at, "definitions make more than %d bytes of the file: does one hold itself?", block.MaxTotal)
			return
		}
		if len(value) < 2 {
			if text = before + strings.Join(value, "") + after; len(text) > maxLine {
				l.stop(at, "a line is longer than %d bytes: does a definition hold itself?", maxLine)
			}
			continue
		}
		for i, row := range value {
			if i == 0 {
				row = before + row
			}
			if i == len(value)-1 {
				row += after
			}
			l.line(at, row, depth+1)
		}
		return
	}
	if l.full || l.include(at, text) {
		return
	}
	if len(l.lines) == maxLines {
		l.stop(at, "more than %d lines", maxLines)
		return
	}
	l.lines = append(l.lines, line{at, text})
}

// substitution finds the first definition that a line uses.
func (l *loader) substitution(at block.Pos, s string) (before string, value []string, after string, found bool) {
	for i := range len(s) {
		if s[i] != '$' {
			continue
		}
		end := i + 1
		var name string
		if rest, braced := strings.CutPrefix(s[end:], "{"); braced {
			inner, _, closed := strings.Cut(rest, "}")
			if !closed {
				continue
			}
			name, end = inner, end+len(inner)+2
		} else {
			name, _ = cutWord(s[end:])
			name = strings.TrimRight(name, "{}\"'")
			end += len(name)
		}
		if strings.HasPrefix(name, "_RANDOM") || strings.HasPrefix(name, "_ENV") {
			l.stop(at, "${%s} is not supported: write the value", shown(name))
			return "", nil, "", false
		}
		if name == "_PWD" {
			return s[:i], []string{l.dir}, s[end:], true
		}
		if v, defined := l.defs[name]; defined && isName(name) {
			// A '#' or '!' of ${_HASH} can't become a comment: those are gone.
			return s[:i], v, s[end:], true
		}
	}
	return "", nil, "", false
}

// sorted returns the errors file by file in the order of the lines, joined.
func sorted(all []*block.Error, whole block.Pos) error {
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *block.Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	var out []error
	for i, e := range all {
		if i == maxErrors {
			out = append(out, whole.Errorf("%d more errors follow: correct these first", len(all)-maxErrors))
			break
		}
		out = append(out, e)
	}
	return errors.Join(out...)
}

// shown is a user's word, cut to what fits a message.
func shown(word string) string {
	if len(word) > maxShown {
		return strings.ToValidUTF8(word[:maxShown], "") + "..."
	}
	if word == "" {
		return `""`
	}
	return word
}

package block

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// MaxWord is the greatest length of a keyword or value in bytes.
const MaxWord = 1024

type kind uint8

const (
	endFile kind = iota
	endLine
	word
	open  // {
	shut  // }
	wrong // err says what
)

type token struct {
	kind   kind
	text   string // of a word
	quoted bool   // some of the word was in quotes: it is not the keyword include
	pos    Pos
	err    error // of a wrong token
}

// lexer cuts one file into tokens.
type lexer struct {
	src []byte
	at  int
	pos Pos
}

func newLexer(name string, src []byte) *lexer {
	src = bytes.TrimPrefix(src, []byte("\ufeff")) // some editors begin a file so
	return &lexer{src: src, pos: Pos{File: name, Line: 1}}
}

// next returns the next token: an endFile for ever once the file is at its end.
func (l *lexer) next() token {
	for l.at < len(l.src) {
		t := token{pos: l.pos}
		switch l.src[l.at] {
		case '\n':
			l.at++
			l.pos.Line++
			t.kind = endLine
			return t
		case ' ', '\t', '\r':
			l.at++
		case '!', '#':
			l.skipLine()
		case '<':
			if err := l.skipAngle(); err != nil {
				return token{kind: wrong, pos: l.pos, err: err}
			}
		case '{':
			l.at++
			t.kind = open
			return t
		case '}':
			l.at++
			t.kind = shut
			return t
		default:
			return l.word()
		}
	}
	return token{kind: endFile, pos: l.pos}
}

// skipLine moves to the end of the line.
func (l *lexer) skipLine() {
	n := bytes.IndexByte(l.src[l.at:], '\n')
	if n < 0 {
		n = len(l.src) - l.at
	}
	l.at += n
}

// skipAngle passes over "<init>" and the like, which tell people something.
func (l *lexer) skipAngle() error {
	for i, c := range l.src[l.at:] {
		switch c {
		case '>':
			l.at += i + 1
			return nil
		case '\n':
			return l.pos.Errorf("'<' without '>' on the same line: close it, or put the value in quotes")
		}
	}
	return l.pos.Errorf("'<' without '>' on the same line: close it, or put the value in quotes")
}

// word reads a keyword or value. Quotes may stand anywhere in it, and between
// them everything but a quote and the end of the line is plain text.
func (l *lexer) word() token {
	t := token{kind: word, pos: l.pos}
	var text strings.Builder
	fail := func(format string, args ...any) token {
		return token{kind: wrong, pos: l.pos, err: l.pos.Errorf(format, args...)}
	}
	inQuotes, inVariable := false, false
scan:
	for ; l.at < len(l.src); l.at++ {
		c := l.src[l.at]
		switch {
		case c == '\n', c == '\r' && l.at+1 < len(l.src) && l.src[l.at+1] == '\n':
			break scan
		case c == '"':
			inQuotes = !inQuotes
			t.quoted = true
			continue
		case inQuotes && c != '\t' && (c < ' ' || c == 0x7f), !inQuotes && c < ' ' && c != '\t' && c != '\r', c == 0x7f:
			return fail("character 0x%02x can't stand in a configuration file: remove it", c)
		case inQuotes:
		case c == '$' && l.at+1 < len(l.src) && l.src[l.at+1] == '{':
			inVariable = true // the braces of ${NAME} open no block
			text.WriteByte('$')
			l.at++
			c = '{'
		case c == '}' && inVariable:
			inVariable = false
		case strings.IndexByte(" \t\r!#<{}", c) >= 0:
			break scan
		}
		if text.Len() == MaxWord {
			return fail("a word is longer than %d bytes: is a line end or a quote missing?", MaxWord)
		}
		text.WriteByte(c)
	}
	if inQuotes {
		return fail("a quote is opened and not closed on the same line: add the missing '\"'")
	}
	if t.text = text.String(); !utf8.ValidString(t.text) {
		return fail("a word is not valid UTF-8: save the file as UTF-8")
	}
	return t
}

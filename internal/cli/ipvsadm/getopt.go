package ipvsadm

import (
	"strings"
	"unicode/utf8"
)

// The grammar is popt's, which pflag cannot give: the order of the options counts
// (the command comes first, -6 comes after -f), an option with an optional
// value takes the next word unless that starts with a dash (-p 300, but -p -b),
// a value that starts with a dash is a value (-s -rr), repeated options are
// refused by name, and an unknown one is told in popt's words. So this is a small
// scanner of its own.

// takes says whether an option has a value.
type takes uint8

const (
	nothing takes = iota
	value         // the rest of the bundle, what follows '=', or the next word
	maybe         // like value, but the next word only if it does not start with '-'
)

// scanner splits a command line into options. Words that belong to no option
// are collected; "--" ends the options.
type scanner struct {
	words  []string
	next   int    // index of the next word
	bundle string // what is left of -abc after -a
	plain  bool   // "--" was seen
	// leftover are the words that are no options, in order.
	leftover []string
}

// scan returns the next option with its value; given is false when it has none.
// At the end it returns a nil option. An unknown option, a missing value or an
// unwanted one is an error that exits 255.
func (s *scanner) scan() (w *word, arg string, given bool, err error) {
	for {
		if s.bundle != "" {
			return s.short()
		}
		if s.next == len(s.words) {
			return nil, "", false, nil
		}
		text := s.words[s.next]
		s.next++
		switch {
		case s.plain || len(text) < 2 || text[0] != '-':
			s.leftover = append(s.leftover, text)
		case text == "--":
			s.plain = true
		case strings.HasPrefix(text, "--"):
			return s.long(text)
		default:
			s.bundle = text[1:]
		}
	}
}

// short takes one letter off the bundle.
func (s *scanner) short() (*word, string, bool, error) {
	letter, size := utf8.DecodeRuneInString(s.bundle)
	s.bundle = s.bundle[size:]
	w := byLetter[letter]
	if w == nil {
		return nil, "", false, badOption("-"+string(letter), "unknown option")
	}
	if w.takes == nothing {
		return w, "", false, nil
	}
	if s.bundle != "" {
		arg := strings.TrimPrefix(s.bundle, "=")
		s.bundle = ""
		return w, arg, true, nil
	}
	return s.nextWord(w, "-"+string(letter))
}

// long reads --name, --name=value or --name value.
func (s *scanner) long(text string) (*word, string, bool, error) {
	name, arg, given := strings.Cut(text[2:], "=")
	w := byName[name]
	switch {
	case w == nil:
		return nil, "", false, badOption("--"+name, "unknown option")
	case given && w.takes == nothing:
		return nil, "", false, badOption("--"+name, "option does not take an argument")
	case given || w.takes == nothing:
		return w, arg, given, nil
	}
	return s.nextWord(w, "--"+name)
}

// nextWord gives w the next word as its value; as is how w was written.
func (s *scanner) nextWord(w *word, as string) (*word, string, bool, error) {
	more := s.next < len(s.words)
	if w.takes == maybe && (!more || strings.HasPrefix(s.words[s.next], "-")) {
		return w, "", false, nil
	}
	if !more {
		return nil, "", false, badOption(as, "missing argument")
	}
	s.next++
	return w, s.words[s.next-1], true, nil
}

package dpip

import (
	"fmt"
	"slices"
)

// grammar is what may follow a command: keywords in any order, each once, and at
// most one operand, which is the word that no keyword claims.
type grammar struct {
	form     string // how the command is written, for messages
	operand  func(word string) error
	further  func(word string) error // what is said about another such word; nil: that it is unexpected
	keywords []keyword
}

// keyword is a word of a grammar. It has an argument (value) or is a switch (flag, set).
type keyword struct {
	names []string // the first is its name in messages
	value func(arg string) error
	flag  *bool
	set   func()
}

// key makes a keyword with an argument.
func key(name string, value func(arg string) error) keyword {
	return keyword{names: []string{name}, value: value}
}

// parse reads words into what the grammar's functions fill in. It stops at the
// first word that is wrong.
func (g grammar) parse(words []string) error {
	seen := make([]bool, len(g.keywords))
	operand := g.operand
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		i := slices.IndexFunc(g.keywords, func(k keyword) bool { return slices.Contains(k.names, word) })
		if i < 0 {
			if operand == nil {
				return fmt.Errorf("unexpected word %q: write %s", word, g.form)
			}
			if err := operand(word); err != nil {
				return err
			}
			operand = g.further
			continue
		}
		k := g.keywords[i]
		if seen[i] {
			return fmt.Errorf("`%s' is given twice: leave one out", k.names[0])
		}
		seen[i] = true
		if k.flag != nil {
			*k.flag = true
			continue
		}
		if k.set != nil {
			k.set()
			continue
		}
		if len(words) == 0 {
			return fmt.Errorf("missing argument for `%s'", k.names[0])
		}
		if err := k.value(words[0]); err != nil {
			return err
		}
		words = words[1:]
	}
	return nil
}

package block

import (
	"fmt"
	"strconv"
)

// Pos is a place in a file.
type Pos struct {
	File string // as the user named it, or as an include found it
	Line int    // from 1
}

// String returns "file:line", which editors understand.
func (p Pos) String() string { return p.File + ":" + strconv.Itoa(p.Line) }

// Errorf returns an *Error at this place.
func (p Pos) Errorf(format string, args ...any) *Error {
	return &Error{Pos: p, Text: fmt.Sprintf(format, args...)}
}

// Error is what is wrong at a place of a file, and what to do about it.
type Error struct {
	Pos
	Text string
}

// Error returns "file:line: text".
func (e *Error) Error() string { return e.Pos.String() + ": " + e.Text }

// Node is one keyword with its values, and with its block if it has one.
type Node struct {
	Keyword string
	Args    []string // quotes taken off
	Pos     Pos      // of the keyword
	Block   []Node   // nil: no braces; empty but not nil: "{ }"
}

// IsBlock reports whether the keyword was followed by braces.
func (n *Node) IsBlock() bool { return n.Block != nil }

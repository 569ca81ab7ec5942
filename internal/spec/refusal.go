package spec

import "fmt"

// Code is DPVS's number for why a change was refused.
type Code int

// The codes that Weir uses.
const (
	Invalid      Code = -1
	Exists       Code = -3
	NotExists    Code = -4
	Busy         Code = -13
	NotSupported Code = -14
	NoResource   Code = -15
	NoDevice     Code = -27
)

var codeTexts = map[Code]string{
	Invalid: "invalid parameter", Exists: "already exist", NotExists: "not exist", Busy: "resource busy",
	NotSupported: "not support", NoResource: "no resource", NoDevice: "no such device",
}

// String returns DPVS's text.
func (c Code) String() string { return codeTexts[c] }

// Refusal is why a change was refused: nothing has changed.
type Refusal struct {
	Code   Code
	Object string // "service", "dest", "laddr", "address", "route", "neighbour", "link", "worker", "scheduler", "blacklist", "whitelist", "timeout"
	Why    string // a sentence that says what is wrong and what to do
}

// Error returns the sentence.
func (r *Refusal) Error() string { return r.Why }

func refuse(c Code, object, format string, args ...any) error {
	return &Refusal{c, object, fmt.Sprintf(format, args...)}
}

package dpip

import (
	"fmt"
	"net/netip"
	"strings"
)

// family is what -4, -6 and -f say: 0 is nothing.
type family uint8

const (
	inet  family = 4
	inet6 family = 6
)

// orIPv4 is the family of commands that are for IPv4 unless -6 is said, as DPVS has it.
func (f family) orIPv4() family {
	if f == 0 {
		return inet
	}
	return f
}

// check refuses an address that is not of the family.
func (f family) check(a netip.Addr) error {
	if f == 0 || a.Is4() == (f == inet) {
		return nil
	}
	return fmt.Errorf("%s is no IPv%d address: leave -%d out", a, f, f)
}

// shows reports whether an address or a prefix in a listing is of the family.
func (f family) shows(text string) bool {
	return f == 0 || strings.Contains(text, ":") == (f == inet6)
}

// familyWord is the word with which lines about an address or a prefix begin.
func familyWord(text string) string {
	if inet6.shows(text) {
		return "inet6"
	}
	return "inet"
}

package daemon

import (
	"errors"
	"fmt"
	"io"

	"weir/internal/port/tap"
)

// Purge takes away what directors that have ended left to the next one in the network
// namespace of the caller: the .kni twins, with their addresses and routes. What one is
// running with stays, and is an error, as nobody asks to purge that.
func Purge(out io.Writer) error {
	kept, err := tap.AllKept()
	if err != nil {
		return err
	}
	var used []error
	for _, k := range kept {
		if k.Open {
			used = append(used, fmt.Errorf("%s, the twin of port %s, stays: a running weir has it open; stop that first", k.Name, k.Port))
			continue
		}
		if err := k.Remove(); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s, the twin of port %s, is removed\n", k.Name, k.Port)
	}
	if len(kept) == 0 {
		fmt.Fprintln(out, "nothing is left of weir")
	}
	return errors.Join(used...)
}

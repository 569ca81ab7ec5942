package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"

	"weir/internal/pinned"
	"weir/internal/port"
	"weir/internal/port/tap"
)

// Purge takes away what directors that have ended left to the next one: the .kni twins in
// the network namespace of the caller, with their addresses and routes, and what is kept of
// connections and services in a folder, with the programs that go on forwarding, "" for none. Interfaces
// whose interrupts one held back that was killed get what they had. What one is running with stays, and is
// an error, as nobody asks to purge that.
func Purge(out io.Writer, folder string) error {
	kept, err := tap.AllKept()
	if err != nil {
		return err
	}
	left := len(kept) > 0
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
	deferred, err := port.UndoLeft()
	if err != nil {
		return err
	}
	for _, l := range deferred {
		left = true
		if l.Held {
			used = append(used, fmt.Errorf("interface %s stays as it is: a running weir holds its interrupts back; stop that first", l.Name))
			continue
		}
		fmt.Fprintf(out, "interface %s has %v again, as before weir\n", l.Name, l.Was)
	}
	if folder != "" {
		switch d, err := pinned.Find(folder); {
		case errors.Is(err, os.ErrNotExist):
		case errors.Is(err, pinned.ErrHeld):
			used, left = append(used, fmt.Errorf("connections and services, in %s, stay: a running weir has them; stop that first", folder)), true
		case err != nil:
			return err
		default:
			if err := d.Remove(); err != nil {
				return err
			}
			left = true
			fmt.Fprintf(out, "connections and services, kept in %s, are removed\n", folder)
		}
	}
	if !left {
		fmt.Fprintln(out, "nothing is left of weir")
	}
	return errors.Join(used...)
}

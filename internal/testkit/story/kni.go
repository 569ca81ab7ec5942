package story

import (
	"fmt"
	"net/netip"
	"strings"

	"weir/internal/director"
)

// kni says what Linux does with a port's twin: "kni PORT up ADDR/LEN ...", with all the
// addresses that are there now, "kni PORT down", "kni PORT gone".
func (s *Story) kni(w []string) error {
	if len(w) < 2 {
		return fmt.Errorf("kni: the twin of which port is what?")
	}
	if _, err := s.port(w[0] + ".kni"); err != nil {
		return err
	}
	state := director.TwinState{Up: w[1] == "up", Gone: w[1] == "gone"}
	for _, text := range w[2:] {
		a, err := netip.ParsePrefix(text)
		if err != nil {
			return err
		}
		state.Addresses = append(state.Addresses, a)
	}
	return s.d.SeeTwins(map[string]director.TwinState{w[0]: state})
}

// addresses lists what addresses there are, and who has them.
func (s *Story) addresses() string {
	var b strings.Builder
	for _, a := range s.d.Addresses() {
		fmt.Fprintf(&b, "%s %s", a.Port, a.Prefix)
		for _, word := range []string{a.State.String(), map[bool]string{true: "own"}[a.Own]} {
			if word != "" {
				fmt.Fprintf(&b, " %s", word)
			}
		}
		b.WriteByte('\n')
	}
	for _, t := range s.d.Twins() {
		for _, a := range t.Addresses {
			fmt.Fprintf(&b, "%s %s\n", t.Name, a)
		}
	}
	return b.String()
}

package story

import (
	"testing"

	"weir/internal/director"
	"weir/internal/port/afxdp"
)

// trials are the XDP programs of a director's ports, on no interface.
type trials struct {
	t    testing.TB
	d    *director.Director
	byID map[uint16]*afxdp.Trial
}

// close unloads the programs.
func (s *trials) close() {
	for _, t := range s.byID {
		if err := t.Close(); err != nil {
			s.t.Error(err)
		}
	}
	s.byID, s.d = nil, nil
}

func (s *trials) trial(id uint16) *afxdp.Trial {
	if s.byID == nil {
		s.byID = map[uint16]*afxdp.Trial{}
	}
	if s.byID[id] == nil {
		t, err := s.d.Engine().Try(id)
		if err != nil {
			s.t.Fatal(err)
		}
		s.byID[id] = t
	}
	return s.byID[id]
}

type way struct {
	in, out uint16
	family  int
}

// ways are the engine's counts between ports.
func (s *trials) ways() map[way]afxdp.Carried {
	all := map[way]afxdp.Carried{}
	n := uint16(0)
	for _, f := range s.d.Facts() {
		if f.Name != "" {
			n = max(n, f.ID+1)
		}
	}
	for in := range n {
		for out := range n {
			for family, c := range s.d.Engine().Way(in, out) {
				all[way{in, out, family}] = c
			}
		}
	}
	return all
}

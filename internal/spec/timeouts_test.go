package spec

import "testing"

func TestEditTimeouts(t *testing.T) {
	s := &Spec{}
	for _, tc := range []struct {
		name      string
		set, want SetTimeouts
		refused   bool
	}{
		{"one", SetTimeouts{TCP: 5}, SetTimeouts{TCP: 5}, false},
		{"the others", SetTimeouts{TCPFin: 6, UDP: 7}, SetTimeouts{5, 6, 7}, false},
		{"none", SetTimeouts{}, SetTimeouts{5, 6, 7}, false},
		{"too long", SetTimeouts{UDP: MaxTimeout + 1}, SetTimeouts{5, 6, 7}, true},
		{"as long as can be", SetTimeouts{UDP: MaxTimeout}, SetTimeouts{5, 6, MaxTimeout}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := s.Clone()
			if err := next.EditTimeouts(tc.set); (err != nil) != tc.refused {
				t.Errorf("refused with %v", err)
			} else if err == nil {
				s = next
			}
			if s.SetTimeouts != tc.want {
				t.Errorf("%+v, want %+v", s.SetTimeouts, tc.want)
			}
		})
	}
	d := DefaultTimeouts()
	if got := (SetTimeouts{}).Over(d); got != d {
		t.Errorf("nothing was set, and it changed: %+v", got)
	}
	if got := (SetTimeouts{1, 2, 3}).Over(d); got.TCP.Established != 1 || got.TCP.FinWait != 2 || got.UDP != (UDPTimeouts{3, 3}) || got.TCP.SynRecv != d.TCP.SynRecv {
		t.Errorf("%+v", got)
	}
}

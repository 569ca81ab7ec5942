package mapping

import "testing"

// Connections that go on get their mapping again: one mapping for all of one key that had
// the same, and another, hidden, for those that had an earlier one.
func TestRestore(t *testing.T) {
	s := New(100, 1)
	k := Key{Address: [2]uint64{1, 2}, Service: 3, Port: 4, Proto: 17}
	now, before := Mapping{Dest: 1, Local: 2, Port: 3000, Reused: 9}, Mapping{Dest: 1, Local: 2, Port: 3001, Reused: 9}
	first, old := s.Restore(&k, now)
	second, old2 := s.Restore(&k, now)
	if first == None || first != second || old || old2 || s.Len() != 1 {
		t.Fatalf("%d %v, %d %v, %d", first, old, second, old2, s.Len())
	}
	ref, old := s.Restore(&k, before)
	if !old || ref != first {
		t.Fatalf("another mapping of the key: %d, %v", ref, old)
	}
	s.Retire(ref)
	other, old := s.Restore(&k, before)
	if old || other == first || s.Len() != 1 {
		t.Fatalf("when the first is hidden: %d, %v, %d", other, old, s.Len())
	}
	s.Hold(first) // a third connection that had it
	for i := range 3 {
		if m, last := s.Release(first); last != (i == 2) || last && m != now {
			t.Errorf("release %d: %+v, %v", i, m, last)
		}
	}
	if m, last := s.Release(other); !last || m != before || s.Len() != 0 {
		t.Errorf("release of the other: %+v, %v, %d left", m, last, s.Len())
	}
}

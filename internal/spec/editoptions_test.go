package spec

import (
	"reflect"
	"testing"
)

func TestPassiveCheck(t *testing.T) {
	for _, row := range []struct {
		words []string
		want  DestCheck
	}{
		{nil, DestCheck{}},
		{[]string{"default"}, DestCheck{Down: 1, Up: 1, Wait: 3, Min: 5, Max: 3600}},
		{[]string{"2,9s"}, DestCheck{Down: 2, Up: 1, Wait: 9, Min: 5, Max: 3600}},
		{[]string{"3,4,5s,6-7s"}, DestCheck{Down: 3, Up: 4, Wait: 5, Min: 6, Max: 7}},
	} {
		got, err := (&Service{DestCheck: row.words}).PassiveCheck()
		if err != nil || !reflect.DeepEqual(got, row.want) {
			t.Errorf("%v: %+v, %v; want %+v", row.words, got, err, row.want)
		}
	}
}

// FuzzDestCheck: what is accepted has all its figures within their bounds.
func FuzzDestCheck(f *testing.F) {
	for _, s := range []string{"default", "1,3s", "1,1,3s,5-3600s", "1,1,3s,5-s", ",,s,-s", "1,s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := (&Service{DestCheck: []string{s}}).PassiveCheck()
		if err != nil {
			if c != (DestCheck{}) {
				t.Fatalf("%q is refused and yet %+v", s, c)
			}
			return
		}
		if c.Down == 0 || c.Up == 0 || c.Wait == 0 || c.Min == 0 || c.Max < c.Min || c.Max > maxCheckTime || c.Wait > maxCheckTime {
			t.Fatalf("%q gave %+v", s, c)
		}
	})
}

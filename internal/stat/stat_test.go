package stat

import (
	"reflect"
	"testing"
)

// Add adds every counter: one that is added to the struct and forgotten there
// would be missing from all sums.
func TestAddAddsAll(t *testing.T) {
	var a, b Worker
	fill := func(w *Worker, from uint64) {
		v, n := reflect.ValueOf(w).Elem(), from
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Uint64:
				f.SetUint(n)
				n++
			case reflect.Array:
				for j := range f.Len() {
					f.Index(j).SetUint(n)
					n++
				}
			default:
				t.Fatalf("a counter of kind %v", f.Kind())
			}
		}
	}
	fill(&a, 1)
	fill(&b, 1000)
	was := a
	a.Add(&b)
	check := func(name string, sum, x, y uint64) {
		if sum != x+y {
			t.Errorf("%s: %d + %d gave %d", name, x, y, sum)
		}
	}
	va, vb, vw := reflect.ValueOf(a), reflect.ValueOf(b), reflect.ValueOf(was)
	for i := range va.NumField() {
		name := va.Type().Field(i).Name
		if va.Field(i).Kind() == reflect.Uint64 {
			check(name, va.Field(i).Uint(), vw.Field(i).Uint(), vb.Field(i).Uint())
			continue
		}
		for j := range va.Field(i).Len() {
			check(name, va.Field(i).Index(j).Uint(), vw.Field(i).Index(j).Uint(), vb.Field(i).Index(j).Uint())
		}
	}
}

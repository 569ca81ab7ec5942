package stat

import (
	"fmt"
	"reflect"
	"testing"
)

// Add adds every counter: one that is added to the struct and forgotten there
// would be missing from all sums.
func TestAddAddsAll(t *testing.T) {
	var a, b Worker
	fill := func(w *Worker, from uint64) {
		counters(reflect.ValueOf(w).Elem(), "", func(_ string, c reflect.Value) {
			c.SetUint(from)
			from++
		})
	}
	fill(&a, 1)
	fill(&b, 1000)
	was := a
	a.Add(&b)
	var x, y []uint64
	list := func(into *[]uint64) func(string, reflect.Value) {
		return func(_ string, c reflect.Value) { *into = append(*into, c.Uint()) }
	}
	counters(reflect.ValueOf(was), "", list(&x))
	counters(reflect.ValueOf(b), "", list(&y))
	i := 0
	counters(reflect.ValueOf(a), "", func(name string, c reflect.Value) {
		if c.Uint() != x[i]+y[i] {
			t.Errorf("%s: %d + %d gave %d", name, x[i], y[i], c.Uint())
		}
		i++
	})
}

// counters calls f for each number in v.
func counters(v reflect.Value, name string, f func(name string, c reflect.Value)) {
	switch v.Kind() {
	case reflect.Uint64:
		f(name, v)
	case reflect.Array:
		for i := range v.Len() {
			counters(v.Index(i), fmt.Sprintf("%s[%d]", name, i), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			counters(v.Field(i), name+"."+v.Type().Field(i).Name, f)
		}
	default:
		panic("a counter of kind " + v.Kind().String())
	}
}

package main

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"weir/internal/flow"
)

// cacheLine is how much memory only one processor can write at a time.
const cacheLine = 64

// extent is memory that something has, which path leads to.
type extent struct {
	at   unsafe.Pointer
	size uintptr
	path string
}

func (e *extent) bytes() []byte { return unsafe.Slice((*byte)(e.at), e.size) }

// reach finds the memory that can be come to from somewhere, but for what lies in maps and
// behind functions.
type reach struct {
	extents []extent
	seen    map[place]bool
}

type place struct {
	at unsafe.Pointer
	of reflect.Type
}

func (r *reach) add(at unsafe.Pointer, size uintptr, path string) {
	if size > 0 {
		r.extents = append(r.extents, extent{at, size, path})
	}
}

// pointer goes on with what lies at a place.
func (r *reach) pointer(at unsafe.Pointer, of reflect.Type, path string) {
	if at == nil || r.seen[place{at, of}] {
		return
	}
	r.seen[place{at, of}] = true
	r.add(at, of.Size(), path)
	r.value(reflect.NewAt(of, at).Elem(), path)
}

// value goes on with what v points to.
func (r *reach) value(v reflect.Value, path string) {
	switch t := v.Type(); t.Kind() {
	case reflect.Pointer:
		r.pointer(v.UnsafePointer(), t.Elem(), path)
	case reflect.Interface:
		if e := v.Elem(); e.IsValid() && e.Kind() == reflect.Pointer {
			r.value(e, path)
		}
	case reflect.Slice:
		at := v.UnsafePointer()
		if v.Len() == 0 || r.seen[place{at, t}] {
			return
		}
		r.seen[place{at, t}] = true
		r.add(at, uintptr(v.Len())*t.Elem().Size(), path)
		r.elements(v, path)
	case reflect.Array:
		r.elements(v, path)
	case reflect.Struct:
		// Its first field, of no size, says what it points to.
		if t.PkgPath() == "sync/atomic" && strings.HasPrefix(t.Name(), "Pointer[") {
			r.pointer(v.FieldByName("v").UnsafePointer(), t.Field(0).Type.Elem().Elem(), path)
			return
		}
		for i := range t.NumField() {
			r.value(v.Field(i), path+"."+t.Field(i).Name)
		}
	}
}

func (r *reach) elements(v reflect.Value, path string) {
	switch v.Type().Elem().Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Array, reflect.Struct:
	default:
		return
	}
	for i := range v.Len() {
		r.value(v.Index(i), path+"[]")
	}
}

// written returns the lines that f writes, each with a path to it.
func (r *reach) written(f func()) map[uintptr]string {
	var before [][]byte
	for i := range r.extents {
		before = append(before, bytes.Clone(r.extents[i].bytes()))
	}
	f()
	lines := map[uintptr]string{}
	for i := range r.extents {
		e := &r.extents[i]
		now, was := e.bytes(), before[i]
		for off := uintptr(0); off < e.size; {
			line := (uintptr(e.at) + off) &^ (cacheLine - 1)
			end := min(line+cacheLine-uintptr(e.at), e.size)
			if !bytes.Equal(now[off:end], was[off:end]) {
				lines[line] = fmt.Sprintf("%s+%d", e.path, off)
			}
			off = end
		}
	}
	return lines
}

func lineOf(at unsafe.Pointer) uintptr { return uintptr(at) &^ (cacheLine - 1) }

// Two workers that forward packets of established flows write no line of memory in common
// but those that each writes once a tick, and none of the other's flows: a line that two
// processors write costs either of them more than the packet.
func TestWorkersWriteNoLineInCommon(t *testing.T) {
	const flows, packets = 500, 4096
	beds, err := newBeds(flow.Anonymous, 4*flows, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	memory := reach{seen: map[place]bool{}}
	var runs []*udpRun
	for i, b := range beds {
		defer b.close()
		r := newUDPRunOn(b, flows, i*flows)
		if err := r.fill(); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
		memory.value(reflect.ValueOf(b.worker), fmt.Sprintf("worker%d", i))
		memory.value(reflect.ValueOf(b.queues), fmt.Sprintf("queues%d", i))
	}
	table := beds[0].shared.Flows
	memory.add(unsafe.Pointer(table.Header()), flow.HeaderSize, "header")
	memory.add(unsafe.Pointer(table.Half(0)), uintptr(table.Slots())*flow.HalfSize, "half-flows")
	memory.add(unsafe.Pointer(table.Conn(0)), uintptr(table.Conns())*flow.ConnSize, "connections")
	memory.add(unsafe.Pointer(table.Hops.At(0)), flow.MaxNextHops*flow.NextHopSize, "next hops")

	onceATick := []uintptr{lineOf(unsafe.Pointer(&table.Header().Alive))}
	for i := range uint32(flow.MaxNextHops) {
		onceATick = append(onceATick, lineOf(unsafe.Pointer(&table.Hops.At(i).Used)))
	}
	var lines [2]map[uintptr]string
	for i, r := range runs {
		lines[i] = memory.written(func() { r.pass(packets, wan, lan) })
		halves := 0
		for at, path := range lines[i] {
			if strings.HasPrefix(path, "half-flows") {
				halves++
			}
			if path, both := lines[0][at], i == 1; both && path != "" && !slices.Contains(onceATick, at) {
				t.Errorf("both workers write the line at %#x: %s, %s", at, path, lines[1][at])
			}
			if strings.HasPrefix(path, "connections") {
				t.Errorf("worker %d writes to a connection's record: %s", i, path)
			}
		}
		if halves != 2*flows {
			t.Errorf("worker %d wrote to %d half-flows, has %d", i, halves, 2*flows)
		}
	}
	runtime.KeepAlive(&memory)
}

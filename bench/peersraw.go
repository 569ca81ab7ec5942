package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
)

// keep writes what there is so far beside the file that there will be, whose name has ".part"
// then: a run that is interrupted is not lost, and one that goes on can be looked at.
func (c *catch) keep() error {
	if c.raw == "" {
		return nil
	}
	return c.save(c.raw + ".part")
}

// save writes a whole file, or none.
func (c *catch) save(name string) error {
	text, err := c.lines()
	if err != nil {
		return err
	}
	next := name + ".next"
	if err := os.WriteFile(next, text, 0o644); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// done writes what was measured to its file, and removes what keep wrote.
func (c *catch) done() error {
	if c.raw == "" {
		return nil
	}
	if err := c.save(c.raw); err != nil {
		return err
	}
	if err := os.Remove(c.raw + ".part"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// digits of a figure are written: more were never measured.
const digits = 6

// lines is JSON with a line for each series, so that two runs can be compared by eye.
func (c *catch) lines() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("{\n")
	v := reflect.ValueOf(c).Elem()
	first := true
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		if !first {
			b.WriteString(",\n")
		}
		first = false
		fmt.Fprintf(&b, "%q: ", f.Name)
		switch of := v.Field(i).Interface().(type) {
		case map[string]map[string][]float64:
			seriesLines(&b, of, numbersLine)
		case map[string]map[string][][]float64:
			seriesLines(&b, of, func(b *bytes.Buffer, lists [][]float64) {
				listLine(b, lists, numbersLine)
			})
		default:
			text, err := json.Marshal(of)
			if err != nil {
				return nil, err
			}
			b.Write(text)
		}
	}
	b.WriteString("\n}\n")
	return b.Bytes(), nil
}

func seriesLines[T any](b *bytes.Buffer, of map[string]map[string]T, line func(*bytes.Buffer, T)) {
	b.WriteString("{")
	for i, key := range slices.Sorted(maps.Keys(of)) {
		fmt.Fprintf(b, "%s\n%q: {", map[bool]string{true: ",", false: ""}[i > 0], key)
		for k, name := range slices.Sorted(maps.Keys(of[key])) {
			fmt.Fprintf(b, "%s\n  %q: ", map[bool]string{true: ",", false: ""}[k > 0], name)
			line(b, of[key][name])
		}
		b.WriteString("}")
	}
	b.WriteString("}")
}

func numbersLine(b *bytes.Buffer, v []float64) {
	listLine(b, v, func(b *bytes.Buffer, x float64) { b.WriteString(strconv.FormatFloat(x, 'g', digits, 64)) })
}

func listLine[T any](b *bytes.Buffer, v []T, write func(*bytes.Buffer, T)) {
	b.WriteByte('[')
	for i, x := range v {
		if i > 0 {
			b.WriteByte(',')
		}
		write(b, x)
	}
	b.WriteByte(']')
}

// loadCatch reads a file again. What is made of figures is made anew: how may have changed.
func loadCatch(name string) (*catch, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	c := new(catch)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c.texts = map[string]string{}
	for _, p := range peersOf() {
		c.texts[p.name] = p.text
	}
	c.derive()
	return c, nil
}

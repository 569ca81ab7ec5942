// Command genheader derives bpf/flow.h, the flow table's layout in C, from
// internal/flow/layout.go.
//
// Enters: layout.go: constants, structs, the functions Hash and FoldWords.
// Leaves: a C header that needs nothing but the kernel's integer types.
// Owns: nothing.
// Drops: nothing: what it cannot say in C is an error.
// See: docs/flow-table.md.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	in := flag.String("in", "layout.go", "Go file to read")
	out := flag.String("out", "../../bpf/flow.h", "C header to write")
	flag.Parse()
	if err := run(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "genheader:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	source, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	header, err := generate(source)
	if err != nil {
		return err
	}
	return os.WriteFile(out, header, 0o644)
}

package afxdp

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf/btf"

	"weir/bpf"
)

// With more flows than a cache holds, an engine's program waits for memory at each packet. On veth
// there is a program that need not (bpf/ahead.h). It is another object than the plain one,
// which starts sooner: to load this one the types of the whole kernel are read.

// vethKind is what Linux calls a veth (port.Link.Kind).
const vethKind = "veth"

// CanLookAhead reports whether LookAhead is for this port: its frames come by a veth, natively.
func (pr *Program) CanLookAhead() bool {
	return pr.engine != nil && pr.native && pr.at.Kind == vethKind
}

// LookAhead puts the program that looks ahead in the place of the one that is there, between two
// frames. It does so while the port's Rule says Ahead. It takes its time, and may be called beside all else,
// once. After an error, which says what the kernel lacks, the program is what it was.
func (pr *Program) LookAhead() error {
	if err := pr.lookAhead("veth_rq"); err != nil {
		return fmt.Errorf("interface %q: look ahead in the ring of veth: %w", pr.at.Name, err)
	}
	return nil
}

func (pr *Program) lookAhead(queue string) error {
	behind, err := ringBehind(queue)
	if err != nil {
		return err
	}
	spec, err := bpf.LoadForwardVeth()
	if err != nil {
		return err
	}
	if err := spec.Variables[bpf.ForwardVethVarRingBehind].Set(behind); err != nil {
		return err
	}
	next, err := pr.engine.loadSpec(spec, pr.id, pr.xsks, pr.counts, 0)
	if err != nil {
		return fmt.Errorf("%w (it needs Linux 6.2)", err)
	}
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.closed || pr.waits {
		return errors.Join(errors.New("the port does not run"), next.Close())
	}
	if err := pr.link.Update(next); err != nil {
		return errors.Join(err, next.Close())
	}
	was := pr.xdp
	pr.xdp = next
	return was.Close()
}

// ringBehind is by how many bytes the ring of a receive queue lies behind what an XDP program
// knows of the queue, in the kernel's struct of that name.
func ringBehind(queue string) (int32, error) {
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return 0, fmt.Errorf("the kernel's types: %w", err)
	}
	var rq *btf.Struct
	err = types.TypeByName(queue, &rq)
	if errors.Is(err, btf.ErrNotFound) { // veth is a module
		if types, err = btf.LoadKernelModuleSpec(vethKind); err == nil {
			err = types.TypeByName(queue, &rq)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("neither the kernel nor a module has %s: %w", queue, btf.ErrNotFound)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("the types of veth: %w", err)
	}
	at := map[string]int32{}
	for _, m := range rq.Members {
		at[m.Name] = int32(m.Offset.Bytes())
	}
	ring, ok := at["xdp_ring"]
	known, also := at["xdp_rxq"]
	if !ok || !also {
		return 0, fmt.Errorf("the types of veth: %s has no xdp_ring or no xdp_rxq", queue)
	}
	return ring - known, nil
}

// Ahead returns for how many frames of a port a half-flow was called in ahead of their turn: one that
// lay where the search for theirs begins.
func (e *Engine) Ahead(id uint16) (n uint64) {
	for cpu := range e.cpus {
		n += atomicLoad(&e.passed[cpu<<6|int(id)].Ahead)
	}
	return n
}

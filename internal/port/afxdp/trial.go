package afxdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// Trial is an engine's program for a port, on no interface: tests and benchmarks show it
// frames (BPF_PROG_RUN).
type Trial struct {
	program     *ebpf.Program
	xsks, drops *ebpf.Map
	out         []byte
}

// The actions of a program that mean something here (linux/bpf.h).
const (
	xdpDrop     = 1
	xdpPass     = 2
	xdpRedirect = 4
)

// MaxTrial is the longest frame that can be shown to a Trial.
const MaxTrial = 3 << 10

// Try loads the program of a port.
func (e *Engine) Try(id uint16) (*Trial, error) {
	t := &Trial{out: make([]byte, MaxTrial+512)}
	var err error
	if t.xsks, t.drops, err = e.own(1); err == nil {
		t.program, err = e.load(id, t.xsks, t.drops, 1)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load the program of port %d: %w", id, err), t.Close())
	}
	return t, nil
}

// Close unloads it.
func (t *Trial) Close() error { return errors.Join(t.program.Close(), t.xsks.Close(), t.drops.Close()) }

// Run shows a frame to the program. out is what became of it, until the next Run; taken
// says that it was sent on: else it went to the sockets, of which there are none.
func (t *Trial) Run(frame []byte) (out []byte, taken bool, err error) {
	o := ebpf.RunOptions{Data: frame, DataOut: t.out}
	action, err := t.program.Run(&o)
	switch {
	case err != nil:
		return nil, false, err
	case action == xdpRedirect:
		return o.DataOut, true, nil
	case action == xdpDrop, action == xdpPass:
		return o.DataOut, false, nil
	}
	return nil, false, fmt.Errorf("the program says %d", action)
}

// Program is the program itself.
func (t *Trial) Program() *ebpf.Program { return t.program }

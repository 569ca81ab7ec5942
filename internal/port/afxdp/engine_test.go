package afxdp

import (
	"errors"
	"strings"
	"github.com/cilium/ebpf"
	"testing"

	"weir/internal/flow"
	"weir/bpf"
)

func TestLoads(t *testing.T) {
	tab, err := flow.New(flow.Config{Conns: 1000, Workers: 1, Backing: flow.BPFArray})
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Close()
	e, err := NewEngine(tab)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var o bpf.ForwardObjects
	if err := e.load(0, 1, &o); err != nil {
		var v *ebpf.VerifierError
		if errors.As(err, &v) {
			t.Log(strings.Join(v.Log[max(0, len(v.Log)-120):], "\n"))
		}
		t.Fatalf("%v", err)
	}
	defer o.Close()
	if err := e.AddDevice(0, 1); err != nil {
		t.Fatal(err)
	}
}

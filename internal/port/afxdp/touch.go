package afxdp

import (
	"fmt"

	"github.com/cilium/ebpf"

	"weir/bpf"
)

// touchPages is PAGES of touch.bpf.c, and pageSize the smallest page there is. A page begins
// with a value: all sizes of values divide it.
const (
	touchPages = 8
	pageSize   = 4096
)

// Touch has the kernel write to each page of the half-flows of IPv4, of next hops and of the
// counters, through the addresses that the XDP programs use (bpf/touch.bpf.c). It changes nothing, may
// run beside all else, and ends early with stop. An error says that the kernel can't (before
// Linux 5.14).
func (e *Engine) Touch(stop <-chan struct{}) error {
	return e.touch(stop, bpf.ForwardMapHalves, bpf.ForwardMapHops, bpf.ForwardMapWays, bpf.ForwardMapDests)
}

// TouchWide is Touch for the half-flows of IPv6.
func (e *Engine) TouchWide(stop <-chan struct{}) error { return e.touch(stop, bpf.ForwardMapWides) }

func (e *Engine) touch(stop <-chan struct{}, names ...string) error {
	for _, name := range names {
		if _, err := touchMap(stop, e.maps[name]); err != nil {
			return fmt.Errorf("the XDP engine: touch map %s: %w", name, err)
		}
	}
	return nil
}

// touchMap returns how many pages it wrote to.
func touchMap(stop <-chan struct{}, m *ebpf.Map) (pages int, err error) {
	spec, err := bpf.LoadTouch()
	if err != nil {
		return 0, err
	}
	memory := spec.Maps[bpf.TouchMapMemory]
	memory.ValueSize, memory.MaxEntries, memory.Value = m.ValueSize(), m.MaxEntries(), nil
	var o bpf.TouchPrograms
	if err := spec.LoadAndAssign(&o, &ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{bpf.TouchMapMemory: m}}); err != nil {
		return 0, err
	}
	defer o.Close()
	order := bpf.TouchOrder{Stride: pageSize / m.ValueSize()}
	for n := uint32(touchPages); n == touchPages; order.First += touchPages * order.Stride {
		select {
		case <-stop:
			return pages, nil
		default:
		}
		if n, err = o.Touch.Run(&ebpf.RunOptions{Context: order}); err != nil {
			return pages, err
		}
		pages += int(n)
	}
	return pages, nil
}

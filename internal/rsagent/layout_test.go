package rsagent

import (
	"maps"
	"testing"

	"github.com/cilium/ebpf"
)

// TestWhatOutlivesHasThisLayout holds the layout of version 1: whoever changes a map
// here raises the number.
func TestWhatOutlivesHasThisLayout(t *testing.T) {
	type shape struct {
		kind       ebpf.MapType
		key, value uint32
	}
	want := map[string]shape{
		"counters":    {ebpf.PerCPUArray, 4, 8},
		"trusted":     {ebpf.LPMTrie, 24, 4},
		"toa_clients": {ebpf.SkStorage, 4, 20},
		"uoa_clients": {ebpf.LRUHash, 48, 32},
		"uoa_returns": {ebpf.LRUHash, 32, 32},
		"last_peers":  {ebpf.SkStorage, 4, 20},
	}
	got := map[string]shape{}
	for _, name := range outlive {
		m := rsSpec(t).Maps[name]
		got[name] = shape{m.Type, m.KeySize, m.ValueSize}
	}
	if layout != 1 || !maps.Equal(got, want) {
		t.Errorf("layout %d is %v, want layout 1 with %v", layout, got, want)
	}
}

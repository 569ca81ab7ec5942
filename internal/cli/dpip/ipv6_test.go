package dpip

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

func (f *fake) GetStats(_ context.Context, q *connect.Request[weirv1.GetStatsRequest]) (*connect.Response[weirv1.GetStatsResponse], error) {
	counters := func(in, out uint64) []*weirv1.IPv6Counter {
		return []*weirv1.IPv6Counter{{Name: "InReceives", Value: in}, {Name: "OutForwDatagrams", Value: out}}
	}
	return answer(f, q, &weirv1.GetStatsResponse{Ipv6: []*weirv1.IPv6Counters{
		{Worker: "cpu1", Cpu: 1, Counters: counters(5, 3)},
		{Worker: "cpu2", Cpu: 2, Counters: counters(70, 60)},
	}}, nil)
}

func TestIPv6Show(t *testing.T) {
	b := newBench(t)
	for _, row := range []struct {
		line, out, err string
		code           int
	}{
		{"ipv6 show", "InReceives:        75\nOutForwDatagrams:  63\n", "", 0},
		{"ipv6 show total", "InReceives:        75\nOutForwDatagrams:  63\n", "", 0},
		{"ipv6 show cpu 2", "InReceives:        70\nOutForwDatagrams:  60\n", "", 0},
		{"ipv6 show all", "cpu1: cpu1\nInReceives:        5\nOutForwDatagrams:  3\ncpu2: cpu2\nInReceives:        70\nOutForwDatagrams:  60\n", "", 0},
		{"ipv6 show cpu 3", "", "dpip: no worker is on cpu 3: `dpip link show cpu' lists them\n", 1},
		{"ipv6 show cpu", "", "dpip: missing argument for `cpu'\n", 1},
		{"ipv6 show cpu x", "", "dpip: invalid cpu: `x'\n", 1},
		{"ipv6 show some", "", "dpip: ipv6 show [cpu N | all | total]: `some' is no part of it\n", 1},
	} {
		t.Run(row.line, func(t *testing.T) {
			if got, want := b.run(t.Context(), strings.Fields(row.line)...), (result{row.code, row.out, row.err}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

package dpip

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

const ipv6Help = `Usage:
    dpip ipv6 show [ cpu N | all | total ]
`

var ipv6Commands = []command{
	{names: []string{"show", "list"}, parse: parseIPv6Show, mayRepeat: true},
}

// parseIPv6Show understands `ipv6 show`: of a processor's worker, of each, or of all
// together, which is what no word means.
func parseIPv6Show(_ family, words []string) (action, error) {
	cpu, each := -1, false
	switch {
	case len(words) == 0 || len(words) == 1 && words[0] == "total":
	case len(words) == 1 && words[0] == "all":
		each = true
	case len(words) == 1 && words[0] == "cpu":
		return nil, errors.New("missing argument for `cpu'")
	case len(words) == 2 && words[0] == "cpu":
		n, err := strconv.ParseUint(words[1], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("invalid cpu: `%s'", words[1])
		}
		cpu = int(n)
	default:
		return nil, fmt.Errorf("ipv6 show [cpu N | all | total]: `%s' is no part of it", words[len(words)-1])
	}
	return func(ctx context.Context, s *session) error {
		stats, err := s.dir.GetStats(ctx, connect.NewRequest(&weirv1.GetStatsRequest{}))
		if err != nil {
			return err
		}
		switch all := stats.Msg.Ipv6; {
		case each:
			for _, w := range all {
				if w.Cpu == ^uint32(0) {
					s.printf("%s:\n", w.Worker) // what no worker did
				} else {
					s.printf("cpu%d: %s\n", w.Cpu, w.Worker)
				}
				s.printIPv6(w)
			}
		case cpu >= 0:
			found := false
			for _, w := range all {
				if int(w.Cpu) == cpu {
					s.printIPv6(w)
					found = true
				}
			}
			if !found {
				return fmt.Errorf("no worker is on cpu %d: `dpip link show cpu' lists them", cpu)
			}
		default:
			s.printIPv6(all...)
		}
		return nil
	}, nil
}

// printIPv6 prints the sum of workers' counters, in the lines of DPVS.
func (s *session) printIPv6(workers ...*weirv1.IPv6Counters) {
	if len(workers) == 0 {
		return
	}
	for i, c := range workers[0].Counters {
		sum := uint64(0)
		for _, w := range workers {
			sum += w.Counters[i].Value
		}
		s.printf("%-18s %d\n", c.Name+":", sum)
	}
}

package dpip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

var neighCommands = []command{
	{names: []string{"show", "list"}, parse: parseNeighShow},
	{names: []string{"add"}, parse: parseNeighAdd},
	{names: []string{"del", "delete"}, parse: parseNeighDel},
}

func parseNeighAdd(of family, words []string) (action, error) {
	n, err := parseNeigh("neigh add", of, words)
	if err != nil {
		return nil, err
	}
	if n.Lladdr == "" {
		return nil, errors.New("invalid link layer addr: none is given; add `lladdr xx:xx:xx:xx:xx:xx'")
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.AddNeighbour(ctx, connect.NewRequest(&weirv1.AddNeighbourRequest{Neighbour: n}))
		return err
	}, nil
}

func parseNeighDel(of family, words []string) (action, error) {
	n, err := parseNeigh("neigh del", of, words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.DeleteNeighbour(ctx, connect.NewRequest(&weirv1.DeleteNeighbourRequest{Address: n.Address, Device: n.Device}))
		return err
	}, nil
}

// parseNeigh reads ADDR [lladdr MAC] dev D.
func parseNeigh(command string, of family, words []string) (*weirv1.Neighbour, error) {
	var addr netip.Addr
	n := weirv1.Neighbour{Static: true}
	err := grammar{
		form:    command + " ADDR lladdr MAC dev D",
		operand: takeHost(&addr, "ipaddress"),
		keywords: []keyword{
			key("lladdr", take(&n.Lladdr, lladdr)),
			key("dev", take(&n.Device, device)),
		},
	}.parse(words)
	if err != nil {
		return nil, err
	}
	if !addr.IsValid() {
		return nil, errors.New("missing ipaddress: give the neighbour's address")
	}
	if err := of.check(addr); err != nil {
		return nil, err
	}
	n.Address = addr.String()
	return &n, requireDevice(n.Device)
}

func parseNeighShow(of family, words []string) (action, error) {
	dev, err := parseShow("neigh show [dev D]", words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		neighbours, err := s.dir.ListNeighbours(ctx, connect.NewRequest(&weirv1.ListNeighboursRequest{Device: dev}))
		if err != nil {
			return err
		}
		for _, n := range neighbours.Msg.Neighbours {
			if of.shows(n.Address) {
				s.printNeighbour(n)
			}
		}
		return nil
	}, nil
}

// printNeighbour prints an entry as one row. DPVS prints one for each worker;
// here all workers share the table. A row says how many packets wait with -v.
func (s *session) printNeighbour(n *weirv1.Neighbour) {
	var row strings.Builder
	if n.Lladdr != "" {
		fmt.Fprintf(&row, "ip: %-48s mac: %s   state: %-12s  dev: %s", n.Address, n.Lladdr, n.State, n.Device)
	} else {
		// "incomplate" is DPVS's word, which scripts look for.
		fmt.Fprintf(&row, "ip: %-48s mac:incomplate%23sstate: %-12s   dev: %s", n.Address, "", n.State, n.Device)
	}
	if s.opts.verbose {
		fmt.Fprintf(&row, "  queued: %d", n.Queued)
	}
	if n.Static {
		row.WriteString("  static")
	}
	s.printf("%s\n", row.String())
}

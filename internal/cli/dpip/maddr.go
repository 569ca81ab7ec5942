package dpip

import (
	"context"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

var maddrCommands = []command{
	{names: []string{"show", "list"}, parse: parseMaddrShow},
}

func parseMaddrShow(of family, words []string) (action, error) {
	dev, err := parseShow("maddr show [dev D]", words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		groups, err := s.dir.ListMulticast(ctx, connect.NewRequest(&weirv1.ListMulticastRequest{Device: dev}))
		if err != nil {
			return err
		}
		links, err := s.dir.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{Device: dev}))
		if err != nil {
			return err
		}
		for _, l := range links.Msg.Links {
			if dev != "" {
				s.printf("%s:\n", l.Name)
			} else {
				s.printf("%d:\t%s\n", l.Number, l.Name)
			}
			s.printGroups(groups.Msg.Groups, l.Name, of)
		}
		return nil
	}, nil
}

// printGroups prints the groups of a device: each MAC address once, then the groups.
func (s *session) printGroups(groups []*weirv1.MulticastGroup, device string, of family) {
	said := map[string]bool{}
	for _, g := range groups {
		if g.Device == device && of.shows(g.Address) && !said[g.Lladdr] {
			said[g.Lladdr] = true
			s.printf("\tlink %s\n", g.Lladdr)
		}
	}
	for _, g := range groups {
		if g.Device == device && of.shows(g.Address) {
			s.printf("\t%5s %s\n", familyWord(g.Address), g.Address)
		}
	}
}

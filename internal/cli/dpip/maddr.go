package dpip

import (
	"context"
	"strings"

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

// printGroups prints the groups of a device: each MAC address once, then the groups
// whose address is known. With -v, those that Linux listens to on the device's twin are
// marked.
func (s *session) printGroups(groups []*weirv1.MulticastGroup, device string, of family) {
	linux := map[string]bool{}
	for _, g := range groups {
		if g.Device == device && g.Kni {
			linux[g.Lladdr] = true
		}
	}
	said := map[string]bool{}
	for _, g := range groups {
		if g.Device != device || !showsGroup(of, g) || said[g.Lladdr] {
			continue
		}
		said[g.Lladdr] = true
		mark := ""
		if s.opts.verbose && linux[g.Lladdr] {
			mark = " (+kni)"
		}
		s.printf("\tlink %s%s\n", g.Lladdr, mark)
	}
	for _, g := range groups {
		if g.Device == device && g.Address != "" && of.shows(g.Address) {
			s.printf("\t%5s %s\n", familyWord(g.Address), g.Address)
		}
	}
}

// showsGroup reports whether a family's listing has a group; of one without an address
// its frames' MAC address says which family it is of (RFC 1112, 6.4; RFC 2464, 7).
func showsGroup(of family, g *weirv1.MulticastGroup) bool {
	switch {
	case g.Address != "":
		return of.shows(g.Address)
	case strings.HasPrefix(g.Lladdr, "33:33:"):
		return of.shows("ff02::1")
	case strings.HasPrefix(g.Lladdr, "01:00:5e:"):
		return of.shows("224.0.0.1")
	}
	return true
}

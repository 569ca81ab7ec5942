package dpip

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// parseBondSlave reads BOND bond-slave DEV, of link add and link del.
func parseBondSlave(verb string) func(family, []string) (action, error) {
	form := "write link " + verb + " BOND bond-slave DEV"
	return func(_ family, words []string) (action, error) {
		switch {
		case len(words) == 0:
			return nil, errors.New("no device specified: " + form)
		case len(words) < 3 || words[1] != "bond-slave":
			return nil, errors.New("nothing to " + verb + ": " + form)
		case len(words) > 3:
			return nil, fmt.Errorf("unexpected word %q: %s, one device at a time", words[3], form)
		}
		bond, err := device(words[0])
		if err != nil {
			return nil, err
		}
		dev, err := device(words[2])
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, s *session) error {
			_, err := s.dir.SetLink(ctx, connect.NewRequest(&weirv1.SetLinkRequest{Device: bond, Item: "bond-slave-" + verb, Value: dev}))
			return err
		}, nil
	}
}

// showBond prints how a bond is.
func showBond(dev string) action {
	return func(ctx context.Context, s *session) error {
		return s.watch(ctx, func() (listing, error) {
			links, err := s.dir.ListLinks(ctx, connect.NewRequest(&weirv1.ListLinksRequest{Device: dev}))
			if err != nil {
				return nil, err
			}
			var l listing
			for _, link := range links.Msg.Links {
				if link.Bond == nil {
					return nil, fmt.Errorf("%s is no bond: a bond is a bonding block in dpvs.conf", dev)
				}
				e := entry{name: link.Name, text: bondStatus(link)}
				if s.opts.verbose {
					e.text += bondDetail(link)
				}
				l = append(l, e)
			}
			return l, nil
		})
	}
}

// bondStatus is what DPVS tells of a bond. It is DPVS that spells "ative"; scripts look
// for it.
func bondStatus(l *weirv1.Link) string {
	b := l.Bond
	active := 0
	var members []string
	for _, m := range b.Members {
		words := []string{strings.ToUpper(m.Addr)}
		switch {
		case m.Out:
			words = append(words, "out")
		case m.Active:
			active++
			words = append(words, "active")
		default:
			words = append(words, "inactive")
		}
		if m.Name == b.Primary {
			words = append(words, "primary")
		}
		members = append(members, m.Name+"("+strings.Join(words, ", ")+")")
	}
	return fmt.Sprintf("    --- bonding status ---\n"+
		"    mode %d mac_addr %s xmit_policy %s link_monitor %dms\n"+
		"    ative/slaves %d/%d link_down_prop_delay %dms link_up_prop_delay %dms\n"+
		"    slaves: %s\n",
		b.Mode, strings.ToUpper(l.Addr), b.XmitPolicy, b.MonitorInterval,
		active, len(b.Members), b.LinkDownDelay, b.LinkUpDelay, strings.Join(members, " "))
}

// bondDetail is what -v adds: each member's link, and what LACP knows.
func bondDetail(l *weirv1.Link) string {
	b := l.Bond
	var s strings.Builder
	if b.Mode == 4 {
		fmt.Fprintf(&s, "    lacp_rate %s ad_select %s system_priority %d aggregator %s\n",
			either(b.LacpFast, "fast", "slow"), b.AdSelect, b.SystemPriority, orNone(b.Aggregator))
	}
	for _, m := range b.Members {
		fmt.Fprintf(&s, "    %s: %s %d Mbps %s failures %d\n", m.Name, either(m.Up, "UP", "DOWN"), m.Speed, either(m.FullDuplex, "full-duplex", "half-duplex"), m.Failures)
		p := m.Lacp
		if p == nil {
			continue
		}
		fmt.Fprintf(&s, "        aggregator %s%s receive %s mux %s churn %s partner-churn %s\n",
			orNone(p.Aggregator), either(p.Standby, " standby", ""), p.Receive, p.Mux, p.ActorChurn, p.PartnerChurn)
		s.WriteString("        actor   " + lacpInfo(p.Actor))
		if p.Heard {
			s.WriteString("        partner " + lacpInfo(p.Partner))
		} else {
			s.WriteString("        partner none: nothing is heard of it\n")
		}
		fmt.Fprintf(&s, "        lacpdus rx %d tx %d illegal %d own %d markers %d\n", p.Rx, p.Tx, p.Illegal, p.Loops, p.Markers)
	}
	return s.String()
}

func lacpInfo(i *weirv1.LACPInfo) string {
	return fmt.Sprintf("system %d,%s key %d port %d,%d state %d (%s)\n",
		i.GetSystemPriority(), strings.ToUpper(i.GetSystem()), i.GetKey(), i.GetPortPriority(), i.GetPort(), i.GetState(), i.GetStateWords())
}

// orNone is a number of which 0 means that there is none.
func orNone(n uint32) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

package demo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"weir/internal/testkit/netns"
)

// ask lets the client ask the virtual address and holds the answers to what full-NAT
// promises: the servers answer in turn, TCP sees a local address of the
// director, and the option of address carries the client's own.
func (s *stage) ask(ctx context.Context) error {
	s.title("The client asks")
	var order []string
	for i := range requests {
		if i > 0 {
			s.say("\n")
		}
		s.say("client$ curl 10.0.0.100\n")
		text, err := s.world.Client.Run(ctx, "curl", "--silent", "--show-error", "--max-time", "10", "10.0.0.100")
		s.say("%s", text)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, s.log())
		}
		server, err := judge(text)
		if err != nil {
			return err
		}
		order = append(order, server)
	}
	for i := 1; i < len(order); i++ {
		if order[i] == order[i-1] {
			return fmt.Errorf("the real servers must answer in turn, but the order was %s", strings.Join(order, " "))
		}
	}
	return nil
}

// judge returns which server answered.
func judge(text string) (server string, err error) {
	facts := map[string]string{}
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "I am "); ok {
			facts["server"] = strings.TrimSpace(name)
		}
		if key, value, ok := strings.Cut(line, " : "); ok {
			facts[key] = strings.TrimSpace(value)
		}
	}
	peer, err := netip.ParseAddrPort(facts["Your ip:port"])
	if err != nil || peer.Addr() != netip.MustParseAddr("192.168.100.200") {
		return "", fmt.Errorf("the real server must see the local address 192.168.100.200, but saw %q", facts["Your ip:port"])
	}
	client, err := netip.ParseAddrPort(facts["client in TOA"])
	if err != nil || client.Addr() != netns.ClientAddr.Addr() {
		return "", fmt.Errorf("the option of address must carry the client's %s, but carried %q", netns.ClientAddr.Addr(), facts["client in TOA"])
	}
	return facts["server"], nil
}

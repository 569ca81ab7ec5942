package demo

import (
	"context"
	"fmt"
	"os"
	"strings"

	"weir/internal/testkit/netns"
)

// firstPort is the client's port in the tutorial's answer.
const firstPort = 37177

// ask lets the client ask the virtual address and holds the answers to what full-NAT
// promises: the servers answer in turn, and see the client's own address and port.
func (s *stage) ask(ctx context.Context) error {
	s.title("The client asks")
	s.say("Its ports begin with the one in the tutorial, %d.\n\n", firstPort)
	var order []string
	for i := range requests {
		if i > 0 {
			s.say("\n")
		}
		// Of a range of two, Linux takes the first that is free: the client has
		// the tutorial's port without a word about it on the command line.
		port := firstPort + 2*i
		if err := s.world.Client.WriteSysctl("ipv4/ip_local_port_range", fmt.Sprintf("%d %d", port, port+1)); err != nil {
			return err
		}
		s.say("client$ curl 10.0.0.100\n")
		head := s.path("head")
		text, err := s.world.Client.Run(ctx, "curl", "--silent", "--show-error", "--max-time", "10", "--dump-header", head, "10.0.0.100")
		s.say("%s", text)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, s.log())
		}
		header, err := os.ReadFile(head)
		if err != nil {
			return err
		}
		server, err := judge(string(header), text, port)
		if err != nil {
			return err
		}
		order = append(order, server)
	}
	s.say("\nIn this order they answered: %s.\n", strings.Join(order, ", "))
	for i := 1; i < len(order); i++ {
		if order[i] == order[i-1] {
			return fmt.Errorf("the real servers must answer in turn, but the order was %s", strings.Join(order, " "))
		}
	}
	return nil
}

// judge returns which server answered, if it saw the client with this port.
func judge(header, text string, port int) (server string, err error) {
	if want := fmt.Sprintf("Your ip:port : %s:%d\n", netns.ClientAddr.Addr(), port); text != want {
		return "", fmt.Errorf("nginx must see the client's own address and answer %q, but it answered %q", want, text)
	}
	for line := range strings.Lines(header) {
		if name, ok := strings.CutPrefix(line, "X-Real-Server: "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("the answer does not say which server it is from: %q", header)
}

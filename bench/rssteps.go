package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"

	"golang.org/x/sys/unix"
)

// The measuring process. It is director and real server in one: it writes packets
// into a TUN device, and asks the sockets that they come to.

// rsOrder is its command line.
type rsOrder struct {
	Times int  // so many times the usual number of calls
	CPU   int  // to run on
	Know  bool // an agent is there: the client has to be seen
	Ask   bool // and answers getsockopt 2048
}

// rsStep is something that is measured: calls times.
type rsStep struct {
	name  string
	calls int
	run   func(*rsServer, int) error // that many calls
	need  func(*rsOrder) bool        // nil: always
}

var rsSteps = []rsStep{
	{"TCP connection with TOA, accept4, RST", 1000, (*rsServer).connections, nil},
	{"getpeername, client known", 20000, (*rsServer).getpeername, nil},
	{"getsockopt SO_TYPE", 20000, (*rsServer).soType, nil},
	{"getsockopt TCP_INFO", 20000, (*rsServer).tcpInfo, nil},
	{"UDP datagram received, flow known", 5000, (*rsServer).receive, nil},
	{"UDP datagram received and answered", 5000, (*rsServer).answer, nil},
	{"UDP datagram with UOA received", 5000, (*rsServer).receiveUOA, nil},
	{"getsockopt 2048, client known", 20000, (*rsServer).lookup, func(o *rsOrder) bool { return o.Ask }},
}

func rsPart(args []string) error {
	if len(args) != 1 {
		return errors.New("rs-part is started by rs")
	}
	var o rsOrder
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return err
	}
	pin(o.CPU)
	debug.SetGCPercent(-1)
	s, err := newRSServer()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.check(&o); err != nil {
		return err
	}
	got := map[string]float64{}
	for _, step := range rsSteps {
		if step.need != nil && !step.need(&o) {
			continue
		}
		n := step.calls * o.Times
		if err := step.run(s, n/10+1); err != nil { // warm
			return fmt.Errorf("%s: %w", step.name, err)
		}
		begun := cpuTime()
		if err := step.run(s, n); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		got[step.name] = float64(cpuTime()-begun) / float64(n)
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// check sees to it that what is measured is what it is called.
func (s *rsServer) check(o *rsOrder) error {
	sa, err := unix.Getpeername(s.conn)
	if err != nil {
		return err
	}
	a, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("getpeername gave %T", sa)
	}
	if known := a.Addr == rsClient.As4(); known != o.Know {
		return fmt.Errorf("getpeername shows %v; an agent is there: %t", a.Addr, o.Know)
	}
	return nil
}

// connections opens, accepts and resets.
func (s *rsServer) connections(n int) error {
	for range n {
		fd, err := s.open()
		if err != nil {
			return err
		}
		if err := s.reset(); err != nil {
			return err
		}
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}

func (s *rsServer) getpeername(n int) error {
	for range n {
		if _, err := unix.Getpeername(s.conn); err != nil {
			return err
		}
	}
	return nil
}

func (s *rsServer) soType(n int) error {
	for range n {
		if _, err := unix.GetsockoptInt(s.conn, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
			return err
		}
	}
	return nil
}

func (s *rsServer) tcpInfo(n int) error {
	for range n {
		if _, err := unix.GetsockoptTCPInfo(s.conn, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil {
			return err
		}
	}
	return nil
}

func (s *rsServer) receive(n int) error {
	for range n {
		if err := s.write(s.plain); err != nil {
			return err
		}
		if _, _, err := unix.Recvfrom(s.udp, s.buf, 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *rsServer) answer(n int) error {
	for range n {
		if err := s.write(s.plain); err != nil {
			return err
		}
		got, from, err := unix.Recvfrom(s.udp, s.buf, 0)
		if err != nil {
			return err
		}
		if err := unix.Sendto(s.udp, s.buf[:got], 0, from); err != nil {
			return err
		}
		if _, err := s.read(); err != nil {
			return err
		}
	}
	return nil
}

func (s *rsServer) receiveUOA(n int) error {
	for range n {
		if err := s.write(s.withUOA); err != nil {
			return err
		}
		if _, _, err := unix.Recvfrom(s.udp, s.buf, 0); err != nil {
			return err
		}
	}
	return nil
}

// lookup asks as DPVS's users do. The answer goes where the question is, so each has
// to be written anew, as it is there.
func (s *rsServer) lookup(n int) error {
	question := string(s.question)
	for range n {
		answer, err := getsockoptLookup(s.udp, question)
		if err != nil {
			return err
		}
		if answer == question {
			return errors.New("getsockopt 2048 answered nothing")
		}
	}
	return nil
}

// quartiles prints a median with its quartiles, less something.
func quartiles(all []float64, less float64, format string) string {
	sorted := slices.Sorted(slices.Values(all))
	at := func(q float64) float64 { return sorted[int(q*float64(len(sorted)-1)+0.5)] - less }
	return fmt.Sprintf(format+" ("+format+" "+format+")", at(0.5), at(0.25), at(0.75))
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"weir/internal/testkit/netns"
)

// urgent makes a command go before all others of the machine, as the pages have FRR run. What
// BFD says within half a second is not true if one of those whom its packets pass, the
// directors among them, waits as long for a CPU: then sessions that live break as well. A
// director of the pages has CPUs of its own; these tests share two with others.
func urgent(cmd *exec.Cmd) *exec.Cmd {
	first := exec.Command("chrt", append([]string{"--rr", urgency, cmd.Path}, cmd.Args[1:]...)...)
	first.Env = cmd.Env
	return first
}

// urgency is the priority, and urgentUnit how the pages say it.
const (
	urgency    = "20"
	urgentUnit = "[Service]\nCPUSchedulingPolicy=rr\nCPUSchedulingPriority=" + urgency + "\n"
)

// firstSYN is a patience that ends before a lost SYN is sent again.
const firstSYN = 300 * time.Millisecond

// outage is what connections that are begun one after the other met.
type outage struct {
	Failed int
	Last   time.Time // when the last that failed was begun
	Why    string    // of the last that failed
}

// lastFailure opens connections one after the other, from now until long enough after the
// last that failed, and returns how long after since that one was begun: later ones all
// worked. patient is how long each may take.
func (s *switched) lastFailure(address string, since time.Time, patient time.Duration) time.Duration {
	s.t.Helper()
	w := s.watch(address, patient)
	w.event.Close()
	return w.ended(since)
}

// outages has something happen that fails connections to some addresses for a time, and
// returns for each how long after that the last that failed was begun. They are begun before,
// so that none of the time is missed.
func (s *switched) outages(happen func(), addresses ...string) (lasted []time.Duration) {
	s.t.Helper()
	var all []*caller
	for _, a := range addresses {
		all = append(all, s.watch(a, firstSYN, "fails"))
	}
	for i, w := range all {
		eventually(s.t, "connections to "+addresses[i]+" work", func() bool { return strings.Contains(w.out.String(), "\n") })
	}
	since := time.Now()
	happen()
	for _, w := range all {
		w.event.Close()
	}
	for _, w := range all {
		lasted = append(lasted, w.ended(since))
	}
	return lasted
}

// caller is a process that opens connections to an address.
type caller struct {
	s       *switched
	address string
	process *netns.Process
	event   io.Closer // closed when what is waited for has happened
	out     *lines
}

func (s *switched) watch(address string, patient time.Duration, more ...string) *caller {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := roleCommand("outage %s %s %s", address, patient, strings.Join(more, " "))
	cmd.Path = self // what /proc/self/exe is not to chrt
	cmd = urgent(cmd)
	w := &caller{s: s, address: address, out: &lines{}}
	cmd.Stdout = w.out
	if w.event, err = cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	w.process = s.startCmd(s.client(), cmd)
	return w
}

// ended waits for the end, and returns how long after since the last that failed was begun.
func (w *caller) ended(since time.Time) time.Duration {
	w.s.t.Helper()
	if err := w.process.Wait(within(w.s.t, 4*patience)); err != nil {
		w.s.t.Fatalf("connections to %s: %v", w.address, err)
	}
	text := w.out.String()
	var o outage
	if err := json.Unmarshal([]byte(text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:]), &o); err != nil {
		w.s.t.Fatalf("connections to %s: %v: %q", w.address, err, text)
	}
	if o.Failed == 0 {
		w.s.t.Logf("%s: no connection failed", w.address)
		return 0
	}
	last := o.Last.Sub(since)
	w.s.t.Logf("%s: %d connections failed, the last begun %s after the end (%s)", w.address, o.Failed, last.Round(time.Millisecond), o.Why)
	return last
}

// measureOutage is the role: an address, a patience for each connection, and "fails" if one has
// to fail before it is over. It says when the first has worked, and ends when many have since its
// input ended.
func measureOutage(words []string) (*outage, error) {
	const calm = 100
	patient, err := time.ParseDuration(words[1])
	if err != nil {
		return nil, err
	}
	var happened atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		happened.Store(true)
	}()
	var o outage
	first, deadline := true, time.Now().Add(2*patience)
	for good := 0; good < calm || !happened.Load() || len(words) > 2 && o.Failed == 0; good++ {
		begin := time.Now()
		if begin.After(deadline) {
			return nil, fmt.Errorf("it is not over after %s: %d failed, %s", 2*patience, o.Failed, o.Why)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", words[0])
		cancel()
		if err != nil {
			o.Failed, o.Last, o.Why, good = o.Failed+1, begin, err.Error(), -1
			<-time.After(10 * time.Millisecond) // a refusal comes at once
			continue
		}
		c.Close()
		if first {
			first = false
			fmt.Println("{}")
		}
		<-time.After(time.Millisecond) // there are 28,000 ports
	}
	return &o, nil
}

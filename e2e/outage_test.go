package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"
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
	// Last is how long after the event the last that failed was begun.
	Last time.Duration
	Why  string // of the last that failed
}

// lastFailure opens connections one after the other, from now until long enough after the
// last that failed, and returns how long after since that one was begun: later ones all
// worked. patient is how long each may take.
func (s *switched) lastFailure(address string, since time.Time, patient time.Duration) time.Duration {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := roleCommand("outage %s %d %s", address, since.UnixNano(), patient)
	cmd.Path = self // what /proc/self/exe is not to chrt
	o := roleResult[outage](s.bed, s.client(), urgent(cmd))
	s.t.Logf("%s: %d connections failed, the last begun %s after the end (%s)", address, o.Failed, o.Last.Round(time.Millisecond), o.Why)
	return o.Last
}

// measureOutage is the role: an address, when the event was in nanoseconds, a patience.
func measureOutage(words []string) (*outage, error) {
	const calm = 100
	at, err1 := strconv.ParseInt(words[1], 10, 64)
	patient, err2 := time.ParseDuration(words[2])
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	since, deadline := time.Unix(0, at), time.Now().Add(2*patience)
	var o outage
	for good := 0; good < calm; good++ {
		begin := time.Now()
		if begin.After(deadline) {
			return nil, fmt.Errorf("after %s, connections to %s still fail: %s", 2*patience, words[0], o.Why)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", words[0])
		cancel()
		if err != nil {
			o.Failed, o.Last, o.Why, good = o.Failed+1, begin.Sub(since), err.Error(), -1
			<-time.After(10 * time.Millisecond) // a refusal comes at once
			continue
		}
		c.Close()
	}
	return &o, nil
}

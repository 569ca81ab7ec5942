package health

import (
	"context"
	"fmt"
	"time"
)

// Probe is one way to ask a server. Its values are compared with
// [reflect.DeepEqual]: a check that is set again unchanged keeps its state.
type Probe interface {
	// Probe asks once. It returns within its own timeout, and at once when ctx
	// ends; nothing that it opened or started is left then.
	Probe(ctx context.Context) Finding
}

// Finding is what a probe found.
type Finding struct {
	// Err says what was wrong with the server; nil means that it is well.
	Err error
	// Weighs tells that the server said what its weight shall be (misc_dynamic).
	Weighs bool
	Weight int
}

// found is the finding of a probe that knows no weights.
func found(err error) Finding { return Finding{Err: err} }

// Check is a probe with its timing. [NewCheck] fills in what stock keepalived
// takes where the configuration says nothing.
type Check struct {
	Probe Probe
	// DelayLoop is the time from the end of a check to the next.
	DelayLoop time.Duration
	// Retry is how many failures in a row are forgiven while the server is up: it
	// goes down at the one after them.
	Retry int
	// DelayBeforeRetry is the time from a forgiven failure to the next try.
	DelayBeforeRetry time.Duration
	// Warmup is the longest wait before the first check; the wait is random, so
	// that the checks of many servers spread. 0: the first check is at once.
	Warmup time.Duration
	// Alpha: the server is down until this check succeeds for the first time.
	Alpha bool
}

// NewCheck returns a check with the defaults of stock keepalived: one retry after
// a second, HTTP after three; DNS three retries, delayLoop apart; a program none.
// Checks spread over delayLoop.
func NewCheck(p Probe, delayLoop time.Duration) Check {
	c := Check{Probe: p, DelayLoop: delayLoop, Retry: 1, DelayBeforeRetry: time.Second, Warmup: delayLoop}
	switch p.(type) {
	case HTTP:
		c.DelayBeforeRetry = 3 * time.Second
	case DNS:
		c.Retry, c.DelayBeforeRetry = 3, delayLoop
	case Misc:
		c.Retry = 0
	}
	return c
}

// validate says what cannot be run.
func (c *Check) validate() error {
	switch {
	case c.Probe == nil:
		return fmt.Errorf("a check has no probe: say how the server is to be asked")
	case c.DelayLoop <= 0:
		return fmt.Errorf("delay_loop is %v: it has to be more than 0", c.DelayLoop)
	case c.Retry < 0:
		return fmt.Errorf("retry is %d: it counts the failures that are forgiven, 0 or more", c.Retry)
	case c.Retry > 0 && c.DelayBeforeRetry <= 0:
		return fmt.Errorf("delay_before_retry is %v: with retries it has to be more than 0", c.DelayBeforeRetry)
	case c.Warmup < 0:
		return fmt.Errorf("warmup is %v: it is 0 or more", c.Warmup)
	}
	return nil
}

// standing is what one check holds of its server.
type standing struct {
	up      bool
	retries int // failures forgiven since the last success
}

// learn takes the result of a check and returns when the next is due: soon after a
// failure that is forgiven, otherwise after the usual time. A server that is down
// is up again at its first success.
func (s *standing) learn(c *Check, well bool) (wait time.Duration) {
	if !well && s.up && s.retries < c.Retry {
		s.retries++
		return c.DelayBeforeRetry
	}
	s.up, s.retries = well, 0
	return c.DelayLoop
}

package health

import (
	"strings"
	"testing"
	"time"
)

// Each letter is a check: + well, - not. What comes out: the server's state and
// what is waited for (l: delay_loop, r: delay_before_retry).
func TestLearn(t *testing.T) {
	for _, tc := range []struct {
		name   string
		retry  int
		up     bool
		checks string
		want   string
	}{
		{"well and stays", 2, true, "+++", "Ul Ul Ul"},
		{"down after the retries", 2, true, "---", "Ur Ur Dl"},
		{"no retries: down at once", 0, true, "-", "Dl"},
		{"while down no retries", 2, true, "-----", "Ur Ur Dl Dl Dl"},
		{"a success forgives", 2, true, "--+---", "Ur Ur Ul Ur Ur Dl"},
		{"up at the first success", 2, true, "---+", "Ur Ur Dl Ul"},
		{"and all retries again", 1, true, "--+--", "Ur Dl Ul Ur Dl"},
		{"alpha: down until the first success", 1, false, "--+", "Dl Dl Ul"},
		{"alpha: then as others", 1, false, "+--", "Ul Ur Dl"},
	} {
		c := &Check{DelayLoop: 9, DelayBeforeRetry: 2, Retry: tc.retry}
		s := standing{up: tc.up}
		var got []string
		for _, letter := range tc.checks {
			wait := s.learn(c, letter == '+')
			got = append(got, map[bool]string{true: "U", false: "D"}[s.up]+map[time.Duration]string{9: "l", 2: "r"}[wait])
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, g, tc.want)
		}
	}
}

// The defaults of stock keepalived.
func TestNewCheck(t *testing.T) {
	const loop = 6 * time.Second
	for _, tc := range []struct {
		probe Probe
		retry int
		delay time.Duration
	}{
		{TCP{}, 1, time.Second},
		{UDP{}, 1, time.Second},
		{SMTP{}, 1, time.Second},
		{Ping{}, 1, time.Second},
		{HTTP{}, 1, 3 * time.Second},
		{DNS{}, 3, loop},
		{Misc{}, 0, time.Second},
	} {
		c := NewCheck(tc.probe, loop)
		if c.Retry != tc.retry || c.DelayBeforeRetry != tc.delay || c.DelayLoop != loop || c.Warmup != loop || c.Alpha {
			t.Errorf("%T: %+v", tc.probe, c)
		}
	}
}

func TestValidate(t *testing.T) {
	good := NewCheck(TCP{}, time.Second)
	for _, tc := range []struct {
		name, want string
		spoil      func(*Check)
	}{
		{"good", "", func(*Check) {}},
		{"no probe", "no probe", func(c *Check) { c.Probe = nil }},
		{"no loop", "delay_loop", func(c *Check) { c.DelayLoop = 0 }},
		{"retries below 0", "retry is -1", func(c *Check) { c.Retry = -1 }},
		{"retries at once", "delay_before_retry", func(c *Check) { c.DelayBeforeRetry = 0 }},
		{"no retries need no delay", "", func(c *Check) { c.Retry, c.DelayBeforeRetry = 0, 0 }},
		{"warmup below 0", "warmup", func(c *Check) { c.Warmup = -1 }},
	} {
		c := good
		tc.spoil(&c)
		if err := c.validate(); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

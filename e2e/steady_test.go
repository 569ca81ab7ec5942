package e2e

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"weir/internal/testkit/netns"
)

// steady is traffic that goes on while a test does something to the director.
type steady struct {
	bed  *bed
	out  *lines
	load *netns.Process
}

// steady starts clients that send requests until they are stopped; how is "new" or
// "kept".
func (b *bed) steady(address string, clients int, how string) *steady {
	b.t.Helper()
	s := &steady{bed: b, out: &lines{}}
	cmd := roleCommand("http-load %s 0 %d %s", address, clients, how)
	cmd.Stdout = s.out
	s.load = b.startCmd(b.client(), cmd)
	s.more(clients * 10)
	return s
}

var progress = regexp.MustCompile(`answered (\d+)\n`)

// answered returns how many requests were answered, to within progressStep.
func (s *steady) answered() int {
	all := progress.FindAllStringSubmatch(s.out.String(), -1)
	if all == nil {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1][1])
	return n
}

// more waits until n more requests were answered.
func (s *steady) more(n int) {
	s.bed.t.Helper()
	before := s.answered()
	eventually(s.bed.t, "the traffic goes on", func() bool { return s.answered() >= before+max(n, 2*progressStep) })
}

// stop ends the traffic and returns its result.
func (s *steady) stop() (r loadResult) {
	s.bed.t.Helper()
	s.end(&r)
	return r
}

// end ends the traffic and decodes its result.
func (s *steady) end(result any) {
	s.bed.t.Helper()
	s.load.Signal(syscall.SIGTERM)
	if err := s.load.Wait(within(s.bed.t, patience)); err != nil {
		s.bed.t.Fatal(err)
	}
	text := s.out.String()
	if err := json.Unmarshal([]byte(text[max(0, strings.Index(text, "{")):]), result); err != nil {
		s.bed.t.Fatal(err)
	}
}

// unharmed stops the traffic, which must have met no failure.
func (s *steady) unharmed() {
	s.bed.t.Helper()
	r := s.stop()
	r.ok(s.bed.t, r.Requests)
}

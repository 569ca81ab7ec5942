package rsagent

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// statusOf makes a status whose counters have values on two processors.
func statusOf(values map[counter][2]uint64) *Status {
	s := &Status{Counters: make([]Counter, numCounters)}
	for i := range s.Counters {
		v := values[counter(i)]
		s.Counters[i] = Counter{Name: counterTexts[i].name, PerCPU: v[:], Total: v[0] + v[1]}
	}
	return s
}

// TestUOAFileIsTheTutorials: the very lines of the tutorial.
func TestUOAFileIsTheTutorials(t *testing.T) {
	s := statusOf(map[counter][2]uint64{
		uoaAskedHit: {12866351, 1}, uoaAskedMiss: {317136864, 0}, uoaSaved: {3628560, 0}, uoaMalformed: {8567, 0}, uoaNone: {341266254, 0},
	})
	const want = ` Success     Miss  Invalid|UOA  Got     None    Saved Ack-Fail
12866352 317136864        0  3637127 341266254  3628560        0
`
	var b strings.Builder
	if err := s.WriteUOA(&b); err != nil || b.String() != want {
		t.Errorf("printed (%v)\n%s, want\n%s", err, b.String(), want)
	}
}

func TestTOAFile(t *testing.T) {
	s := statusOf(map[counter][2]uint64{
		toaACK: {7, 1}, toaSYN: {1, 0}, toaLate: {0, 2}, toaNone: {3, 4}, toaUntrusted: {1, 0}, toaMalformed: {0, 1},
		peerClient: {20, 30}, peerFamily: {0, 5}, peerNone: {9, 0},
	})
	const want = `                                CPU0       CPU1 
syn_recv_sock_toa        :         8          3 
syn_recv_sock_no_toa     :         4          5 
getname_toa_ok           :        20         30 
getname_toa_mismatch     :         0          5 
getname_toa_bypass       :         0          0 
getname_toa_empty        :         9          0 
`
	var b strings.Builder
	if err := s.WriteTOA(&b); err != nil || b.String() != want {
		t.Errorf("printed (%v)\n%s, want\n%s", err, b.String(), want)
	}
}

// TestCountersAreThoseOfTheProgram compares the names with bpf/rs/count.h.
func TestCountersAreThoseOfTheProgram(t *testing.T) {
	header, err := os.ReadFile("../../bpf/rs/count.h")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(header), "enum counter {")
	body, _, _ := strings.Cut(rest, "};")
	names := regexp.MustCompile(`(?m)^\t([A-Z0-9_]+),`).FindAllStringSubmatch(body, -1)
	if len(names) != int(numCounters)+1 {
		t.Fatalf("count.h has %d names and the last is no counter; there are %d counters", len(names), numCounters)
	}
	for i, t2 := range counterTexts {
		if want := strings.ToLower(names[i][1]); t2.name != want {
			t.Errorf("counter %d is %q here and %q in count.h", i, t2.name, want)
		}
		if t2.text == "" {
			t.Errorf("%s has no text", t2.name)
		}
	}
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A worker hardly waits for its processor while a program of another session, as any service is,
// computes there for ever: nice is -20 unless the file says otherwise, for Weir's threads and for
// its session. With 0 it waits its turn. A worker with time to rest has a real-time priority besides,
// by which alone it does not wait either.
func TestWorkerGoesBeforeOthers(t *testing.T) {
	for _, c := range []struct {
		conf, nice  string
		priority    string
		least, most float64 // of the time that it wants the processor, it waits
	}{
		{"", "-20", "1", 0, 0.1},
		{"nice 0", "0", "1", 0, 0.1},
		{"rt_priority 0", "-20", "0", 0, 0.2},
		{"nice 0\n    rt_priority 0", "0", "0", 0.3, 1},
	} {
		t.Run(c.conf, func(t *testing.T) {
			s := one
			s.conf = "global_defs {\n    " + c.conf + "\n}\n"
			d := failing(t, s)
			worker := d.workerThread(0)
			if got := statOf(t, worker)[niceField]; got != c.nice {
				t.Errorf("the worker's thread has nice %s, want %s", got, c.nice)
			}
			d.sessionNice(d.daemon.PID(), c.nice)
			eventually(t, "an idle worker has the real-time priority "+c.priority, func() bool {
				return statOf(t, worker)[priorityField] == c.priority
			})

			d.start(d.client(), "taskset", "-c", "0", "sh", "-c", "while :; do :; done")
			held := d.steady("10.0.0.100:80", 10, "kept")
			ran, waited := schedstat(t, worker)
			var share float64
			eventually(t, "the worker wanted the processor for a second", func() bool {
				r, w := schedstat(t, worker)
				r, w = r-ran, w-waited
				share = w.Seconds() / (r + w).Seconds()
				return r+w > time.Second
			})
			held.unharmed()
			t.Logf("it waited for %.3f of that", share)
			if share < c.least || share > c.most {
				t.Errorf("the worker waited for %.3f of the time that it wanted its processor, want %.1f to %.1f", share, c.least, c.most)
			}
		})
	}
}

// workerThread is the folder in /proc of the director's thread that is bound to a processor.
func (d *director) workerThread(cpu int) string {
	d.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", d.daemon.PID()))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task + "/status")
		if err == nil && strings.Contains(string(text), fmt.Sprintf("\nCpus_allowed_list:\t%d\n", cpu)) {
			return task
		}
	}
	d.t.Fatalf("none of %d threads is bound to cpu %d", len(tasks), cpu)
	return ""
}

// niceField is where proc(5), stat, has the nice value, counted from the state.
// priorityField is where it has the real-time priority.
const (
	niceField     = 16
	priorityField = 37
)

// statOf are the fields of a thread's stat behind its name, which may have spaces.
func statOf(t *testing.T, task string) []string {
	t.Helper()
	text, err := os.ReadFile(task + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// schedstat is how long a thread has run, and how long it has waited to.
func schedstat(t *testing.T, task string) (ran, waited time.Duration) {
	t.Helper()
	text, err := os.ReadFile(task + "/schedstat")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &ran, &waited); err != nil {
		t.Fatal(err)
	}
	return ran, waited
}

// sessionNice checks how Linux shares processors between the session of a process and others.
func (d *director) sessionNice(pid int, want string) {
	d.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/autogroup", pid))
	if err != nil {
		d.t.Fatal(err)
	}
	if !strings.HasSuffix(string(text), " nice "+want+"\n") {
		d.t.Errorf("the session of process %d is %q, want nice %s", pid, text, want)
	}
}

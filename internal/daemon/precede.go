package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// autogroup is where Linux shows and sets how this session stands to others. Kernels without
// such groups have no such file.
const autogroup = "/proc/self/autogroup"

// precede gives all threads of this process a nice value, -20 to 19, and their session too if this
// process leads it, as a service does. Linux shares a processor between sessions first, then
// between the threads of each (sched(7), "The autogroup feature"): by its threads' values alone a
// worker has half of its processor beside one idle loop of another session. A session that others
// lead, such as a shell's, is left alone, for all that is started there would have that value as
// well. 0 leaves all as it is.
//
// All threads have the same value, not the workers' a lesser one: a hundred times a second Go's
// scheduler takes a worker's turn, and another thread gives it back, for which that must run.
func precede(nice int) error {
	if nice == 0 {
		return nil
	}
	return errors.Join(precedeThreads(nice), precedeSession(nice))
}

// precedeThreads goes through the threads until it met none that it did not know: who was made
// meanwhile may have its value from one that was not changed yet. Later ones have it from those.
// Threads that were put behind others (director.later) stay there.
func precedeThreads(nice int) error {
	done := map[string]bool{}
	usual, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the nice value, of this thread
	if err != nil {
		return fmt.Errorf("what nice value this thread has: %w", err)
	}
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("find the threads to give them nice %d: %w", nice, err)
		}
		before := len(done)
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || done[task.Name()] {
				continue
			}
			done[task.Name()] = true
			if has, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && has < usual {
				continue
			}
			if err := unix.Setpriority(unix.PRIO_PROCESS, id, nice); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("give the threads nice %d: %w", nice, err)
			}
		}
		if len(done) == before {
			return nil
		}
	}
}

func precedeSession(nice int) error {
	leader, err := unix.Getsid(0)
	if err != nil {
		return fmt.Errorf("who leads this session: %w", err)
	}
	if leader != os.Getpid() {
		return nil
	}
	err = os.WriteFile(autogroup, []byte(strconv.Itoa(nice)), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("give this session nice %d: %w", nice, err)
	}
	return nil
}

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

// precede gives the session a nice value, -20 to 19, if this process leads it, as a service
// does. Linux shares a processor between sessions first, then between the threads of each
// (sched(7), "The autogroup feature"): without this a worker whose nice value is the least has
// half of it beside one idle loop of another session. A session that others lead, such as
// a shell's, is left alone, for all that is started there would have that value as well. 0 leaves
// any alone.
func precede(nice int) error {
	if nice == 0 {
		return nil
	}
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

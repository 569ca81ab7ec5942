package port

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
)

// mark is what is written on an interface whose interrupts are held back: by whom, what it had,
// and what it got.
type mark struct {
	index   int    // no two interfaces of a namespace may have the same alternative name
	pid     int    // of the process,
	began   uint64 // which began so long after the boot: its number may come again
	was, is Deferral
}

// markFormat makes names of 128 bytes at most, as Linux has them.
const markFormat = "weir-%d-of-%d-%d-" + deferHardIRQs + "-%d-%d-" + flushTimeout + "-%d-%d"

// String is the name.
func (m mark) String() string {
	return fmt.Sprintf(markFormat, m.index, m.pid, m.began, m.was.HardIRQs, m.is.HardIRQs, m.was.FlushTimeout, m.is.FlushTimeout)
}

func newMark(index int, is Deferral) (m mark, err error) {
	m = mark{index: index, pid: os.Getpid(), is: is}
	m.began, _, err = began(m.pid)
	return m, err
}

// markOf reads the mark of an interface, if it has one.
func markOf(nl netlink.Link) (m mark, ok bool) {
	for _, name := range nl.Attrs().AltNames {
		_, err := fmt.Sscanf(name, markFormat, &m.index, &m.pid, &m.began, &m.was.HardIRQs, &m.is.HardIRQs, &m.was.FlushTimeout, &m.is.FlushTimeout)
		if err == nil && name == m.String() {
			return m, true
		}
	}
	return mark{}, false
}

// undo gives the interface what it had, and takes the mark away.
func (m mark) undo(nl netlink.Link, dir *os.File) error {
	if err := writeDeferral(dir, m.is, m.was); err != nil {
		return err
	}
	return netlink.LinkDelAltName(nl, m.String())
}

// ended reports whether the process has ended, if need be after a while. One of another PID
// namespace counts as ended.
func (m mark) ended(wait time.Duration) bool {
	for pause := time.Millisecond; ; pause *= 2 {
		began, dead, err := began(m.pid)
		if err != nil || dead || began != m.began {
			return true
		}
		if pause > wait {
			return false
		}
		time.Sleep(pause) //nolint:forbidigo // of a start, whose packets wait for the other to end anyway
	}
}

// began returns when a process began, in ticks since the boot, and whether nothing but its parent
// knows of it any more (proc_pid_stat(5), the third word and the twenty-second).
func began(pid int) (ticks uint64, dead bool, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false, err
	}
	words := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // from the third on
	if len(words) < 20 {
		return 0, false, errors.New("/proc has no line of a process")
	}
	ticks, err = strconv.ParseUint(string(words[19]), 10, 64)
	return ticks, words[0][0] == 'Z' || words[0][0] == 'X', err
}

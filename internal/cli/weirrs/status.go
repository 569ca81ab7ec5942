package weirrs

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weir/internal/rsagent"
)

// writeStatus prints a status for people. Counters that are zero are not shown.
func writeStatus(w io.Writer, s *rsagent.Status) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	if s.Running {
		row("agent", "running, pid %d, version %s, since %s", s.PID, s.Version, stamp(s.Started))
	} else {
		row("agent", "not running; what it attached works on without it (version %s)", s.Version)
	}
	row("attached", "since %s, pinned in %s", stamp(s.Since), s.Pin)
	row("cgroup", "%s", s.Cgroup)
	row("hooks", "%s", hookNames(s.Hooks))
	row("trust", "%s", strings.Join(s.Trust, " "))
	row("uoa", "%s", uoaLine(s))
	row("opp devices", "%s", deviceNames(s.Devices))
	row("nat64 getsockopt", "%s", onOff(s.NAT64))
	row("save syn", "%s", onOff(s.SaveSYN))
	for _, c := range s.Complaints {
		row("WRONG", "%s", c)
	}
	fmt.Fprintf(t, "\nFEATURE\tHERE\tMEANING\n")
	for _, f := range s.Features {
		row(f.Name, "%s\t%s", yesNo(f.Have), f.Text)
	}
	fmt.Fprintf(t, "\nCOUNTER\tVALUE\tMEANING\n")
	seen := false
	for _, c := range s.Counters {
		if c.Total > 0 {
			seen = true
			row(c.Name, "%d\t%s", c.Total, c.Text)
		}
	}
	if !seen {
		row("(all)", "0\tnothing was seen yet")
	}
	return t.Flush()
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func uoaLine(s *rsagent.Status) string {
	if s.UOA == rsagent.Off {
		return "off"
	}
	line := fmt.Sprintf("%s, %d of %d flows known, forgotten after %gs", s.UOA, s.Flows, s.Entries, s.Timeout)
	if s.DropEmpty {
		line += ", empty datagrams dropped"
	}
	return line
}

func hookNames(hooks []rsagent.Hook) string {
	if len(hooks) == 0 {
		return "none"
	}
	var names []string
	for _, h := range hooks {
		names = append(names, fmt.Sprintf("%s(%d)", h.Name, h.Program))
	}
	return strings.Join(names, " ")
}

func deviceNames(devices []rsagent.Device) string {
	if len(devices) == 0 {
		return "none"
	}
	var names []string
	for _, d := range devices {
		name := d.Name
		if name == "" {
			name = fmt.Sprintf("#%d", d.Index)
		}
		names = append(names, fmt.Sprintf("%s(%s)", name, d.By))
	}
	return strings.Join(names, " ")
}

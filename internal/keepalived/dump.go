package keepalived

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"weir/internal/config/keepalivedconf"
	"weir/internal/keepalived/want"
)

// tally is what happened to a virtual or real server since the start, or since the file
// has it: of a virtual one Ups and Downs are of its quorum.
type tally struct {
	ups, downs uint64
	failures   uint64    // checks that failed, forgiven ones too
	since      time.Time // of the last up or down; zero: none yet
	why        string    // it went down last
}

func (t *tally) went(up bool, why error) {
	t.since = time.Now()
	if up {
		t.ups++
		return
	}
	t.downs++
	if why != nil {
		t.why = why.Error()
	}
}

// dump answers SIGUSR1 (keepalived.data: what is) and SIGUSR2 (keepalived.stats: what was),
// and has the stock program write its own.
func (d *Daemon) dump(s os.Signal) {
	path, tell := d.DataFile, d.tellData
	if s == syscall.SIGUSR2 {
		path, tell = d.StatsFile, d.tellStats
	}
	if path == "" {
		d.log.Warn(fmt.Sprintf("%s: there is no place to write to", s))
		return
	}
	if err := writeWhole(path, tell); err != nil {
		d.log.Error(fmt.Sprintf("%s: %v", s, err))
		return
	}
	d.log.Info(path + " is written")
	if d.program != nil {
		if err := d.program.Signal(s); err != nil {
			d.log.Error(fmt.Sprintf("%s: the stock keepalived: %v", s, err))
		}
	}
}

// writeWhole writes a file that others see whole or not at all.
func writeWhole(path string, tell func(io.Writer)) error {
	next := path + ".new"
	// What is there already may be a link of somebody's.
	if err := os.Remove(next); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	var text strings.Builder
	tell(&text)
	_, err = io.WriteString(f, text.String())
	if err := cmp.Or(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// tellData tells what is: each virtual server with its real servers, the instances of VRRP
// and their addresses, and whether the director is there.
func (d *Daemon) tellData(w io.Writer) {
	fmt.Fprintf(w, "------< Keepalived of Weir >------\n file %s\n director %s: %s\n", d.Path, d.Socket, is(d.director.there, "there", "not there"))
	refused := slices.Sorted(maps.Keys(d.director.refused))
	for _, why := range refused {
		fmt.Fprintf(w, " refused: %s\n", why)
	}
	if tunnels := d.file.Plan.Tunnels; len(tunnels) > 0 {
		fmt.Fprintf(w, "------< Tunnel devices >------\n")
		for i := range tunnels {
			fmt.Fprintf(w, " %s: %s: %s\n", tunnels[i].Name, want.TunnelWords(want.Tunnel(&tunnels[i])), is(d.director.devices[tunnels[i].Name], "there", "not there"))
		}
	}
	fmt.Fprintf(w, "------< Virtual servers >------\n")
	for _, v := range d.standings.all {
		v.tellData(w)
	}
	fmt.Fprintf(w, "------< VRRP instances >------\n")
	for _, name := range slices.Sorted(maps.Keys(d.addresses.states)) {
		fmt.Fprintf(w, " %s: %s\n", name, d.addresses.states[name])
		if h := d.addresses.held[name]; h != nil {
			for _, a := range h.addresses {
				fmt.Fprintf(w, "   %s dev %s\n", a.GetPrefix(), a.GetDevice())
			}
		}
	}
}

func (v *virtual) tellData(w io.Writer) {
	live := 0
	for _, m := range v.members() {
		if m.Up {
			live += m.Weight
		}
	}
	fmt.Fprintf(w, " %s\n   quorum %d, hysteresis %d, live weight %d: %s\n", v.conf.Key(), v.quorum.Need, v.quorum.Hysteresis, live, is(v.quorum.Held, "held", "lost"))
	if v.paused {
		fmt.Fprintf(w, "   checks are suspended (ha_suspend)\n")
	}
	if v.conf.Sorry.Addr.IsValid() {
		fmt.Fprintf(w, "   sorry server %s: %s\n", v.conf.Sorry.Addr, is(v.quorum.Held, "not needed", "in use"))
	}
	for i := range v.conf.Reals {
		r := v.reals[v.conf.Reals[i].Addr]
		fmt.Fprintf(w, "   real server %s: %s, weight %d\n", r.conf.Addr, is(r.up, "up", "down"), r.weight)
		if !r.up && r.why != "" {
			fmt.Fprintf(w, "     why: %s\n", r.why)
		}
		for j := range r.conf.Checkers {
			tellChecker(w, &r.conf.Checkers[j])
		}
	}
}

func tellChecker(w io.Writer, c *keepalivedconf.Checker) {
	fmt.Fprintf(w, "     %s", c.Kind)
	if c.Connect.IsValid() {
		fmt.Fprintf(w, " of %s", c.Connect)
	}
	fmt.Fprintf(w, " every %s, retry %d after %s\n", c.DelayLoop, c.Retry, c.DelayBeforeRetry)
}

// tellStats tells what happened.
func (d *Daemon) tellStats(w io.Writer) {
	for _, v := range d.standings.all {
		fmt.Fprintf(w, "Virtual server: %s\n  Quorum gained: %d\n  Quorum lost: %d\n%s", v.conf.Key(), v.ups, v.downs, v.last())
		for i := range v.conf.Reals {
			r := v.reals[v.conf.Reals[i].Addr]
			fmt.Fprintf(w, "  Real server: %s\n    Up: %d\n    Down: %d\n    Failed checks: %d\n", r.conf.Addr, r.ups, r.downs, r.failures)
			if last := r.last(); last != "" {
				fmt.Fprintf(w, "  %s", last)
			}
		}
	}
}

func (t *tally) last() string {
	if t.since.IsZero() {
		return ""
	}
	return fmt.Sprintf("  Last change: %s\n", t.since.Format(time.RFC3339))
}

func is(yes bool, one, other string) string {
	if yes {
		return one
	}
	return other
}

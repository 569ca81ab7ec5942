package ipvsadm

import (
	"fmt"
	"strings"

	"weir/api/weirv1"
)

// format is a way to list services.
type format interface {
	title(out *sheet)
	service(out *sheet, name string, s *weirv1.Service)
	dest(out *sheet, name string, d *weirv1.Dest)
}

// formatOf returns the format that the options ask for.
func formatOf(given options) format {
	switch {
	case given.has(optStats):
		if given.has(optExact) {
			return statsFormat{exactNumber}
		}
		return statsFormat{largeNumber}
	case given.has(optRate):
		if given.has(optExact) {
			return rateFormat{exactNumber}
		}
		return rateFormat{largeNumber}
	case given.has(optThresholds):
		return thresholdsFormat{}
	case given.has(optPersistentConn):
		return persistentFormat{}
	}
	return plainFormat{}
}

// remote is the column of real servers; longer names are cut, but not IPv6 addresses.
func remote(name string) string {
	if strings.HasPrefix(name, "[") {
		return fmt.Sprintf("  -> %-28s", name)
	}
	return fmt.Sprintf("  -> %-28.28s", name)
}

// scheduled is a service's line: its name, scheduler and flags.
func scheduled(out *sheet, name string, s *weirv1.Service) {
	out.line("%s %s%s", name, s.GetScheduler(), flags(s))
}

// condition is what a real server's line says at its end.
func condition(d *weirv1.Dest) string {
	switch {
	case d.GetInhibited() && d.GetOverloaded():
		return " inhibited,overload"
	case d.GetInhibited():
		return " inhibited"
	case d.GetOverloaded():
		return " overload"
	}
	return ""
}

// weight is what a real server's line says: one that its check found down has none, as
// in DPVS, until it is tried again. The one that was configured is saved.
func weight(d *weirv1.Dest) uint32 {
	if d.GetInhibited() {
		return 0
	}
	return d.GetWeight()
}

// plainFormat shows modes, weights and connections.
type plainFormat struct{}

func (plainFormat) title(out *sheet) {
	out.line("Prot LocalAddress:Port Scheduler Flags")
	out.line("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn")
}

func (plainFormat) service(out *sheet, name string, s *weirv1.Service) { scheduled(out, name, s) }

func (plainFormat) dest(out *sheet, name string, d *weirv1.Dest) {
	mode, ok := forwardNames[d.GetForward()]
	if !ok {
		mode = d.GetForward().String()
	}
	out.line("%s %-7s %-6d %-10d %-10d%s", remote(name), mode, weight(d),
		d.GetActiveConns(), d.GetInactiveConns(), condition(d))
}

// statsFormat shows totals, written by number.
type statsFormat struct{ number func(uint64) string }

func (statsFormat) title(out *sheet) {
	out.line("%-33s %8s %8s %8s %8s %8s", "Prot LocalAddress:Port", "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes")
	out.line("  -> RemoteAddress:Port")
}

// service shows the sum over the real servers that the service has now.
func (f statsFormat) service(out *sheet, name string, s *weirv1.Service) {
	sum := &weirv1.Counters{}
	for _, d := range s.GetDests() {
		c := d.GetCounters()
		sum.Conns += c.GetConns()
		sum.InPkts += c.GetInPkts()
		sum.OutPkts += c.GetOutPkts()
		sum.InBytes += c.GetInBytes()
		sum.OutBytes += c.GetOutBytes()
	}
	out.line("%-33s%s", name, f.counters(sum))
}

func (f statsFormat) dest(out *sheet, name string, d *weirv1.Dest) {
	out.line("%s%s", remote(name), f.counters(d.GetCounters()))
}

func (f statsFormat) counters(c *weirv1.Counters) string {
	return f.number(c.GetConns()) + f.number(c.GetInPkts()) + f.number(c.GetOutPkts()) +
		f.number(c.GetInBytes()) + f.number(c.GetOutBytes())
}

// rateFormat shows what is gained in a second; bytes are written by number.
type rateFormat struct{ number func(uint64) string }

func (rateFormat) title(out *sheet) {
	out.line("%-33s %8s %8s %8s %8s %8s", "Prot LocalAddress:Port", "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS")
	out.line("  -> RemoteAddress:Port")
}

func (f rateFormat) service(out *sheet, name string, s *weirv1.Service) {
	out.line("%-33s%s", name, f.rates(s.GetRates()))
}

func (f rateFormat) dest(out *sheet, name string, d *weirv1.Dest) {
	out.line("%s%s", remote(name), f.rates(d.GetRates()))
}

func (f rateFormat) rates(r *weirv1.Rates) string {
	return exactNumber(r.GetCps()) + exactNumber(r.GetInPps()) + exactNumber(r.GetOutPps()) + f.number(r.GetInBps()) + f.number(r.GetOutBps())
}

// largeNumber writes n in nine columns: from 10^8 on in thousands, millions, ...
func largeNumber(n uint64) string {
	switch {
	case n < 1e8:
		return fmt.Sprintf("%9d", n)
	case n < 1e9:
		return fmt.Sprintf("%8dK", n/1e3)
	case n < 1e11:
		return fmt.Sprintf("%8dM", n/1e6)
	case n < 1e14:
		return fmt.Sprintf("%8dG", n/1e9)
	}
	return fmt.Sprintf("%8dT", n/1e12)
}

// exactNumber writes n whole, in nine columns or as many as it takes, after a blank.
func exactNumber(n uint64) string { return fmt.Sprintf(" %8d", n) }

// thresholdsFormat shows the bounds of each real server's connections.
type thresholdsFormat struct{}

func (thresholdsFormat) title(out *sheet) {
	out.line("%-33s %-10s %-10s %-10s %-10s", "Prot LocalAddress:Port", "Uthreshold", "Lthreshold", "ActiveConn", "InActConn")
	out.line("  -> RemoteAddress:Port")
}

func (thresholdsFormat) service(out *sheet, name string, s *weirv1.Service) { scheduled(out, name, s) }

func (thresholdsFormat) dest(out *sheet, name string, d *weirv1.Dest) {
	out.line("%s %-10d %-10d %-10d %-10d", remote(name), d.GetUThreshold(), d.GetLThreshold(),
		d.GetActiveConns(), d.GetInactiveConns())
}

// persistentFormat shows how many persistent clients each real server has.
type persistentFormat struct{}

func (persistentFormat) title(out *sheet) {
	out.line("%-33s %-9s %-11s %-10s %-10s", "Prot LocalAddress:Port", "Weight", "PersistConn", "ActiveConn", "InActConn")
	out.line("  -> RemoteAddress:Port")
}

func (persistentFormat) service(out *sheet, name string, s *weirv1.Service) { scheduled(out, name, s) }

func (persistentFormat) dest(out *sheet, name string, d *weirv1.Dest) {
	out.line("%s %-9d %-11d %-10d %-10d", remote(name), weight(d), d.GetPersistentConns(),
		d.GetActiveConns(), d.GetInactiveConns())
}

package rsagent

import (
	"fmt"
	"io"
	"runtime"
)

// The statistics of DPVS's kernel modules had files under /proc/net; scripts read
// them. These functions print the same.

// count returns a counter of a list, on all processors or on one.
func (s *Status) count(what counter, cpu int) uint64 {
	if int(what) >= len(s.Counters) {
		return 0
	}
	c := &s.Counters[what]
	if cpu < 0 {
		return c.Total
	}
	if cpu >= len(c.PerCPU) {
		return 0
	}
	return c.PerCPU[cpu]
}

func (s *Status) sum(cpu int, of ...counter) (n uint64) {
	for _, c := range of {
		n += s.count(c, cpu)
	}
	return n
}

// WriteTOA prints what /proc/net/toa_stats had: a column for each processor.
func (s *Status) WriteTOA(w io.Writer) error {
	cpus := runtime.NumCPU()
	if len(s.Counters) > 0 {
		cpus = len(s.Counters[0].PerCPU)
	}
	rows := []struct {
		name string
		of   []counter
	}{
		{"syn_recv_sock_toa", []counter{toaACK, toaSYN, toaLate}},
		{"syn_recv_sock_no_toa", []counter{toaNone, toaUntrusted, toaMalformed}},
		{"getname_toa_ok", []counter{peerClient}},
		{"getname_toa_mismatch", []counter{peerFamily}},
		{"getname_toa_bypass", nil}, // sockets that the module could not look into
		{"getname_toa_empty", []counter{peerNone}},
	}
	if _, err := fmt.Fprintf(w, "%26s", ""); err != nil {
		return err
	}
	for cpu := range cpus {
		fmt.Fprintf(w, "%10s ", fmt.Sprintf("CPU%d", cpu))
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		fmt.Fprintf(w, "%-25s:", r.name)
		for cpu := range cpus {
			fmt.Fprintf(w, "%10d ", s.sum(cpu, r.of...))
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// WriteUOA prints what /proc/net/uoa_stats had. Nothing is acknowledged, so no
// acknowledgement fails.
func (s *Status) WriteUOA(w io.Writer) error {
	const all = -1
	_, err := fmt.Fprintf(w, " Success     Miss  Invalid|UOA  Got     None    Saved Ack-Fail\n%8d %8d %8d %8d %8d %8d %8d\n",
		s.count(uoaAskedHit, all), s.count(uoaAskedMiss, all), s.count(uoaAskedInvalid, all),
		s.sum(all, uoaSaved, uoaUntrusted, uoaMalformed, uoaRefused), s.count(uoaNone, all), s.count(uoaSaved, all), 0)
	return err
}

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// printTable prints medians, with the range of the repetitions where it matters.
func printTable(w io.Writer, o vethOptions, results map[*path][]result) {
	base := series(results[baseline], func(r *result) float64 { return perFrame(&r.flood, r.flood.Receive) })
	own := median(base)
	fmt.Fprintf(w, "UDP, %d-byte frames, %d flows, %d runs of %s in turn; median (least-most).\n\n", frameSize, o.flows, o.reps, o.time)
	fmt.Fprintf(w, "%-10s %-22s %7s  %-22s %-18s %8s %8s %8s\n", "", "flooded", "", "nothing lost", "", "", "of that", "")
	fmt.Fprintf(w, "%-10s %-22s %7s  %-22s %-18s %8s %8s %8s\n", "path", "Mpps", "lost", "Mpps", "CPU ns/packet", "receive", "user", "system")
	for _, p := range o.paths {
		rs := results[p]
		part := func(of func(ph *phase) float64) []float64 {
			return series(rs, func(r *result) float64 { return of(&r.steady) })
		}
		receive := part(func(ph *phase) float64 { return perFrame(ph, ph.Receive) - own })
		user := part(func(ph *phase) float64 { return perFrame(ph, ph.User) })
		system := part(func(ph *phase) float64 { return perFrame(ph, ph.System) })
		all := part(func(ph *phase) float64 { return perFrame(ph, ph.Receive+ph.User+ph.System) - own })
		fmt.Fprintf(w, "%-10s %-22s %6.1f%%  %-22s %-18s %8.0f %8.0f %8.0f\n", p.name,
			spread("%.2f", series(rs, func(r *result) float64 { return mpps(&r.flood) })),
			median(series(rs, func(r *result) float64 { return 100 * float64(lostOf(&r.flood)) / float64(r.flood.AllSent) })),
			spread("%.2f", part(mpps)), spread("%.0f", all), median(receive), median(user), median(system))
	}
	fmt.Fprintln(w)
	for _, p := range o.paths {
		fmt.Fprintf(w, "%-10s %s\n", p.name, p.text)
	}
	fmt.Fprintf(w, `
flooded       The generator sends as fast as cpu %[1]d can, which also receives for the
              director: on veth the receiver's softirq runs where the sender is.
nothing lost  The generator holds back while %[2]d frames are on their way.
CPU           Processor time of all that works on a packet from generator to sink, less
              the generator's own: %.0[3]f ns (%[4]s), measured alone at
              %.1[5]f Mpps with its cable and an XDP program that drops.
receive       softirqs on the generator's processor. Where Linux does the work, it is all here.
user, system  the director's process, its worker on cpu %[6]d. System holds the softirqs of its
              sends: the cable's other end, and a tcx program there that counts and drops.
              The same is in "receive" where Linux does the work.
`, generatorCPU, window, own, spread("%.0f", base), median(series(results[baseline], func(r *result) float64 { return mpps(&r.flood) })), workerCPU)
	printLosses(w, o, results)
}

// printLosses says where the packets of the floods were lost.
func printLosses(w io.Writer, o vethOptions, results map[*path][]result) {
	fmt.Fprint(w, "\nWhere flooded packets were lost, of those sent in all runs:\n")
	for _, p := range o.paths {
		var sent, lost, late uint64
		where := make(losses)
		for i := range results[p] {
			r := &results[p][i]
			sent += r.flood.AllSent
			lost += lostOf(&r.flood)
			late += lostOf(&r.steady)
			for name, n := range r.where {
				where[name] += n
			}
		}
		names := make([]string, 0, len(where))
		for name := range where {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			if where[a] != where[b] {
				return int(min(where[b], 1<<62)) - int(min(where[a], 1<<62))
			}
			return strings.Compare(a, b)
		})
		fmt.Fprintf(w, "%-10s %d of %d", p.name, lost, sent)
		for i, name := range names {
			fmt.Fprintf(w, "%s %s %d", map[bool]string{true: ":", false: ","}[i == 0], name, where[name])
		}
		if late > 0 {
			fmt.Fprintf(w, "; besides %d where nothing should be lost", late)
		}
		fmt.Fprintln(w)
	}
}

// mpps is the rate at the sink. While other programs have the generator's processor no
// time goes by.
func mpps(ph *phase) float64 {
	return float64(ph.Sunk) / max(ph.Took-ph.Away, time.Microsecond).Seconds() / 1e6
}

// perFrame is ns for each frame that reached the sink.
func perFrame[T ~int64](ph *phase, t T) float64 { return float64(t) / float64(ph.Sunk) }

func series(rs []result, of func(*result) float64) []float64 {
	v := make([]float64, len(rs))
	for i := range rs {
		v[i] = of(&rs[i])
	}
	return v
}

// spread is the median with the least and the most.
func spread(format string, v []float64) string {
	return fmt.Sprintf(format+" ("+format+"-"+format+")", median(v), slices.Min(v), slices.Max(v))
}

package story

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/spec"
	"weir/internal/stat"
	"weir/internal/testkit/words"
	"weir/internal/worker"
)

func realClock() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano())
}

// rounds is how often all workers breathe for one event: in, to another worker, out.
const rounds = 12

// tell has the workers breathe until they are done, and says what came of it.
func (s *Story) tell(quiet bool) string {
	var frames []string
	for n := 0; n < rounds || s.waitsForLinux() || s.shadow != nil || s.carrier != nil; n++ {
		busy := false
		for _, w := range s.d.Lanes() {
			busy = s.breathe(w) || busy
		}
		frames = append(frames, s.takeFrames()...)
		if !busy {
			break
		}
	}
	now := s.count()
	changed := now.since(s.last)
	s.last = now
	if quiet && len(frames) > 0 {
		frames = []string{fmt.Sprintf("%d frames", len(frames))}
	}
	if changed != "" {
		frames = append(frames, changed)
	}
	if len(frames) == 0 {
		return ""
	}
	return strings.Join(frames, "\n") + "\n"
}

// breathe is a worker's breath; beside a second engine one frame comes in each.
func (s *Story) breathe(w *worker.Worker) (busy bool) {
	if s.carrier != nil {
		s.carrier.came = false
		busy = w.Breathe()
		return s.carrier.came || busy
	}
	if s.shadow == nil {
		return w.Breathe()
	}
	s.shadow.next()
	busy = w.Breathe()
	return s.shadow.done() || busy
}

// waitsForLinux reports whether there are punts that no twin has got yet: it is a few
// in each breath.
func (s *Story) waitsForLinux() bool {
	return slices.ContainsFunc(s.d.Lanes(), func(w *worker.Worker) bool { return w.Twins().Held() > 0 })
}

// takeFrames says what left the ports.
func (s *Story) takeFrames() (out []string) {
	var burst [port.Burst]*packet.Packet
	for _, p := range slices.Concat(s.ports, s.twins) {
		for q := range p.Facts().TxQueues {
			for n := p.TakeInto(q, burst[:], s.outside); n > 0; n = p.TakeInto(q, burst[:], s.outside) {
				for _, pkt := range burst[:n] {
					out = append(out, s.frame(p.Facts(), q, pkt))
					s.outside.Put(pkt)
				}
			}
		}
	}
	return out
}

func (s *Story) frame(p port.Facts, queue int, pkt *packet.Packet) string {
	f := words.Frame{Data: pkt.Data, Partial: pkt.Is(packet.CsumPartial)}
	if pkt.Is(packet.GSO) {
		f.GSOType, f.GSOSize = pkt.GSOType, pkt.GSOSize
	}
	name := p.Name
	if p.TxQueues > 1 {
		name += fmt.Sprintf(".%d", queue)
	}
	if len(f.Data) < 14 {
		return name + ": " + words.Print(f, s.stations)
	}
	from := ""
	if mac := words.MAC(f.Data[6:12]); mac != words.MAC(p.MAC) {
		from = " from " + s.stations.Name(mac)
	}
	return fmt.Sprintf("%s > %s%s: %s", name, s.stations.Name(words.MAC(f.Data[:6])), from, words.Print(f, s.stations))
}

// counters are what the director counts, over all workers and ports.
type counters struct {
	worker stat.Worker
	drops  [packet.NumReasons]uint64 // of the walk and of the ports
	rx, tx uint64
}

func (s *Story) count() (c counters) {
	if s.carrier != nil { // whoever forwards
		c.worker.Forwarded += s.carrier.carried
	}
	for _, w := range s.d.Lanes() {
		c.worker.Add(w.Stats())
		var p port.Counters
		for _, q := range w.AllQueues() {
			q.Counters(&p)
		}
		w.Twins().Each(func(q port.Queue) { q.Counters(&p) })
		c.rx += p.RxPackets
		c.tx += p.TxPackets
		for r := range c.drops {
			c.drops[r] += p.Drops[r] + w.Stats().Drops[r]
		}
	}
	return c
}

// since says what was counted between before and c.
func (c *counters) since(before counters) string {
	var out []string
	note := func(name string, now, was uint64) {
		if now != was {
			out = append(out, fmt.Sprintf("%s=%d", name, now-was))
		}
	}
	a, b := &c.worker, &before.worker
	note("forwarded", a.Forwarded, b.Forwarded)
	note("answered", a.Answered, b.Answered)
	note("from_linux", a.FromLinux, b.FromLinux)
	note("consumed", a.Consumed, b.Consumed)
	note("new_conns", a.NewConns, b.NewConns)
	note("expired", a.Expired, b.Expired)
	note("routed_anew", a.RoutedAnew, b.RoutedAnew)
	note("toa_sent", a.TOASent, b.TOASent)
	note("toa_failed", a.TOAFailed, b.TOAFailed)
	note("uoa_sent", a.UOASent, b.UOASent)
	note("uoa_failed", a.UOAFailed, b.UOAFailed)
	note("proxy_sent", a.ProxySent, b.ProxySent)
	note("proxy_taken", a.ProxyTaken, b.ProxyTaken)
	note("sent_ahead", a.SentAhead, b.SentAhead)
	note("claims_taken", a.ClaimsTaken, b.ClaimsTaken)
	note("rst_sent", a.RSTSent, b.RSTSent)
	note("half_open_evicted", a.HalfOpenEvicted, b.HalfOpenEvicted)
	note("templates_made", a.TemplatesMade, b.TemplatesMade)
	note("templates_moved", a.TemplatesMoved, b.TemplatesMoved)
	note("templates_evicted", a.TemplatesEvicted, b.TemplatesEvicted)
	note("templates_full", a.TemplatesFull, b.TemplatesFull)
	note("quiescent_ended", a.QuiescentEnded, b.QuiescentEnded)
	note("taken_over", a.TakenOver, b.TakenOver)
	note("dests_down", a.DestsDown, b.DestsDown)
	note("csum_completed", a.CsumCompleted, b.CsumCompleted)
	note("gso_segmented", a.GSOSegmented, b.GSOSegmented)
	note("reassembled", a.Reassembled, b.Reassembled)
	note("joined", a.FragmentsJoined, b.FragmentsJoined)
	note("fragmented", a.Fragmented, b.Fragmented)
	note("fragments", a.FragmentsMade, b.FragmentsMade)
	for r := range a.Punts {
		note("punt."+packet.Reason(r).String(), a.Punts[r], b.Punts[r])
	}
	for r := range c.drops {
		note("drop."+packet.Reason(r).String(), c.drops[r], before.drops[r])
	}
	if c.worker.Consumed != before.worker.Consumed {
		reached.Lock()
		reached.reasons[packet.ARPConsumed]++
		reached.Unlock()
	}
	if c.worker.ConsumedND != before.worker.ConsumedND {
		reached.Lock()
		reached.reasons[packet.NDConsumed]++
		reached.Unlock()
	}
	reached.Lock()
	for r := range c.drops {
		reached.reasons[r] += c.drops[r] - before.drops[r]
	}
	reached.Unlock()
	return strings.Join(out, " ")
}

// account checks that every packet is somewhere: what is out of the pools waits
// for a neighbour.
func (s *Story) account() {
	for _, w := range s.d.Lanes() {
		if out, held := w.Pool().InUse(), w.Neigh().Held()+w.Twins().Held(); out != held {
			s.t.Errorf("worker %s: %d packets are out of the pool, %d wait for neighbours and for Linux", w.Name, out, held)
		}
	}
}

// conns lists the connections in an order that does not depend on the table.
func (s *Story) conns() string {
	var lines []string
	s.d.Conns(func(c *director.ConnView) bool {
		lines = append(lines, fmt.Sprintf("%s %s > %s as %s > %s %s %ds\n",
			strings.ToLower(c.Proto.String()), c.Client, c.Virtual, c.Local, c.Real, c.State, int(c.Remaining.Seconds()+0.5)))
		return true
	})
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// dests lists the real servers with their load and counts.
func (s *Story) dests() (string, error) {
	all, err := s.d.Services(func(spec.ServiceKey) bool { return true })
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, svc := range all {
		fmt.Fprintf(&b, "%s %s\n", svc.ServiceKey, svc.Scheduler)
		for _, d := range svc.Dests {
			fmt.Fprintf(&b, "  %s weight=%d active=%d inactive=%d conns=%d in=%d/%d out=%d/%d", d.Addr, d.Weight, d.Active, d.Inactive,
				d.Count.Conns, d.Count.InPkts, d.Count.InBytes, d.Count.OutPkts, d.Count.OutBytes)
			if d.Templates != 0 {
				fmt.Fprintf(&b, " persistent=%d", d.Templates)
			}
			if d.Overloaded {
				b.WriteString(" overloaded")
			}
			if d.Inhibited {
				b.WriteString(" inhibited")
			}
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}

// neighbours lists the neighbour table.
func (s *Story) neighbours() (string, error) {
	all, err := s.d.Neighbours()
	var b strings.Builder
	for _, n := range all {
		fmt.Fprintf(&b, "%s %s %s", n.Device, n.Addr, n.State)
		if n.Resolved {
			fmt.Fprintf(&b, " at %s", s.stations.Name(words.MAC(n.MAC)))
		}
		if n.Static {
			b.WriteString(" static")
		}
		if n.Queued > 0 {
			fmt.Fprintf(&b, " %d wait", n.Queued)
		}
		b.WriteByte('\n')
	}
	return b.String(), err
}

// locals lists the local addresses with their figures.
func (s *Story) locals() string {
	var b strings.Builder
	for _, a := range s.d.Spec().Addresses {
		if used, free, miss, ok := s.d.LocalCounts(a.Prefix.Addr()); ok {
			fmt.Fprintf(&b, "%s sa_used=%d sa_free=%d sa_miss=%d\n", a.Prefix.Addr(), used, free, miss)
		}
	}
	return b.String()
}

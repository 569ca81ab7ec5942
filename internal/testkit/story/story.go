package story

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"weir/internal/director"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/pipe"
	"weir/internal/spec"
	"weir/internal/testkit/words"
)

// Run tells a story of a file. With -rewrite the file gets the answers.
func Run(t *testing.T, path string) {
	s := &Story{t: t, stations: words.Stations{}}
	defer s.close()
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		s.t = t
		return s.do(d)
	})
}

// Story is a director and the world around it.
type Story struct {
	t        testing.TB
	d        *director.Director
	ports    []*pipe.Port
	twins    []*pipe.Port // .kni of ports, as Linux would see them from its side
	stations words.Stations
	outside  *packet.Pool // memory of frames on their way in and out
	nanos    uint64
	tunables spec.Tunables
	last     counters
	shadow   *shadow  // beside the workers the second engine looks; nil: it does not
	carrier  *carrier // the second engine forwards what it can; nil: it does not
}

// reached are the reasons that any story met.
var reached struct {
	sync.Mutex
	reasons [packet.NumReasons]uint64
}

// Reached returns how often each reason was counted in all stories so far.
func Reached() [packet.NumReasons]uint64 {
	reached.Lock()
	defer reached.Unlock()
	return reached.reasons
}

// epoch is a point of the monotonic clock that lies ahead and looks the same in
// every run: a multiple of 2^38 ns, the turn of the sequence numbers' clock.
func epoch() uint64 {
	const turn = 1 << 38
	return (realClock() + 2*turn) / turn * turn
}

func (s *Story) do(d *datadriven.TestData) string {
	out, err := s.command(d)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	if s.d != nil {
		s.account()
	}
	if out == "" {
		return "nothing\n"
	}
	return out
}

func (s *Story) command(d *datadriven.TestData) (string, error) {
	args := map[string]string{}
	var plain []string
	for _, a := range d.CmdArgs {
		switch len(a.Vals) {
		case 0:
			plain = append(plain, a.Key)
		default:
			args[a.Key] = strings.Join(a.Vals, ",")
		}
	}
	lines := expand(strings.Split(strings.TrimSpace(d.Input), "\n"))
	if s.d == nil && d.Cmd != "director" {
		return "", fmt.Errorf("the story has no director yet")
	}
	switch d.Cmd {
	case "director":
		return s.director(args, lines)
	case "change":
		if err := s.change(lines); err != nil {
			return "", err
		}
		return s.tell(false), nil
	case "inject":
		if len(plain) == 0 {
			return "", fmt.Errorf("inject: on which port?")
		}
		if err := s.inject(plain[0], args, lines); err != nil {
			return "", err
		}
		quiet := len(plain) > 1 && plain[1] == "quiet"
		return s.tell(quiet), nil
	case "wait":
		return s.wait(plain, args)
	case "kni":
		if err := s.kni(plain); err != nil {
			return "", err
		}
		return s.tell(false), nil
	case "addresses":
		return s.addresses(), nil
	case "conns":
		return s.conns(), nil
	case "dests":
		return s.dests()
	case "neigh":
		return s.neighbours()
	case "house": // what the director does once a second
		s.d.KeepHouse()
		return s.tell(false), nil
	case "locals":
		return s.locals(), nil
	}
	return "", fmt.Errorf("no command is called %q", d.Cmd)
}

// expand repeats lines that have {1..5} in them for each number.
func expand(lines []string) (out []string) {
	for _, l := range lines {
		a, z := strings.Index(l, "{"), strings.Index(l, "}")
		if a < 0 || z < a {
			out = append(out, l)
			continue
		}
		var from, to int
		if n, _ := fmt.Sscanf(l[a:z+1], "{%d..%d}", &from, &to); n != 2 {
			out = append(out, l)
			continue
		}
		for i := from; i <= to; i++ {
			out = append(out, strings.ReplaceAll(l, l[a:z+1], strconv.Itoa(i)))
		}
	}
	return out
}

// director makes a new one, on the ports and with the state that the lines say.
func (s *Story) director(args map[string]string, lines []string) (string, error) {
	s.close()
	s.stations = words.Stations{}
	number := func(k string, otherwise int) int {
		if v, ok := args[k]; ok {
			otherwise, _ = strconv.Atoi(v)
		}
		return otherwise
	}
	boot := spec.Boot{
		ConnPool: number("conns", 1000), PktPool: number("frames", 1024), NeighQueue: number("neighqueue", 0),
		LocalFirst: uint16(number("first", 0)), LocalLast: uint16(number("last", 0)),
		Fragments: spec.Fragments{Buckets: 32, BucketEntries: number("fragbucket", 16), Entries: number("fragments", 32), TTL: 1},
	}
	if _, ok := args["linklocal"]; ok {
		boot.IPv6.AddrGenMode = spec.AddrGenEUI64
	}
	for i := range number("workers", 1) {
		boot.Workers = append(boot.Workers, spec.Worker{Name: fmt.Sprintf("cpu%d", i+1), Type: "slave", CPU: -1})
	}
	var rest []string
	var bed director.Bed
	for _, l := range lines {
		w := strings.Fields(l)
		switch {
		case len(w) >= 3 && w[0] == "port":
			p, owners, err := newPort(len(s.ports), w[1:])
			if err != nil {
				return "", err
			}
			s.ports = append(s.ports, p)
			s.stations[w[1]] = p.Facts().MAC
			at := director.BedPort{
				Facts: p.Facts(), Owners: owners,
				Open: func(queue int, pool *packet.Pool) (port.Queue, error) {
					q, err := p.Queue(queue, pool)
					switch {
					case err != nil:
						return nil, err
					case s.shadow != nil:
						return s.shadow.open(q, p.Facts().ID), nil
					case s.carrier != nil:
						return s.carrier.open(q, p.Facts().ID, pool), nil
					}
					return q, nil
				},
			}
			if slices.Contains(w, "twin") {
				k := pipe.New(p.Facts().ID, w[1]+".kni", p.Facts().MAC, 1<<16).Queues(number("workers", 1)).Offloads(true, true, false)
				s.twins = append(s.twins, k)
				at.Twin = func(worker int, pool *packet.Pool) (port.Queue, error) { return k.Queue(worker, pool) }
			}
			bed.Ports = append(bed.Ports, at)
		case len(w) == 3 && w[0] == "station":
			m, err := s.stations.MAC(w[2])
			if err != nil {
				return "", err
			}
			s.stations[w[1]] = m
		default:
			rest = append(rest, l)
		}
	}
	s.tunables = spec.Tunables{Timeouts: spec.DefaultTimeouts(), DefaultTTL: 64, NeighTimeout: 60, UOATrail: 3}
	s.nanos = epoch()
	bed.ByHand, bed.Clock, bed.Seed = true, func() uint64 { return s.nanos }, 1
	bed.Engine = s.shadow != nil || s.carrier != nil
	var err error
	if s.outside, err = packet.NewPool(256, 64); err != nil {
		return "", err
	}
	if s.d, err = director.NewOn(bed, boot, s.tunables, slog.New(slog.DiscardHandler)); err != nil {
		return "", err
	}
	if s.shadow != nil {
		s.shadow.d = s.d
	}
	if s.carrier != nil {
		s.carrier.d, s.carrier.clock = s.d, &s.nanos
	}
	s.last = s.count()
	err = s.change(rest)
	s.tell(false) // how it says hello is no part of the story
	if anyTentative(s.d) {
		// Nor is how it finds out that its IPv6 addresses are nobody else's.
		s.nanos += 1_100_000_000
		s.d.KeepHouse()
		s.tell(false)
	}
	s.last = s.count()
	return "ready\n", err
}

func anyTentative(d *director.Director) bool {
	return slices.ContainsFunc(d.Addresses(), func(a director.AddressView) bool { return a.State == director.AddrTentative })
}

// newPort reads "NAME MAC [mtu=1500] [queues=0,1] [txcsum] [txgso] [rxpartial] [twin]":
// queues lists the worker that serves each. A twin is down until the story has it up.
func newPort(id int, w []string) (*pipe.Port, []int, error) {
	mac, err := words.Stations{}.MAC(w[1])
	if err != nil {
		return nil, nil, err
	}
	mtu, owners := 1500, []int{0}
	var txCsum, txGSO, rxPartial bool
	for _, o := range w[2:] {
		k, v, _ := strings.Cut(o, "=")
		switch k {
		case "mtu":
			mtu, err = strconv.Atoi(v)
		case "queues":
			owners = nil
			for _, q := range strings.Split(v, ",") {
				var n int
				n, err = strconv.Atoi(q)
				owners = append(owners, n)
			}
		case "txcsum":
			txCsum = true
		case "txgso":
			txGSO = true
		case "rxpartial":
			rxPartial = true
		case "twin":
		default:
			err = fmt.Errorf("a port has no %q", k)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	p := pipe.New(uint16(id), w[0], port.MAC(mac), mtu).Queues(len(owners)).Offloads(txCsum, txGSO, rxPartial)
	return p, owners, nil
}

func (s *Story) close() {
	if s.d == nil {
		return
	}
	if s.shadow != nil {
		s.shadow.close()
	}
	if s.carrier != nil {
		s.carrier.close()
	}
	if err := s.d.Close(); err != nil {
		s.t.Error(err)
	}
	if n := s.outside.InUse(); n != 0 {
		s.t.Errorf("%d packets outside are lost", n)
	}
	_ = s.outside.Close()
	s.d, s.ports, s.twins = nil, nil, nil
}

func (s *Story) port(name string) (*pipe.Port, error) {
	for _, p := range slices.Concat(s.ports, s.twins) {
		if p.Facts().Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no port is called %q", name)
}

// inject puts frames before a port. from= is the station that sends them, to=
// the one they are for if not the port itself, queue= where they arrive.
func (s *Story) inject(name string, args map[string]string, lines []string) error {
	p, err := s.port(name)
	if err != nil {
		return err
	}
	from, to := words.MAC{2, 0, 0, 0, byte(p.Facts().ID), 0xee}, words.MAC(p.Facts().MAC)
	if slices.Contains(s.twins, p) { // Linux speaks with the port's MAC
		from, to = to, from
	}
	if w, ok := args["from"]; ok {
		if from, err = s.stations.MAC(w); err != nil {
			return err
		}
	}
	if w, ok := args["to"]; ok {
		if to, err = s.stations.MAC(w); err != nil {
			return err
		}
	}
	queue, _ := strconv.Atoi(args["queue"])
	for _, l := range lines {
		f, err := words.Parse(l, s.stations, from, to)
		if err != nil {
			return err
		}
		if err := s.put(p, queue, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Story) put(p *pipe.Port, queue int, f words.Frame) error {
	pkt := s.outside.GetBig()
	defer s.outside.Put(pkt)
	if !pkt.Resize(len(f.Data)) {
		return fmt.Errorf("a frame of %d bytes is too long", len(f.Data))
	}
	copy(pkt.Data, f.Data)
	if f.Partial {
		pkt.Flags |= packet.CsumPartial
	}
	if f.GSOType != 0 {
		pkt.Flags |= packet.GSO | packet.CsumPartial
		pkt.GSOType, pkt.GSOSize = f.GSOType, f.GSOSize
	}
	if !p.InjectPacket(queue, pkt) {
		return fmt.Errorf("the wire before %s is full", p.Facts().Name)
	}
	return nil
}

// wait lets time pass in steps and tells what happens when.
func (s *Story) wait(plain []string, args map[string]string) (string, error) {
	if len(plain) != 1 {
		return "", fmt.Errorf("wait: how long?")
	}
	long, err := time.ParseDuration(plain[0])
	if err != nil {
		return "", err
	}
	step := 50 * time.Millisecond
	if v, ok := args["every"]; ok {
		if step, err = time.ParseDuration(v); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	for passed := time.Duration(0); passed < long; {
		passed += step
		s.nanos += uint64(step)
		if got := s.tell(false); got != "" {
			fmt.Fprintf(&out, "after %v:\n%s", passed, got)
		}
	}
	return out.String(), nil
}

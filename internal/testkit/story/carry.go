package story

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"weir/internal/clock"
	"weir/internal/flow"
	"weir/internal/packet"
	"weir/internal/port"
	"weir/internal/port/afxdp"
	"weir/internal/testkit/words"
)

// Differs is an answer that is another with offload on, and why that is right.
type Differs struct{ Answer, Instead, Why string }

// How is how a story is told with offload on.
type How struct {
	// Bursts: frames come as without the engine, and XDP sees all of a burst before any worker does.
	Bursts bool
	// Numbers: IPv4 identifications are not compared, because each engine counts its own.
	Numbers bool
	Differs []Differs // each of them has to be met, and is told in the place of the file's answer
	Why     string    // of Bursts and Numbers
}

// Carried is what became of a story's frames with offload on.
type Carried struct {
	Frames uint64   // that XDP forwarded
	Left   []string // the reasons for which it left others to the workers (afxdp.PassedNames)
}

// RunCarried tells a story with offload on: what the XDP engine forwards no worker sees,
// and what it writes (times, sequence numbers, bytes, counters, the use of next hops) is what the
// workers and the director go on with. The answers have to be the file's: the same frames
// and the same counts, forwarded by whomever. Frames come in one by one, so that a flow is
// established for the second frame of an answer by the first, but for How.Bursts. Within an
// answer frames may leave in another order, and from any queue of their port.
func RunCarried(t *testing.T, path string, how How) Carried {
	c := &carrier{trials: trials{t: t}, bursts: how.Bursts}
	s := &Story{t: t, stations: words.Stations{}, carrier: c}
	met := map[string]bool{}
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		s.t, c.t = t, t
		got, want := s.do(d), d.Expected
		if how.Numbers {
			got, want = number.ReplaceAllString(got, ""), number.ReplaceAllString(want, "")
		}
		got, want = inOrder(got), inOrder(want)
		for _, o := range how.Differs {
			if d.Expected == o.Answer && got == inOrder(o.Instead) {
				met[o.Answer] = true
				return d.Expected
			}
		}
		if got == want {
			return d.Expected
		}
		return got
	})
	s.close()
	for _, o := range how.Differs {
		if !met[o.Answer] {
			t.Errorf("%s: there is no answer\n%s\nwhich with offload on is\n%s", path, o.Answer, o.Instead)
		}
	}
	told := Carried{Frames: c.carried}
	for why, n := range c.why {
		if n > 0 {
			told.Left = append(told.Left, afxdp.PassedNames[why].Name)
		}
	}
	return told
}

var (
	queueOf = regexp.MustCompile(`^(\S+)\.\d+ > `)
	number  = regexp.MustCompile(` id=\d+`)
)

// inOrder is an answer with its lines in an order that is always the same, those of each
// moment of a wait by themselves, without numbers of queues.
func inOrder(answer string) string {
	lines := strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
	from := 0
	for i, l := range lines {
		if lines[i] = queueOf.ReplaceAllString(l, "$1 > "); strings.HasPrefix(l, "after ") {
			slices.Sort(lines[from:i])
			from = i + 1
		}
	}
	slices.Sort(lines[from:])
	return strings.Join(lines, "\n") + "\n"
}

// carrier is the second engine in the place of workers, on the flow table of a director in
// memory: it runs the programs of the ports (BPF_PROG_RUN), and sends what they make.
type carrier struct {
	trials
	clock   *uint64 // the story's
	carried uint64  // frames
	bursts  bool
	came    bool // a frame, in this breath
	out     map[uint16][]*carriedQueue
	why     [len(afxdp.PassedNames)]uint64 // frames were left to the workers
}

// carriedQueue shows what comes to the engine, and the workers what that leaves.
type carriedQueue struct {
	port.Queue
	c    *carrier
	id   uint16
	pool *packet.Pool
}

// close unloads the programs.
func (c *carrier) close() {
	for _, f := range c.d.Facts() {
		if f.Name == "" {
			continue
		}
		for why, n := range c.d.Engine().Passed(f.ID) {
			c.why[why] += n
		}
	}
	c.trials.close()
	c.out = nil
}

// open has the engine look at a queue of a port.
func (c *carrier) open(q port.Queue, id uint16, pool *packet.Pool) port.Queue {
	if c.out == nil {
		c.out = map[uint16][]*carriedQueue{}
	}
	o := &carriedQueue{Queue: q, c: c, id: id, pool: pool}
	c.out[id] = append(c.out[id], o)
	return o
}

func (q *carriedQueue) Rx(burst []*packet.Packet) int {
	if !q.c.bursts {
		if q.c.came {
			return 0
		}
		burst = burst[:1]
	}
	n := q.Queue.Rx(burst)
	left := 0
	for _, p := range burst[:n] {
		if !q.c.carry(q, p) {
			burst[left] = p
			left++
		}
	}
	q.c.came = q.c.came || n > 0
	return left
}

// carry has the engine forward a packet, which it then owns, if it does.
func (c *carrier) carry(from *carriedQueue, p *packet.Packet) bool {
	if p.Flags&(packet.CsumPartial|packet.GSO) != 0 || len(p.Data) < 14 || len(p.Data) > afxdp.Room {
		return false // no such frame comes by AF_XDP, or to the engine's eyes
	}
	before := c.ways()
	out, taken, err := c.run(from.id, p.Data)
	if err != nil {
		c.t.Fatalf("a frame of %d bytes on port %d: %v", len(p.Data), from.id, err)
	}
	if !taken {
		return false
	}
	c.carried++
	to, counted := uint16(0), 0
	for way, n := range c.ways() {
		if was := before[way]; n != was {
			to = way.out
			counted++
		}
	}
	if counted != 1 {
		c.t.Fatalf("the engine counted a frame on %d ways", counted)
	}
	if f := c.d.Facts()[to]; f.Kind == port.VLAN {
		to = f.Link
	}
	q := c.out[to][0]
	for _, o := range c.out[to] {
		if o.pool == from.pool {
			q = o
		}
	}
	sent := p
	if q.pool != from.pool {
		sent = q.pool.GetBig()
	}
	if sent == nil || !sent.Resize(len(out)) {
		c.t.Fatalf("no room for a frame of %d bytes", len(out))
	}
	copy(sent.Data, out)
	q.Queue.Tx([]*packet.Packet{sent})
	if sent != p {
		from.pool.Put(p)
	}
	return true
}

// run shows a frame to the program of a port as if the story's time were the kernel's, by
// which the program goes: what it compares is set back to the kernel's time, and what it wrote
// set forth to the story's.
func (c *carrier) run(id uint16, frame []byte) (out []byte, taken bool, err error) {
	f := c.d.Flows()
	ours, began := clock.Tick(*c.clock>>clock.Shift), clock.Now()
	ahead := uint32(ours - began)
	used := map[*flow.NextHop]uint32{}
	f.Hops.Range(func(_ flow.NextHopRef, h *flow.NextHop) bool {
		h.Used -= ahead
		used[h] = h.Used
		return true
	})
	out, taken, err = c.trial(id).Run(frame)
	took := clock.Now().Since(began)
	for h, was := range used {
		if h.Used == was {
			h.Used += ahead
		} else {
			h.Used = uint32(ours)
		}
	}
	if !taken || err != nil {
		return out, taken, err
	}
	written := 0
	for slot := range slots(f) {
		if h := f.Half(slot); h.Key1 != 0 && h.Last-uint32(began)+jiffies <= took+jiffies {
			h.Last = uint32(ours)
			written++
		}
	}
	if written != 1 {
		c.t.Errorf("the engine wrote its time to %d half-flows", written)
	}
	return out, taken, err
}

// jiffies is how many ticks the clock by which the program goes may be late.
const jiffies = clock.PerSecond / 50

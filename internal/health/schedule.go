package health

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"
)

// Server names a real server of one service. Whoever uses the schedule chooses it.
type Server string

// Notices is what a schedule has to say, and to whom. A server of which nothing was
// said is down. The calls come one after the other from the schedule's own
// goroutine, and no check is started meanwhile: they shall be brief, and must not
// call the schedule, nor wait for somebody who does.
type Notices interface {
	// Up says that all checks of a server are well. Without alpha it is said from
	// within [Schedule.Set], before the first check.
	Up(s Server)
	// Down says that one of the checks has failed more often than is forgiven.
	Down(s Server, why error)
	// Weigh says that the weight of a server is another now (misc_dynamic).
	Weigh(s Server, weight int)
	// Failed says that a check failed, also where it is forgiven or the server is
	// down already (log_all_failures).
	Failed(s Server, check Check, why error)
}

// Target is what is to be checked of a server.
type Target struct {
	// Weight is the server's configured one. It counts for misc_dynamic alone.
	Weight int
	// Checks have all to be well. A server without checks is up.
	Checks []Check
}

// errStopped answers who comes too late.
var errStopped = errors.New("the schedule of health checks has been stopped")

// slot is what due times are rounded down to, counted from the schedule's start. To
// wake costs more than to ask: what is due in one slot is asked in one go.
const slot = 50 * time.Millisecond

// Schedule runs the checks of many servers. There are at most as many under way as
// there are checks.
type Schedule struct {
	notices Notices
	jitter  func(longest time.Duration) time.Duration
	began   time.Time

	ctx    context.Context // ends at Stop
	cancel context.CancelFunc
	ended  chan struct{}  // closed when run has returned
	flying sync.WaitGroup // the checks under way

	orders  chan func()
	results chan result

	// What only run touches.
	servers map[Server]*server
	queue   queue
}

type server struct {
	name   Server
	up     bool
	target Target
	weight int // as last told
	paused bool
	runs   []*run
}

// run is a check of a server, and where it stands.
type run struct {
	of       *server
	check    Check
	standing standing
	says     bool // the server said a weight (misc_dynamic): said
	said     int
	due      time.Time
	place    int // in the queue, or -1: under way
	ctx      context.Context
	cancel   context.CancelFunc
}

type result struct {
	run     *run
	finding Finding
}

// Start makes a schedule without servers.
func Start(n Notices) *Schedule { return start(n, jitter) }

// jitter is a random wait below longest.
func jitter(longest time.Duration) time.Duration { return rand.N(longest) }

func start(n Notices, jitter func(time.Duration) time.Duration) *Schedule {
	s := &Schedule{
		notices: n, jitter: jitter, began: time.Now(), ended: make(chan struct{}),
		orders: make(chan func()), results: make(chan result), servers: make(map[Server]*server),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.keep()
	return s
}

// Stop ends all checks and returns when nothing of them is left, which takes up to
// 2 s if a program does not end when it is told to. Nothing is said of it to the
// Notices: what becomes of the servers then (omega) is for the caller to decide.
func (s *Schedule) Stop() {
	s.cancel()
	<-s.ended
	s.flying.Wait()
}

// Set checks a server from now on. If it is checked already, checks that are the
// same as before go on undisturbed, and new ones begin with what was known of the
// server: it goes neither up nor down by the change alone, unless a check that held
// it down is gone. An error changes nothing.
func (s *Schedule) Set(name Server, t Target) error {
	for i := range t.Checks {
		if err := t.Checks[i].validate(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return s.order(func() { s.set(name, t) })
}

// Remove checks a server no longer. Nothing more is said of it.
func (s *Schedule) Remove(name Server) error {
	return s.order(func() {
		if srv := s.servers[name]; srv != nil {
			s.drop(srv.runs)
			delete(s.servers, name)
		}
	})
}

// Pause ends the asking of a server until it is paused no longer: what is known of it stays
// (ha_suspend). Its checks go on being due, and are not made.
func (s *Schedule) Pause(name Server, paused bool) error {
	return s.order(func() {
		if srv := s.servers[name]; srv != nil {
			srv.paused = paused
		}
	})
}

// order has f run between two events, and waits for it.
func (s *Schedule) order(f func()) error {
	done := make(chan struct{})
	select {
	case s.orders <- func() { f(); close(done) }:
		<-done
		return nil
	case <-s.ctx.Done():
		return errStopped
	}
}

// keep keeps the time.
func (s *Schedule) keep() {
	defer close(s.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.launch(time.Now()))
		select {
		case <-timer.C:
		case f := <-s.orders:
			f()
		case r := <-s.results:
			s.learn(r, time.Now())
		case <-s.ctx.Done():
			return
		}
	}
}

// launch starts the checks that are due and returns how long until the next.
func (s *Schedule) launch(now time.Time) time.Duration {
	for len(s.queue) > 0 {
		r := s.queue[0]
		if wait := r.due.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&s.queue)
		if r.of.paused {
			r.due = s.slot(now, r.check.DelayLoop)
			heap.Push(&s.queue, r)
			continue
		}
		s.flying.Go(func() {
			found := r.check.Probe.Probe(r.ctx)
			select {
			case s.results <- result{r, found}:
			case <-r.ctx.Done():
			}
		})
	}
	return time.Hour
}

// learn takes a result.
func (s *Schedule) learn(r result, now time.Time) {
	run := r.run
	if run.ctx.Err() != nil {
		return // removed meanwhile
	}
	if r.finding.Err != nil {
		s.notices.Failed(run.of.name, run.check, r.finding.Err)
	}
	run.due = s.slot(now, run.standing.learn(&run.check, r.finding.Err == nil))
	heap.Push(&s.queue, run)
	if r.finding.Weighs {
		run.says, run.said = true, r.finding.Weight
	}
	s.weigh(run.of)
	s.judge(run.of, r.finding.Err)
}

// slot returns when a wait from now is over: rounded down, unless nothing of the
// wait would be left.
func (s *Schedule) slot(now time.Time, wait time.Duration) time.Time {
	due := now.Add(wait)
	if early := s.began.Add(due.Sub(s.began).Truncate(slot)); early.After(now) {
		return early
	}
	return due
}

// weigh tells a weight that is another. Each check that said one counts for its
// difference from the configured one, so that several add up as in stock keepalived.
func (s *Schedule) weigh(srv *server) {
	weight := srv.target.Weight
	for _, r := range srv.runs {
		if r.says {
			weight += r.said - srv.target.Weight
		}
	}
	if weight = max(weight, 0); weight != srv.weight {
		srv.weight = weight
		s.notices.Weigh(srv.name, weight)
	}
}

// judge tells that a server goes up or down.
func (s *Schedule) judge(srv *server, why error) {
	up := true
	for _, r := range srv.runs {
		up = up && r.standing.up
	}
	if up == srv.up {
		return
	}
	srv.up = up
	if up {
		s.notices.Up(srv.name)
	} else {
		s.notices.Down(srv.name, why)
	}
}

// set brings a server's checks in line with a target.
func (s *Schedule) set(name Server, t Target) {
	srv, known := s.servers[name], true
	if srv == nil {
		srv, known = &server{name: name}, false
		s.servers[name] = srv
	}
	before := srv.runs
	srv.runs = make([]*run, 0, len(t.Checks))
	now := time.Now()
	for _, c := range t.Checks {
		i := find(before, &c)
		if i < 0 {
			srv.runs = append(srv.runs, s.begin(srv, c, known, now))
			continue
		}
		srv.runs = append(srv.runs, before[i])
		before = append(before[:i:i], before[i+1:]...)
	}
	s.drop(before)
	srv.target, srv.weight = t, t.Weight
	s.weigh(srv)
	s.judge(srv, nil)
}

// find returns where an equal check is among runs, or -1.
func find(runs []*run, c *Check) int {
	for i, r := range runs {
		if reflect.DeepEqual(r.check, *c) {
			return i
		}
	}
	return -1
}

// begin puts a check into the queue for the first time.
func (s *Schedule) begin(srv *server, c Check, known bool, now time.Time) *run {
	r := &run{of: srv, check: c, due: now}
	r.standing.up = !c.Alpha
	if known {
		r.standing.up = srv.up
	}
	if c.Warmup > 0 {
		r.due = s.slot(now, s.jitter(c.Warmup))
	}
	r.ctx, r.cancel = context.WithCancel(s.ctx)
	heap.Push(&s.queue, r)
	return r
}

// drop ends checks, also those under way.
func (s *Schedule) drop(runs []*run) {
	for _, r := range runs {
		r.cancel()
		if r.place >= 0 {
			heap.Remove(&s.queue, r.place)
		}
	}
}

// queue is a heap of the checks that wait, the next on top.
type queue []*run

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements [heap.Interface]. It is given runs alone.
func (q *queue) Push(x any) {
	r, _ := x.(*run)
	r.place = len(*q)
	*q = append(*q, r)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	r.place = -1
	return r
}

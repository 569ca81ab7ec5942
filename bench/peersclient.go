package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// webPatience is how long an order may go without any answer.
const webPatience = 15 * time.Second

// warmRequests is how long connections that stay run again before they are measured.
const warmRequests = 100 * time.Millisecond

// openings is how many connections may be about to open at a time.
const openings = 512

// peersClient carries orders out, one JSON line each, until its input ends.
func peersClient() error {
	p, err := settle()
	if err != nil {
		return err
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var held []*webRun
	stay := map[webKind]*webRun{}
	for {
		var o webOrder
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if o.For > 0 {
			for _, r := range held {
				r.end()
			}
			held = nil
		}
		r := stay[kindOf(&o)]
		if r == nil || !o.Stay {
			set := p
			if o.Stay { // others' connections say things meanwhile that must not be heard now
				if set, err = newPoller(); err != nil {
					return err
				}
			}
			r = newWebRun(set, o)
		}
		ph, err := r.do(o)
		if err != nil {
			ph.Err = err.Error()
		}
		switch {
		case o.For == 0 && err == nil:
			held = append(held, r)
		case o.Stay && err == nil:
			stay[kindOf(&o)] = r
		default:
			delete(stay, kindOf(&o))
			r.end()
			if o.Stay {
				_ = unix.Close(r.p.fd)
			}
		}
		if err := answers.Encode(ph); err != nil {
			return err
		}
	}
}

// webConn is a connection of the client.
type webConn struct {
	fd    int
	got   int
	asked bool
	since time.Duration // when the request was due
}

// webRun carries one order out.
type webRun struct {
	o         webOrder
	p         *poller
	conns     map[int]*webConn
	idle      []*webConn // with a pace: free for the next request
	from      int
	buf       []byte
	begun     time.Time
	next      time.Duration // with a pace: when the next request is due
	ph        webPhase
	delays    delays
	asked     int // requests answered or failed at all, for holding
	last      time.Duration
	request   []byte
	answer    []byte
	measuring bool
	clock     processors
	receipts  *receipts // while it measures, if the order says so
}

func newWebRun(p *poller, o webOrder) *webRun {
	r := &webRun{o: o, p: p, conns: make(map[int]*webConn), buf: make([]byte, 4096), delays: make(delays, classes), begun: time.Now(), request: requestKept, answer: answerKept}
	if o.Close {
		r.request, r.answer = requestClosed, answerClosed
	}
	return r
}

func (r *webRun) now() time.Duration { return time.Since(r.begun) }

func (r *webRun) end() {
	for fd := range r.conns {
		_ = unix.Close(fd)
	}
	r.conns = nil
}

// again begins another slice with the connections that are there. What is on its way since
// the last one has no delay that counts.
func (r *webRun) again(o webOrder) {
	r.o, r.ph, r.next, r.last = o, webPhase{}, 0, r.now()
	clear(r.delays)
	if o.Every == 0 {
		return
	}
	r.forget()
}

// do opens the connections, unless they are there, lets them run for a moment, and measures.
func (r *webRun) do(o webOrder) (ph webPhase, err error) {
	if err := r.clock.find(); err != nil {
		return ph, err
	}
	warm := r.now() + warmUp
	missing := r.o.Conns - len(r.conns)
	if missing < r.o.Conns {
		r.again(o)
		warm = r.now() + warmRequests
	}
	for range missing {
		if err := r.open(); err != nil {
			return ph, err
		}
		// The server's queue of new connections is not endless.
		for len(r.conns)-r.asked >= openings {
			if err := r.turn(-1); err != nil {
				return ph, err
			}
		}
	}
	if r.o.For == 0 {
		for r.asked < r.o.Conns {
			if err := r.turn(-1); err != nil {
				return ph, err
			}
		}
		return r.ph, nil
	}
	for r.asked < r.o.Conns || r.now() < warm {
		if err := r.turn(-1); err != nil {
			return ph, err
		}
	}
	return r.measure()
}

// open begins a connection.
func (r *webRun) open() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if len(r.o.From) > 0 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: r.o.From[r.from%len(r.o.From)].As4()}); err != nil {
			return err
		}
		r.from++
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(r.o.To.Port()), Addr: r.o.To.Addr().As4()}); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect to %s: %w", r.o.To, err)
	}
	r.conns[fd] = &webConn{fd: fd}
	return r.p.add(fd, unix.EPOLLIN|unix.EPOLLOUT)
}

// turn waits for something to happen, until a time at most, and does what follows.
func (r *webRun) turn(until time.Duration) error {
	if err := r.due(); err != nil {
		return err
	}
	events, err := r.wait(until)
	if err != nil {
		return err
	}
	for i := range events {
		c := r.conns[int(events[i].Fd)]
		if c == nil {
			continue
		}
		if err := r.step(c, events[i].Events); err != nil {
			return err
		}
	}
	if now := r.now(); now-r.last > webPatience {
		return fmt.Errorf("%s has not answered for %s: %d requests answered, %d failed: %s", r.o.To, webPatience, r.asked, r.ph.Failures, r.ph.FailedBecauseOf)
	}
	return nil
}

// due sends the requests that are due by the pace, on connections that are free. What
// finds none free is sent later, and its delay counts from when it was due.
func (r *webRun) due() error {
	if r.o.Every == 0 {
		return nil
	}
	for now := r.now(); r.next <= now && len(r.idle) > 0; r.next += r.o.Every {
		c := r.idle[len(r.idle)-1]
		r.idle = r.idle[:len(r.idle)-1]
		if r.next == 0 {
			r.next = now
		}
		c.since = r.next
		if err := r.ask(c); err != nil {
			return err
		}
	}
	return nil
}

// wait is epoll_pwait2(2), for a pace is finer than the milliseconds of the older calls.
func (r *webRun) wait(until time.Duration) ([]unix.EpollEvent, error) {
	timeout := 100 * time.Millisecond
	if until >= 0 {
		timeout = min(timeout, max(until-r.now(), 0))
	}
	if r.o.Every == 0 || len(r.idle) == 0 {
		return r.p.wait(int((timeout + time.Millisecond - 1) / time.Millisecond))
	}
	timeout = min(timeout, max(r.next-r.now(), 0))
	ts := unix.NsecToTimespec(int64(timeout))
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(r.p.fd), uintptr(unsafe.Pointer(&r.p.events[0])), uintptr(len(r.p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	return r.p.came(n, e)
}

// step does what can be done on a connection.
func (r *webRun) step(c *webConn, events uint32) error {
	if !c.asked && c.got == 0 && events&unix.EPOLLOUT != 0 && !r.isIdle(c) {
		if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			return r.failed(c, "no connection")
		}
		if err := r.ask(c); err != nil || events&unix.EPOLLIN == 0 {
			return err
		}
	}
	for c.asked {
		n, err := unix.Read(c.fd, r.buf[:len(r.answer)+1])
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR:
			continue
		case err != nil:
			return r.failed(c, err.Error())
		case n == 0 && r.o.Close && c.got == len(r.answer):
			return r.answered(c)
		case n == 0:
			return r.failed(c, "the connection ended in an answer")
		case c.got+n > len(r.answer) || !bytes.Equal(r.buf[:n], r.answer[c.got:c.got+n]):
			return r.failed(c, "a wrong answer")
		}
		c.got += n
		if !r.o.Close && c.got == len(r.answer) {
			return r.answered(c)
		}
	}
	if events&(unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0 {
		return r.failed(c, "the connection ended")
	}
	return nil
}

func (r *webRun) isIdle(c *webConn) bool { return r.o.Every > 0 && c.since < 0 }

// ask sends the request.
func (r *webRun) ask(c *webConn) error {
	c.got, c.asked = 0, true
	if _, err := unix.Write(c.fd, r.request); err != nil {
		return r.failed(c, err.Error())
	}
	return nil
}

// answered counts, and goes on with the next request.
func (r *webRun) answered(c *webConn) error {
	r.asked++
	r.last = r.now()
	if r.measuring {
		r.ph.Requests++
	}
	switch {
	case r.o.Close:
		delete(r.conns, c.fd)
		_ = unix.Close(c.fd)
		return r.open()
	case r.o.For == 0:
		c.asked = false
		c.got = len(r.answer)
		return nil
	case r.o.Every > 0:
		if r.measuring && c.since > 0 {
			r.delays[classOf(r.last-c.since)]++
		}
		c.asked, c.since = false, -1
		r.idle = append(r.idle, c)
		return nil
	}
	return r.ask(c)
}

// failed counts, and puts another connection in the place of one that is spoilt.
func (r *webRun) failed(c *webConn, why string) error {
	r.ph.Failures++
	r.ph.FailedBecauseOf = why
	delete(r.conns, c.fd)
	r.idle = slices.DeleteFunc(r.idle, func(i *webConn) bool { return i == c })
	_ = unix.Close(c.fd)
	if r.ph.Failures > 100 && r.ph.Failures > uint64(r.asked)/10 {
		return fmt.Errorf("%d requests to %s failed and %d were answered, the last failed because: %s", r.ph.Failures, r.o.To, r.asked, why)
	}
	return r.open()
}

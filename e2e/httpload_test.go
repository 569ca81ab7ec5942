package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// requestPatience is after how long an unanswered request counts as a failure.
// TCP repeats a lost SYN after 1, 3 and 7 s: one loss is forgiven, as by users,
// but it shows in Slowest.
const requestPatience = 10 * time.Second

// progressStep is after how many answers an endless load says how many it had.
const progressStep = 100

// loadResult is what a load generator saw.
type loadResult struct {
	Requests, Failures int64
	Errors             map[string]int64 // the failures by what they were
	Servers            map[string]int64 // the answers by who gave them
	Slowest            time.Duration
	Took               time.Duration
}

// ok fails the test unless every one of n requests was answered.
func (r loadResult) ok(t *testing.T, n int64) {
	t.Helper()
	t.Logf("%d requests, %d failures, %.0f/s, slowest %s, by server %v",
		r.Requests, r.Failures, float64(r.Requests)/r.Took.Seconds(), r.Slowest.Round(time.Millisecond), r.Servers)
	if r.Failures > 0 || r.Requests != n {
		t.Errorf("%d of %d requests failed, want %d without failure: %v", r.Failures, r.Requests, n, r.Errors)
	}
}

// tcpTouch opens connections and closes them at once: ADDRESS NUMBER CONCURRENCY.
func tcpTouch(args []string) (loadResult, error) {
	if len(args) != 3 {
		return loadResult{}, errors.New("tcp-touch ADDRESS NUMBER CONCURRENCY")
	}
	number, err1 := strconv.ParseInt(args[1], 10, 64)
	clients, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return loadResult{}, err
	}
	l := &load{address: args[0], number: number}
	return l.run(clients, func() {
		for l.taken.Add(1) <= number {
			begin := time.Now()
			c, err := dialHTTP(l.address)
			l.count("", time.Since(begin), err)
			c.close()
		}
	}), nil
}

// run has clients run at the same time and returns what came of it.
func (l *load) run(clients int, client func()) loadResult {
	l.result = loadResult{Errors: map[string]int64{}, Servers: map[string]int64{}}
	start := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(client)
	}
	wg.Wait()
	l.result.Took = time.Since(start)
	return l.result
}

// httpLoad sends requests: ADDRESS NUMBER CONCURRENCY new|kept. NUMBER 0 means
// until SIGTERM. With "kept" each of the CONCURRENCY clients has one connection for
// all its requests, with "new" one for each.
func httpLoad(args []string) (loadResult, error) {
	if len(args) != 4 {
		return loadResult{}, errors.New("http-load ADDRESS NUMBER CONCURRENCY new|kept")
	}
	number, err1 := strconv.ParseInt(args[1], 10, 64)
	clients, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return loadResult{}, err
	}
	l := &load{address: args[0], number: number, kept: args[3] == "kept"}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; l.stop.Store(true) }()
	return l.run(clients, l.client), nil
}

type load struct {
	address string
	number  int64
	kept    bool
	taken   atomic.Int64
	stop    atomic.Bool
	answers atomic.Int64

	mu     sync.Mutex
	result loadResult
}

// client sends requests until the number is reached.
func (l *load) client() {
	servers, failures := map[string]int64{}, map[string]int64{}
	var slowest time.Duration
	var requests int64
	var c *httpConn
	defer func() {
		c.close()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.result.Requests += requests
		l.result.Slowest = max(l.result.Slowest, slowest)
		for s, n := range servers {
			l.result.Servers[s] += n
		}
		for f, n := range failures {
			l.result.Errors[f] += n
			l.result.Failures += n
		}
	}()
	for !l.stop.Load() {
		if l.number > 0 && l.taken.Add(1) > l.number {
			return
		}
		begin := time.Now()
		server, err := l.request(&c)
		requests++
		slowest = max(slowest, time.Since(begin))
		if err != nil {
			failures[reason(err)]++
			c.close()
			c = nil
			continue
		}
		servers[server]++
		if n := l.answers.Add(1); l.number == 0 && n%progressStep == 0 {
			fmt.Printf("answered %d\n", n)
		}
	}
}

// request sends one request on *c, which it opens when there is none and closes
// when connections are not kept.
func (l *load) request(c **httpConn) (server string, err error) {
	if *c == nil {
		if *c, err = dialHTTP(l.address); err != nil {
			return "", err
		}
	}
	server, err = (*c).get(l.kept)
	if !l.kept {
		(*c).close()
		*c = nil
	}
	return server, err
}

// reason is an error without what differs from one connection to the next.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return op.Op + ": timeout"
		}
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// httpConn is a client's connection.
type httpConn struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialHTTP(address string) (*httpConn, error) {
	conn, err := net.DialTimeout("tcp", address, requestPatience)
	if err != nil {
		return nil, err
	}
	return &httpConn{conn: conn, r: bufio.NewReader(conn)}, nil
}

func (c *httpConn) close() {
	if c != nil {
		c.conn.Close()
	}
}

// get asks for "/" and returns who answered.
func (c *httpConn) get(keep bool) (server string, err error) {
	connection := "close"
	if keep {
		connection = "keep-alive"
	}
	if err := c.conn.SetDeadline(time.Now().Add(requestPatience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c.conn, "GET / HTTP/1.1\r\nHost: weir.test\r\nConnection: %s\r\n\r\n", connection); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "Your ip:port : ") {
		return "", fmt.Errorf("status %d, body %q", resp.StatusCode, body)
	}
	return resp.Header.Get("X-Real-Server"), nil
}

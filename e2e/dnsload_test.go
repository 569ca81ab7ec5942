package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// perSocket is how many queries leave from one port: each socket is a connection
// of its own to the director.
const perSocket = 20

// dnsLoad sends queries for weir.test: ADDRESS NUMBER CONCURRENCY. Each is sent
// once; one without answer is a failure.
func dnsLoad(args []string) (loadResult, error) {
	if len(args) != 3 {
		return loadResult{}, errors.New("dns-load ADDRESS NUMBER CONCURRENCY")
	}
	number, err1 := strconv.ParseInt(args[1], 10, 64)
	clients, err2 := strconv.Atoi(args[2])
	if err := errors.Join(err1, err2); err != nil {
		return loadResult{}, err
	}
	l := &load{address: args[0], number: number}
	return l.run(clients, l.resolver), nil
}

// resolver sends queries until the number is reached.
func (l *load) resolver() {
	var conn net.Conn
	var id uint16
	for l.taken.Add(1) <= l.number {
		if conn == nil {
			var err error
			if conn, err = net.Dial("udp", l.address); err != nil {
				l.count("", 0, err)
				return
			}
		}
		id++
		begin := time.Now()
		answer, err := query(conn, id)
		l.count(answer, time.Since(begin), err)
		if id%perSocket == 0 || err != nil {
			conn.Close()
			conn = nil
		}
	}
	if conn != nil {
		conn.Close()
	}
}

func (l *load) count(answer string, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.Requests++
	l.result.Slowest = max(l.result.Slowest, took)
	if err != nil {
		l.result.Failures++
		l.result.Errors[reason(err)]++
		return
	}
	l.result.Servers[answer]++
}

// query asks once for weir.test's address.
func query(conn net.Conn, id uint16) (string, error) {
	a, err := queryFor(conn, id, "weir.test.")
	return a.String(), err
}

// queryFor asks once for a name's address.
func queryFor(conn net.Conn, id uint16, name string) (netip.Addr, error) {
	ask := dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	packet, err := ask.Pack()
	if err != nil {
		return netip.Addr{}, err
	}
	if err := conn.SetDeadline(time.Now().Add(requestPatience)); err != nil {
		return netip.Addr{}, err
	}
	if _, err := conn.Write(packet); err != nil {
		return netip.Addr{}, err
	}
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	if err != nil {
		return netip.Addr{}, err
	}
	var reply dnsmessage.Message
	if err := reply.Unpack(buf[:n]); err != nil {
		return netip.Addr{}, err
	}
	if reply.ID != id || len(reply.Answers) != 1 {
		return netip.Addr{}, fmt.Errorf("query %d was answered by %d with %d records", id, reply.ID, len(reply.Answers))
	}
	a, ok := reply.Answers[0].Body.(*dnsmessage.AResource)
	if !ok {
		return netip.Addr{}, fmt.Errorf("query was answered with %T", reply.Answers[0].Body)
	}
	return netip.AddrFrom4(a.A), nil
}

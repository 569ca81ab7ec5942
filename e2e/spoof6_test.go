package e2e

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// As TestTOASpoofed, for clients of IPv6.
func TestTOASpoofed6(t *testing.T) {
	b := newBed6(t)
	var next port6 = 1000
	me := netns.ClientAddr6.Addr()
	lieAt := uint16(40000)
	for _, row := range []struct {
		name    string
		pair    families
		port    int // of the real server
		options string
		carries bool
		seen    string // by a program behind an agent that believes what it reads
	}{
		{"TOA", six, 80, "", true, me.String() + ":%d\n"},
		{"TOA off", six, 80, "--toa disable", false, "2001:db8:100::200:"},
		{"NAT64", sixToFour, 8000, "", true, me.String() + ":%d\n"},
		{"NAT64, TOA off", sixToFour, 8000, "--toa disable", false, "::ffff:192.168.100.200:"},
		{"PROXY v2", six, 8090, "--proxy-protocol v2", false, me.String() + ":%d\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := &bed6{director: b.as(t), agent: b.agent}
			to := netip.MustParseAddrPort(b.to(&next, "t", row.pair, row.port, row.options))
			atServer := b.tcpdump(b.rs(1), "eth0")
			for _, lie := range lies {
				lieAt++
				want := row.seen
				if strings.Contains(want, "%d") {
					want = fmt.Sprintf(want, lieAt)
				}
				h := b.handmadeBetween(me, to.Addr(), lieAt, to.Port())
				if got := h.wholeLife(lie); strings.Count(got, "Your ip:port : "+want) != 2 {
					t.Errorf("to a client with the option %s the server answered %q, want %q twice", lie, got, want)
				}
			}
			atServer.stop()
			segments, truth := 0, map[uint16]bool{}
			for _, options := range atServer.toServer6(row.pair) {
				segments++
				for _, o := range kind254(options) {
					if !row.carries || len(kind254(options)) != 1 || len(o) != 20 || netip.AddrFrom16([16]byte(o[4:])) != me {
						t.Errorf("a segment carries %x", options)
						continue
					}
					truth[binary.BigEndian.Uint16(o[2:])] = true
				}
			}
			if segments < 8*len(lies) || row.carries && len(truth) != len(lies) {
				t.Errorf("%d segments came, and the true client was named on %d of %d connections", segments, len(truth), len(lies))
			}
		})
	}
}

// toServer6 returns the TCP options of the segments that came to the real server by
// what is behind the director.
func (c *capture) toServer6(pair families) (all [][]byte) {
	c.bed.t.Helper()
	segment := func(t []byte) { all = append(all, t[20:max(20, min(len(t), int(t[12]>>4)*4))]) }
	if pair.behind == 4 {
		for _, p := range c.packets() {
			if head := int(p[0]&15) * 4; p[9] == unix.IPPROTO_TCP && len(p) >= head+20 && netip.AddrFrom4([4]byte(p[16:])) == rs6Of[4] {
				segment(p[head:])
			}
		}
		return all
	}
	for _, p := range c.frames(unix.ETH_P_IPV6, 60) {
		if p[6] == unix.IPPROTO_TCP && netip.AddrFrom16([16]byte(p[24:])) == rs6Of[6] {
			segment(p[40:])
		}
	}
	return all
}

// claim6 is UOA in a destination option, as weir-rs makes it of protocol 248 on the
// real server: of 2001:db8:bad::6, port 666.
const claim6 = "1e141f14029a20010db80bad00000000000000000006"

// As TestUOASpoofed: what a client writes into extension headers never tells a real
// server who it is.
func TestUOASpoofed6(t *testing.T) {
	b := newBed6(t)
	var next port6 = 1000
	rows := []struct {
		pair    families
		port    int
		options string
		right   func(got string, me netip.AddrPort) bool
	}{
		{six, 5300, "--uoa opp", func(got string, me netip.AddrPort) bool { return seenClient(got) == me }},
		{six, 5300, "", func(got string, _ netip.AddrPort) bool { return seenClient(got).Addr() == lip6Of[6] }},
		{six, 5300, "--proxy-protocol v2", func(got string, _ netip.AddrPort) bool { return seenClient(got).Addr() == lip6Of[6] }},
		{sixToFour, 5303, "--uoa opp", askedRight},
	}
	for _, lie := range []struct {
		name   string
		option int // of setsockopt
		header string
	}{
		{"as weir-rs has it", unix.IPV6_DSTOPTS, "0002" + claim6},
		{"an IPv4 client's", unix.IPV6_DSTOPTS, "00021e141f14029a00000000000000000000ffff06060606"},
		{"behind padding", unix.IPV6_DSTOPTS, "0003010400000000" + claim6 + "0100"},
		{"twice", unix.IPV6_DSTOPTS, "0005" + claim6 + claim6 + "0100"},
		{"hop by hop", unix.IPV6_HOPOPTS, "0002" + claim6},
	} {
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s, %s %s", lie.name, row.pair, row.options), func(t *testing.T) {
				b := &bed6{director: b.as(t), agent: b.agent}
				header, err := hex.DecodeString(lie.header)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := b.client().Dial(within(t, patience), "udp", b.to(&next, "u", row.pair, row.port, row.options))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				sc, err := conn.(*net.UDPConn).SyscallConn()
				if err != nil {
					t.Fatal(err)
				}
				var set error
				if err := sc.Control(func(fd uintptr) {
					set = unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, lie.option, string(header))
				}); err != nil || set != nil {
					t.Fatal(err, set)
				}
				for i := range 6 {
					if got := b.exchange(conn, "who am I?"); !row.right(got, localOf(conn)) {
						t.Errorf("to datagram %d the server answered %q; the client is %s", i+1, got, conn.LocalAddr())
					}
				}
			})
		}
	}
	if n := b.gauge("claims_taken"); n == 0 {
		t.Error("the director counted no claim")
	}
}

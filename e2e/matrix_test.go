package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// carriesIPv6 is the switch of the matrix: false leaves out every cell in which a
// client or a real server has an IPv6 address, because the director does not carry
// IPv6 yet. Set it true, and they run; nothing else is to be done.
const carriesIPv6 = true

// The axes of the matrix. What is not here is the bed's: one or two ports, one or
// two workers, the driver.
const (
	fnat   = "FNAT"
	nat    = "NAT"
	dr     = "DR"
	tunnel = "Tunnel"
	snat   = "SNAT"

	tcp  = "TCP"
	udp  = "UDP"
	icmp = "ICMP"
	sctp = "SCTP"
)

// families are the versions of IP before the director and behind it: {6, 4} is NAT64
// for FNAT, and IPv6 in IPv4 for Tunnel. For SNAT "before" is where the inside hosts are.
type families struct{ before, behind int }

var (
	four       = families{4, 4}
	six        = families{6, 6}
	sixToFour  = families{6, 4}
	fourToSix  = families{4, 6}
	modes      = []string{fnat, nat, dr, tunnel, snat}
	everyPair  = []families{four, six, sixToFour, fourToSix}
	protocols  = []string{tcp, udp, icmp, sctp}
	mixedPairs = []families{sixToFour, fourToSix}
)

func (f families) String() string { return fmt.Sprintf("%d-%d", f.before, f.behind) }

// six tells whether IPv6 is on either side.
func (f families) six() bool { return f.before == 6 || f.behind == 6 }

// matrixCell is one field of the matrix in a bed.
type matrixCell struct {
	mode  string
	pair  families
	proto string
}

func (c matrixCell) String() string { return fmt.Sprintf("%s %s %s", c.mode, c.pair, c.proto) }

// possible is a part of the matrix that runs.
type possible struct {
	mode   string
	pairs  []families
	protos []string
}

var possibles = []possible{
	{fnat, everyPair, []string{tcp, udp}},
	{nat, []families{four, six}, []string{tcp, udp}},
	{dr, []families{four, six}, []string{tcp, udp}},
	{tunnel, everyPair, []string{tcp, udp}},
	{snat, []families{four, six}, []string{tcp, udp, icmp}},
}

// impossible is a part of the matrix that can't run, and why. The command, if there
// is one, asks the director for it all the same, and must be refused.
type impossible struct {
	modes  []string
	pairs  []families
	protos []string
	why    string
	ask    func(b *matrixBed, c matrixCell) string
}

var impossibles = []impossible{
	{
		modes: []string{fnat, nat, dr, tunnel}, pairs: everyPair, protos: []string{sctp},
		why: "the director takes no SCTP services",
		ask: func(_ *matrixBed, c matrixCell) string {
			return "./ipvsadm -A --sctp-service " + endpoint(c.vip(), 9000) + " -s rr"
		},
	},
	{
		modes: []string{snat}, pairs: everyPair, protos: []string{sctp},
		why: "the director takes no SCTP services",
		ask: func(_ *matrixBed, c matrixCell) string {
			return "./ipvsadm -A -s rr -H proto=sctp,af=" + afWord[c.pair.before]
		},
	},
	{
		modes: []string{fnat, nat, dr, tunnel}, pairs: everyPair, protos: []string{icmp},
		why: "the director takes no ICMP services: it answers pings to a VIP itself (TestEcho)",
		ask: func(_ *matrixBed, c matrixCell) string {
			return "./ipvsadm -A --icmp-service " + c.vip().String() + " -s rr"
		},
	},
	{
		modes: []string{nat}, pairs: mixedPairs, protos: []string{tcp, udp},
		why: "NAT leaves the client's address in the packet, which has to be of the real server's family: use FNAT",
		ask: wrongDest,
	},
	{
		modes: []string{dr}, pairs: mixedPairs, protos: []string{tcp, udp},
		why: "DR leaves the packet as it is, and it reaches the VIP on the real server: both are of one family; use FNAT or Tunnel",
		ask: wrongDest,
	},
	{
		modes: []string{snat}, pairs: mixedPairs, protos: []string{tcp, udp, icmp},
		why: "SNAT leaves the remote end's address in the packet, which has to be of the WAN address's family",
		ask: func(b *matrixBed, c matrixCell) string {
			match := b.match(matrixCell{snat, families{c.pair.before, c.pair.before}, c.proto})
			return fmt.Sprintf("./ipvsadm -a %s -r %s -w 100 -J", match, endpoint(matrixWAN[c.pair.behind], 0))
		},
	},
}

var afWord = map[int]string{4: "ipv4", 6: "ipv6"}

// wrongDest asks for a real server of the other family behind the mode's VIP.
func wrongDest(_ *matrixBed, c matrixCell) string {
	virtual := matrixCell{c.mode, families{c.pair.before, c.pair.before}, c.proto}
	return fmt.Sprintf("./ipvsadm -a %s -r %s %s", virtual.service(echoPort), endpoint(matrixNear[c.pair.behind], echoPort), flagOf[c.mode])
}

// place returns why a cell can't run, or nil if it can. A cell that is in neither
// table, or in both, has no place.
func place(runs []possible, not []impossible, c matrixCell) (why *impossible, err error) {
	in := 0
	for _, p := range runs {
		if p.mode == c.mode && slices.Contains(p.pairs, c.pair) && slices.Contains(p.protos, c.proto) {
			in++
		}
	}
	for i, p := range not {
		if slices.Contains(p.modes, c.mode) && slices.Contains(p.pairs, c.pair) && slices.Contains(p.protos, c.proto) {
			in++
			why = &not[i]
		}
	}
	if in != 1 {
		return nil, fmt.Errorf("%s has %d places in the tables of what runs and of what is impossible, want 1", c, in)
	}
	return why, nil
}

// matrixCells are all fields of the matrix in a bed, those that can't run included.
func matrixCells() (all []matrixCell) {
	for _, mode := range modes {
		for _, pair := range everyPair {
			for _, proto := range protocols {
				all = append(all, matrixCell{mode, pair, proto})
			}
		}
	}
	return all
}

// Every field of the matrix runs or has its reason.
func TestMatrixIsWhole(t *testing.T) {
	for _, c := range matrixCells() {
		why, err := place(possibles, impossibles, c)
		if err != nil {
			t.Error(err)
		}
		if why != nil && (strings.TrimSpace(why.why) == "" || why.ask == nil) {
			t.Errorf("%s is impossible, and nobody says or asks why", c)
		}
	}
	planted := matrixCell{nat, four, tcp}
	if _, err := place(possibles[:1], impossibles, planted); err == nil {
		t.Errorf("%s in no table was not found out", planted)
	}
	if _, err := place(append(slices.Clone(possibles), possible{nat, mixedPairs, []string{tcp}}), impossibles, matrixCell{nat, sixToFour, tcp}); err == nil {
		t.Error("a field in both tables was not found out")
	}
}

// matrixBeds are one and two ports, with one and with two workers, over both ways to
// the wire. With two ports each worker serves one of them, so that the directions of
// each connection arrive on different workers; with one port they share its queues.
func matrixBeds() (all []setup) {
	for _, driver := range []setup{{driver: "afxdp", mode: "native"}, {driver: "afpacket"}} {
		for _, s := range []setup{
			{workers: 1, queues: 1},
			{workers: 2, queues: 1, apart: true},
			{workers: 1, queues: 1, oneArm: true},
			{workers: 2, queues: 2, oneArm: true},
		} {
			s.driver, s.mode = driver.driver, driver.mode
			all = append(all, s)
		}
	}
	return all
}

// TestMatrix carries traffic through every forwarding mode, over every pair of
// families and every protocol: what clients and servers say reaches the other side
// byte for byte, and what goes wrong there is heard here. In a bed all services are
// there at once, each mode and pair with a VIP of its own.
func TestMatrix(t *testing.T) {
	for i, s := range matrixBeds() {
		t.Run(s.String(), func(t *testing.T) {
			b := newMatrixBed(t, s)
			ran := 0
			for _, c := range matrixCells() {
				why, err := place(possibles, impossibles, c)
				switch {
				case err != nil:
					t.Error(err)
				case why != nil:
					t.Logf("%s: impossible: %s", c, why.why)
					if i == 0 { // what commands mean does not depend on the bed
						b.refuses(c, why)
					}
				case c.pair.six() && !carriesIPv6:
					t.Logf("%s: not run, for the director does not carry IPv6 yet (carriesIPv6)", c)
				default:
					ran++
					t.Run(c.String(), func(t *testing.T) { b.on(t).carries(c) })
				}
			}
			// TCP and UDP in each mode and pair, and ICMP in SNAT.
			if want := map[bool]int{false: 5*2 + 1, true: (4+2+2+4+2)*2 + 2}[carriesIPv6]; ran != want {
				t.Errorf("%d fields ran, want %d", ran, want)
			}
		})
	}
}

// refuses lets the director say too that a field can't run.
func (b *matrixBed) refuses(c matrixCell, why *impossible) {
	b.t.Helper()
	line := why.ask(b, c)
	a := b.try(line)
	if a.code == 0 || a.stderr == "" {
		b.t.Errorf("%s is impossible (%s), but %q was accepted: exit code %d, %q", c, why.why, line, a.code, a.stdout)
	}
	b.t.Logf("%s: %s", line, strings.TrimSpace(a.stderr))
}

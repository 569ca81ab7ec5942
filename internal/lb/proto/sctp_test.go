package proto

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weir/internal/clock"
	"weir/internal/spec"
	"weir/internal/wire"
)

// sctpReference says, state by state, where LVS goes from there: in for packets of the
// client, out for those of the real server, one for those of the client where the real
// server's are not seen. What is not named stays.
const sctpReference = `
NO in  other=ES init=I1 init-ack=CW echo=CR echo-ack=ES shut=SR shut-ack=CL done=CL err=CL abort=CL
NO out other=ES init=CW init-ack=CS echo=CE echo-ack=ES shut=SS shut-ack=SA done=CL err=CL abort=CL
NO one other=ES init=I1 init-ack=CE echo=ES echo-ack=ES shut=SR shut-ack=CL done=CL err=CL abort=CL
I1 in  init=IN init-ack=CW echo=IN shut-ack=IN done=CL abort=CL
I1 out init=CW init-ack=CS echo=CE echo-ack=ES shut=SS shut-ack=SA err=CL abort=RJ
I1 one init=IN init-ack=CE echo=ES shut-ack=IN done=CL abort=CL
IN in  init-ack=CW done=CL abort=CL
IN out init=CW init-ack=CS echo=CE echo-ack=ES shut=SS shut-ack=SA err=CL abort=CL
IN one init-ack=CE echo=ES done=CL abort=CL
CS in  echo=CR abort=CL
CS out init=CW echo=CE echo-ack=ES shut=SS shut-ack=SA err=CL abort=CL
CS one init=IN init-ack=CE echo=ES echo-ack=ES done=CL abort=CL
CR in  abort=CL
CR out init=CW echo=CE echo-ack=ES shut=SS shut-ack=SA err=CL abort=CL
CR one init=IN init-ack=CE echo=ES echo-ack=ES done=CL abort=CL
CW in  init-ack=CO abort=RJ
CW out echo=CE echo-ack=ES shut=SS abort=CL
CW one other=ES init=IN init-ack=CE echo=ES abort=RJ
CO in  abort=CL
CO out init=CW echo=CE echo-ack=ES shut=SS abort=CL
CO one echo-ack=ES abort=CL
CE in  echo-ack=ES err=CL abort=CL
CE out init=CW echo-ack=ES shut=SS abort=CL
CE one echo-ack=ES abort=CL
ES in  shut=SR abort=CL
ES out shut=SS abort=CL
ES one shut=SR shut-ack=CL abort=CL
SS in  shut-ack=CL abort=CL
SS out init=CW shut-ack=SA abort=CL
SS one shut-ack=CL abort=CL
SR in  abort=CL
SR out init=CW shut-ack=SA abort=CL
SR one done=CL abort=CL
SA in  shut-ack=CL done=CL abort=CL
SA out init=CW abort=CL
SA one shut-ack=CL done=CL abort=CL
RJ in  init=IN abort=CL
RJ out init=CW abort=CL
RJ one init=IN abort=CL
CL in  init=IN
CL out init=CW
CL one init=IN
`

var sctpShort = map[string]State{
	"NO": SCTPNone, "I1": SCTPInit1, "IN": SCTPInit, "CS": SCTPCookieSent, "CR": SCTPCookieReplied, "CW": SCTPCookieWait, "CO": SCTPCookie,
	"CE": SCTPCookieEchoed, "ES": SCTPEstablished, "SS": SCTPShutdownSent, "SR": SCTPShutdownReceived, "SA": SCTPShutdownAckSent, "RJ": SCTPRejected, "CL": SCTPClosed,
}

var sctpEvents = map[string]SCTPEvent{
	"other": SCTPOther, "init": SCTPInits, "init-ack": SCTPInitAcked, "echo": SCTPCookieEchoes, "echo-ack": SCTPCookieAcked,
	"shut": SCTPShutsDown, "shut-ack": SCTPShutdownAcked, "done": SCTPShutdownCompletes, "err": SCTPErrs, "abort": SCTPAborts,
}

// TestSCTPTable holds every transition to the reference.
func TestSCTPTable(t *testing.T) {
	seen := 0
	for _, line := range strings.Split(strings.TrimSpace(sctpReference), "\n") {
		w := strings.Fields(line)
		from, d := sctpShort[w[0]], slices.Index([]string{"in", "out", "one"}, w[1])
		want := map[SCTPEvent]State{}
		for _, one := range w[2:] {
			e, to, _ := strings.Cut(one, "=")
			if _, known := sctpEvents[e]; !known || sctpShort[to] == 0 {
				t.Fatalf("%s: %s", line, one)
			}
			want[sctpEvents[e]] = sctpShort[to]
		}
		for name, e := range sctpEvents {
			to, moves := want[e]
			if !moves {
				to = from
			}
			if got := NextSCTP(from, e, Direction(d)); got != to {
				t.Errorf("%s, %s %s: %s, want %s", Name(from), w[1], name, Name(got), Name(to))
			}
			seen++
		}
	}
	if seen != int(numDirections)*int(numSCTPEvents)*int(numSCTP) {
		t.Errorf("%d transitions", seen)
	}
}

func TestSCTPLeavesOthersAlone(t *testing.T) {
	for _, s := range []State{TCPEstablished, UDPNormal, numUDP - 1, numStates, 255} {
		if got := NextSCTP(s, SCTPAborts, Inbound); got != s {
			t.Errorf("%d became %d", s, got)
		}
	}
	if got := NextSCTP(SCTPEstablished, numSCTPEvents, Inbound); got != SCTPEstablished {
		t.Errorf("an event that is none: %s", Name(got))
	}
	if got := NextTCP(SCTPEstablished, rst, Inbound); got != SCTPEstablished {
		t.Errorf("a RST: %s", Name(got))
	}
}

// TestSCTPLives: whole associations, as both ends of RFC 9260 (5.1, 9.2) lead them.
func TestSCTPLives(t *testing.T) {
	for _, row := range []struct{ name, life string }{
		{"client shuts down", "in init I1, out init-ack CS, in echo CR, out echo-ack ES, in other ES, out other ES, in shut SR, out shut-ack SA, in done CL"},
		{"server shuts down", "in init I1, out init-ack CS, in echo CR, out echo-ack ES, out shut SS, in shut-ack CL, out done CL"},
		{"lost INIT and COOKIE ECHO", "in init I1, in init IN, out init-ack CS, in echo CR, in echo CR, out echo-ack ES, out echo-ack ES"},
		{"refused", "in init I1, out abort RJ, in init IN"},
		{"aborted", "in init I1, out init-ack CS, in echo CR, out echo-ack ES, in abort CL, in init IN"},
		{"stale cookie", "in init I1, out init-ack CS, in echo CR, out err CL, in init IN, out init-ack CS"},
		{"begun by the server", "out init CW, in init-ack CO, out echo CE, in echo-ack ES"},
		{"answers unseen", "one init I1, one echo ES, one other ES, one shut SR, one done CL"},
		{"answers unseen, server shuts down", "one init I1, one echo ES, one shut-ack CL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := SCTPNone
			for _, step := range strings.Split(row.life, ", ") {
				w := strings.Fields(step)
				d := slices.Index([]string{"in", "out", "one"}, w[0])
				if s = NextSCTP(s, sctpEvents[w[1]], Direction(d)); s != sctpShort[w[2]] {
					t.Fatalf("after %s: %s", step, Name(s))
				}
			}
		})
	}
}

func TestSCTPEventOf(t *testing.T) {
	packet := func(chunks ...uint8) wire.SCTP {
		b := make([]byte, wire.SCTPLen)
		for _, c := range chunks {
			b = append(b, c, 0, 0, 5, 1, 0, 0, 0) // a value of 1 byte and its padding
		}
		return b
	}
	data := wire.SCTPData
	for _, row := range []struct {
		name string
		p    wire.SCTP
		want SCTPEvent
	}{
		{"DATA", packet(data), SCTPOther},
		{"SACK", packet(wire.SCTPSack, data), SCTPOther},
		{"HEARTBEAT", packet(wire.SCTPHeartbeat), SCTPOther},
		{"HEARTBEAT ACK", packet(wire.SCTPHeartbeatAck), SCTPOther},
		{"unknown", packet(64), SCTPOther},
		{"INIT", packet(wire.SCTPInit), SCTPInits},
		{"INIT ACK", packet(wire.SCTPInitAck), SCTPInitAcked},
		{"COOKIE ECHO", packet(wire.SCTPCookieEcho, data), SCTPCookieEchoes},
		{"COOKIE ACK", packet(wire.SCTPCookieAck, wire.SCTPSack, data), SCTPCookieAcked},
		{"SHUTDOWN", packet(wire.SCTPShutdown), SCTPShutsDown},
		{"SHUTDOWN behind SACK", packet(wire.SCTPSack, wire.SCTPShutdown), SCTPShutsDown},
		{"SHUTDOWN behind COOKIE ACK", packet(wire.SCTPCookieAck, wire.SCTPShutdown), SCTPCookieAcked},
		{"SHUTDOWN ACK", packet(wire.SCTPShutdownAck), SCTPShutdownAcked},
		{"SHUTDOWN COMPLETE", packet(wire.SCTPShutdownComplete), SCTPShutdownCompletes},
		{"ERROR", packet(wire.SCTPError), SCTPErrs},
		{"ABORT", packet(wire.SCTPAbort), SCTPAborts},
		{"ABORT behind COOKIE ECHO", packet(wire.SCTPCookieEcho, wire.SCTPAbort), SCTPAborts},
		{"INIT not first", packet(data, wire.SCTPInit), SCTPOther},
		{"ABORT eighth", packet(data, data, data, data, data, data, data, wire.SCTPAbort), SCTPAborts},
		{"ABORT ninth", packet(data, data, data, data, data, data, data, data, wire.SCTPAbort), SCTPOther},
		{"no chunk", packet(), SCTPOther},
		{"a chunk that lies", append(packet(), wire.SCTPAbort, 0, 0, 3), SCTPOther},
		{"a chunk beyond the end", append(packet(), wire.SCTPAbort, 0, 0, 5), SCTPOther},
	} {
		if got := SCTPEventOf(row.p); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
}

// TestSCTPEventOfAnything: no bytes are too strange.
func TestSCTPEventOfAnything(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, wire.SCTPLen+rnd.IntN(64))
		for i := range b {
			b[i] = byte(rnd.Uint32()) >> rnd.IntN(8)
		}
		if e := SCTPEventOf(b); e >= numSCTPEvents {
			t.Fatalf("%x: event %d", b, e)
		}
	}
}

func TestSCTPTimeouts(t *testing.T) {
	o := NewTimeouts(spec.DefaultTimeouts())
	own := clock.FromSeconds(99)
	for _, s := range sctpShort {
		want := uint32(61)
		switch s {
		case SCTPNone:
			want = 2
		case SCTPInit1, SCTPRejected:
			want = 4
		case SCTPEstablished:
			want = 900
		}
		if got := o.Of(s, 0); got != clock.FromSeconds(want) {
			t.Errorf("%s lasts %d ticks, want those of %d s", Name(s), got, want)
		}
		if got := o.Of(s, own) == own; got != (s == SCTPEstablished) {
			t.Errorf("%s: the service's own timeout replaces it: %v", Name(s), got)
		}
		if !strings.HasPrefix(Name(s), "SCTP_") {
			t.Errorf("state %d is called %s", s, Name(s))
		}
	}
	if got := len(sctpShort); got != int(numSCTP) {
		t.Errorf("%d states", got)
	}
}

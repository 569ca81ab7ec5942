package lacp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// captured is an LACPDU that Linux 6.1's bonding sent in state 63, with its partner in 63.
const captured = "0101" +
	"0114ffff0255 4d4c0003000f00ff00013f000000" +
	"0214ffff020000000001010300ff00023f000000" +
	"0310000000000000000000000000000000000000"

func message(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, make([]byte, Length-len(b))...)
}

func TestParsePDU(t *testing.T) {
	b := message(t, captured)
	want := PDU{
		Actor: Info{
			System: SystemID{65535, [6]byte{2, 0x55, 0x4d, 0x4c, 0, 3}}, Key: 15, PortPriority: 255, Port: 1,
			State: Activity | Timeout | Aggregation | Synchronization | Collecting | Distributing,
		},
		Partner: Info{System: SystemID{65535, [6]byte{2, 0, 0, 0, 0, 1}}, Key: 0x103, PortPriority: 255, Port: 2, State: 63},
	}
	got, err := ParsePDU(b)
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if out := want.Append(nil); !bytes.Equal(out, b) {
		t.Errorf("written anew it is\n%x, want\n%x", out, b)
	}
	later := bytes.Clone(b)
	later[1] = 2
	if _, err := ParsePDU(later); err != nil {
		t.Errorf("a later version is not read: %v", err)
	}
}

func TestRefusedPDU(t *testing.T) {
	good := message(t, captured)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for _, tc := range []struct {
		name string
		b    []byte
		want error
	}{
		{"empty", nil, errSubtype},
		{"marker", change(0, subtypeMarker), errSubtype},
		{"cut", good[:Length-1], errShort},
		{"no actor", change(actorAt, 9), errTLV},
		{"actor of another length", change(actorAt+1, 19), errTLV},
		{"no partner", change(partnerAt, 1), errTLV},
		{"partner of another length", change(partnerAt+1, 0), errTLV},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ParsePDU(tc.b); err != tc.want {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestStateWords(t *testing.T) {
	for s, want := range map[State]string{
		0: "none", 63: "activity,short-timeout,aggregation,synchronization,collecting,distributing",
		Defaulted | Expired: "defaulted,expired",
	} {
		if got := s.String(); got != want {
			t.Errorf("%d is %q, want %q", s, got, want)
		}
	}
}

// FuzzReceive lets a port that is up hear anything.
func FuzzReceive(f *testing.F) {
	f.Add(message(f, captured))
	f.Add(message(f, "0201 0110 0001 020000000009 00000007"))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(Config{System: SystemID{1, [6]byte{2, 0, 0, 0, 0, 1}}, Key: 1, Fast: true, Select: Stable})
		p := s.Add(1, 255, 0)
		s.Link(p, true, 1000, true, 0)
		for now := int64(0); now < 10_000; now += 500 {
			s.Receive(p, b, now)
			s.Tick(now, func(_ *Port, m []byte) {
				if len(m) != Length {
					t.Errorf("a message of %d octets leaves", len(m))
				}
				if m[0] == subtypeLACP {
					pdu, err := ParsePDU(m)
					if err != nil || !bytes.Equal(pdu.Append(nil), m) {
						t.Errorf("what leaves is not understood here: %v", err)
					}
				}
			})
		}
		if pdu, err := ParsePDU(b); err == nil {
			again, err := ParsePDU(pdu.Append(nil))
			if err != nil || again != pdu {
				t.Errorf("%+v is read back as %+v, %v", pdu, again, err)
			}
		}
	})
}

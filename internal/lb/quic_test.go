package lb

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/lb/sched"
	"weir/internal/lb/service"
	"weir/internal/packet"
	"weir/internal/spec"
	"weir/internal/wire"
)

// makeID makes a connection id as a server would: nibble by nibble, as digits.
func makeID(addr string, port string, nonce string) []byte {
	head := byte(len(addr)/2-1) << 1
	if port != "" {
		head |= 1
	}
	digits := "c7" + hex.EncodeToString([]byte{head})[1:] + addr + port + nonce
	if len(digits)%2 != 0 {
		digits += "0"
	}
	id, err := hex.DecodeString(digits)
	if err != nil {
		panic(err)
	}
	return id
}

func short(id []byte, rest string) []byte { return append(append([]byte{0x43}, id...), rest...) }

func longHeader(version byte, id []byte) []byte {
	return append(append([]byte{0xc3, 0, 0, 0, version, byte(len(id))}, id...), 0, 1, 2)
}

// quicService has three real servers: 192.168.1.2:443, 192.168.1.3:443, 192.168.1.3:444.
func quicService() *service.Service {
	svc := &service.Service{State: &service.State{}, GCD: 1, QUIC: true}
	for _, a := range []string{"192.168.1.2:443", "192.168.1.3:443", "192.168.1.3:444"} {
		d := &service.Dest{Addr: netip.MustParseAddrPort(a)}
		d.Port = d.Addr.Port()
		svc.Dests, svc.Modes = append(svc.Dests, d), append(svc.Modes, spec.FullNAT)
		svc.Candidates = append(svc.Candidates, sched.Candidate{Weight: 1, Load: &d.Load})
	}
	return svc
}

func TestNamedBy(t *testing.T) {
	const nonce = "0badcafe"
	whole := makeID("c0a80103", "01bc", nonce)
	for _, row := range []struct {
		name string
		data []byte
		want string
	}{
		{"whole address and port", short(whole, ""), "192.168.1.3:444"},
		{"and data behind it", short(whole, "more than the longest id"), "192.168.1.3:444"},
		{"without port: the first of that address", short(makeID("c0a80103", "", nonce), ""), "192.168.1.3:443"},
		{"the last byte is enough", short(makeID("02", "", nonce), ""), "192.168.1.2:443"},
		{"two bytes", short(makeID("0103", "01bc", nonce), ""), "192.168.1.3:444"},
		{"three bytes", short(makeID("a80102", "01bb", nonce), ""), "192.168.1.2:443"},
		{"nobody's last byte", short(makeID("04", "", nonce), ""), ""},
		{"nobody's first byte", short(makeID("c1a80103", "", nonce), ""), ""},
		{"nobody's port", short(makeID("c0a80102", "01bc", nonce), ""), ""},
		{"port 0", short(makeID("c0a80102", "0000", nonce), ""), ""},
		{"more bytes than an IPv4 address has", short(makeID("00c0a80102", "", nonce), ""), ""},
		{"long header, version 1", longHeader(1, whole), "192.168.1.3:444"},
		{"long header, version 0", longHeader(0, whole), "192.168.1.3:444"},
		{"long header, version 2", longHeader(2, whole), ""},
		{"long header, version of Google", append([]byte{0xc3, 'Q', '0', '4', '6', byte(len(whole))}, whole...), ""},
		{"long header, no id", longHeader(1, nil), ""},
		{"long header, id of 21 bytes", longHeader(1, append(bytes.Clone(whole), make([]byte, 21-len(whole))...)), ""},
		{"long header, id cut off", longHeader(1, whole)[:10], ""},
		{"long header, nothing behind the version", longHeader(1, whole)[:5], ""},
		{"neither long nor fixed bit", append([]byte{0x03}, whole...), ""},
		{"the shortest id", short(makeID("02", "", nonce)[:7], ""), "192.168.1.2:443"},
		{"an id without its nonce", short(makeID("02", "", nonce)[:6], ""), ""},
		{"a whole id without its nonce", short(whole[:len(whole)-1], ""), ""},
		{"one byte", []byte{0x43}, ""},
		{"nothing", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := ""
			svc := quicService()
			if i := namedBy(row.data, svc); i >= 0 {
				got = svc.Dests[i].Addr.String()
			}
			if got != row.want {
				t.Errorf("%x names %q, want %q", row.data, got, row.want)
			}
		})
	}
}

// A long header may come from a client that made the id up: it does not lead to a
// server that takes no connections. A short one leads to whoever made it.
func TestNamedByWeightAndLimit(t *testing.T) {
	id := makeID("c0a80102", "01bb", "0badcafe")
	for _, row := range []struct {
		name string
		f    func(c *sched.Candidate)
	}{
		{"weight 0", func(c *sched.Candidate) { c.Weight = 0 }},
		{"full", func(c *sched.Candidate) { c.Limit = 1; c.Load.Active.Store(1) }},
	} {
		svc := quicService()
		row.f(&svc.Candidates[0])
		if i := namedBy(longHeader(1, id), svc); i >= 0 {
			t.Errorf("%s: a long header led to server %d", row.name, i)
		}
		if i := namedBy(short(id, ""), svc); i != 0 {
			t.Errorf("%s: a short header led to server %d", row.name, i)
		}
	}
}

func TestHashableID(t *testing.T) {
	google := append([]byte{0x0c}, "12345678Q043"...)
	for _, row := range []struct {
		name string
		data []byte
		want string
	}{
		{"Google's", google, "12345678"},
		{"Google's, nothing behind it", google[:9], "12345678"},
		{"Google's, cut off", google[:8], ""},
		{"Google's without id", append([]byte{0x04}, "12345678Q043"...), ""},
		{"long header", longHeader(1, []byte("abc")), "abc"},
		{"long header without id", longHeader(1, nil), ""},
		{"short header", short([]byte("abcdefgh"), ""), ""},
		{"nothing", nil, ""},
	} {
		if got := hashableID(row.data); string(got) != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// datagram makes a client's packet to a service with this payload.
func datagram(b *bed, from netip.Addr, payload []byte) *packet.Packet {
	p := b.packet(wire.ProtoUDP, from, vip, 5000, 53, 0)
	n := len(p.Data)
	p.Resize(n + len(payload))
	copy(p.Data[n:], payload)
	return p
}

// TestChoose: named servers, then the id's hash, then the client's.
func TestChoose(t *testing.T) {
	b := newBed(t)
	svc := quicService()
	var servers []sched.Server
	for _, d := range svc.Dests {
		servers = append(servers, sched.Server{Addr: d.Addr, Weight: 1})
	}
	svc.Table = sched.Build(sched.Config{Kind: sched.Conhash, Servers: servers}, nil)
	goes := func(host byte, payload []byte) *service.Dest {
		p := datagram(b, netip.AddrFrom4([4]byte{1, 2, 3, host}), payload)
		defer b.pool.Put(p)
		d, _ := schedule(p, svc)
		return d
	}
	seen := func(payload func(i byte) []byte) int {
		got := map[*service.Dest]bool{}
		for i := range byte(60) {
			got[goes(i, payload(i))] = true
		}
		return len(got)
	}
	named := short(makeID("c0a80103", "01bc", "0badcafe"), "")
	if n := seen(func(byte) []byte { return named }); n != 1 || goes(1, named) != svc.Dests[2] {
		t.Errorf("a named server's clients went to %d", n)
	}
	svc.QUIC = false
	if n := seen(func(byte) []byte { return named }); n != 3 {
		t.Errorf("without --quic, 60 clients went to %d servers", n)
	}
	svc.HashID = true
	same := longHeader(1, []byte("0123456789"))
	if n := seen(func(byte) []byte { return same }); n != 1 {
		t.Errorf("one connection id of 60 clients went to %d servers", n)
	}
	if n := seen(func(i byte) []byte { return longHeader(1, []byte{1, 2, i}) }); n != 3 {
		t.Errorf("60 connection ids went to %d servers", n)
	}
	if n := seen(func(byte) []byte { return nil }); n != 3 {
		t.Errorf("60 clients without id went to %d servers", n)
	}
	svc.QUIC = true
	p := datagram(b, client, short([]byte(strings.Repeat("\x00", 20)), ""))
	defer b.pool.Put(p)
	if n := testing.AllocsPerRun(100, func() { schedule(p, svc) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzServerID: a connection id of anything is read within its bounds, and what a
// server made is read back.
func FuzzServerID(f *testing.F) {
	f.Add([]byte{}, uint32(0), uint16(0), uint8(0))
	f.Add(short(makeID("c0a80103", "01bc", "0badcafe"), "x"), uint32(0xc0a80103), uint16(444), uint8(4))
	f.Add(longHeader(1, makeID("03", "", "0badcafe")), uint32(3), uint16(0), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, addr uint32, port uint16, n uint8) {
		id, long := destinationID(data)
		if len(id) > sched.MaxID || id != nil && !bytes.Contains(data, id) || long != (len(data) > 1 && data[0]&0x80 != 0) {
			t.Fatalf("%x has the id %x, long %v", data, id, long)
		}
		if len(hashableID(data)) > sched.MaxID {
			t.Fatalf("%x: id to hash of %d bytes", data, len(hashableID(data)))
		}
		if s, ok := parseServerID(id); ok && (len(id) < 7 || s.n < 1 || s.n > 8 || s.n < 8 && s.addr>>(8*s.n) != 0 || s.port > 65535) {
			t.Fatalf("%x is %+v", id, s)
		}
		namedBy(data, quicService())

		n = 1 + n%4
		digits := hex.EncodeToString([]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)})[8-2*n:]
		withPort := ""
		if port != 0 {
			withPort = hex.EncodeToString([]byte{byte(port >> 8), byte(port)})
		}
		s, ok := parseServerID(makeID(digits, withPort, "12345678"))
		if want := uint64(addr) & (1<<(8*n) - 1); !ok || s.addr != want || s.n != int(n) || s.port != int(port) && (port != 0 || s.port != -1) {
			t.Fatalf("%d bytes of %#x, port %d, are read as %+v, %v", n, addr, port, s, ok)
		}
	})
}

func BenchmarkChooseQUIC(b *testing.B) {
	bed := newBed(b)
	svc := quicService()
	p := datagram(bed, client, short(makeID("c0a80103", "01bc", "0badcafe"), ""))
	defer bed.pool.Put(p)
	for b.Loop() {
		if d, _ := schedule(p, svc); d != svc.Dests[2] {
			b.Fatal("not the named one")
		}
	}
}

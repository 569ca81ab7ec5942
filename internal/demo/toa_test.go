package demo

import (
	"context"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// segment joins a 20-byte IPv4 header (192.168.100.200 to 192.168.100.2), TCP's
// fixed part (4660 to 80) with the given header length, and options.
func segment(tcpWords byte, options string) []byte {
	const ip = "45000000 00000000 40060000 c0a864c8 c0a86402"
	const tcp = "1234 0050 00000000 00000000"
	text := strings.ReplaceAll(ip+tcp, " ", "")
	raw, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	raw = append(raw, tcpWords<<4, 0x10, 0, 0, 0, 0, 0, 0)
	opts, err := hex.DecodeString(strings.ReplaceAll(options, " ", ""))
	if err != nil {
		panic(err)
	}
	return append(raw, opts...)
}

const toa = "fe08 9139 0a000030" // 10.0.0.48:37177

func TestOptionOfAddress(t *testing.T) {
	peer := netip.MustParseAddrPort("192.168.100.200:4660")
	client := netip.MustParseAddrPort("10.0.0.48:37177")
	for name, row := range map[string]struct {
		packet []byte
		ok     bool
	}{
		"alone":                            {segment(7, toa), true},
		"before a timestamp":               {segment(10, toa+"0101080a0000000100000002"), true},
		"behind a timestamp":               {segment(10, "0101080a0000000100000002"+toa), true},
		"no options":                       {segment(5, ""), false},
		"another option":                   {segment(6, "020405b4"), false},
		"behind the end of options":        {segment(8, "00000000"+toa), false},
		"in the payload":                   {segment(5, toa), false},
		"wrong length":                     {segment(7, "fe07 9139 0a0000 01"), false},
		"cut short":                        {segment(6, "fe08 9139"), false},
		"option of length 0 before it":     {segment(8, "05000000"+toa), false},
		"kind as the last byte":            {segment(6, "010101fe"), false},
		"TCP header longer than captured":  {segment(15, toa), false},
		"TCP header shorter than possible": {segment(4, ""), false},
		"IP header longer than captured":   {append([]byte{0x4f}, segment(5, "")[1:]...)[:40], false},
		"nothing":                          {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			gotPeer, gotClient, ok := optionOfAddress(row.packet)
			if ok != row.ok {
				t.Fatalf("found %v, want %v", ok, row.ok)
			}
			if ok && (gotPeer != peer || gotClient != client) {
				t.Errorf("peer %s, client %s; want %s, %s", gotPeer, gotClient, peer, client)
			}
		})
	}
}

func FuzzOptionOfAddress(f *testing.F) {
	f.Add(segment(7, toa))
	f.Add(segment(10, "0101080a0000000100000002"+toa))
	f.Fuzz(func(t *testing.T, packet []byte) {
		peer, client, ok := optionOfAddress(packet)
		if ok && (!peer.IsValid() || !client.IsValid()) {
			t.Errorf("found an invalid address: %v %v", peer, client)
		}
	})
}

func TestWatcherWaitsForTheWire(t *testing.T) {
	w := &watcher{clients: map[netip.AddrPort]netip.AddrPort{}, news: make(chan struct{})}
	peer := netip.MustParseAddrPort("192.168.100.200:1025")
	other := netip.MustParseAddrPort("192.168.100.200:1026")
	client := netip.MustParseAddrPort("10.0.0.48:37177")

	got := make(chan netip.AddrPort)
	go func() { c, _ := w.client(context.Background(), peer); got <- c }()
	w.remember(other, client)
	w.remember(peer, client)
	if c := <-got; c != client {
		t.Errorf("got %s, want %s", c, client)
	}

	w.forget(peer)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if c, ok := w.client(ctx, peer); ok {
		t.Errorf("a forgotten connection still has %s", c)
	}
}

func TestWatcherIsBounded(t *testing.T) {
	w := &watcher{clients: map[netip.AddrPort]netip.AddrPort{}, news: make(chan struct{})}
	for i := range 3 * maxRemembered {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		w.remember(netip.AddrPortFrom(a, 1), netip.AddrPort{})
	}
	if n := len(w.clients); n > maxRemembered {
		t.Errorf("remembers %d connections, the bound is %d", n, maxRemembered)
	}
}

package main

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"weir/internal/testkit/netns"
)

// What a sender's datagrams need at their receiver is not the sender's, although it is this
// process that the softirq interrupts; and it is the receiver's, although none of its processes
// is charged with it. So on an interface with NAPI and on one without.
func TestReceiptsAreTheReceivers(t *testing.T) {
	w, err := netns.New("charge")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	from, to := netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/24")
	ends := map[string]*netns.Namespace{}
	for _, name := range []string{"sender", "receiver"} {
		if ends[name], err = w.Namespace(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := netns.Veth(netns.End{In: ends["sender"], Name: "a"}, netns.End{In: ends["receiver"], Name: "b"}); err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]string{"sender": "a", "receiver": "b"} {
		addr := map[string]netip.Prefix{"sender": from, "receiver": to}[name]
		if err := ends[name].Address(link, addr); err != nil {
			t.Fatal(err)
		}
	}
	l, err := ends["receiver"].ListenPacket("udp", to.Addr().String()+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := ends["sender"].Dial(t.Context(), "udp", to.Addr().String()+":7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const datagrams = 2000
	for _, gro := range []string{"off", "on"} {
		for name, want := range map[string]struct {
			processes      []int
			lent, borrowed bool
		}{
			"sender":   {[]int{os.Getpid()}, true, false},
			"receiver": {[]int{1}, false, true},
		} {
			// Without TSO Linux takes veth's frames by NAPI where GRO is on.
			for _, set := range [][]string{{"a", "tso", "off"}, {"b", "gro", gro}} {
				in := ends[map[string]string{"a": "sender", "b": "receiver"}[set[0]]]
				if _, err := in.Run(t.Context(), "ethtool", "-K", set[0], set[1], set[2]); err != nil {
					t.Fatal(err)
				}
			}
			inode, err := netnsOf(ends[name])
			if err != nil {
				t.Fatal(err)
			}
			r, err := openReceipts(inode, want.processes)
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			got := make([]byte, 1)
			for range datagrams {
				if _, err := c.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
				if _, _, err := l.ReadFrom(got); err != nil {
					t.Fatal(err)
				}
			}
			took := time.Since(begun)
			lent, borrowed, err := r.read()
			if err != nil {
				t.Fatal(err)
			}
			if err := r.close(); err != nil {
				t.Error(err)
			}
			// A frame is received in 200 ns at least, on any machine, and in all in less time than went by.
			const least = 200 * datagrams * time.Nanosecond / 2
			if (lent > least) != want.lent || (borrowed > least) != want.borrowed || lent+borrowed > took {
				t.Errorf("as the balancer the %s (gro %s) has lent %s and borrowed %s in %s", name, gro, lent, borrowed, took)
			}
		}
	}
}

package wire

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

func ends(proto uint8, version uint8, src, dst string) *ProxyHeader {
	return &ProxyHeader{Version: version, Proto: proto, Source: netip.MustParseAddrPort(src), Destination: netip.MustParseAddrPort(dst)}
}

// TestProxyHeaders: the bytes are the specification's.
func TestProxyHeaders(t *testing.T) {
	const sig = "\r\n\r\n\x00\r\nQUIT\n"
	for _, row := range []struct {
		name string
		h    *ProxyHeader
		want string
	}{
		{"v1, IPv4", ends(ProtoTCP, 1, "10.0.0.48:37177", "10.0.0.100:80"), "PROXY TCP4 10.0.0.48 10.0.0.100 37177 80\r\n"},
		{"v1, longest of IPv4", ends(ProtoTCP, 1, "255.255.255.255:65535", "255.255.255.255:65535"), "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"},
		{"v1, port 0", ends(ProtoTCP, 1, "10.0.0.48:0", "10.0.0.100:80"), "PROXY TCP4 10.0.0.48 10.0.0.100 0 80\r\n"},
		{"v1, IPv6", ends(ProtoTCP, 1, "[2001:db8::1]:5", "[2001:db8::2]:6"), "PROXY TCP6 2001:db8::1 2001:db8::2 5 6\r\n"},
		{"v1, nobody", &ProxyHeader{Version: 1, Proto: ProtoTCP}, "PROXY UNKNOWN\r\n"},
		{"v2, TCP over IPv4", ends(ProtoTCP, 2, "10.0.0.48:37177", "10.0.0.100:80"), sig + "\x21\x11\x00\x0c\x0a\x00\x00\x30\x0a\x00\x00\x64\x91\x39\x00\x50"},
		{"v2, UDP over IPv4", ends(ProtoUDP, 2, "10.0.0.48:37177", "10.0.0.100:80"), sig + "\x21\x12\x00\x0c\x0a\x00\x00\x30\x0a\x00\x00\x64\x91\x39\x00\x50"},
		{"v2, IPv6", ends(ProtoTCP, 2, "[2001:db8::1]:5", "[2001:db8::2]:6"),
			sig + "\x21\x21\x00\x24\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x05\x00\x06"},
		{"v2, nobody", &ProxyHeader{Version: 2, Proto: ProtoTCP}, sig + "\x20\x00\x00\x00"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := AppendProxy(nil, row.h)
			if string(got) != row.want {
				t.Fatalf("%q, want %q", got, row.want)
			}
			h, n, ok := ParseProxy(append(got, "GET / HTTP/1.0\r\n"...))
			if !ok || n != len(row.want) || h.Source != row.h.Source || h.Destination != row.h.Destination || h.Version != row.h.Version {
				t.Errorf("read back as %+v, %d bytes, %v", h, n, ok)
			}
		})
	}
}

// TestProxyOfOthers: what a header of somebody else says, or why it is none.
func TestProxyOfOthers(t *testing.T) {
	const sig = "\r\n\r\n\x00\r\nQUIT\n"
	for _, row := range []struct {
		name, in string
		n        int // 0: no header
		source   string
	}{
		{"with TLVs", sig + "\x21\x11\x00\x0f\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a\x04\x00\x00rest", 31, "1.2.3.4:9"},
		{"LOCAL with addresses", sig + "\x20\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a", 28, ""},
		{"AF_UNIX", sig + "\x21\x31\x00\xd8" + strings.Repeat("x", 216), 232, ""},
		{"UNKNOWN with rubbish", "PROXY UNKNOWN a b c\r\n", 21, ""},
		{"IPv4 in IPv6", "PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", 35, "[::ffff:1.2.3.4]:1"},
		{"a part of v1", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r", 0, ""},
		{"a part of v2", sig + "\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00", 0, ""},
		{"line feed alone", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", 0, ""},
		{"too long", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", 0, ""},
		{"just not too long", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", 107, ""},
		{"two spaces", "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", 0, ""},
		{"a fifth word", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", 0, ""},
		{"three words", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", 0, ""},
		{"leading zero", "PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n", 0, ""},
		{"port too large", "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", 0, ""},
		{"wrong family", "PROXY TCP4 ::1 ::2 1 2\r\n", 0, ""},
		{"UDP4", "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", 0, ""},
		{"version 3", sig + "\x31\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a", 0, ""},
		{"command 2", sig + "\x22\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a", 0, ""},
		{"transport 3", sig + "\x21\x13\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a", 0, ""},
		{"family 4", sig + "\x21\x41\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00\x0a", 0, ""},
		{"addresses cut short", sig + "\x21\x11\x00\x0b\x01\x02\x03\x04\x05\x06\x07\x08\x00\x09\x00", 0, ""},
		{"HTTP", "GET / HTTP/1.0\r\n\r\n", 0, ""},
		{"nothing", "", 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, n, ok := ParseProxy([]byte(row.in))
			if n != row.n || ok != (row.n > 0) {
				t.Fatalf("%d bytes, %v: want %d", n, ok, row.n)
			}
			if got := h.Source; ok && (row.source == "") == got.IsValid() || got.IsValid() && ok && got.String() != row.source {
				t.Errorf("source %v, want %q", got, row.source)
			}
		})
	}
}

// FuzzProxy: what is read as a header can be made again from what was read, and
// addresses are those that the standard library reads.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nrest"))
	f.Add([]byte("PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 1 2\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24" + strings.Repeat("x", 36)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if a, ok := parseAddr6(in); true {
			b, err := netip.ParseAddr(string(in))
			if good := err == nil && b.Is6() && b.Zone() == ""; good != ok || ok && a != b {
				t.Fatalf("%q is %v (%v), the library says %v (%v)", in, a, ok, b, err)
			}
		}
		h, n, ok := ParseProxy(in)
		if !ok {
			if n != 0 {
				t.Fatalf("no header, but %d bytes", n)
			}
			return
		}
		if n < 15 || n > len(in) {
			t.Fatalf("%d bytes of %d", n, len(in))
		}
		made := AppendProxy(make([]byte, 0, ProxyMax), &h)
		again, m, ok := ParseProxy(made)
		if !ok || m != len(made) || again.Source != h.Source || again.Destination != h.Destination || again.Version != h.Version {
			t.Fatalf("%q became %+v, %q, %+v", in[:n], h, made, again)
		}
	})
}

func TestProxyAllocatesNothing(t *testing.T) {
	var room [ProxyMax]byte
	hs := []*ProxyHeader{ends(ProtoTCP, 1, "10.0.0.48:37177", "10.0.0.100:80"), ends(ProtoTCP, 2, "10.0.0.48:37177", "10.0.0.100:80"), ends(ProtoTCP, 1, "[2001:db8::1]:5", "[2001:db8::2]:6")}
	bad := []byte("PROXY TCP6 2001:db8::zz ::1 1 2\r\n")
	if n := testing.AllocsPerRun(100, func() {
		for _, h := range hs {
			ParseProxy(AppendProxy(room[:0], h))
		}
		ParseProxy(bad)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !bytes.HasPrefix(room[:], []byte("PROXY TCP6 2001:db8::1 ")) {
		t.Errorf("%q", room[:])
	}
}

package e2e

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A client that sends a header of its own is believed only where the operator said
// so; everywhere else its header is replaced.
func TestProxySpoofed(t *testing.T) {
	for _, v := range versions {
		for _, s := range []setup{drivers[0], drivers[2]} {
			t.Run(v.word+" "+s.String(), func(t *testing.T) { spoofed(t, proxied(t, s, v.word), v.version, v.insecure) })
		}
	}
}

// spoofed says to the sink, and to nginx, what a liar may say.
func spoofed(t *testing.T, d *director, version int, insecure bool) {
	liar, to := netip.MustParseAddrPort("6.6.6.6:666"), netip.AddrPortFrom(vip, sinkPort)
	large := noiseBytes(t, 300_000)
	for _, row := range []struct {
		name, header string
		data         []byte
		alone        bool // the header comes in a segment of its own
		lose         int  // so many segments to the server
		believed     bool // in insecure mode
	}{
		{"version 1", proxyV1(liar, to), request, false, 0, true},
		{"version 2", proxyV2(1, liar, to), request, false, 0, true},
		{"version 1 alone", proxyV1(liar, to), request, true, 0, true},
		{"version 2 alone", proxyV2(1, liar, to), request, true, 0, true},
		{"version 1, large", proxyV1(liar, to), large, false, 0, true},
		{"version 2, large", proxyV2(1, liar, to), large, false, 0, true},
		{"version 1, lost", proxyV1(liar, to), request, false, 2, true},
		{"version 2, lost", proxyV2(1, liar, to), request, false, 2, true},
		{"version 1 alone, lost", proxyV1(liar, to), large, true, 3, true},
		{"version 2 alone, lost", proxyV2(1, liar, to), large, true, 3, true},
		{"version 1, cut", "PROXY TCP4 6.6.6.6 10.0.0", request, false, 0, false},
		{"version 1, junk", "PROXY TCP4 six six six six\r\n", request, false, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := d.as(t)
			if row.lose > 0 {
				lost := d.lose("prerouting", "tcp dport 9001 ip length > 60", row.lose)
				defer func() {
					if got := lost(); got != row.lose {
						t.Errorf("%d segments were lost, want %d", got, row.lose)
					}
				}()
			}
			conn, me, to := d.dialFrom(sinkPort, nil)
			said := append([]byte(row.header), row.data...)
			pieces := [][]byte{said}
			if row.alone {
				pieces = [][]byte{said[:len(row.header)], said[len(row.header):]}
			}
			got := converse(t, conn, pieces...)
			switch {
			case !row.believed:
				got.holds(t, version, me, to, said)
			case insecure:
				got.holds(t, version, liar, to, row.data)
			default:
				got.holds(t, version, me, to, row.data)
			}
		})
	}
	// In a second segment it is data like any other.
	t.Run("later", func(t *testing.T) {
		d := d.as(t)
		conn, me, to := d.dialFrom(sinkPort, nil)
		said := append(append([]byte{}, request...), proxyV1(liar, to)...)
		converse(t, conn, said[:len(request)], said[len(request):]).holds(t, version, me, to, said)
	})
	// A header in pieces is none that the director reads; the server reads the
	// director's first, and takes the client's for data.
	for name, header := range map[string]string{"version 1": proxyV1(liar, to), "version 2": proxyV2(1, liar, to)} {
		t.Run(name+" in pieces", func(t *testing.T) {
			d := d.as(t)
			conn, me, to := d.dialFrom(sinkPort, nil)
			said := append([]byte(header), request...)
			var pieces [][]byte
			for i := range said {
				pieces = append(pieces, said[i:i+1])
			}
			converse(t, conn, pieces...).holds(t, version, me, to, said)
		})
	}
	t.Run("nginx", func(t *testing.T) {
		d := d.as(t)
		conn, me, to := d.dialFrom(8090, nil)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(requestPatience))
		if _, err := io.WriteString(conn, proxyV2(1, liar, to)+"GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		want := me
		if insecure {
			want = liar
		}
		if err != nil || !strings.HasSuffix(string(answer), "Your ip:port : "+want.String()+"\n") {
			t.Errorf("nginx answered %q, %v; want %s", answer, err, want)
		}
	})
}

// Ports that come round while the server remembers them get new sequence numbers
// besides the header.
func TestProxyPortsReused(t *testing.T) {
	s := one
	s.conf = shortLives
	d := proxied(t, s, "v2")
	d.manyAddresses()
	load := d.peers("tcp", 8, "10.0.0.100:8084", "10.0.0.100:8090")
	load.until(2000)
	load.stop().right(t, 2000)
}

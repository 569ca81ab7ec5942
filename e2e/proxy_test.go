package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Servers that are written for the PROXY protocol get a header that names the true
// client in front of the data, on whatever way the first data comes.
func TestProxyProtocol(t *testing.T) {
	for _, v := range versions[:2] {
		for _, s := range drivers {
			t.Run(v.word+" "+s.String(), func(t *testing.T) {
				d := proxied(t, s, v.word)
				d.finishedFrames()
				atServer := d.tcpdump(d.rs(1), "eth0")
				t.Run("servers of others", func(t *testing.T) { d.as(t).proxiedLoad(500) })
				t.Run("first data is lost", func(t *testing.T) { d.as(t).firstDataLost(v.version) })
				t.Run("the answer to it is lost", func(t *testing.T) { d.as(t).firstAnswerLost(v.version) })
				t.Run("data in the handshake's third packet", func(t *testing.T) { d.as(t).deferredAccept(v.version) })
				t.Run("one byte at a time", func(t *testing.T) { d.as(t).byteByByte(v.version) })
				t.Run("the server speaks first", func(t *testing.T) { d.as(t).serverFirst(v.version) })
				t.Run("first data is large", func(t *testing.T) { d.as(t).largeFirst(v.version) })
				t.Run("with losses all along", func(t *testing.T) { d.as(t).lossy(v.version) })
				t.Run("nothing is said", func(t *testing.T) { d.as(t).nothingSaid(v.version) })
				atServer.stop()
				all := atServer.segments("tcp && !icmp && ip.dst == 192.168.100.2")
				for _, seg := range all {
					if kind254(seg.options) != nil {
						t.Fatalf("frame %s has an option of address beside the header", seg.frame)
					}
					if seg.frameLen > 14+1500 {
						t.Fatalf("frame %s has %d bytes: more than the link's MTU", seg.frame, seg.frameLen)
					}
				}
				judgeSums(t, all)
			})
		}
	}
}

// proxiedLoad makes n connections from many clients to nginx and HAProxy.
func (d *director) proxiedLoad(n int) {
	d.manyAddresses()
	load := d.peers("tcp", 16, "10.0.0.100:8084", "10.0.0.100:8090")
	load.until(n)
	load.stop().right(d.t, int64(n))
	d.run(d.client(), "ip route del local "+manyClients.String()+" dev lo")
}

// The segment with the header is lost on its way to the server: what the client
// sends again has it again.
func (d *director) firstDataLost(version int) {
	for _, port := range proxyPorts {
		for _, n := range []int{1, 2} {
			// Neither a SYN nor an ACK is longer: 60 bytes are headers with options.
			lost := d.lose("prerouting", fmt.Sprintf("tcp dport %d ip length > 60", port), n)
			d.talk(port, version, nil, 5000, 10)
			if got := lost(); got != n {
				d.t.Errorf("%d segments to port %d were lost, want %d", got, port, n)
			}
		}
	}
}

// The server has the header and the client does not know: it sends its first data
// again, and a server that gets it twice must find the same bytes in it.
func (d *director) firstAnswerLost(version int) {
	for _, port := range proxyPorts {
		lost := d.lose("output", fmt.Sprintf("tcp sport %d tcp flags & syn == 0", port), 3)
		d.talk(port, version, nil, 3000, 10)
		if got := lost(); got != 3 {
			d.t.Errorf("%d answers from port %d were lost, want 3", got, port)
		}
	}
}

// A client that waits with its ACK until it has data. Linux waits for 200 ms at most: a
// client that had no processor for so long tries again.
func (d *director) deferredAccept(version int) {
	waits := func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1) }
	for _, port := range proxyPorts {
		with := 0 // connections with data in the third packet
		for range 5 {
			atClient := d.tcpdump(d.client(), "eth0")
			d.talk(port, version, waits, 0)
			atClient.stop()
			if with = atClient.thirdWithData(port); with > 0 {
				break
			}
		}
		if with == 0 {
			d.t.Errorf("no connection to port %d had data in the handshake's third packet", port)
		}
	}
}

// thirdWithData counts the connections to a port of the VIP whose client sent data in
// its first packet behind the SYN.
func (c *capture) thirdWithData(port int) (n int) {
	sent := map[uint16]int{} // packets by the client's port
	for _, p := range c.packets() {
		head := int(p[0]&15) * 4
		if p[9] != unix.IPPROTO_TCP || len(p) < head+20 || netip.AddrFrom4([4]byte(p[16:])) != vip {
			continue
		}
		t := p[head:]
		if int(binary.BigEndian.Uint16(t[2:])) != port {
			continue
		}
		from := binary.BigEndian.Uint16(t)
		if sent[from]++; sent[from] == 2 && len(t) > int(t[12]>>4)*4 {
			n++
		}
	}
	return n
}

// Each byte of the beginning is a segment of its own.
func (d *director) byteByByte(version int) {
	var cuts []int
	for i := range request[1:] {
		cuts = append(cuts, i+1)
	}
	for _, port := range proxyPorts {
		d.talk(port, version, nil, 0, cuts...) // Go sets TCP_NODELAY
	}
}

// A server that greets the client by its address before the client says anything.
func (d *director) serverFirst(version int) {
	conn, me, to := d.dialFrom(greeterPort, nil)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(requestPatience))
	r := bufio.NewReader(conn)
	got, err := r.ReadString('\n')
	if want := fmt.Sprintf("220 version %d, %s to %s\n", version, me, to); err != nil || got != want {
		d.t.Fatalf("the server greeted with %q, %v; want %q", got, err, want)
	}
	// And the conversation goes on, both ways.
	data := noiseBytes(d.t, 200_000)
	go func() {
		conn.Write(data)
		conn.(*net.TCPConn).CloseWrite()
	}()
	echo, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(echo, data) {
		d.t.Errorf("%d bytes came back, %v; want the %d that were sent", len(echo), err, len(data))
	}
}

// The first segments are as long as they can be: with the header they would be
// longer.
func (d *director) largeFirst(version int) {
	conn, me, to := d.dialFrom(sinkPort, nil)
	data := noiseBytes(d.t, 3<<20)
	converse(d.t, conn, data).holds(d.t, version, me, to, data)
	file := d.path("large")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		d.t.Fatal(err)
	}
	for i, port := range []int{8084, 8090} {
		out := d.run(d.client(), fmt.Sprintf("curl -sS --max-time 30 --local-port %d --data-binary @%s 10.0.0.100:%d/", 20200+i, file, port))
		if want := fmt.Sprintf("Your ip:port : 10.0.0.48:%d\n", 20200+i); out != want {
			d.t.Errorf("the server on port %d answered %q, want %q", port, out, want)
		}
	}
}

// One segment in thirty is lost toward the server, and one in thirty on the way
// back: selective acknowledgements name the client's own bytes.
func (d *director) lossy(version int) {
	rule := "table ip lossy { " +
		"chain in { type filter hook prerouting priority -300; tcp dport { 9000, 9001 } tcp flags & syn == 0 numgen inc mod 30 11 counter drop; }; " +
		"chain out { type filter hook output priority -300; tcp sport { 9000, 9001 } tcp flags & syn == 0 numgen inc mod 30 7 counter drop; }; }"
	if _, err := d.rs(1).Run(within(d.t, patience), "nft", rule); err != nil {
		d.t.Fatal(err)
	}
	defer func() {
		if out := d.run(d.rs(1), "nft list table ip lossy"); strings.Contains(out, "packets 0 ") || strings.Count(out, "packets") != 2 {
			d.t.Errorf("nothing was lost: %s", out)
		}
		d.run(d.rs(1), "nft delete table ip lossy")
	}()
	conn, me, to := d.dialFrom(sinkPort, nil)
	data := noiseBytes(d.t, 1<<20)
	converse(d.t, conn, data).holds(d.t, version, me, to, data)

	conn, _, _ = d.dialFrom(greeterPort, nil)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go func() {
		conn.Write(data)
		conn.(*net.TCPConn).CloseWrite()
	}()
	heard, err := io.ReadAll(conn)
	if _, echo, _ := bytes.Cut(heard, []byte("\n")); err != nil || !bytes.Equal(echo, data) {
		d.t.Errorf("%d bytes came back, %v; want the %d that were sent", len(echo), err, len(data))
	}
}

// A client that connects and closes says nothing; the server hears who it was, or
// nothing, and the connection ends on both sides.
func (d *director) nothingSaid(version int) {
	conn, me, to := d.dialFrom(sinkPort, nil)
	r := converse(d.t, conn)
	if r.Error == "" {
		r.holds(d.t, version, me, to, nil)
	}
	eventually(d.t, "the connection is over", func() bool {
		return d.run(d.rs(1), "ss -Htn state established state close-wait state last-ack sport = :9001") == ""
	})
}

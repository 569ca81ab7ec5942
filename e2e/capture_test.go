package e2e

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// capture is a running tcpdump.
type capture struct {
	bed  *bed
	in   *netns.Namespace
	link string
	file string
	dump *netns.Process
	said *lines
}

// snapshot is how much of a frame is captured, in bytes: a whole one of any link of
// a bed. tcpdump has its ring in slots of that size, so that with its default, 256
// KiB, 64 MiB have room for a thousand frames: less than one upload, when tcpdump
// has to wait for a processor.
const snapshot = "2048"

// tcpdump captures on a link until stop.
func (b *bed) tcpdump(in *netns.Namespace, link string) *capture {
	b.t.Helper()
	c := &capture{bed: b, in: in, link: link, file: b.path(in.Name() + "-" + link + ".pcap"), said: &lines{}}
	cmd := exec.Command("tcpdump", "-i", link, "-n", "-U", "--immediate-mode", "-s", snapshot, "-B", "65536", "-Z", "root", "-w", c.file)
	cmd.Stderr = c.said
	var err error
	if c.dump, err = in.Start(cmd); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(c.dump.Kill)
	eventually(b.t, "tcpdump listens", func() bool { return strings.Contains(c.said.String(), "listening on") })
	return c
}

// stop ends the capture with all that was seen so far in the file: a frame that
// is sent now has to be there, too. A capture that missed a frame is no witness.
func (c *capture) stop() {
	t := c.bed.t
	t.Helper()
	marker := noiseBytes(t, 32)
	eventually(t, "tcpdump has written all that it saw", func() bool {
		if err := c.in.Do(func() error { return sendMarker(c.link, marker, 1) }); err != nil {
			t.Fatal(err)
		}
		seen, err := os.ReadFile(c.file)
		return err != nil || bytes.Contains(seen, marker)
	})
	c.dump.Signal(syscall.SIGINT)
	_ = c.dump.Wait(within(t, patience))
	if m := missed.FindStringSubmatch(c.said.String()); m == nil || m[1] != "0" {
		t.Errorf("tcpdump on %s of %s was too slow for what it had to see:\n%s", c.link, c.in.Name(), c.said)
	}
}

var missed = regexp.MustCompile(`(\d+) packets? dropped by kernel`)

// sendMarker sends n frames of no protocol to the next machine on a link, which no
// switch passes on.
func sendMarker(link string, data []byte, n int) error {
	iface, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const header = "\x01\x80\xc2\x00\x00\x0e" + "\x02weir\x01" + "\x88\xb5" // IEEE's local experimental type
	frame := append([]byte(header), data...)
	for range n {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: iface.Index, Halen: 6}); err != nil {
			return err
		}
	}
	return nil
}

// segment is a captured TCP segment or UDP datagram, as tshark judges it.
type segment struct {
	frame              string
	src, dst           netip.AddrPort
	syn, rst           bool
	seq, ack           uint32
	payload, frameLen  int
	options            []byte
	ipSumOK, l4SumGood bool
}

// fields are what tshark is asked for, in the order of parse.
var fields = []string{
	"frame.number", "ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "tcp.flags", "tcp.seq_raw", "tcp.ack_raw",
	"tcp.len", "frame.len", "tcp.options", "ip.checksum.status", "tcp.checksum.status",
	"udp.srcport", "udp.dstport", "udp.checksum.status", "tcp.checksum", "tcp.checksum_calculated",
}

// tshark's words for a checksum: 0 bad, 1 good, 2 unverified, 3 not present.
const sumGood = "1"

// segments returns what was captured and matches a display filter.
func (c *capture) segments(filter string) []segment {
	t := c.bed.t
	t.Helper()
	args := []string{"-r", c.file, "-Y", filter, "-T", "fields",
		"-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(within(t, patience), "tshark", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark: %v\n%s", err, stderr.String())
	}
	var all []segment
	for line := range strings.Lines(stdout.String()) {
		s, err := parseSegment(strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		if err != nil {
			t.Fatalf("tshark printed %q: %v", line, err)
		}
		all = append(all, s)
	}
	return all
}

func parseSegment(f []string) (s segment, err error) {
	if len(f) != len(fields) {
		return s, fmt.Errorf("%d fields, want %d", len(f), len(fields))
	}
	s.frame = f[0]
	number := func(text string) uint64 {
		if text == "" || err != nil {
			return 0
		}
		var n uint64
		n, err = strconv.ParseUint(text, 0, 64)
		return n
	}
	address := func(ip, tcp, udp string) netip.AddrPort {
		a, e := netip.ParseAddr(ip)
		if e != nil && err == nil {
			err = e
		}
		return netip.AddrPortFrom(a, uint16(number(tcp+udp)))
	}
	s.src, s.dst = address(f[1], f[3], f[13]), address(f[2], f[4], f[14])
	flags := number(f[5])
	s.syn, s.rst = flags&2 != 0, flags&4 != 0
	s.seq, s.ack = uint32(number(f[6])), uint32(number(f[7]))
	s.payload, s.frameLen = int(number(f[8])), int(number(f[9]))
	if err == nil {
		s.options, err = hex.DecodeString(f[10])
	}
	s.ipSumOK, s.l4SumGood = f[11] == sumGood, f[12]+f[15] == sumGood
	// The two zeros of ones' complement: Linux writes 0xffff where tshark would
	// like 0x0000, and every receiver takes both.
	s.l4SumGood = s.l4SumGood || number(f[16]) == 0xffff && f[17] != "" && number(f[17]) == 0
	return s, err
}

// toa returns the option of address of a segment.
func (s segment) toa() (client netip.AddrPort, found int) {
	for o := s.options; len(o) > 0; {
		if o[0] <= 1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o) {
			break
		}
		if o[0] == 254 && o[1] == 8 {
			found++
			client = netip.AddrPortFrom(netip.AddrFrom4([4]byte(o[4:8])), uint16(o[2])<<8|uint16(o[3]))
		}
		o = o[o[1]:]
	}
	return client, found
}

// TestCapture looks at the wire before a real server: the option of address is
// where it belongs and nowhere else, every checksum is right, every frame fits, and
// the client's address is in no IP header.
func TestCapture(t *testing.T) {
	t.Parallel() // it asks little of the machine
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			d := newDirector(t, s)
			d.nginx(d.rs(1))
			d.streamServer(d.rs(1))
			d.dnsmasq(d.rs(1), "192.0.2.1")
			d.do("./dpip addr add 10.0.0.100/32 dev dpdk1")
			d.do("./dpip route add 10.0.0.0/16 dev dpdk1")
			d.do("./dpip route add 192.168.100.0/24 dev dpdk0")
			d.serviceOn("t", 80, 1)
			d.serviceOn("t", 8080, 1)
			d.serviceOn("u", 53, 1)
			d.finishedFrames()
			d.wholeFrames()

			atServer := d.tcpdump(d.rs(1), "eth0")
			atSwitch := d.tcpdump(d.net.LAN, "weir")
			clients := map[netip.AddrPort]bool{}
			for i, request := range []string{
				"10.0.0.100/",
				"10.0.0.100:8080/3000000", // down: the client soon acknowledges data
				"--data-binary @" + d.upload() + " 10.0.0.100:8080/", // up: it has nothing to acknowledge for long
			} {
				port := 37177 + i
				d.run(d.client(), fmt.Sprintf("curl -sS --max-time 30 --local-port %d -o /dev/null %s", port, request))
				clients[netip.AddrPortFrom(netns.ClientAddr.Addr(), uint16(port))] = true
			}
			d.run(d.client(), "dig +short +tries=1 @10.0.0.100 weir.test")
			atServer.stop()
			atSwitch.stop()
			judgeTOA(t, atServer.segments("tcp && !icmp"), clients)
			judgeSums(t, atServer.segments("ip.dst == 192.168.100.2 && (tcp || udp) && !icmp"))
			for _, leak := range atSwitch.segments("ip.addr == 10.0.0.0/16 && !icmp") {
				t.Errorf("frame %s leaks onto the LAN: %s to %s", leak.frame, leak.src, leak.dst)
			}
		})
	}
}

// finishedFrames makes the wire show frames as they would leave a machine: with
// checksums and segments done by the sender, not left to a card that veth has not.
func (d *director) finishedFrames() {
	d.t.Helper()
	d.run(d.net.Director, "ethtool -K "+d.lan+" tx off tso off gso off gro off")
}

// upload makes a file of 3 MB to send.
func (d *director) upload() string {
	d.t.Helper()
	file := d.path("upload")
	d.run(d.client(), "dd if=/dev/urandom of="+file+" bs=1000000 count=3 status=none")
	return file
}

// judgeTOA holds the segments of some connections to the rule: a segment toward the
// server carries the client's address exactly when it is neither SYN nor RST and
// acknowledges nothing but the server's SYN.
func judgeTOA(t *testing.T, all []segment, clients map[netip.AddrPort]bool) {
	t.Helper()
	afterSYN := map[netip.AddrPort]uint32{} // by the local address: what acknowledges the SYN alone
	carried := map[netip.AddrPort]int{}
	without := 0
	server := netns.ServerAddr(0)
	for _, s := range all {
		client, found := s.toa()
		if s.src.Addr() == server {
			if s.syn {
				afterSYN[s.dst] = s.seq + 1
			}
			if found > 0 {
				t.Errorf("frame %s from the server carries an option of address", s.frame)
			}
			continue
		}
		due := !s.syn && !s.rst && s.ack == afterSYN[s.src]
		switch {
		case due && found != 1:
			t.Errorf("frame %s (%s, %d bytes of data) carries %d options of address, want one", s.frame, s.src, s.payload, found)
		case !due && found != 0:
			t.Errorf("frame %s (%s, ack %d) carries the option of address, which is not due", s.frame, s.src, s.ack)
		case due:
			carried[client]++
		default:
			without++
		}
		if s.frameLen > 14+1500 {
			t.Errorf("frame %s has %d bytes: more than the link's MTU", s.frame, s.frameLen)
		}
	}
	for client := range clients {
		if carried[client] == 0 {
			t.Errorf("no segment carries %s", client)
		}
	}
	if len(carried) != len(clients) || without == 0 {
		t.Errorf("options named %v, want %v; %d segments without", carried, clients, without)
	}
	t.Logf("segments with the option of address: %v, without: %d", carried, without)
}

// judgeSums holds IP and TCP or UDP checksums to tshark's judgement.
func judgeSums(t *testing.T, all []segment) {
	t.Helper()
	if len(all) == 0 {
		t.Error("nothing was captured")
	}
	wrong := 0
	for _, s := range all {
		if s.ipSumOK && s.l4SumGood {
			continue
		}
		if wrong++; wrong <= 10 {
			t.Errorf("frame %s (%s to %s, %d bytes) has a wrong checksum: IP good %v, TCP or UDP good %v",
				s.frame, s.src, s.dst, s.frameLen, s.ipSumOK, s.l4SumGood)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d frames have a wrong checksum", wrong, len(all))
	}
}

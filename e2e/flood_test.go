package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// synFlood sends SYN segments to the tutorial's service from addresses that answer
// nothing, by eth0, until it is killed: MAC and how many a millisecond. A faster
// flood would test the receive ring, where nobody can tell friend from foe.
func synFlood(args []string) error {
	if len(args) != 2 {
		return errors.New("syn-flood MAC PER-MILLISECOND")
	}
	mac, err1 := net.ParseMAC(args[0])
	rate, err2 := strconv.Atoi(args[1])
	iface, err3 := net.InterfaceByName("eth0")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: iface.Index, Halen: 6}
	copy(to.Addr[:], mac)
	tick := time.NewTicker(time.Millisecond)
	for i := uint32(0); ; <-tick.C {
		for range rate {
			err := unix.Sendto(fd, synFrame(mac, iface.HardwareAddr, i), 0, to)
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
			i++
		}
	}
}

// synFrame is a SYN from the i-th address of 172.16.0.0/12 to 10.0.0.100:80.
func synFrame(dst, src net.HardwareAddr, i uint32) []byte {
	f := append(append(make([]byte, 0, 54), dst...), src...)
	f = append(f, 8, 0)
	f = append(f, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0)
	f = binary.BigEndian.AppendUint32(f, 172<<24|16<<16+i&0xfffff)
	f = append(f, 10, 0, 0, 100)
	f = binary.BigEndian.AppendUint16(f, uint16(1024+i>>20))
	f = append(f, 0, 80)
	f = binary.BigEndian.AppendUint32(f, i*2654435761)
	f = append(f, 0, 0, 0, 0, 5<<4, 2, 0xff, 0xff, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(f[24:], internetSum(f[14:34], 0))
	binary.BigEndian.PutUint16(f[50:], internetSum(f[26:54], 6+20))
	return f
}

// internetSum is the checksum of RFC 1071, begun with what a pseudo-header adds.
func internetSum(b []byte, sum uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// A flood of first packets fills the flow table with connections that never become
// any. The oldest of those go first, which is counted; who has a connection keeps
// it, and new clients are served.
func TestSYNFlood(t *testing.T) {
	s := two
	s.conf = "ipvs_defs {\n    conn {\n        conn_pool_size 65536\n    }\n}\n"
	d := failing(t, s)
	d.do("./ipvsadm --add-laddr -z 192.168.100.201 -t 10.0.0.100:80 -F dpdk0")
	kept := d.steady("10.0.0.100:80", 8, "kept")
	mac, err := d.net.Director.MAC(d.wan)
	if err != nil {
		t.Fatal(err)
	}
	flood := d.startCmd(d.client(), roleCommand("syn-flood %s 30", mac))
	eventually(t, "half-open connections go", func() bool { return d.gauge("conns_half_open_evicted") > 0 })
	roleOf[loadResult](d.bed, d.client(), "http-load 10.0.0.100:80 500 8 new").ok(t, 500)
	kept.more(500)
	flood.Kill()
	kept.unharmed()
	if conns, most := d.gauge("conns"), d.gauge("conns_max"); conns > most {
		t.Errorf("there are %d connections, at most %d may be", conns, most)
	}
}

// gauge returns a gauge of `weir stats`.
func (d *director) gauge(name string) int {
	d.t.Helper()
	var stats struct {
		Gauges []struct {
			Name  string
			Value int
		}
	}
	out := d.do("./weir stats --json")
	if err := json.Unmarshal([]byte(out), &stats); err != nil {
		d.t.Fatalf("weir stats --json printed %q: %v", out, err)
	}
	for _, g := range stats.Gauges {
		if g.Name == name {
			return g.Value
		}
	}
	d.t.Fatalf("weir stats has no gauge %s", name)
	return 0
}

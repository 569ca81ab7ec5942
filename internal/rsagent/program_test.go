package rsagent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

func rsSpec(t testing.TB) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := bpf.LoadRS()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// loadUnpinned loads the programs of some options for the test alone.
func loadUnpinned(t testing.TB, o *Options, f *abilities) *ebpf.Collection {
	t.Helper()
	if err := unlimit(); err != nil {
		t.Fatal(err)
	}
	spec := rsSpec(t)
	if err := configure(spec, o, f); err != nil {
		t.Fatal(err)
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinNone
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// lab runs packets through programs without a network.
type lab struct {
	c        *ebpf.Collection
	uoa, opp *ebpf.Program
	before   []Counter
}

// newLab loads the programs and makes them trust the director's addresses.
func newLab(t testing.TB) *lab {
	t.Helper()
	c := loadUnpinned(t, &Options{UOA: Getsockopt, Entries: 1024, Timeout: DefaultTimeout}, &abilities{})
	if _, err := syncTrust(c.Maps[bpf.RSMapTrusted], trustLIPs); err != nil {
		t.Fatal(err)
	}
	l := &lab{c: c, uoa: c.Programs[bpf.RSProgUoaIngress], opp: c.Programs[bpf.RSProgOppEther]}
	l.counted(t)
	// Older kernels run cgroup programs in a test without the packet's bounds, which
	// the real hook has. There the same program is loaded as one that has them.
	if l.run(t, l.uoa, withOptions()); len(l.counted(t)) == 0 {
		l.uoa = l.asTunnel(t)
	}
	return l
}

// asTunnel loads the program at sockets as one of tunnels, with the same maps.
func (l *lab) asTunnel(t testing.TB) *ebpf.Program {
	t.Helper()
	spec := rsSpec(t)
	for name := range spec.Programs {
		if name != bpf.RSProgUoaIngress {
			delete(spec.Programs, name)
		}
	}
	p := spec.Programs[bpf.RSProgUoaIngress]
	p.Type, p.AttachType = ebpf.LWTIn, ebpf.AttachNone
	spec.Maps[bpf.RSMapUoaClients].MaxEntries = l.c.Maps[bpf.RSMapUoaClients].MaxEntries()
	for name := range spec.Maps {
		if l.c.Maps[name] == nil {
			delete(spec.Maps, name)
		}
	}
	shared := map[string]*ebpf.Map{}
	for _, name := range []string{bpf.RSMapCounters, bpf.RSMapTrusted, bpf.RSMapUoaClients} {
		shared[name] = l.c.Maps[name]
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(c.Close)
	return c.Programs[bpf.RSProgUoaIngress]
}

// trusted is what the lab's programs trust.
func trusted(a netip.Addr) bool { return a == lip4 || a == lip6 }

// counted returns the counters that went up since the last call.
func (l *lab) counted(t testing.TB) (names []string) {
	t.Helper()
	now, err := readCounters(l.c.Maps[bpf.RSMapCounters])
	if err != nil {
		t.Fatal(err)
	}
	for i := range now {
		if l.before == nil {
			break
		}
		for range now[i].Total - l.before[i].Total {
			names = append(names, now[i].Name)
		}
	}
	l.before = now
	return names
}

// run gives an IP packet to a program. It reports false for a packet that the kernel
// gives to no program.
func (l *lab) run(t testing.TB, p *ebpf.Program, packet []byte) (ret int32, out []byte, ran bool) {
	t.Helper()
	frame := make([]byte, 14, 14+len(packet))
	switch {
	case len(packet) > 0 && packet[0]>>4 == 4:
		frame[12] = 8
	case len(packet) > 0 && packet[0]>>4 == 6:
		frame[12], frame[13] = 0x86, 0xdd
	default:
		return 0, nil, false
	}
	frame = append(frame, packet...)
	opts := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64)}
	r, err := p.Run(opts)
	if errors.Is(err, unix.EINVAL) && (len(packet) < 20 || packet[0]>>4 == 6 && len(packet) < 40) {
		return 0, nil, false
	}
	if err != nil {
		t.Fatalf("run %d bytes %x: %v", len(packet), packet, err)
	}
	return int32(r), bytes.TrimPrefix(opts.DataOut, frame[:14]), true
}

// checkUOA gives a packet to the program at sockets and to its model.
func (l *lab) checkUOA(t testing.TB, packet []byte) {
	t.Helper()
	ret, _, ran := l.run(t, l.uoa, packet)
	if !ran {
		return
	}
	want, s := modelUOA(packet, trusted)
	if got := strings.Join(l.counted(t), " "); got != strings.TrimSpace(want+" "+s.families()) {
		t.Fatalf("counted %q, the model says %q %q:\n%x", got, want, s.families(), packet)
	}
	if ret != 1 {
		t.Fatalf("the program says %d and would drop %x", ret, packet)
	}
	if want != "uoa_saved" {
		return
	}
	m := l.c.Maps[bpf.RSMapUoaClients]
	for _, local := range []netip.Addr{s.local.Addr(), {}} {
		k := flowKey(s.peer, netip.AddrPortFrom(local, s.local.Port()))
		var e bpf.RSEntry
		if err := m.Lookup(k, &e); err != nil {
			t.Fatalf("the flow %v was not saved: %v", s, err)
		}
		if got := stationOf(&e.Station); got != s.client {
			t.Fatalf("saved %s, the model says %s:\n%x", got, s.client, packet)
		}
		if err := m.Delete(k); err != nil {
			t.Fatal(err)
		}
	}
}

// checkOPP gives a packet to the translator and to its model; what becomes of one
// that is translated has to name its client at the socket.
func (l *lab) checkOPP(t testing.TB, packet []byte) {
	t.Helper()
	ret, out, ran := l.run(t, l.opp, packet)
	if !ran {
		return
	}
	want, wantOut := modelOPP(packet, trusted)
	if got := strings.Join(l.counted(t), " "); got != want {
		t.Fatalf("counted %q, the model says %q:\n%x", got, want, packet)
	}
	if ret != -1 {
		t.Fatalf("the translator says %d, not to go on", ret)
	}
	if want == "opp_ipv4" && !rightChecksum(packet) {
		if rightChecksum(out) {
			t.Fatalf("a wrong header checksum was made right:\n%x", packet)
		}
		out, wantOut = unchecked(out), unchecked(wantOut)
	}
	if !bytes.Equal(out, wantOut) {
		t.Fatalf("translated\n%x to\n%x, the model says\n%x", packet, out, wantOut)
	}
	if want == "opp_ipv4" || want == "opp_ipv6" {
		l.checkUOA(t, out)
	}
}

func rightChecksum(p []byte) bool {
	n := int(p[0]&15) * 4
	return len(p) >= n && checksum(sum16(0, p[:n])) == 0
}

func unchecked(p []byte) []byte {
	p = append([]byte{}, p...)
	p[10], p[11] = 0, 0
	return p
}

func words(a netip.Addr) (w [4]uint32) {
	if !a.IsValid() {
		return w
	}
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[i*4:])
	}
	return w
}

func networkOrder(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

func flowKey(peer, local netip.AddrPort) (k bpf.RSFlowKey) {
	k.Peer.W, k.Local.W = words(peer.Addr()), words(local.Addr())
	k.PeerPort, k.LocalPort = networkOrder(peer.Port()), networkOrder(local.Port())
	return k
}

func stationOf(s *bpf.RSStation) netip.AddrPort {
	return netip.AddrPortFrom(addrOf(s.Addr.W), networkOrder(s.Port))
}

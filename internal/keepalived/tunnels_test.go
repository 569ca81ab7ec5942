package keepalived

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"weir/internal/spec"
)

// overTunnel is a file with a tunnel device, an address on it, a route that sends from that
// address, and a service with a local address there.
func overTunnel(entry string) string {
	return "tunnel_group t {\n tunnel_entry gre1 {\n" + entry + " }\n}\n" +
		"static_ipaddress {\n 10.9.0.1/30 dev gre1\n 2001:db8:9::1/64 dev gre1\n 10.0.0.9/24 dev dpdk0\n}\n" +
		"static_routes {\n 10.8.0.0/16 dev gre1 src 10.9.0.1\n 2001:db8:8::/48 dev gre1\n}\n" +
		"local_address_group l {\n 10.9.0.200 gre1\n}\n" +
		service("laddr_group_name l", " real_server 10.8.0.2 80 {\n weight 1\n }\n")
}

const entryGRE = "  kind gre\n  local 10.0.0.9\n  remote 10.3.0.3\n  if dpdk0\n"

// stands are the tunnels, and what is on them: "gre1 gre 10.0.0.9 10.3.0.3 dpdk0; 10.9.0.1/30; ...".
func stands(b *bed) string {
	s := b.Spec()
	var all []string
	for _, t := range s.Tunnels {
		on := []string{fmt.Sprint(t.Name, " ", t.Kind, " ", t.Local, " ", t.Remote, " ", t.Link)}
		var rest []string
		for _, a := range s.Addresses {
			if a.Port == t.Name {
				rest = append(rest, a.Prefix.String())
			}
		}
		for _, r := range s.Routes {
			if r.Port == t.Name {
				rest = append(rest, "to "+r.Prefix.String())
			}
		}
		slices.Sort(rest)
		all = append(all, strings.Join(append(on, rest...), "; "))
	}
	return strings.Join(all, "\n")
}

const onTunnel = "; 10.9.0.1/30; 10.9.0.200/32; 2001:db8:9::1/64; to 10.8.0.0/16; to 2001:db8:8::/48"

// stand waits until the director's tunnels are so.
func (w *world) stand(want string) {
	w.t.Helper()
	got := ""
	defer func() {
		if w.t.Failed() {
			w.t.Logf("it has %q", got)
		}
	}()
	eventually(w.t, "the director has "+want, func() bool { got = stands(w.b); return got == want })
}

// clean checks that nothing was refused: what a thing needs was there before it.
func (w *world) clean() {
	w.t.Helper()
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "refused") || strings.Contains(line, "does not take") {
			w.t.Errorf("keepalived said %s", line)
		}
	}
}

// TestTunnelsOfFile: a tunnel comes before what lies on it, comes back with it after the director,
// follows the file with all that stays, and leaves in the end.
func TestTunnelsOfFile(t *testing.T) {
	w := newWorld(t)
	w.begin(overTunnel(entryGRE))
	const gre = "gre1 gre 10.0.0.9 10.3.0.3 dpdk0" + onTunnel
	w.stand(gre)
	w.become(vip, ".2=1")
	w.clean()
	data := w.dumped(syscall.SIGUSR1, "keepalived.data")
	if line := "------< Tunnel devices >------\n gre1: gre local 10.0.0.9 remote 10.3.0.3 dev dpdk0: there\n"; !strings.Contains(data, line) {
		t.Errorf("keepalived.data does not say %q:\n%s", line, data)
	}

	path := w.b.path
	w.b.end()
	w.b = newDirector(t, path)
	w.stand(gre)
	w.become(vip, ".2=1")
	w.clean()

	// Other ends: the device stays, and so does what is on it.
	rewrite(t, w.path, overTunnel("  kind gre\n  local 10.0.0.9\n  remote 10.3.0.4\n  if dpdk0\n"))
	w.reload()
	w.stand("gre1 gre 10.0.0.9 10.3.0.4 dpdk0" + onTunnel)
	w.clean()

	// Another device between the same ends in its place.
	renamed := func(text string) string { return strings.ReplaceAll(text, "gre1", "gre2") }
	withoutService := func(text string) string { return text[:strings.Index(text, "local_address_group")] }
	rewrite(t, w.path, withoutService(overTunnel("  kind gre\n  local 10.0.0.9\n  remote 10.3.0.4\n  if dpdk0\n")))
	w.reload()
	rewrite(t, w.path, renamed(withoutService(overTunnel("  kind gre\n  local 10.0.0.9\n  remote 10.3.0.4\n  if dpdk0\n"))))
	w.reload()
	bare := strings.Replace(onTunnel, " 10.9.0.200/32;", "", 1)
	w.stand("gre2 gre 10.0.0.9 10.3.0.4 dpdk0" + bare)
	w.clean()

	// Another kind: it is made anew.
	rewrite(t, w.path, renamed(withoutService(overTunnel("  kind ipip\n  local 10.0.0.9\n  remote 10.3.0.4\n  if dpdk0\n"))))
	w.reload()
	w.stand("gre2 ipip 10.0.0.9 10.3.0.4 dpdk0" + bare)
	w.has("10.0.0.9/24 dpdk0", "10.9.0.1/30 gre2", "2001:db8:9::1/64 gre2")
	w.clean()

	rewrite(t, w.path, overTunnel(entryGRE))
	w.reload()
	w.stand(gre)
	w.become(vip, ".2=1")
	w.stop()
	w.stand("")
	w.has()
	w.clean()
}

// TestTunnelsSwap: of tunnels that change in one reload, one may take the ends that another gives
// up, in a ring too, and one that is refused holds up itself alone. What is on them stays.
func TestTunnelsSwap(t *testing.T) {
	file := func(last ...string) string {
		var b strings.Builder
		b.WriteString("tunnel_group t {\n")
		for i, remote := range last {
			fmt.Fprintf(&b, " tunnel_entry gre%d {\n  kind gre\n  local 10.0.0.9\n  remote 10.3.0.%s\n }\n", i+1, remote)
		}
		return b.String() + "}\nstatic_ipaddress {\n 10.9.0.1/30 dev gre1\n}\nstatic_routes {\n 10.8.0.0/16 dev gre2\n}\n" +
			"local_address_group l {\n 10.9.0.200 gre1\n}\n" + service("laddr_group_name l", " real_server 10.8.0.2 80 {\n weight 1\n }\n")
	}
	stand := func(last ...string) string {
		on := []string{"; 10.9.0.1/30; 10.9.0.200/32", "; to 10.8.0.0/16", "", ""}
		for i, remote := range last {
			on[i] = fmt.Sprintf("gre%d gre 10.0.0.9 10.3.0.%s ", i+1, remote) + on[i]
		}
		return strings.Join(on[:len(last)], "\n")
	}
	w := newWorld(t)
	w.begin(file("1", "2", "3"))
	w.stand(stand("1", "2", "3"))
	w.become(vip, ".2=1")
	for _, next := range [][]string{{"2", "1", "3"}, {"1", "3", "2"}, {"9", "1", "3"}, {"3", "1", "2"}} {
		rewrite(t, w.path, file(next...))
		w.reload()
		w.stand(stand(next...))
	}
	w.clean()

	// Somebody else's tunnel is where the third shall be.
	theirs := spec.TunnelDevice{Name: "gre4", Kind: spec.TunnelGRE, Local: netip.MustParseAddr("10.0.0.9"), Remote: netip.MustParseAddr("10.3.0.4")}
	if err := w.b.Change(func(s *spec.Spec) error { return s.AddTunnel(theirs) }); err != nil {
		t.Fatal(err)
	}
	rewrite(t, w.path, file("1", "3", "4"))
	w.reload()
	w.stand(stand("1", "3", "2", "4"))
	w.says("tunnel gre3: already exist: gre4 is the gre tunnel between these ends without a key")
	if err := w.b.Change(func(s *spec.Spec) error { return s.DeleteTunnel("gre4") }); err != nil {
		t.Fatal(err)
	}
	w.stand(stand("1", "3", "4"))
	w.become(vip, ".2=1")
}

// TestTunnelThere: a device that is the same is taken over and leaves in the end; one that is not
// is left alone and told of, nothing is laid on it, and the file's comes when it is gone.
func TestTunnelThere(t *testing.T) {
	theirs := spec.TunnelDevice{Name: "gre1", Kind: spec.TunnelGRE, Local: netip.MustParseAddr("10.0.0.9"), Remote: netip.MustParseAddr("10.3.0.3"), Link: "dpdk0", TTL: 9}
	add := func(w *world, tunnel spec.TunnelDevice) {
		w.t.Helper()
		if err := w.b.Change(func(s *spec.Spec) error { return s.AddTunnel(tunnel) }); err != nil {
			w.t.Fatal(err)
		}
	}
	t.Run("the same", func(t *testing.T) {
		w := newWorld(t)
		add(w, theirs)
		w.begin(overTunnel(entryGRE))
		w.stand("gre1 gre 10.0.0.9 10.3.0.3 dpdk0" + onTunnel)
		if ttl := w.b.Spec().FindTunnel("gre1").TTL; ttl != 9 {
			t.Errorf("its TTL has become %d", ttl)
		}
		w.clean()
		w.stop()
		w.stand("")
	})
	t.Run("another", func(t *testing.T) {
		w := newWorld(t)
		keyed := theirs
		keyed.In = spec.TunnelFlags{Keyed: true, Key: 7}
		add(w, keyed)
		text := overTunnel(entryGRE)
		w.begin(text[:strings.Index(text, "local_address_group")])
		w.says("tunnel gre1: there is one that is not as the file has it: gre local 10.0.0.9 remote 10.3.0.3 dev dpdk0 ikey 7; delete it (dpip tunnel del gre1)")
		w.has("10.0.0.9/24 dpdk0")
		w.stand("gre1 gre 10.0.0.9 10.3.0.3 dpdk0")
		if err := w.b.Change(func(s *spec.Spec) error { return s.DeleteTunnel("gre1") }); err != nil {
			t.Fatal(err)
		}
		w.stand("gre1 gre 10.0.0.9 10.3.0.3 dpdk0" + strings.Replace(onTunnel, " 10.9.0.200/32;", "", 1))
	})
	t.Run("another, in the end", func(t *testing.T) {
		w := newWorld(t)
		other := theirs
		other.Kind = spec.TunnelIPIP
		add(w, other)
		w.begin(overTunnel(entryGRE))
		w.says("tunnel gre1: there is one that is not as the file has it: ipip local 10.0.0.9")
		w.stop()
		w.stand("gre1 ipip 10.0.0.9 10.3.0.3 dpdk0")
	})
}

// TestTunnelStays: with -I it stays, for the services that do.
func TestTunnelStays(t *testing.T) {
	w := newWorld(t)
	w.begin(overTunnel(entryGRE))
	w.stand("gre1 gre 10.0.0.9 10.3.0.3 dpdk0" + onTunnel)
	w.d.inbox.put(func() { w.d.Keep = true })
	w.stop()
	w.become(vip, ".2=1")
	w.stand("gre1 gre 10.0.0.9 10.3.0.3 dpdk0; 10.9.0.200/32")
}

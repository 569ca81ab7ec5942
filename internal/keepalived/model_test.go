package keepalived

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// edited is a file of the model: what is in it is drawn anew, a part at a time.
type edited struct {
	r       *rand.Rand
	locals  [3]string
	denied  [2]string
	groups  [2]string
	servers [6]string
}

func (e *edited) some(text string) string {
	if e.r.IntN(2) == 0 {
		return ""
	}
	return text
}

func (e *edited) one(of ...string) string { return of[e.r.IntN(len(of))] }

// edit draws one part of the file again.
func (e *edited) edit() {
	switch i := e.r.IntN(9); {
	case i == 0:
		n := e.r.IntN(len(e.locals))
		e.locals[n] = fmt.Sprintf("local_address_group l%d {\n 192.168.%d.%d-%d dpdk0\n 2001:db8:%d::1 dpdk0\n %s}\n", n, n, 100+e.r.IntN(3), 103+e.r.IntN(4), n, e.some(fmt.Sprintf("192.168.%d.200 dpdk1\n", n)))
	case i == 1:
		n := e.r.IntN(len(e.denied))
		e.denied[n] = fmt.Sprintf("deny_address_group d%[1]d {\n 203.0.%[1]d.%[2]d-%[3]d\n}\nallow_address_group d%[1]d {\n 198.51.%[1]d.%[2]d\n 2001:db8:a::%[2]d\n}\n", n, 1+e.r.IntN(5), 6+e.r.IntN(5))
	case i == 2:
		n := e.r.IntN(len(e.groups))
		e.groups[n] = fmt.Sprintf("virtual_server_group g%d {\n 10.1.%d.%d 80\n 10.1.%d.%d-%d 81\n %s}\n", n, n, 1+e.r.IntN(3), n, 4+e.r.IntN(2), 5+e.r.IntN(4), e.some(fmt.Sprintf("2001:db8:%d::80 80\n", n+10)))
	default:
		n := e.r.IntN(len(e.servers))
		if e.servers[n] = ""; e.r.IntN(6) > 0 {
			e.servers[n] = e.server(n)
		}
	}
}

// server draws a virtual server: one of a group, one with an address, or a match.
func (e *edited) server(n int) string {
	var b strings.Builder
	kind := ""
	switch {
	case n < 2:
		fmt.Fprintf(&b, "virtual_server group g%d {\n lb_kind FNAT\n laddr_group_name l%d\n", n, e.r.IntN(3))
		kind = "FNAT"
	case n == 5:
		b.WriteString("virtual_server match out {\n lb_kind SNAT\n src-range 192.168.0.0-192.168.255.255\n oif dpdk1\n")
	default:
		kind = e.one("FNAT", "NAT", "DR", "TUN")
		fmt.Fprintf(&b, "virtual_server 10.2.%d.1 80 {\n lb_kind %s\n", n, kind)
		if kind == "FNAT" {
			fmt.Fprintf(&b, " laddr_group_name l%d\n", e.r.IntN(3))
		}
	}
	fmt.Fprintf(&b, " protocol %s\n lb_algo %s\n delay_loop 3600\n", e.one("TCP", "TCP", "UDP"), e.one("rr", "wrr", "wlc", "mh"))
	b.WriteString(e.some(" inhibit_on_failure\n") + e.some(" establish_timeout 300\n") + e.some(" expire_quiescent_conn\n"))
	if n != 5 {
		b.WriteString(e.some(" persistence_timeout 60\n"))
		if group := e.r.IntN(3); group < 2 {
			b.WriteString(e.some(fmt.Sprintf(" daddr_group_name d%d\n", group)) + e.some(fmt.Sprintf(" waddr_group_name d%d\n", group)))
		}
	}
	if e.r.IntN(3) == 0 {
		fmt.Fprintf(&b, " quorum %d\n", 1+e.r.IntN(20))
	}
	if n == 5 {
		for i := range 1 + e.r.IntN(2) {
			fmt.Fprintf(&b, " real_server 203.0.113.%d 0 {\n weight %d\n }\n", 1+i, 1+e.r.IntN(5))
		}
	} else {
		b.WriteString(e.some(fmt.Sprintf(" sorry_server 192.168.9.99 80\n sorry_server_lvs_method %s\n", kind)) + e.some(" sorry_server_inhibit\n"))
		for i := 1; i < 8; i++ {
			if e.r.IntN(3) == 0 {
				continue
			}
			alpha := ""
			if i%3 == 0 {
				alpha = "  MISC_CHECK {\n alpha\n misc_path /bin/false\n }\n" // it never comes up
			}
			fmt.Fprintf(&b, " real_server 192.168.9.%d 80 {\n  weight %d\n%s%s }\n", i, e.r.IntN(10), e.some("  uthreshold 100\n"), alpha)
		}
	}
	return b.String() + "}\n"
}

func (e *edited) text() string {
	return strings.Join(e.locals[:], "") + strings.Join(e.denied[:], "") + strings.Join(e.groups[:], "") + strings.Join(e.servers[:], "")
}

// TestReloadModel: after each of 500 random edits the director has what it would have if
// keepalived had just started, and a keepalived that ends leaves nothing behind.
func TestReloadModel(t *testing.T) {
	e := &edited{r: rand.New(rand.NewPCG(5, 42))}
	for range 300 {
		e.edit()
	}
	kept, fresh := newBed(t), newBed(t)
	wan := spec4("203.0.113.1/24", "203.0.113.2/24")
	for _, b := range []*bed{kept, fresh} {
		if err := b.Change(wan); err != nil {
			t.Fatal(err)
		}
	}
	nothing := shown(fresh)
	path := write(t, e.text())
	for _, err := Read(path, "", nil); err != nil; _, err = Read(path, "", nil) {
		e.edit()
		rewrite(t, path, e.text())
	}
	going := begin(t, kept.path, path)
	refused := 0
	same := func(i int) {
		t.Helper()
		r := begin(t, fresh.path, path)
		r.says("the director is there")
		got, want := "", ""
		defer func() {
			if t.Failed() {
				t.Logf("it has\n%s\na new one has\n%s", got, want)
			}
		}()
		eventually(t, fmt.Sprintf("after edit %d the director has what a new one has", i), func() bool {
			got, want = shown(kept), shown(fresh)
			return got == want
		})
		r.stop()
		if left := shown(fresh); left != nothing {
			t.Fatalf("edit %d: left behind is\n%s", i, left)
		}
	}
	same(-1)
	for i := range 500 {
		e.edit()
		rewrite(t, path, e.text())
		before := shown(kept)
		going.reload()
		if _, err := Read(path, "", nil); err != nil {
			refused++
			if got := shown(kept); got != before {
				t.Fatalf("edit %d is refused (%v), and what was\n%s\nis\n%s", i, err, before, got)
			}
			continue
		}
		same(i)
	}
	t.Logf("%d of 500 edits were refused", refused)
	if refused > 250 {
		t.Error("that is too many to prove anything")
	}
	going.stop()
	if left := shown(kept); left != nothing {
		t.Errorf("left behind is\n%s", left)
	}
}

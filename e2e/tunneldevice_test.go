package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
	"weir/internal/testkit/uml"
)

// snatGRE is what the tutorial says tunnel devices are for: hosts far away go out by a
// SNAT cluster, through a tunnel. In the branch are five, one of each sort.
const snatGRE = `
./dpip addr add 123.1.2.3/24 dev dpdk1 sapool
./dpip addr add 2001:db8:10::3/64 dev dpdk1 sapool
./dpip addr add 192.168.100.1/24 dev dpdk0
./dpip addr add 2001:db8:100::1/64 dev dpdk0
./dpip route add default via 123.1.2.1 dev dpdk1

./dpip tunnel add gre1 mode gre local 192.168.100.1 remote 192.168.100.50 dev dpdk0 key 7 csum
./dpip tunnel add mode ipip ipip1 local 192.168.100.1 remote 192.168.100.50
./dpip tunnel add gre2 mode gre local 192.168.100.1 remote 192.168.100.50 seq tos inherit ttl 9
./dpip tunnel add gre6 mode gre local 2001:db8:100::1 remote 2001:db8:100::50 ikey 9 okey 8 csum
./dpip tunnel add mode ipip t6 local 2001:db8:100::1 remote 2001:db8:100::50
./dpip addr add 10.50.1.1/24 dev gre1
./dpip addr add 10.50.2.1/24 dev ipip1
./dpip addr add 10.50.3.1/24 dev gre2
./dpip addr add 10.50.4.1/24 dev gre6
./dpip addr add 10.50.5.1/24 dev t6
./dpip addr add 2001:db8:50:1::1/64 dev gre1
./dpip addr add 2001:db8:50:4::1/64 dev gre6
./dpip addr add 2001:db8:50:5::1/64 dev t6

./ipvsadm -A -s rr -H proto=tcp,src-range=10.50.0.0-10.50.255.255,oif=dpdk1
./ipvsadm -a -H proto=tcp,src-range=10.50.0.0-10.50.255.255,oif=dpdk1 -r 123.1.2.3:0 -w 100 -J
./ipvsadm -A -s rr -H proto=icmp,src-range=10.50.1.0-10.50.1.255,iif=gre1
./ipvsadm -a -H proto=icmp,src-range=10.50.1.0-10.50.1.255,iif=gre1 -r 123.1.2.3:0 -w 100 -J
./ipvsadm -A -s rr -H proto=tcp,src-range=[2001:db8:50::-2001:db8:50:ffff::],oif=dpdk1
./ipvsadm -a -H proto=tcp,src-range=[2001:db8:50::-2001:db8:50:ffff::],oif=dpdk1 -r [2001:db8:10::3]:0 -w 100 -J
`

// branchGuest is the branch: a namespace of the guest with the other ends. Each inside
// address goes out by its own tunnel.
const branchGuest = `set -e
export -f modprobe
for m in ip_gre ipip ip6_gre ip6_tunnel; do modprobe $m; done
ip netns add branch
ip link set vec6 netns branch
ip netns exec branch bash -e <<'END'
	ip link set lo up
	ip link set vec6 up
	ip addr add 192.168.100.50/24 dev vec6
	ip addr add 2001:db8:100::50/64 dev vec6 nodad
	ip tunnel add wgre1 mode gre local 192.168.100.50 remote 192.168.100.1 key 7 csum ttl 64
	ip tunnel add wipip1 mode ipip local 192.168.100.50 remote 192.168.100.1
	ip tunnel add wgre2 mode gre local 192.168.100.50 remote 192.168.100.1 seq ttl 64
	ip -6 tunnel add wgre6 mode ip6gre local 2001:db8:100::50 remote 2001:db8:100::1 ikey 8 okey 9 csum encaplimit none
	ip -6 tunnel add wt6 mode any local 2001:db8:100::50 remote 2001:db8:100::1 encaplimit none
	n=0
	for dev in wgre1 wipip1 wgre2 wgre6 wt6; do
		n=$((n+1))
		ip link set $dev up
		ip addr add 10.50.$n.2/24 dev $dev
		ip addr add 2001:db8:50:$n::2/64 dev $dev nodad || true
		ip rule add from 10.50.$n.2 table $n
		ip route add default dev $dev table $n advmss 1460
		ip -6 rule add from 2001:db8:50:$n::2 table $n
		ip -6 route add default dev $dev table $n advmss 1440 || true
	done
	sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
	mkdir /run/www
	echo inside >/run/www/name
	cd /run/www
	python3 -m http.server 8080 >/dev/null 2>&1 &
END
`

var branch = serversOf(branchGuest)

// tunnelSort is a tunnel of the branch.
type tunnelSort struct {
	name string
	n    int // of its inside network
	v6   bool
	mtu  int
}

// TestSNATGRE: hosts behind a real kernel's tunnels go out through SNAT, of every sort,
// with keys, checksums and sequence numbers; with all that a path MTU needs; both workers
// share what comes by one tunnel; and full-NAT reaches a real server beyond one.
func TestSNATGRE(t *testing.T) {
	guest, err := branch()
	if err != nil {
		t.Fatal(err)
	}
	s := setup{driver: "afxdp", mode: "native", workers: 2, queues: 2}
	d := newDirector(t, s)
	d.tunnelOutside()
	t.Cleanup(func() { guest.Unplug(6) })
	if err := errors.Join(guest.Plug(6, d.net.LAN, "branch"), d.net.LAN.Attach("branch", "switch")); err != nil {
		t.Fatal(err)
	}
	d.quietly(snatGRE)
	b := &branchBed{director: d, guest: guest}
	b.in("ip neigh flush all; ip route flush cache; ip -6 route flush cache")
	b.lists()
	for _, s := range []tunnelSort{
		{"gre1", 1, false, 1468}, {"ipip1", 2, false, 1480}, {"gre2", 3, false, 1472}, {"gre6", 4, false, 1448}, {"t6", 5, false, 1460},
		{"gre1", 1, true, 1468}, {"gre6", 4, true, 1448}, {"t6", 5, true, 1460},
	} {
		t.Run(fmt.Sprintf("%s inside IPv%d", s.name, map[bool]int{false: 4, true: 6}[s.v6]), func(t *testing.T) { b.as(t).goesOut(s) })
	}
	t.Run("ping", func(t *testing.T) {
		b := b.as(t)
		b.in("ping -c 3 -i 0.2 -W 5 -I 10.50.1.2 " + internet)
		b.in("ping -c 2 -i 0.2 -W 5 -I 10.50.4.2 10.50.4.1")
		b.in("ping -c 2 -i 0.2 -W 5 -I 2001:db8:50:5::2 2001:db8:50:5::1")
	})
	t.Run("both workers", func(t *testing.T) { b.as(t).bothWorkers() })
	t.Run("full-NAT", func(t *testing.T) { b.as(t).fullNAT() })
	t.Run("restored", func(t *testing.T) { b.as(t).restored() })
	t.Run("another key", func(t *testing.T) { b.as(t).anotherKey() })
	t.Run("swapped", func(t *testing.T) { b.as(t).swapped() })
}

type branchBed struct {
	*director
	guest *uml.Guest
}

func (b *branchBed) as(t *testing.T) *branchBed { return &branchBed{b.director.as(t), b.guest} }

// in runs a script in the branch.
func (b *branchBed) in(script string) string {
	b.t.Helper()
	out, err := b.guest.Run(within(b.t, patience), "ip netns exec branch bash -e <<'END'\n"+script+"\nEND")
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// tunnelOutside is outside, of both families, with something large to fetch.
func (d *director) tunnelOutside() {
	d.t.Helper()
	www := d.path("www")
	big := strings.Repeat("0123456789abcdef", 20000)
	if err := errors.Join(os.MkdirAll(www, 0o755), os.WriteFile(filepath.Join(www, "big"), []byte(big), 0o644)); err != nil {
		d.t.Fatal(err)
	}
	d.scriptIn(d.client(), "ip addr add 123.1.2.1/24 dev eth0\nip addr add "+internet+"/32 dev lo")
	d.nginxWith(d.client(), `server {
        listen 80;
        listen [::]:80;
        root `+www+`;
        location / { return 200 "Your ip:port : $remote_addr:$remote_port\n"; }
        location /big { }
    }`)
	d.listening(d.client(), "127.0.0.1:80")
	d.listening(d.client(), "[::1]:80")
}

func (b *branchBed) lists() {
	b.t.Helper()
	b.prints(map[string]string{
		"./dpip tunnel show": `gre1:  gre remote 192.168.100.50 local 192.168.100.1 dev dpdk0 ttl inherit i_flags 0x5 o_flags 0x5 i_key 0x7 o_key 0x7
ipip1: ipip remote 192.168.100.50 local 192.168.100.1 ttl inherit
gre2:  gre remote 192.168.100.50 local 192.168.100.1 ttl 9 tos inherit i_flags 0x8 o_flags 0x8
gre6:  gre remote 2001:db8:100::50 local 2001:db8:100::1 ttl inherit i_flags 0x5 o_flags 0x5 i_key 0x9 o_key 0x8
t6: ipip remote 2001:db8:100::50 local 2001:db8:100::1 ttl inherit
`})
	if out := b.do("./dpip link show gre1"); !strings.Contains(out, ": gre1: socket 0 mtu 1468 ") || !strings.Contains(out, "UP ") {
		b.t.Errorf("link show gre1 printed\n%s", out)
	}
}

// goesOut fetches a page, and something large, that servers send in packets that are too
// long for the tunnel until the director tells them: hosts say that they take 1500 bytes.
func (b *branchBed) goesOut(s tunnelSort) {
	from, to, as := fmt.Sprintf("10.50.%d.2", s.n), internet, "123.1.2.3:"
	if s.v6 {
		from, to, as = fmt.Sprintf("2001:db8:50:%d::2", s.n), "["+netns.ClientAddr6.Addr().String()+"]", "2001:db8:10::3:"
	}
	tooBig := b.stat("ip_too_big")
	if out := b.in("curl -sS --max-time 20 --interface " + from + " http://" + to); !strings.HasPrefix(out, "Your ip:port : "+as) {
		b.t.Errorf("curl printed %q", out)
	}
	if out := b.in("curl -sS --max-time 20 --interface " + from + " http://" + to + "/big | wc -c"); strings.TrimSpace(out) != "320000" {
		b.t.Errorf("fetched %q bytes, want 320000", out)
	}
	if b.stat("ip_too_big") == tooBig {
		b.t.Error("no packet was too long for the tunnel: this shows nothing")
	}
	if out := b.run(b.client(), "ip route get "+strings.TrimSuffix(as, ":")); !strings.Contains(out, fmt.Sprintf(" mtu %d ", s.mtu)) {
		b.t.Errorf("the server was told of another MTU than %d: %s", s.mtu, out)
	}
	b.run(b.client(), "ip route flush cache")
	b.run(b.client(), "ip -6 route flush cache")
}

// bothWorkers: one tunnel, all of whose packets come in one queue. What no service wants is
// counted where it is found out.
func (b *branchBed) bothWorkers() {
	before := b.noListener()
	b.in("for i in $(seq 32); do echo x >/dev/udp/10.50.1.1/$((4000+i)); done")
	eventually(b.t, "both workers took some of 32 flows of one tunnel", func() bool {
		after := b.noListener()
		return after[0] > before[0] && after[1] > before[1] && after[0]+after[1] >= before[0]+before[1]+32
	})
}

// noListener is how often each worker had no use for a packet to the director.
func (b *branchBed) noListener() (n [2]uint64) {
	b.t.Helper()
	var stats struct {
		Drops []struct {
			Reason   string
			ByWorker []uint64 `json:"by_worker"`
		}
	}
	if err := json.Unmarshal([]byte(b.do("./weir stats --json")), &stats); err != nil {
		b.t.Fatal(err)
	}
	for _, d := range stats.Drops {
		if d.Reason == "ip_no_listener" {
			copy(n[:], d.ByWorker)
		}
	}
	return n
}

// fullNAT reaches a real server beyond a tunnel, in which the local address is. The
// tutorial warns of that.
func (b *branchBed) fullNAT() {
	b.quietly(`
./dpip addr add 123.1.2.100/32 dev dpdk1
./ipvsadm -A -t 123.1.2.100:80 -s rr
./ipvsadm -a -t 123.1.2.100:80 -r 10.50.1.2:8080 -b
./ipvsadm -a -t 123.1.2.100:80 -r 10.50.5.2:8080 -b
./ipvsadm --add-laddr -z 10.50.1.200 -t 123.1.2.100:80 -F gre1
./ipvsadm --add-laddr -z 10.50.5.200 -t 123.1.2.100:80 -F t6
`)
	b.in("ip route replace 10.50.5.200 dev wt6; ip rule add to 10.50.0.0/16 table main pref 10")
	defer b.in("ip rule del pref 10")
	for range 4 {
		if out := b.run(b.client(), "curl -sS --max-time 20 http://123.1.2.100/name"); out != "inside\n" {
			b.t.Errorf("curl printed %q", out)
		}
	}
}

// restored takes all away and back from what was saved.
func (b *branchBed) restored() {
	saved := b.do("./ipvsadm -S")
	for _, dev := range []string{"gre1", "t6"} {
		if a := b.try("./dpip tunnel del " + dev); a.code == 0 {
			b.t.Errorf("%s went while local addresses and matches need it", dev)
		}
	}
	b.do("./ipvsadm -C")
	for _, dev := range []string{"gre1", "ipip1", "gre2", "gre6", "t6"} {
		b.do("./dpip tunnel del " + dev)
	}
	if out := b.do("./dpip tunnel show") + b.do("./dpip -4 addr show dev dpdk0"); strings.Contains(out, "10.50.") {
		b.t.Errorf("left: %s", out)
	}
	if a := b.tryWith(saved, "./ipvsadm", "-R"); a.code != 0 {
		b.t.Fatalf("-R: %+v", a)
	}
	// What was on other devices stayed, and so stands before what came back.
	if again := b.do("./ipvsadm -S"); !slices.Equal(slices.Sorted(strings.Lines(again)), slices.Sorted(strings.Lines(saved))) {
		b.t.Errorf("saved\n%s\nbecame\n%s", saved, again)
	}
	b.goesOut(tunnelSort{"gre1", 1, false, 1468})
}

// swapped has two tunnels take each other's ends, which one line alone can't.
func (b *branchBed) swapped() {
	b.quietly("./dpip tunnel add a mode gre remote 192.168.100.61\n./dpip tunnel add b mode gre remote 192.168.100.62")
	if a := b.try("./dpip tunnel change a remote 192.168.100.62"); a.code == 0 || !strings.Contains(a.stderr, "already exist: b is the gre tunnel") {
		b.t.Errorf("a is where b is: %+v", a)
	}
	if a := b.tryWith("dpip tunnel change a remote 192.168.100.62\ndpip tunnel change b remote 192.168.100.61\n", "./ipvsadm", "-R"); a.code != 0 {
		b.t.Errorf("-R: %+v", a)
	}
	b.prints(map[string]string{
		"./dpip tunnel show a": "a:  gre remote 192.168.100.62 local any ttl inherit\n",
		"./dpip tunnel show b": "b:  gre remote 192.168.100.61 local any ttl inherit\n",
	})
	b.quietly("./dpip tunnel del a\n./dpip tunnel del b")
}

// anotherKey changes the director's end alone.
func (b *branchBed) anotherKey() {
	before := b.stat("tunnel_key")
	b.do("./dpip tunnel change gre1 key 8 csum")
	if _, err := b.guest.Run(within(b.t, patience), "ip netns exec branch ping -c 1 -W 1 -I 10.50.1.2 10.50.1.1"); err == nil {
		b.t.Error("an answer came")
	}
	b.counted("tunnel_key", before)
	b.do("./dpip tunnel change gre1 key 7 csum")
	b.in("ping -c 1 -W 5 -I 10.50.1.2 10.50.1.1")
}

package e2e

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// window is how long TestKeepalivedThousandServers measures each checker.
var window = flag.Duration("keepalived.window", 6*time.Second, "how long to measure keepalived for")

// cpuTime is what a process has used of the CPUs, in user and kernel mode (proc(5), stat).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name, in parentheses, may have spaces.
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	ticks := 0
	for _, i := range []int{11, 12} { // utime, stime
		n, err := strconv.Atoi(f[i])
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100
}

// TestKeepalivedThousandServers runs the whole program with 1,000 real servers behind a
// real director, each asked every 3 s, and prints what part of a core that costs it. What
// is held to is a multiple of that: the machine has other things to do.
//
//	go test ./e2e -run KeepalivedThousandServers -v -keepalived.window 30s
func TestKeepalivedThousandServers(t *testing.T) {
	t.Parallel()
	const servers, groups, loop = 1000, 10, 3
	d := newKeepalivedBed(t, drivers[0])
	rs := d.rs(1)
	// All of 10.66.0.0/16 is the first real server.
	d.run(rs, "ip route add local 10.66.0.0/16 dev lo")
	d.linux("ip route add 10.66.0.0/16 via 192.168.100.2 dev dpdk0.kni")
	d.do("./dpip route add 10.66.0.0/16 via 192.168.100.2 dev dpdk0")
	cert, key := d.certificate("load", "192.168.100.2", time.Now().Add(time.Hour))
	d.nginxWith(rs, fmt.Sprintf("server {\n listen 80 backlog=4096;\n listen 443 ssl backlog=4096;\n ssl_certificate %s;\n ssl_certificate_key %s;\n ssl_session_cache shared:a:1m;\n location / { return 200 well; }\n }", cert, key))
	d.listening(rs, "127.0.0.1:80")
	for _, kind := range []struct {
		name, checker string
		most          float64 // % of a core, on a machine that does much else
	}{
		{"TCP_CHECK", "TCP_CHECK {\n %s }\n", 30},
		{"HTTP_GET", "HTTP_GET {\n url {\n path /\n status_code 200\n }\n %s }\n", 30},
		{"SSL_GET", "SSL_GET {\n url {\n path /\n status_code 200\n }\n connect_port 443\n %s }\n", 80},
	} {
		var file strings.Builder
		file.WriteString("local_address_group l {\n 192.168.100.200 dpdk0\n}\n")
		for g := range groups {
			fmt.Fprintf(&file, "virtual_server 192.168.100.254 %d {\n protocol TCP\n lb_algo rr\n lb_kind FNAT\n laddr_group_name l\n delay_loop %d\n alpha\n", 8000+g, loop)
			for i := range servers / groups {
				n := g*servers/groups + i
				fmt.Fprintf(&file, "real_server 10.66.%d.%d 80 {\n weight 1\n %s }\n", n/250, n%250+1, fmt.Sprintf(kind.checker, "connect_timeout 2\n retry 1\n delay_before_retry 1\n"))
			}
			file.WriteString("}\n")
		}
		k := d.keepalived(file.String())
		all := func() int { return strings.Count(d.do("./ipvsadm -ln"), "  -> 10.66.") }
		eventually(t, "all servers are found well", func() bool { return all() == servers })
		weir, ours := d.daemon.PID(), k.process.PID()
		begin, before, director := time.Now(), cpuTime(t, ours), cpuTime(t, weir)
		<-time.After(*window)
		took := time.Since(begin)
		share := func(d time.Duration) float64 { return 100 * d.Seconds() / took.Seconds() }
		used := share(cpuTime(t, ours) - before)
		t.Logf("%s: %d servers, every %d s: keepalived takes %.1f %% of a core, %.0f µs a check; the director %.1f %%",
			kind.name, servers, loop, used, used*1e4*loop/servers, share(cpuTime(t, weir)-director))
		if n := all(); n != servers {
			t.Errorf("%s: %d of %d servers are well", kind.name, n, servers)
		}
		if used > kind.most {
			t.Errorf("%s takes %.0f %% of a core, want less than %.0f", kind.name, used, kind.most)
		}
		if err := k.process.Stop(within(t, patience)); err != nil {
			t.Error(err)
		}
	}
}

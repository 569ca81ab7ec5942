package ipvsadm

import (
	"strings"
	"testing"
)

func TestAccessLists(t *testing.T) {
	c := start(t, &fake{})
	must(t, c, "-A -u 10.0.0.9:53", "-A -t 10.0.0.100:80",
		"-U -u 10.0.0.9:53 -k 1.2.3.4", "--add-blklst -t 10.0.0.100:80 --blklst 1.2.3.5", "-U -t 10.0.0.100:80 -k 1.2.3.4", "-U -t 10.0.0.100:80 -k 1.2.3.9",
		"-V -t 10.0.0.100:80 -k 1.2.3.9", "-O -t 10.0.0.100:80 -2 1.2.3.6", "-Ot 10.0.0.100:80 -2 1.2.3.7", "--del-whtlst -t 10.0.0.100:80 --whtlst 1.2.3.6")
	for _, tc := range []struct{ line, want string }{
		{"-B", `PROTO    VIP:VPORT                      BLACKLIST
TCP      10.0.0.100:80                  1.2.3.5
TCP      10.0.0.100:80                  1.2.3.4
UDP      10.0.0.9:53                    1.2.3.4
`},
		{"--get-blklst -u 10.0.0.9:53", `PROTO    VIP:VPORT                      BLACKLIST
UDP      10.0.0.9:53                    1.2.3.4
`},
		{"-W", `PROTO    VIP:VPORT                      WHITELIST
TCP      10.0.0.100:80                  1.2.3.7
`},
	} {
		if r := run(t, c, "", strings.Fields(tc.line)...); r != (result{tc.want, "", 0}) {
			t.Errorf("%s: exit %d: %s\ngot\n%s\nwant\n%s", tc.line, r.exit, r.stderr, r.stdout, tc.want)
		}
	}
	if r := run(t, c, "", "-U", "-t", "10.0.0.100:80", "-k", "1.2.3.5"); r != (result{"", "address already exists: 1.2.3.5\n", 253}) {
		t.Errorf("twice: %+v", r)
	}
	if r := run(t, c, "", "-B", "-t", "10.0.0.100:81"); r != (result{"", "there is no service tcp 10.0.0.100:81\n", 252}) {
		t.Errorf("no service: %+v", r)
	}
}

func TestAccessLists6(t *testing.T) {
	c := start(t, &fake{})
	must(t, c, "-A -t [2001:db8::100]:80", "-A -t 10.0.0.100:80", "-U -t [2001:db8::100]:80 -k 2001:DB8:0::9", "-O -t [2001:db8::100]:80 -2 fe80::9", "-U -t 10.0.0.100:80 -k 1.2.3.4")
	const blacklists = `PROTO    VIP:VPORT                      BLACKLIST
TCP      10.0.0.100:80                  1.2.3.4
TCP      [2001:db8::100]:80             2001:db8::9
`
	if r := run(t, c, "", "-B"); r != (result{blacklists, "", 0}) {
		t.Errorf("-B: %+v", r)
	}
	must(t, c, "-Y -t [2001:db8::100]:80 -2 fe80::9", "-V -t [2001:db8::100]:80 -k 2001:db8::9")
}

func TestTimeouts(t *testing.T) {
	f := &fake{}
	c := start(t, f)
	must(t, c, "--set 0 120 0")
	if r := run(t, c, "", "-l", "--timeout"); r != (result{"Timeout (tcp tcpfin udp): 900 120 300\n", "", 0}) {
		t.Errorf("%+v", r)
	}
}

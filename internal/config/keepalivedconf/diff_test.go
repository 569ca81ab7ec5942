package keepalivedconf

import (
	"fmt"
	"strings"
	"testing"
)

// told writes changes the way the test below names them.
func told(c Changes) string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, vs := range c.Added {
		add("+%s", vs.Key())
	}
	for _, vs := range c.Removed {
		add("-%s", vs.Key())
	}
	for _, ch := range c.Changed {
		add("~%s settings=%v", ch.New.Key(), ch.Settings)
		for _, rs := range ch.Added {
			add("+%s", rs.Addr)
		}
		for _, rs := range ch.Removed {
			add("-%s", rs.Addr)
		}
		for _, rc := range ch.Changed {
			add("~%s settings=%v checkers=%v", rc.New.Addr, rc.Settings, rc.Checkers)
		}
	}
	for what, is := range map[string]bool{"groups": c.Groups && !c.Global, "global": c.Global && !c.Groups} {
		if is {
			add("%s", what)
		}
	}
	if c.Instances {
		add("instances")
	}
	if c.Stock {
		add("stock")
	}
	return strings.Join(out, " ")
}

func TestDiff(t *testing.T) {
	base := "local_address_group g {\n10.0.0.9 dpdk0\n}\nvrrp_instance v {\ninterface e\ndpdk_interface dpdk0\nvirtual_ipaddress {\n10.0.0.1\n}\n}\n" +
		server("real_server 10.0.0.2 80 {\nTCP_CHECK {\nretry 3\n}\n}\nreal_server 10.0.0.3 80 { }")
	tests := []struct{ name, from, to, want string }{
		{"nothing", "", "", ""},
		{"a line moved", "protocol TCP\nlb_algo rr", "lb_algo rr # x\nprotocol TCP", ""},
		{"address moved", "virtual_server 10.0.0.1 80", "virtual_server 10.0.0.4 80", "+TCP 10.0.0.4:80 -TCP 10.0.0.1:80"},
		{"scheduler", "lb_algo rr", "lb_algo wrr", "~TCP 10.0.0.1:80 settings=true"},
		{"real server moved", "real_server 10.0.0.3", "real_server 10.0.0.4", "~TCP 10.0.0.1:80 settings=false +10.0.0.4:80 -10.0.0.3:80"},
		{"weight", "10.0.0.3 80 {", "10.0.0.3 80 {\nweight 3\n", "~TCP 10.0.0.1:80 settings=false ~10.0.0.3:80 settings=true checkers=false"},
		{"checker", "retry 3", "retry 4", "~TCP 10.0.0.1:80 settings=false ~10.0.0.2:80 settings=false checkers=true"},
		{"inherited by a checker", "lb_kind FNAT", "lb_kind FNAT\ndelay_loop 2", "~TCP 10.0.0.1:80 settings=false ~10.0.0.2:80 settings=false checkers=true"},
		{"group", "10.0.0.9 dpdk0", "10.0.0.8 dpdk0", "groups"},
		{"global", "local_address_group g", "global_defs {\nlvs_flush\n}\nlocal_address_group g", "global stock"},
		{"port of an instance", "dpdk_interface dpdk0", "dpdk_interface dpdk1", "instances stock"},
		{"VIP", "{\n10.0.0.1\n", "{\n10.0.0.5\n", "instances stock"},
		{"priority", "interface e\n", "interface e\npriority 9\n", "stock"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			old, _, err := ParseBytes("f", []byte(base), "")
			if err != nil {
				t.Fatal(err)
			}
			changed, _, err := ParseBytes("f", []byte(strings.Replace(base, tt.from, tt.to, 1)), "")
			if err != nil {
				t.Fatal(err)
			}
			c := Diff(old, changed)
			if got := told(c); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			if c.Empty() != (tt.want == "") {
				t.Errorf("Empty is %v", c.Empty())
			}
		})
	}
}

package keepalivedconf

import (
	"fmt"
	"strings"
	"testing"
)

// TestRoutes: what is on a port of Weir is Weir's and not stock's, and the other way round.
func TestRoutes(t *testing.T) {
	cfg, _, err := ParseBytes("f", []byte(`
local_address_group l {
 192.168.100.200 dpdk1
}
static_ipaddress {
 10.9.0.1/24 dev dpdk0
 10.9.0.2/24 dev eth0
 2001:db8::9 dev dpdk1
}
static_routes {
 10.8.0.0/16 via 10.9.0.254 dev dpdk0 metric 7 mtu 1400
 default via 2001:db8::1 dev dpdk1 src 2001:db8::9
 10.7.0.0/16 dev dpdk1
 10.6.0.0/16 dev eth0
 default via 10.9.0.253 dev dpdk0.kni
}
vrrp_instance A {
 interface dpdk0.kni
 dpdk_interface dpdk0
 virtual_ipaddress {
  10.0.0.1
 }
 virtual_routes {
  10.5.0.1/16 via inet 10.0.0.2
  10.4.0.0/16 via 10.0.0.2 dev dpdk0.kni
  10.3.0.0/16 dev dpdk1 scope host
 }
}
vrrp_instance B {
 interface eth0
 virtual_routes {
  10.2.0.0/16 dev eth0
 }
}
`), "")
	if err != nil {
		t.Fatal(err)
	}
	want := `static [{dpdk0 10.9.0.1/24} {dpdk1 2001:db8::9/128}]
routes 10.8.0.0/16 via 10.9.0.254 dev dpdk0 src invalid IP global 7 1400, ::/0 via 2001:db8::1 dev dpdk1 src 2001:db8::9 global 0 0, 10.7.0.0/16 via invalid IP dev dpdk1 src invalid IP link 0 0
A 10.5.0.0/16 via 10.0.0.2 dev dpdk0 src invalid IP global 0 0, 10.3.0.0/16 via invalid IP dev dpdk1 src invalid IP host 0 0
B `
	var got strings.Builder
	fmt.Fprintf(&got, "static %v", cfg.StaticAddresses)
	list := func(name string, n int) {
		fmt.Fprintf(&got, "\n%s ", name)
		routes := cfg.StaticRoutes
		if n >= 0 {
			routes = cfg.Instances[n].Routes
		}
		for i, r := range routes {
			if i > 0 {
				got.WriteString(", ")
			}
			fmt.Fprintf(&got, "%s via %s dev %s src %s %s %d %d", r.Prefix, r.Via, r.Port, r.Src, r.Scope, r.Metric, r.MTU)
		}
	}
	list("routes", -1)
	list("A", 0)
	list("B", 1)
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
	for text, stock := range map[string]bool{
		"10.9.0.1/24": false, "10.9.0.2/24 dev eth0": true, "10.8.0.0": false, "10.7.0.0": false, "10.6.0.0/16 dev eth0": true,
		"10.9.0.253 dev dpdk0.kni": true, "10.5.0.1": false, "10.4.0.0/16": true, "10.3.0.0": false, "10.2.0.0/16": true,
	} {
		if strings.Contains(cfg.Stock, text) != stock {
			t.Errorf("stock has %s: %v\n%s", text, !stock, cfg.Stock)
		}
	}
	for text, line := range map[string]string{
		"10.8.0.0/16 via 10.9.0.x dev dpdk1":         "via is not understood",
		"10.8.0.0/16 dev dpdk1 table 7":              "table is not understood",
		"10.8.0.0/16 10.7.0.0/16 dev dpdk1":          "10.7.0.0/16 is not understood",
		"to dev dpdk1":                               "has no prefix",
		"10.8.0.0/16 dev dpdk1 scope site":           "scope is not understood",
		"10.8.0.0/16 dev dpdk1 metric 99999999999":   "metric is not understood",
		"10.8.0.0/16 dev dpdk1 mtu lock much metric": "mtu is not understood",
	} {
		_, _, err := ParseBytes("f", []byte("local_address_group l {\n 10.1.1.1 dpdk1\n}\nstatic_routes {\n "+text+"\n}\n"), "")
		if err == nil || !strings.HasPrefix(err.Error(), "f:5: route of port dpdk1") || !strings.Contains(err.Error(), line) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

package e2e

import (
	"encoding/json"
	"testing"
)

// offloadReport is what `weir offload --json` prints, as far as we look.
type offloadReport struct {
	Running   bool
	Why       string
	ByXDP     int `json:"by_xdp"`
	ByWorkers int `json:"by_workers"`
	Ports     []offloadReportPort
}

type offloadReportPort struct {
	Port                       string
	NotTaken                   string `json:"not_taken"`
	NotSent                    string `json:"not_sent"`
	Taken, Sent, Full, Refused int
	Passed                     map[string]int
}

func (d *director) offload() (r offloadReport) {
	d.t.Helper()
	out := d.do("./weir offload --json")
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		d.t.Fatalf("weir offload --json printed %q: %v", out, err)
	}
	return r
}

func (r *offloadReport) port(name string) offloadReportPort {
	for _, p := range r.Ports {
		if p.Port == name {
			return p
		}
	}
	return offloadReportPort{}
}

// ready makes the other ends of a director's cables such as a card would be: they take
// frames from XDP, and send whole checksums.
func (d *director) likeCards() {
	d.t.Helper()
	d.run(d.client(), "ethtool -K eth0 gro on tx off")
	d.run(d.net.LAN, "ethtool -K weir gro on")
	for _, rs := range d.net.Servers {
		d.run(rs, "ethtool -K eth0 tx off")
	}
}

// TestOffload carries the tutorial's full-NAT with the XDP engine.
func TestOffload(t *testing.T) {
	d := newDirector(t, setup{driver: "afxdp", mode: "native", workers: 1, queues: 1, conf: "global_defs { offload on }"})
	d.likeCards()
	eventually(t, "the engine may send by both ports", func() bool {
		r := d.offload()
		return r.Running && r.port("dpdk0").NotSent == "" && r.port("dpdk1").NotSent == ""
	})
	for _, rs := range d.net.Servers {
		d.nginx(rs)
	}
	d.iperf3(d.rs(1))
	d.script(tutorial)
	d.serviceOn("t", 5201, 1)
	c := cell{d.setup, amount{kept: 20_000}}
	roleOf[loadResult](d.bed, d.client(), "http-load 10.0.0.100:80 %d 64 kept", c.kept).ok(t, c.kept)
	d.iperf(t)
	t.Log(d.do("./weir offload"))
	t.Log(d.do("./weir stats"))
	t.Log(d.do("./ipvsadm -ln --stats"))
	t.Log(d.log)
	r := d.offload()
	if r.ByXDP < 4*r.ByWorkers {
		t.Errorf("XDP forwarded %d packets and the workers %d", r.ByXDP, r.ByWorkers)
	}
}

package e2e

import (
	"encoding/json"
	"fmt"
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

func (r offloadReport) port(name string) offloadReportPort {
	for _, p := range r.Ports {
		if p.Port == name {
			return p
		}
	}
	return offloadReportPort{}
}

// likeCards makes the other ends of a director's cables such as a card would be: they take
// frames from XDP, and send whole checksums.
func (d *director) likeCards() {
	d.t.Helper()
	d.run(d.client(), "ethtool -K eth0 gro on tx off")
	d.run(d.net.LAN, "ethtool -K weir gro on")
	for _, rs := range d.net.Servers {
		d.run(rs, "ethtool -K eth0 tx off")
	}
}

// sendsByXDP waits until the engine may send by both ports, or by neither.
func (d *director) sendsByXDP(port string, yes bool) (r offloadReport) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("the engine sends by %s: %t", port, yes), func() bool {
		r = d.offload()
		return r.Running && (r.port(port).NotSent == "") == yes
	})
	return r
}

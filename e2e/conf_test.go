package e2e

import (
	"fmt"
	"strings"
)

// conf writes dpvs.conf for a setup.
func (d *director) conf() string {
	var b strings.Builder
	b.WriteString("global_defs {\n    log_level INFO\n")
	switch d.setup.offload {
	case "":
		b.WriteString("    offload off\n")
	case "unsaid":
	default:
		b.WriteString("    offload " + d.setup.offload + "\n")
	}
	b.WriteString("}\n\nnetif_defs {\n")
	for _, port := range d.ports {
		link := d.linkOf(port)
		driver, mode := d.setup.driver, d.setup.mode
		if port == "dpdk0" && d.setup.lanDriver != "" {
			driver, mode = d.setup.lanDriver, ""
		}
		fmt.Fprintf(&b, "    <init> device %s {\n        driver %s\n", port, driver)
		if mode != "" {
			fmt.Fprintf(&b, "        xdp_mode %s\n", mode)
		}
		if link != port {
			fmt.Fprintf(&b, "        interface %s\n", link)
		}
		for _, way := range []string{"rx", "tx"} {
			fmt.Fprintf(&b, "        %s {\n            queue_number %d\n        }\n", way, d.setup.queues)
		}
		b.WriteString("    }\n")
	}
	if d.setup.bond != "" {
		b.WriteString("    <init> bonding bond0 {\n        slave dpdk0\n        slave dpdk1\n" + d.setup.bond + "\n    }\n")
	}
	b.WriteString("}\n\nworker_defs {\n")
	// The control side gets a CPU id behind the workers': those of a machine with
	// two cores are the workers'.
	fmt.Fprintf(&b, "    <init> worker control {\n        type master\n        cpu_id %d\n    }\n", d.setup.workers)
	for w := range d.setup.workers {
		fmt.Fprintf(&b, "    <init> worker %s {\n        type slave\n        cpu_id %d\n", workerName(w), w)
		for p, port := range d.served() {
			if d.setup.apart && p != w {
				continue
			}
			ids := d.queuesOf(w)
			fmt.Fprintf(&b, "        port %s {\n            rx_queue_ids %s\n            tx_queue_ids %s\n        }\n", port, ids, ids)
		}
		b.WriteString("    }\n")
	}
	b.WriteString("}\n")
	if !strings.Contains(d.setup.conf, "conn_pool_size") {
		// Of the default's memory, whose pages are written to ahead, the next test's
		// processor would pay for.
		b.WriteString("ipvs_defs {\n    conn {\n        conn_pool_size 262144\n    }\n}\n")
	}
	b.WriteString(d.setup.conf)
	return b.String()
}

// served are the ports that workers name.
func (d *director) served() []string {
	if d.setup.bond == "" {
		return d.ports
	}
	return append([]string{"bond0"}, d.ports[2:]...)
}

func workerName(i int) string { return fmt.Sprintf("worker%d", i) }

// queuesOf returns the queues that a worker serves, of each port it serves.
func (d *director) queuesOf(worker int) string {
	var ids []string
	for q := range d.setup.queues {
		if d.setup.apart || q%d.setup.workers == worker {
			ids = append(ids, fmt.Sprint(q))
		}
	}
	return strings.Join(ids, " ")
}

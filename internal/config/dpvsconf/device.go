package dpvsconf

import (
	"strings"

	"weir/internal/config/block"
	"weir/internal/spec"
)

// Bounds of a device block.
const (
	maxName         = 15 // of a Linux interface (IFNAMSIZ - 1)
	maxQueues       = 16
	minDesc         = 16
	maxDesc         = 8192
	minMTU, maxMTU  = 68, 9000 // RFC 791, 3.2: every link carries 68 bytes
	maxDevices      = 64       // ports of a director
	suffixOfKNI     = ".kni"
	defaultOfQueues = "as many as the interface has"

	maxPollBudget                    = 1024
	maxDeferHardIRQs                 = 1000
	minFlushTimeout, maxFlushTimeout = 10_000, 10_000_000 // ns: a timer's least use, and a hundredth of a second
)

// device reads a device block: a port.
func (r *reader) device(n *block.Node, name string) {
	if !r.interfaceName(n.Pos, "device", name) {
		return
	}
	if before, again := r.devices[name]; again {
		r.errorf(n.Pos, "device %s is already at %s: give each device one block", name, before.pos)
		return
	}
	d := spec.Device{
		Name: name, Interface: name, Driver: spec.DriverAuto, XDPMode: spec.XDPAuto, NAPI: spec.DefaultNAPI(),
		RxDesc: DefaultRxDesc, TxDesc: DefaultTxDesc, KNIName: name + suffixOfKNI,
	}
	rings := func(read rule) rule { return read }
	if strings.EqualFold(lastSaid(n, "driver"), string(spec.DriverAFPacket)) {
		rings = func(read rule) rule { return r.without(read, "packet sockets have no rings of its size") }
	}
	r.read("device "+name, n.Block, rules{
		"interface":    r.interfaceNamed(&d.Interface),
		"driver":       choice(r, &d.Driver, spec.DriverAuto, spec.DriverAFXDP, spec.DriverAFPacket),
		"xdp_mode":     choice(r, &d.XDPMode, spec.XDPAuto, spec.XDPZeroCopy, spec.XDPNative, spec.XDPGeneric),
		"rx":           r.block(r.rx(&d, rings)),
		"tx":           r.block(r.tx(&d, rings)),
		"mtu":          number(r, &d.MTU, minMTU, maxMTU, "the interface's"),
		"promisc_mode": r.flag(&d.Promisc),
		"allmulticast": r.flag(&d.AllMulticast),
		"kni_name":     r.interfaceNamed(&d.KNIName),

		"napi_busy_poll":        choice(r, &d.NAPI.BusyPoll, spec.NAPIOff, spec.NAPIAuto, spec.NAPIOn),
		"napi_busy_poll_budget": number(r, &d.NAPI.Budget, 1, maxPollBudget, "64"),
		"napi_defer_hard_irqs":  number(r, &d.NAPI.DeferHardIRQs, 1, maxDeferHardIRQs, "2"),
		"gro_flush_timeout":     number(r, &d.NAPI.FlushTimeout, minFlushTimeout, maxFlushTimeout, "200000"),
	})
	if d.NAPI.BusyPoll == spec.NAPIOff {
		r.unusedNAPI(n)
		d.NAPI = spec.NAPI{}
	}
	if r.devices == nil {
		r.devices = make(map[string]place)
	}
	r.devices[name] = place{len(r.cfg.Boot.Devices), n.Pos}
	r.cfg.Boot.Devices = append(r.cfg.Boot.Devices, d)
}

// unusedNAPI warns of numbers for busy polling where there is none.
func (r *reader) unusedNAPI(n *block.Node) {
	for i := range n.Block {
		switch c := &n.Block[i]; c.Keyword {
		case "napi_busy_poll_budget", "napi_defer_hard_irqs", "gro_flush_timeout":
			r.warnf(c.Pos, "%s is ignored: napi_busy_poll is off, and the interface keeps what it has", c.Keyword)
		}
	}
}

// lastSaid returns the value of a keyword of the block as it counts; "" if it is
// not said, or has none.
func lastSaid(n *block.Node, keyword string) (value string) {
	for i := range n.Block {
		if c := &n.Block[i]; c.Keyword == keyword && len(c.Args) > 0 {
			value = c.Args[0]
		}
	}
	return value
}

func (r *reader) rx(d *spec.Device, rings func(rule) rule) rules {
	return rules{
		"queue_number": r.queueNumber(),
		"descriptor_number": rings(func(n *block.Node) {
			number(r, &d.RxDesc, minDesc, maxDesc, "4096")(n)
			d.RxSaid = true
		}),
		"rss": r.unused("it works with whatever way the NIC spreads packets"),
	}
}

func (r *reader) tx(d *spec.Device, rings func(rule) rule) rules {
	return rules{
		"queue_number":      r.queueNumber(),
		"descriptor_number": rings(number(r, &d.TxDesc, minDesc, maxDesc, "1024")),
		"mbuf_fast_free":    r.unused(noDPDK),
	}
}

// queueNumber reads queue_number. Linux spreads packets over all queues that an
// interface has, so a queue left out would lose its share of them.
func (r *reader) queueNumber() rule {
	return r.without(number(r, new(int), 0, maxQueues, defaultOfQueues), "every queue of the interface is served; ethtool -L sets how many it has")
}

// pktPool reads pktpool_size. DPVS counts the frames of a NUMA node, Weir those
// of a worker: files written for DPVS would ask for a gigabyte per worker.
func (r *reader) pktPool(n *block.Node) {
	frames := 0
	number(r, &frames, minPktPool, maxPktPool, "16384")(n)
	if frames > capPktPool {
		r.warnf(n.Pos, "pktpool_size %d is for a NUMA node of DPVS: a worker of weir takes %d frames, its most", frames, capPktPool)
		frames = capPktPool
	}
	if frames > 0 {
		r.cfg.Boot.PktPool = frames
	}
}

// interfaceNamed reads the name of a Linux interface.
func (r *reader) interfaceNamed(dst *string) rule {
	return func(n *block.Node) {
		if v, ok := r.one(n); ok && r.interfaceName(n.Pos, n.Keyword, v) {
			*dst = v
		}
	}
}

// interfaceName checks a name by the kernel's rules.
func (r *reader) interfaceName(at block.Pos, what, name string) bool {
	switch {
	case len(name) > maxName:
		r.errorf(at, "%s %s is longer than %d bytes, the most Linux allows for an interface", what, shown(name), maxName)
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/: \t"):
		r.errorf(at, "%s %s can't be the name of an interface: use letters, digits, '.', '-' and '_'", what, shown(name))
	default:
		return true
	}
	return false
}

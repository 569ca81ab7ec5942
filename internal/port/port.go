// Package port is an interface the director drives: its facts, and the two
// batch calls through which every driver brings and takes packets.
//
// Enters: frames from the wire.
// Leaves: packets with Data and In set, and CsumPartial and GSO where known.
// Owns: a Queue is worker-owned: one worker calls it. Facts are immutable.
// Drops: what can't be received or sent, under the reasons Port* of package packet.
package port

import (
	"weir/internal/packet"
)

// Max is the greatest number of ports, and so the bound of Packet.In and Out.
const Max = 64

// Burst is the greatest number of packets one Rx or Tx call moves.
const Burst = 64

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is the Ethernet broadcast address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Kind is what a port is built on.
type Kind uint8

// The kinds.
const (
	Real   Kind = iota // a Linux interface, or a bond of several: it has queues
	VLAN               // the frames of another port that have its tag
	Tunnel             // IP packets in IP packets
)

// Facts is what is known of a port when its driver opened it. It is immutable.
type Facts struct {
	ID   uint16 // index: the device blocks in their order, bonds, then what is made at run time
	Kind Kind
	Link uint16 // of a VLAN: the port whose frames have the tag
	Tag  uint32 // of a VLAN: the tag's protocol in the upper half, the VLAN's number in the lower
	Down bool   // switched off (VLANs and tunnels; of others Linux knows)
	// PointToPoint: at the other end is one machine, so that there is nobody to ask for:
	// no ARP, no neighbour discovery.
	PointToPoint bool

	Name    string // the name in dpvs.conf, dpip and ipvsadm: dpdk0
	IfName  string // the Linux interface that is driven: eth0
	IfIndex int
	MAC     MAC
	MTU     int
	Driver  string // what the driver got, for humans: "afxdp native copy"
	// RxPartial: frames may arrive whose L4 checksum is only the pseudo-header's
	// sum without the driver knowing (AF_XDP on veth or virtio).
	RxPartial bool
	// TxCsum and TxGSO: the port completes a CsumPartial checksum, and segments
	// a GSO frame, itself.
	TxCsum, TxGSO      bool
	RxQueues, TxQueues int
	// Twin: the port has a .kni twin and Linux has it up, so that what no stage is
	// interested in is punted rather than dropped. The director's to say.
	Twin bool
}

// Queue is one receive and transmit pair of a port, in the hands of one worker.
// No call allocates, locks, logs or blocks.
type Queue interface {
	// Rx fills burst with received packets from the worker's pool, at most
	// Burst, and returns how many. The packets now belong to the caller.
	// In is set to the port's ID.
	Rx(burst []*packet.Packet) int
	// Tx takes all packets of the burst. Those that can't be sent even after a
	// try to make room are counted under their reason and freed. Frames may
	// wait for Flush.
	Tx(burst []*packet.Packet)
	// Flush makes the kernel send what Tx queued, reaps completions and
	// refills receive buffers. It is called once per breath.
	Flush()
	// FD can be polled for POLLIN when the worker is idle; -1 if there is none.
	FD() int
	// PreparePoll tells the driver that the worker is about to sleep on FD; it
	// returns false if packets are waiting and the worker must not sleep.
	PreparePoll() bool
	// Counters adds the queue's counts since it was opened to c. Called by the
	// owning worker between bursts.
	Counters(c *Counters)
	// Held is how many packets or frames of the pool the queue holds now (in
	// receive rings, transmit rings and the kernel).
	Held() int
	// Close gives everything back. Packets in flight are returned to the pool.
	Close() error
}

// Counters counts a queue's work. Drops are refusals of kernel or driver, by
// reason; they never were packets in the walk, or no longer are.
type Counters struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	Drops              [packet.NumReasons]uint64
}

// Add adds o to c.
func (c *Counters) Add(o *Counters) {
	c.RxPackets += o.RxPackets
	c.RxBytes += o.RxBytes
	c.TxPackets += o.TxPackets
	c.TxBytes += o.TxBytes
	for i, n := range o.Drops {
		c.Drops[i] += n
	}
}

package bond

import "sync/atomic"

// MaxMembers is the greatest number of members of a bond.
const MaxMembers = 16

// Mode is how members share the traffic. The numbers are Linux's and DPVS's.
type Mode uint8

// The modes that there are.
const (
	RoundRobin   Mode = 0 // each packet by the next member
	ActiveBackup Mode = 1 // one member sends and receives, the others wait
	XOR          Mode = 2 // each flow by the member that its hash says
	Broadcast    Mode = 3 // each packet by all members
	LACP         Mode = 4 // as XOR, over the members that LACP agreed on (802.3ad)
)

var modeNames = [...]string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"}

// String returns Linux's name.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return "unknown"
}

// Policy says what of a packet the member depends on, in modes XOR and LACP.
type Policy uint8

// The policies.
const (
	Layer2  Policy = iota // MACs and ethertype
	Layer23               // and IP addresses
	Layer34               // IP addresses and ports
)

var policyNames = [...]string{"layer2", "layer23", "layer34"}

// String returns DPVS's name.
func (p Policy) String() string { return policyNames[p] }

// DrainTime is how long, in milliseconds, the member that carried the traffic of
// ActiveBackup is received from after another took over: until the switches have been told,
// by announcements that wait for the director, and what they had queued has come.
const DrainTime = 1000

// Table says which members carry traffic. It is immutable once published.
type Table struct {
	Mode   Mode
	Policy Policy
	Tx     []uint8 // members that may send, in order
	Rx     uint32  // a bit for each member that may receive
	// RxOne has a bit for each member that receives what is for one machine alone: in
	// ActiveBackup the former one in use, for DrainTime; in LACP one by which the partner
	// may send already. Switches give what is for many to all members, and it comes by
	// those of Rx.
	RxOne uint32
}

// Bond is what the queues of a bond share.
type Bond struct {
	id    uint16
	table atomic.Pointer[Table]
}

// New makes a bond whose port is id. Nothing may send or receive yet.
func New(id uint16) *Bond {
	b := &Bond{id: id}
	b.Publish(&Table{})
	return b
}

// Publish puts a table in force: for each queue from its next burst on.
func (b *Bond) Publish(t *Table) { b.table.Store(t) }

// Table returns the table in force.
func (b *Bond) Table() *Table { return b.table.Load() }

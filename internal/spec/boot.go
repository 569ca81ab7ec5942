package spec

// Boot is what is fixed when the daemon starts: dpvs.conf's devices, workers
// and sizes. A reload that changes it gets a line for each change that says so,
// and the running value stays.
type Boot struct {
	Devices []Device
	Bonds   []Bond
	Workers []Worker

	ConnPool   int // greatest number of connections (conn_pool_size)
	ConnPool6  int // how many of them may be of IPv6 (conn_pool_ipv6); 0: all
	PktPool    int // packet frames for each worker (pktpool_size)
	NeighQueue int // packets that may wait for a neighbour (unres_queue_length)

	// LocalFirst and LocalLast bound the ports of local addresses (port_range);
	// 0 means 1025 and 65535.
	LocalFirst, LocalLast uint16

	Fragments Fragments // ipv4_defs { fragment }
	IPv6      IPv6      // ipv6_defs

	KNI bool // every port gets a Linux twin (kni)

	Offload Offload // whether packets are forwarded in the driver too (offload)
	// Keep is the folder of a bpffs where the flow table, and what belongs to it, outlive
	// the process, for the next one to go on with; "": nothing does. Fresh: what is there
	// is thrown away. Neither is of dpvs.conf.
	Keep  string
	Fresh bool
}

// Offload says whether the XDP engine forwards plain packets of established flows.
type Offload string

// The values of offload. "" is OffloadOff.
const (
	OffloadAuto Offload = "auto" // where it pays and can be
	OffloadOn   Offload = "on"   // wherever it can be; it is an error if it can nowhere
	OffloadOff  Offload = "off"
)

// LocalPorts returns the ports that local addresses use.
func (b *Boot) LocalPorts() (first, last uint16) {
	first, last = b.LocalFirst, b.LocalLast
	if first == 0 {
		first = 1025
	}
	if last == 0 {
		last = 65535
	}
	return first, last
}

// Fragments bounds the datagrams that a worker puts together from fragments.
type Fragments struct {
	Buckets       int    // of the table in which they are looked up (bucket_number)
	BucketEntries int    // most datagrams in a bucket (bucket_entries)
	Entries       int    // most datagrams (max_entries); their fragments take at most 3 KiB for each
	TTL           uint32 // seconds a datagram may take to become whole (ttl)
}

// DefaultFragments is what DPVS has.
func DefaultFragments() Fragments {
	return Fragments{Buckets: 4096, BucketEntries: 16, Entries: 4096, TTL: 1}
}

// OrDefault puts the defaults where nothing is said.
func (f Fragments) OrDefault() Fragments {
	d := DefaultFragments()
	if f.Buckets > 0 {
		d.Buckets = f.Buckets
	}
	if f.BucketEntries > 0 {
		d.BucketEntries = f.BucketEntries
	}
	if f.Entries > 0 {
		d.Entries = f.Entries
	}
	if f.TTL > 0 {
		d.TTL = f.TTL
	}
	return d
}

// Tunables are settings of dpvs.conf that a reload may change, but those that say
// otherwise.
type Tunables struct {
	LogLevel     string
	LogFile      string
	LogTimestamp bool // fixed at start
	Timeouts     Timeouts
	Forwarding   bool
	Forwarding6  bool // ipv6_defs { forwarding }
	DefaultTTL   uint8
	NeighTimeout uint32 // seconds a neighbour stays REACHABLE
	UOATrail     uint8  // datagrams of a UDP connection that carry UOA; 0: none does
	// QuiescentTemplates: a real server of weight 0 loses its persistent clients.
	QuiescentTemplates bool
	// DefenceTCP, DefenceUDP: what a VIP gets and does not serve is dropped.
	DefenceTCP, DefenceUDP bool

	BusyPoll bool // idle workers spin instead of sleeping; fixed at start
	// Nice, -20 to 19, is how Weir's threads, and the session where it leads one, stand to
	// other programs (nice(2), sched(7)); 0: as Weir was started. Fixed at start.
	Nice int
	// RTPriority, 1 to 99, is the real-time priority (sched(7), SCHED_FIFO) of workers that have time
	// to rest; 0: none. Fixed at start.
	RTPriority int
}

// Driver is how a port is driven.
type Driver string

// The drivers a device block may name.
const (
	DriverAuto     Driver = "auto"     // afxdp where it works, else afpacket
	DriverAFXDP    Driver = "afxdp"    // AF_XDP, best mode the kernel gives
	DriverAFPacket Driver = "afpacket" // packet sockets
	DriverPipe     Driver = "pipe"     // memory, for tests
)

// XDPMode narrows what DriverAFXDP may use.
type XDPMode string

// The modes of AF_XDP, best first.
const (
	XDPAuto     XDPMode = "auto"
	XDPZeroCopy XDPMode = "zerocopy"
	XDPNative   XDPMode = "native"
	XDPGeneric  XDPMode = "generic"
)

// NAPIBusyPoll says whether Linux polls a device's driver when a worker calls, and holds its
// interrupts back meanwhile.
type NAPIBusyPoll string

// The values of napi_busy_poll. "" is NAPIOff.
const (
	NAPIOff  NAPIBusyPoll = "off"
	NAPIAuto NAPIBusyPoll = "auto" // where it can be
	NAPIOn   NAPIBusyPoll = "on"   // it is an error if it can't
)

// NAPI is how a device's driver is polled (the kernel's Documentation/networking/napi.rst): the
// zero value without busy polling.
type NAPI struct {
	BusyPoll      NAPIBusyPoll
	Budget        int // most packets that a call takes from the driver (napi_busy_poll_budget)
	DeferHardIRQs int // polls that find nothing before interrupts are on again (napi_defer_hard_irqs)
	FlushTimeout  int // nanoseconds without a call after which Linux polls by itself (gro_flush_timeout)
}

// DefaultNAPI is off, and has the numbers that DPDK's guide to AF_XDP recommends.
func DefaultNAPI() NAPI {
	return NAPI{BusyPoll: NAPIOff, Budget: 64, DeferHardIRQs: 2, FlushTimeout: 200_000}
}

// Device is a device block of dpvs.conf: a port.
type Device struct {
	Name         string
	Interface    string // Linux interface; default Name
	Driver       Driver
	XDPMode      XDPMode
	NAPI         NAPI
	RxDesc       int  // entries of a receive ring
	RxSaid       bool // the file says RxDesc; else it is the default
	TxDesc       int  // entries of a transmit ring
	MTU          int
	Promisc      bool
	AllMulticast bool
	KNIName      string
}

// Worker is a worker block of dpvs.conf.
type Worker struct {
	Name string
	Type string // "master", "slave" (data plane), "kni"
	CPU  int
	// Ports says which queues the worker serves, in order of the file.
	Ports []WorkerPort
}

// WorkerPort gives receive queues of a port to a worker; without any, it gets its
// share of those that no worker lists.
type WorkerPort struct {
	Port     string
	RxQueues []int
}

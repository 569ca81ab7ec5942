package ipvsadm

// verb is a command: what the first option of a line asks for.
type verb uint8

const (
	noCmd verb = iota
	cmdAddService
	cmdEditService
	cmdDeleteService
	cmdFlush
	cmdList
	cmdZero
	cmdAddServer
	cmdEditServer
	cmdDeleteServer
	cmdSave
	cmdRestore
	cmdAddLaddr
	cmdDelLaddr
	cmdGetLaddr
	cmdAddBlklst
	cmdDelBlklst
	cmdGetBlklst
	cmdAddWhtlst
	cmdDelWhtlst
	cmdGetWhtlst
	cmdSetTimeouts
	cmdStartDaemon
	cmdStopDaemon
	cmdHelp
	cmdVersion
)

// verbNames are the names that messages use.
var verbNames = [...]string{
	noCmd: "", cmdAddService: "add-service", cmdEditService: "edit-service", cmdDeleteService: "delete-service",
	cmdFlush: "flush", cmdList: "list", cmdZero: "zero",
	cmdAddServer: "add-server", cmdEditServer: "edit-server", cmdDeleteServer: "delete-server",
	cmdSave: "save", cmdRestore: "restore",
	cmdAddLaddr: "add-laddr", cmdDelLaddr: "del-laddr", cmdGetLaddr: "get-laddr",
	cmdAddBlklst: "add-blklst", cmdDelBlklst: "del-blklst", cmdGetBlklst: "get-blklst",
	cmdAddWhtlst: "add-whtlst", cmdDelWhtlst: "del-whtlst", cmdGetWhtlst: "get-whtlst",
	cmdSetTimeouts: "set", cmdStartDaemon: "start-daemon", cmdStopDaemon: "stop-daemon",
	cmdHelp: "help", cmdVersion: "version",
}

func (v verb) String() string { return verbNames[v] }

// option is what a line may give beside its command. Several words may be one
// option: -t and -u are both the service-address. The order is the one in which a line is checked.
type option uint8

const (
	optNumeric option = iota
	optConnection
	optServiceAddress
	optScheduler
	optPersistent
	optNetmask
	optRealServer
	optForwardingMethod
	optWeight
	optUThreshold
	optLThreshold
	optMcastInterface
	optTimeout
	optDaemon
	optStats
	optRate
	optThresholds
	optPersistentConn
	optNosort
	optSyncid
	optExact
	optOps
	optPE
	optLocalAddress
	optBlklstAddress
	optSynproxy
	optIfname
	optSockpair
	optHashTarget
	optCPU
	optExpireQuiescent
	optWhtlstAddress
	optQUIC
	optDestCheck
	optConnTimeout
	optProxyProtocol
	optTOA
	optUOA
	optMapping
	optionCount
)

// optionNames are the names that messages use.
var optionNames = [optionCount]string{
	"numeric", "connection", "service-address", "scheduler", "persistent", "netmask", "real-server",
	"forwarding-method", "weight", "u-threshold", "l-threshold", "mcast-interface", "timeout", "daemon",
	"stats", "rate", "thresholds", "persistent-conn", "nosort", "syncid", "exact", "ops", "pe",
	"local-address", "blklst-address", "synproxy", "ifname", "sockpair", "hash-target", "cpu",
	"expire-quiescent", "whtlst-address", "quic", "dest-check", "conn-timeout", "proxy-protocol",
	"toa", "uoa", "mapping",
}

func (o option) String() string { return optionNames[o] }

// options is a set of them.
type options uint64

func of(list ...option) options {
	var s options
	for _, o := range list {
		s |= 1 << o
	}
	return s
}

func (s options) has(o option) bool { return s&(1<<o) != 0 }

// word is one option as it is written.
type word struct {
	letter rune // 0: it has none
	name   string
	takes  takes
	verb   verb // of a command
	// Of an option: optWhich it is, and what its value does to the line. many says
	// that it may be given more than once; loose that it is no option to be checked.
	option      option
	many, loose bool
	set         func(l *line, arg string, given bool) error
}

// vocabulary is every word that a line may use.
var vocabulary = []word{
	{letter: 'A', name: "add-service", verb: cmdAddService},
	{letter: 'E', name: "edit-service", verb: cmdEditService},
	{letter: 'D', name: "delete-service", verb: cmdDeleteService},
	{letter: 'C', name: "clear", verb: cmdFlush},
	{letter: 'L', name: "list", verb: cmdList},
	{letter: 'l', verb: cmdList},
	{letter: 'Z', name: "zero", verb: cmdZero},
	{letter: 'a', name: "add-server", verb: cmdAddServer},
	{letter: 'e', name: "edit-server", verb: cmdEditServer},
	{letter: 'd', name: "delete-server", verb: cmdDeleteServer},
	{letter: 'S', name: "save", verb: cmdSave},
	{letter: 'R', name: "restore", verb: cmdRestore},
	{letter: 'P', name: "add-laddr", verb: cmdAddLaddr},
	{letter: 'Q', name: "del-laddr", verb: cmdDelLaddr},
	{letter: 'G', name: "get-laddr", verb: cmdGetLaddr},
	{letter: 'U', name: "add-blklst", verb: cmdAddBlklst},
	{letter: 'V', name: "del-blklst", verb: cmdDelBlklst},
	{letter: 'B', name: "get-blklst", verb: cmdGetBlklst},
	{letter: 'O', name: "add-whtlst", verb: cmdAddWhtlst},
	{letter: 'Y', name: "del-whtlst", verb: cmdDelWhtlst},
	{letter: 'W', name: "get-whtlst", verb: cmdGetWhtlst},
	{name: "set", verb: cmdSetTimeouts},
	{name: "start-daemon", verb: cmdStartDaemon, takes: value, set: (*line).setDaemonRole},
	{name: "stop-daemon", verb: cmdStopDaemon, takes: value, set: (*line).setDaemonRole},
	{letter: 'h', name: "help", verb: cmdHelp},
	{letter: 'v', name: "version", verb: cmdVersion},

	{letter: 't', name: "tcp-service", takes: value, option: optServiceAddress, set: (*line).setTCP},
	{letter: 'u', name: "udp-service", takes: value, option: optServiceAddress, set: (*line).setUDP},
	{name: "sctp-service", takes: value, option: optServiceAddress, set: (*line).setSCTP},
	{letter: 'q', name: "icmp-service", takes: value, option: optServiceAddress, set: (*line).setICMP},
	{letter: '1', name: "icmpv6-service", takes: value, option: optServiceAddress, set: (*line).setICMPv6},
	{letter: 'f', name: "fwmark-service", takes: value, option: optServiceAddress, set: (*line).setFwmark},
	{letter: 'H', name: "match", takes: value, option: optServiceAddress, set: (*line).setMatch},
	{letter: '6', name: "ipv6", loose: true, set: (*line).setIPv6},

	{letter: 's', name: "scheduler", takes: value, option: optScheduler, set: (*line).setScheduler},
	{letter: 'p', name: "persistent", takes: maybe, option: optPersistent, set: (*line).setPersistent},
	{letter: 'M', name: "netmask", takes: value, option: optNetmask, set: (*line).setNetmask},
	{letter: 'o', name: "ops", option: optOps, set: (*line).setOps},
	{name: "pe", takes: value, option: optPE, set: (*line).setPE},
	{letter: 'j', name: "synproxy", takes: value, option: optSynproxy, set: (*line).setSynproxy},
	{name: "hash-target", takes: value, option: optHashTarget, set: (*line).setHashTarget},
	{name: "expire-quiescent", option: optExpireQuiescent, set: (*line).setExpireQuiescent},
	{name: "quic", option: optQUIC, set: (*line).setQUIC},
	{name: "dest-check", takes: value, option: optDestCheck, many: true, set: (*line).setDestCheck},
	{name: "conn-timeout", takes: value, option: optConnTimeout, set: (*line).setConnTimeout},
	{name: "proxy-protocol", takes: value, option: optProxyProtocol, set: (*line).setProxyProtocol},
	{name: "toa", takes: value, option: optTOA, set: (*line).setTOA},
	{name: "uoa", takes: value, option: optUOA, set: (*line).setUOA},
	{name: "mapping", takes: value, option: optMapping, set: (*line).setMapping},

	{letter: 'r', name: "real-server", takes: value, option: optRealServer, set: (*line).setRealServer},
	{letter: 'm', name: "masquerading", option: optForwardingMethod, set: (*line).setMasq},
	{letter: 'i', name: "ipip", option: optForwardingMethod, set: (*line).setTunnel},
	{letter: 'g', name: "gatewaying", option: optForwardingMethod, set: (*line).setRoute},
	{letter: 'b', name: "fullnat", option: optForwardingMethod, set: (*line).setFullNAT},
	{letter: 'J', name: "snat", option: optForwardingMethod, set: (*line).setSNAT},
	{letter: 'w', name: "weight", takes: value, option: optWeight, set: (*line).setWeight},
	{letter: 'x', name: "u-threshold", takes: value, option: optUThreshold, set: (*line).setUThreshold},
	{letter: 'y', name: "l-threshold", takes: value, option: optLThreshold, set: (*line).setLThreshold},

	{letter: 'z', name: "laddr", takes: value, option: optLocalAddress, set: (*line).setLocal},
	{letter: 'F', name: "ifname", takes: value, option: optIfname, set: (*line).setIfname},
	{letter: 'k', name: "blklst", takes: value, option: optBlklstAddress, set: (*line).setBlklst},
	{letter: '2', name: "whtlst", takes: value, option: optWhtlstAddress, set: (*line).setWhtlst},

	{letter: 'n', name: "numeric", option: optNumeric},
	{letter: 'c', name: "connection", option: optConnection},
	{letter: 'X', name: "exact", option: optExact},
	{name: "timeout", option: optTimeout},
	{name: "daemon", option: optDaemon},
	{name: "stats", option: optStats},
	{name: "rate", option: optRate},
	{name: "thresholds", option: optThresholds},
	{name: "persistent-conn", option: optPersistentConn},
	{name: "nosort", option: optNosort},
	{name: "sort", loose: true}, // what is done anyway
	{name: "sockpair", takes: value, option: optSockpair, set: (*line).setSockpair},
	{name: "cpu", takes: value, option: optCPU, set: (*line).setCPU},
	{name: "mcast-interface", takes: value, option: optMcastInterface},
	{name: "syncid", takes: value, option: optSyncid, set: (*line).setSyncid},
}

// byLetter and byName find a word as it is written.
var byLetter, byName = index()

func index() (map[rune]*word, map[string]*word) {
	letters, names := map[rune]*word{}, map[string]*word{}
	for i := range vocabulary {
		w := &vocabulary[i]
		if w.letter != 0 {
			letters[w.letter] = w
		}
		if w.name != "" {
			names[w.name] = w
		}
	}
	return letters, names
}

package ipvsadm

import (
	"math/bits"
	"strings"

	"weir/api/weirv1"
)

// rule says which options a command goes with: those it needs, those it may have,
// and those of which it may have only one.
type rule struct{ need, may, one options }

// serviceOptions are the settings of a service.
var serviceOptions = of(optScheduler, optPersistent, optNetmask, optPE, optOps, optSynproxy, optHashTarget,
	optExpireQuiescent, optQUIC, optDestCheck, optConnTimeout, optProxyProtocol, optTOA, optUOA, optMapping)

// rules holds a row for each command; an option that its row does not name is illegal with it.
var rules = map[verb]rule{
	cmdAddService:    {need: of(optServiceAddress), may: serviceOptions},
	cmdEditService:   {need: of(optServiceAddress), may: serviceOptions},
	cmdDeleteService: {need: of(optServiceAddress)},
	cmdFlush:         {},
	cmdList: {
		may: of(optNumeric, optExact, optNosort, optSockpair, optCPU) | formats,
		one: of(optConnection, optServiceAddress, optTimeout, optDaemon),
	},
	cmdZero:         {may: of(optServiceAddress)},
	cmdAddServer:    {need: of(optServiceAddress, optRealServer), may: destOptions},
	cmdEditServer:   {need: of(optServiceAddress, optRealServer), may: destOptions},
	cmdDeleteServer: {need: of(optServiceAddress, optRealServer)},
	cmdSave:         {may: of(optNumeric)},
	cmdRestore:      {},
	cmdAddLaddr:     {need: of(optServiceAddress, optLocalAddress, optIfname)},
	cmdDelLaddr:     {need: of(optServiceAddress, optLocalAddress, optIfname)},
	cmdGetLaddr:     {may: of(optServiceAddress, optCPU)},
	cmdAddBlklst:    {need: of(optServiceAddress, optBlklstAddress)},
	cmdDelBlklst:    {need: of(optServiceAddress, optBlklstAddress)},
	cmdGetBlklst:    {may: of(optServiceAddress)},
	cmdAddWhtlst:    {need: of(optServiceAddress, optWhtlstAddress)},
	cmdDelWhtlst:    {need: of(optServiceAddress, optWhtlstAddress)},
	cmdGetWhtlst:    {may: of(optServiceAddress)},
	cmdSetTimeouts:  {},
	cmdStartDaemon:  {may: of(optMcastInterface, optSyncid)},
	cmdStopDaemon:   {may: of(optSyncid)},
}

// destOptions are the settings of a real server.
var destOptions = of(optForwardingMethod, optWeight, optUThreshold, optLThreshold)

// formats are the ways to list services; one at a time.
var formats = of(optStats, optRate, optThresholds, optPersistentConn)

// noSync is why there is no synchronisation daemon.
const noSync = "there is no connection synchronisation between directors, and so no daemon for it"

// checkOptions refuses options that do not go with the command or with each other.
func (l *line) checkOptions() error {
	r := rules[l.verb]
	one := optionCount // the first of r.one that was seen
	for o := range optionCount {
		if !l.given.has(o) {
			if r.need.has(o) {
				return wrong("You need to supply the '%s' option for the '%s' command", o, l.verb)
			}
			continue
		}
		if r.one.has(o) {
			if one != optionCount {
				return wrong("The option '%s' conflicts with the '%s' option in the '%s' command", o, one, l.verb)
			}
			one = o
			continue
		}
		if !(r.need | r.may).has(o) {
			return wrong("Illegal '%s' option with the '%s' command%s", o, l.verb, hint(o, l.verb))
		}
	}
	if err := l.checkList(); err != nil {
		return err
	}
	if l.verb == cmdStartDaemon || l.verb == cmdStopDaemon || l.given.has(optDaemon) {
		return wrong("%s", noSync)
	}
	return nil
}

// checkList refuses what a listing cannot show at once.
func (l *line) checkList() error {
	if l.verb != cmdList {
		return nil
	}
	wanted := bits.OnesCount64(uint64(l.given & formats))
	if wanted > 1 || wanted == 1 && l.given&of(optConnection, optTimeout, optDaemon) != 0 {
		return wrong("options conflicts in the list command")
	}
	if l.given.has(optSockpair) && !l.given.has(optConnection) {
		return wrong("You need to supply the 'connection' option for the 'sockpair' option")
	}
	return nil
}

// hint is a second line for a slip that is often made: -A where -a was meant.
func hint(o option, v verb) string {
	if o != optRealServer {
		return ""
	}
	switch v {
	case cmdAddService:
		return "\ndid you mean -a?"
	case cmdEditService:
		return "\ndid you mean -e?"
	case cmdDeleteService:
		return "\ndid you mean -d?"
	default:
		return ""
	}
}

// checkService refuses a service whose settings do not go together, and gives it the
// default scheduler.
func (l *line) checkService() error {
	if l.verb != cmdAddService && l.verb != cmdEditService {
		return nil
	}
	s := l.service
	icmp := l.proto == weirv1.Protocol_PROTOCOL_ICMP || l.proto == weirv1.Protocol_PROTOCOL_ICMPV6
	if l.kind == byAddress && !icmp && s.Key.Port == 0 && s.Persistent == 0 {
		const zero = "Zero port specified for no-match and non-persistent service: "
		if l.ipv6() {
			return wrong(zero + "give [ADDRESS]:PORT, with the brackets, or -p for all ports")
		}
		return wrong(zero + "give ADDRESS:PORT, or -p for all ports")
	}
	if s.OnePacket && l.proto != weirv1.Protocol_PROTOCOL_UDP && l.kind != byFwmark {
		return wrong("One-Packet Scheduling is only for UDP virtual services")
	}
	if s.Scheduler == "" {
		s.Scheduler = defaultScheduler
	}
	if s.PersistentMask != "" && l.kind == byAddress && l.ipv6() == strings.Contains(s.PersistentMask, ".") {
		if l.ipv6() {
			return wrong("illegal ipv6 netmask specified")
		}
		return wrong("illegal virtual server persistent mask specified")
	}
	if s.HashTarget != "" && s.Scheduler != "conhash" {
		return wrong("hash target can only be set when schedule is conhash")
	}
	if s.HashTarget == "qid" && l.proto != weirv1.Protocol_PROTOCOL_UDP {
		return wrong("qid hash can only be set in udp service")
	}
	if s.Quic && l.kind == byAddress && l.proto != weirv1.Protocol_PROTOCOL_UDP {
		return wrong("QUIC is only for UDP virtual services: leave out --quic")
	}
	if l.given.has(optMapping) && l.kind != byMatch {
		return wrong("--mapping is for match services (SNAT): leave it out, or give -H MATCH")
	}
	return l.checkTelling()
}

// checkTelling refuses ways to tell the client's address that the protocol can't
// carry, or that exclude each other.
func (l *line) checkTelling() error {
	pp, uoa := l.service.ProxyProtocol, l.service.Uoa
	switch {
	case l.given.has(optTOA) && l.kind == byAddress && l.proto != weirv1.Protocol_PROTOCOL_TCP:
		return wrong("TOA is only for TCP virtual services: leave out --toa")
	case l.given.has(optUOA) && l.kind == byAddress && l.proto != weirv1.Protocol_PROTOCOL_UDP:
		return wrong("UOA is only for UDP virtual services: leave out --uoa")
	case l.proto == weirv1.Protocol_PROTOCOL_SCTP && l.kind == byAddress && pp != "":
		return wrong("the PROXY protocol is only for TCP and UDP virtual services: leave out --proxy-protocol")
	case l.proto == weirv1.Protocol_PROTOCOL_UDP && strings.HasPrefix(pp, "v1"):
		return wrong("proxy protocol %s cannot carry UDP: use v2%s", pp, strings.TrimPrefix(pp, "v1"))
	case pp != "" && l.given.has(optTOA) && !l.service.NoToa:
		return wrong("a service that speaks the PROXY protocol sends no TOA: leave out --toa enable or --proxy-protocol %s", pp)
	case pp != "" && uoa != "":
		return wrong("a service that speaks the PROXY protocol sends no UOA: leave out --uoa %s or --proxy-protocol %s", uoa, pp)
	}
	return nil
}

package dpvsconf

import (
	"reflect"
	"slices"

	"weir/internal/spec"
)

// Diff names what differs in what is fixed at boot, in the words of the file: what
// a reload can't change and a restart can. It is empty if a reload can take all of
// wanted.
func Diff(running, wanted *Config) (needRestart []string) {
	a, b := &running.Boot, &wanted.Boot
	if running.Tunables.LogTimestamp != wanted.Tunables.LogTimestamp {
		needRestart = append(needRestart, "log_with_timestamp")
	}
	if running.Tunables.BusyPoll != wanted.Tunables.BusyPoll {
		needRestart = append(needRestart, "busy_poll")
	}
	if running.Tunables.Nice != wanted.Tunables.Nice {
		needRestart = append(needRestart, "nice")
	}
	if running.Tunables.RTPriority != wanted.Tunables.RTPriority {
		needRestart = append(needRestart, "rt_priority")
	}
	if a.KNI != b.KNI {
		needRestart = append(needRestart, "kni")
	}
	if a.Offload != b.Offload {
		needRestart = append(needRestart, "offload")
	}
	if a.PktPool != b.PktPool {
		needRestart = append(needRestart, "pktpool_size")
	}
	needRestart = append(needRestart, diff("device", rings(a.Devices), rings(b.Devices), func(d spec.Device) string { return d.Name })...)
	needRestart = append(needRestart, diff("bonding", a.Bonds, b.Bonds, func(b spec.Bond) string { return b.Name })...)
	needRestart = append(needRestart, diff("worker", a.Workers, b.Workers, func(w spec.Worker) string { return w.Name })...)
	if a.NeighQueue != b.NeighQueue {
		needRestart = append(needRestart, "unres_queue_length")
	}
	if a.Fragments != b.Fragments {
		needRestart = append(needRestart, "ipv4_defs fragment")
	}
	if a.IPv6.Disable != b.IPv6.Disable {
		needRestart = append(needRestart, "ipv6_defs disable")
	}
	if a.IPv6.AddrGenMode != b.IPv6.AddrGenMode {
		needRestart = append(needRestart, "addr_gen_mode")
	}
	if a.IPv6.StableSecret != b.IPv6.StableSecret {
		needRestart = append(needRestart, "stable_secret")
	}
	if a.ConnPool != b.ConnPool {
		needRestart = append(needRestart, "conn_pool_size")
	}
	if a.ConnPool6 != b.ConnPool6 {
		needRestart = append(needRestart, "conn_pool_ipv6")
	}
	first, last := a.LocalPorts()
	if f, l := b.LocalPorts(); f != first || l != last {
		needRestart = append(needRestart, "port_range")
	}
	return needRestart
}

// rings leaves out whether the file says a ring's size or it is the default: that changes nothing.
func rings(devices []spec.Device) []spec.Device {
	devices = slices.Clone(devices)
	for i := range devices {
		devices[i].RxSaid = false
	}
	return devices
}

// diff compares two lists of blocks by name, and then their order.
func diff[T any](what string, before, after []T, name func(T) string) (changes []string) {
	find := func(list []T, want string) int {
		return slices.IndexFunc(list, func(e T) bool { return name(e) == want })
	}
	moved := false
	for i, o := range before {
		switch j := find(after, name(o)); {
		case j < 0:
			changes = append(changes, what+" "+name(o)+" (removed)")
		case !reflect.DeepEqual(o, after[j]):
			changes = append(changes, what+" "+name(o))
		case i != j:
			moved = true
		}
	}
	for _, n := range after {
		if find(before, name(n)) < 0 {
			changes = append(changes, what+" "+name(n)+" (added)")
		}
	}
	if moved && len(changes) == 0 {
		changes = append(changes, "order of the "+what+"s")
	}
	return changes
}

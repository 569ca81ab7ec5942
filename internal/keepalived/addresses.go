package keepalived

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"weir/api/weirv1"
	"weir/internal/keepalived/vrrp"
	"weir/internal/spec"
)

// addresses brings those of VRRP instances to the director while they are master.
type addresses struct {
	d      *Daemon
	states map[string]vrrp.State // by instance; absent: not known yet
	held   map[string]*heldBy    // by instance
	over   bool                  // released: nothing is held any more
}

type heldBy struct {
	*holding
	addresses []*weirv1.Address
}

func newAddresses(d *Daemon) *addresses {
	return &addresses{d: d, states: make(map[string]vrrp.State), held: make(map[string]*heldBy)}
}

// told takes a state of an instance, "" of all.
func (a *addresses) told(instance string, s vrrp.State) {
	if instance == "" {
		for name := range a.states {
			a.told(name, s)
		}
		return
	}
	if a.states[instance] == s {
		return
	}
	a.d.log.Info(fmt.Sprintf("vrrp_instance %s is %s", instance, s))
	a.states[instance] = s
	a.d.changed = true // of its routes
	a.settle()
}

// settle holds what is to be held: all addresses of an instance are one stream, and so one
// change. A new stream begins before the old one ends, so that what is in both stays.
func (a *addresses) settle() {
	if a.over {
		return
	}
	wanted := a.wanted()
	old := make(map[string]*heldBy)
	for name, h := range a.held {
		if !reflect.DeepEqual(keysOf(wanted[name]), keysOf(h.addresses)) {
			old[name] = h
			delete(a.held, name)
		}
	}
	for name, list := range wanted {
		if a.held[name] != nil {
			continue
		}
		next := &heldBy{hold(a.d.client, a.d.log, "keepalived "+name, list, a.d.doubt), list}
		a.held[name] = next
		if before := old[name]; before != nil {
			delete(old, name)
			go before.until(next.holding)
		}
	}
	for _, h := range old {
		h.cancel()
	}
	a.d.standings.suspend(a.here)
}

// keysOf is a list of addresses for comparison.
func keysOf(list []*weirv1.Address) (keys []string) {
	for _, m := range list {
		keys = append(keys, fmt.Sprint(m.Device, " ", m.Prefix, " ", m.Sapool))
	}
	return keys
}

// static is the holder's name for static_ipaddress, which no instance has.
const static = "static_ipaddress"

// wanted are the addresses of the instances that are master. An address that hosts go out
// with (a real server of a match) has ports to give.
func (a *addresses) wanted() map[string][]*weirv1.Address {
	out := make(map[string][]*weirv1.Address)
	conf := a.d.file.Conf
	pools := make(map[netip.Addr]bool)
	for i := range conf.Servers {
		for j := range conf.Servers[i].Reals {
			if rs := &conf.Servers[i].Reals[j]; rs.Method.Forward == spec.SNAT {
				pools[rs.Addr.Addr()] = true
			}
		}
	}
	for _, s := range conf.StaticAddresses {
		name := static
		if a.d.file.isTunnel(s.Port) {
			if !a.d.director.devices[s.Port] {
				continue
			}
			name += " " + s.Port // a stream of its own, which comes and goes with the device
		}
		out[name] = append(out[name], &weirv1.Address{Prefix: s.Prefix.String(), Device: s.Port, Sapool: pools[s.Prefix.Addr()]})
	}
	for _, in := range conf.Instances {
		if in.Port == "" || a.states[in.Name] != vrrp.Master || len(in.Addresses) == 0 || a.d.file.isTunnel(in.Port) && !a.d.director.devices[in.Port] {
			continue
		}
		for _, p := range in.Addresses {
			out[in.Name] = append(out[in.Name], &weirv1.Address{Prefix: p.String(), Device: in.Port, Sapool: pools[p.Addr()]})
		}
	}
	return out
}

// moved follows tunnels that came, or are about to go. It waits a moment for addresses on those
// that came: routes may want to send from them.
func (a *addresses) moved() {
	a.settle()
	deadline := time.NewTimer(mayTake)
	defer deadline.Stop()
	for name, h := range a.held {
		if !strings.HasPrefix(name, static+" ") {
			continue
		}
		select {
		case <-h.arrived:
		case <-h.ended:
		case <-deadline.C:
			return
		}
	}
}

// here reports whether an address is not that of an instance that is not master.
func (a *addresses) here(ip netip.Addr) bool {
	found := false
	for _, in := range a.d.file.Conf.Instances {
		for _, p := range in.Addresses {
			if p.Addr() != ip {
				continue
			}
			if a.states[in.Name] == vrrp.Master {
				return true
			}
			found = true
		}
	}
	return !found
}

// release lets go of all of them, for good.
func (a *addresses) release() {
	a.over = true
	for name, h := range a.held {
		h.release()
		delete(a.held, name)
	}
}

package director

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"weir/internal/clock"
	"weir/internal/neigh"
	"weir/internal/spec"
	"weir/internal/worker"
)

// Duplicate address detection (RFC 4862, 5.4): before a port speaks from an IPv6
// address it asks its link whether somebody has it, and waits for a second. In
// that second the address is tentative: packets to it are taken, services on it
// work, but the port neither answers for it nor speaks from it.
//
// An address that brings no link, of prefix length 128, is not probed for: VIPs and
// local addresses move between directors (keepalived gives them nodad), are the
// same on several, or replace one that is still fading, and a second without
// answer is an outage. Somebody else who claims one is told of as with IPv4
// (neigh.Conflicts).

// retransTimer is how long an answer is waited for; one solicitation is sent, as
// DupAddrDetectTransmits says (RFC 4862, 5.1; RFC 4861, 10).
const retransTimer = 1 * clock.PerSecond

// linkLocalTries is how many link-local addresses that do not follow from the MAC
// are tried (RFC 7217, 6: IDGEN_RETRIES).
const linkLocalTries = 3

// AddrState says whether an address is used.
type AddrState uint8

// The states of an address.
const (
	AddrInUse     AddrState = iota
	AddrTentative           // probed for since a second at most
	AddrDuplicate           // another machine has it: delete it, or add it again to try again
)

var addrStates = [...]string{"", "tentative", "duplicate"}

// String returns the word of `dpip addr show`; none if the address is in use.
func (s AddrState) String() string { return addrStates[s] }

// ownAddr is the key of an address.
type ownAddr struct {
	port string
	addr netip.Addr
}

// probe is what is known of an address that is or was probed for.
type probe struct {
	state AddrState
	seen  *neigh.Tentative // what workers note
	asked bool             // the solicitation went out
	since clock.Tick       // then
}

// probed reports whether an address is probed for. One that somebody holds is not: it
// fails over, and the time of a probe would be time without it (keepalived gives
// Linux its addresses with nodad too).
func probed(a *spec.Address) bool {
	return a.Prefix.Addr().Is6() && !a.Prefix.IsSingleIP() && !a.Held.Only
}

// probesFor returns the probes for all addresses of a spec and the ports' own: those
// that are, and new ones.
func (d *Director) probesFor(s *spec.Spec) map[ownAddr]*probe {
	probes := map[ownAddr]*probe{}
	add := func(p *openPort, addr netip.Addr) {
		k := ownAddr{p.facts.Name, addr}
		if was := d.probes[k]; was != nil {
			probes[k] = was
			return
		}
		probes[k] = &probe{state: AddrTentative, seen: &neigh.Tentative{Port: p.facts.ID, Addr: addr}}
		if d.usedUnprobed(k) {
			probes[k].state = AddrInUse
		}
	}
	for _, p := range d.ports {
		if p.linkLocal.IsValid() {
			add(p, p.linkLocal)
		}
	}
	for i := range s.Addresses {
		a := &s.Addresses[i]
		if p := d.portByName(a.Port); p != nil && probed(a) && !p.facts.PointToPoint {
			add(p, a.Prefix.Addr())
		}
	}
	return probes
}

// usedUnprobed reports whether an address is in use that was never probed for: it
// gets another prefix, or comes back before its last connection ended.
func (d *Director) usedUnprobed(k ownAddr) bool {
	is := func(a spec.Address) bool { return a.Port == k.port && a.Prefix.Addr() == k.addr && !probed(&a) }
	return slices.ContainsFunc(d.spec.Addresses, is) || slices.ContainsFunc(d.lingering, is)
}

// inState lists the addresses of a port that are in a state, in order.
func inState(probes map[ownAddr]*probe, port string, state AddrState) (addrs []netip.Addr) {
	for k, p := range probes {
		if k.port == port && p.state == state {
			addrs = append(addrs, k.addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs
}

// tentative lists what workers have to look out for.
func tentative(probes map[ownAddr]*probe) (all []*neigh.Tentative) {
	for _, p := range probes {
		if p.state == AddrTentative {
			all = append(all, p.seen)
		}
	}
	return all
}

// askForAddresses asks the links for the addresses that were not asked for yet. What can't be
// sent now, for want of packet memory, is sent a second later.
func (d *Director) askForAddresses() {
	var ask []*probe
	for _, p := range d.probes {
		if p.state == AddrTentative && !p.asked {
			ask = append(ask, p)
		}
	}
	if len(ask) == 0 {
		return
	}
	slices.SortFunc(ask, func(x, y *probe) int {
		if x.seen.Port != y.seen.Port {
			return int(x.seen.Port) - int(y.seen.Port)
		}
		return x.seen.Addr.Compare(y.seen.Addr)
	})
	err := d.byOne(func(w *worker.Worker) {
		for _, p := range ask {
			if w.Neigh().Probe(p.seen.Port, p.seen.Addr) {
				p.asked, p.since = true, d.now()
			}
		}
	})
	if err != nil {
		d.log.Warn("new IPv6 addresses could not be probed for", "err", err)
	}
}

// settleAddresses ends the probes whose time is over: the addresses are used, and
// announced, or another machine has them.
func (d *Director) settleAddresses() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	var free []ownAddr
	settled := false
	for k, p := range d.probes {
		if p.state != AddrTentative {
			continue
		}
		if by, taken := p.seen.Taken(); taken {
			p.state, settled = AddrDuplicate, true
			d.log.Warn(fmt.Sprintf("address %s of %s is not used: another machine (%s) on the link has it; give one of them another address, then delete and add it here", k.addr, k.port, macString(by)))
			d.tryAnother(k)
		} else if p.asked && d.now().Since(p.since) >= retransTimer {
			p.state, settled = AddrInUse, true
			free = append(free, k)
		}
	}
	if settled {
		if err := d.apply(d.spec.Clone()); err != nil {
			d.log.Error("addresses that were probed for are not in force", "err", err)
		}
	}
	slices.SortFunc(free, func(x, y ownAddr) int { return x.addr.Compare(y.addr) })
	d.tell(free)
	d.askForAddresses()
}

// tryAnother makes another link-local address for a port whose own is another
// machine's, unless it follows from the MAC or enough were tried.
func (d *Director) tryAnother(k ownAddr) {
	p := d.portByName(k.port)
	mode := d.boot.IPv6.AddrGenMode
	if p.linkLocal != k.addr || mode != spec.AddrGenStablePrivacy && mode != spec.AddrGenRandom || p.linkLocalTry+1 >= linkLocalTries {
		return
	}
	p.linkLocalTry++
	a, err := linkLocal(&d.boot.IPv6, &p.facts, p.linkLocalTry)
	if err != nil {
		d.log.Error(fmt.Sprintf("device %s gets no other link-local address", k.port), "err", err)
		return
	}
	p.linkLocal = a
	d.log.Warn(fmt.Sprintf("device %s tries link-local address %s instead", k.port, a))
}

// byOne runs f on one worker, in turn, that has the newest configuration.
func (d *Director) byOne(f func(w *worker.Worker)) error {
	if len(d.workers) == 0 {
		return nil
	}
	w := d.workers[d.announcer%len(d.workers)]
	d.announcer++
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	return d.do(ctx, w, func(w *worker.Worker) {
		w.Refresh()
		f(w)
	})
}

// AddressView is an address with what became of it.
type AddressView struct {
	spec.Address
	Own   bool // the port's own link-local address, which follows from ipv6_defs
	State AddrState
}

// Addresses lists the addresses in the order of insertion, the ports' own
// link-local ones first.
func (d *Director) Addresses() []AddressView {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []AddressView
	view := func(a spec.Address, own bool) {
		v := AddressView{Address: a, Own: own}
		if p := d.probes[ownAddr{a.Port, a.Prefix.Addr()}]; p != nil {
			v.State = p.state
		}
		out = append(out, v)
	}
	for _, p := range d.ports {
		if p.linkLocal.IsValid() {
			view(spec.Address{Port: p.facts.Name, Prefix: netip.PrefixFrom(p.linkLocal, 64), Scope: spec.ScopeLink}, true)
		}
	}
	for _, a := range d.spec.Addresses {
		view(a, false)
	}
	return out
}

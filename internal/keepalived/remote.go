package keepalived

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/keepalived/want"
	"weir/internal/spec"
)

// callTime is how long one call to the director may take.
const callTime = 30 * time.Second

// How soon what the director refused is tried again.
const (
	firstRetry = time.Second
	lastRetry  = 10 * time.Second
)

// remote is the daemon's view of the director: whether it is there, and what it has of
// ours.
type remote struct {
	client weirv1.DirectorClient
	log    *slog.Logger
	there  bool
	known  bool // have is what it has
	have   want.Have
	// ours are services that we asked for, whether or not the answer came.
	ours  map[spec.ServiceKey]bool
	flush bool // forget the services of others once (lvs_flush)

	tunnels map[string]spec.TunnelDevice // ours: that we made or took over, as we know them
	devices map[string]bool              // of these, those that it has as the file means them
	came    bool                         // one is among devices that was not
	// moved hears that devices came, or are about to go: addresses on them follow.
	moved func()

	routes []spec.Route // of ours that it has
	others []spec.Route // that we want, and that were there without us

	refused map[string]bool // sentences that were told
	wait    time.Duration
	again   time.Time // when to try again; zero: nothing was refused
}

// arrived is when the director is there, or there again: nothing is known of what it has.
func (d *remote) arrived() {
	d.there, d.known = true, false
	clear(d.devices)
	d.routes, d.others = nil, nil
	d.again, d.wait = time.Time{}, 0
}

func (d *remote) left() {
	d.there, d.known, d.again = false, false, time.Time{}
	clear(d.devices)
}

// goal is what the director shall have of ours, beside the addresses that are held.
type goal struct {
	tunnels  []spec.TunnelDevice
	routes   []spec.Route
	services []spec.Service
}

// doubt makes the next change ask what the director has: an address came or left, and
// may have taken something along.
func (d *remote) doubt() { d.known = false }

// retry tries again at once what was refused: something has changed that the director may
// like better.
func (d *remote) retry() {
	d.wait = 0
	if !d.again.IsZero() {
		d.again = time.Now()
	}
}

// ask lists what the director has of ours.
func (d *remote) ask(ctx context.Context) error {
	services, err := d.client.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{}))
	if err != nil {
		return err
	}
	lists, err := d.client.ListAccess(ctx, connect.NewRequest(&weirv1.ListAccessRequest{}))
	if err != nil {
		return err
	}
	all, err := want.Services(services.Msg.Services, lists.Msg.Lists)
	if err != nil {
		return err
	}
	have := make(want.Have)
	keep := func(k spec.ServiceKey) {
		if s, there := all[k]; there {
			have[k] = s
		}
	}
	for k := range d.ours {
		keep(k)
	}
	d.have, d.known = have, true
	return nil
}

// bring makes the director have what is wanted: one change with all that it takes. A step
// that it refuses is left out, told, and tried again later; the others are carried out.
func (d *remote) bring(wanted goal, quiet bool) {
	if !d.there {
		return
	}
	// A change that is under way is not given up: the end would not know what came of it.
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	if d.ours == nil {
		d.ours = make(map[spec.ServiceKey]bool)
	}
	for i := range wanted.services {
		d.ours[wanted.services[i].ServiceKey] = true
	}
	if err := d.try(ctx, &wanted, quiet); err != nil {
		d.known = false
		d.later()
		if client.Unreachable(err) || ctx.Err() != nil {
			return // the line to it ends too, and tells
		}
		if client.Cut(err) {
			d.log.Warn("no answer, and asked again: the director ended, or one call of it did, before its answer was whole")
			return
		}
		d.tell(map[string]bool{"the director: " + client.Message(err): true}, quiet)
	}
}

func (d *remote) try(ctx context.Context, wanted *goal, quiet bool) error {
	if d.flush {
		if _, err := d.client.FlushServices(ctx, connect.NewRequest(&weirv1.FlushServicesRequest{})); err != nil {
			return err
		}
		d.flush, d.known = false, false
	}
	no := make(map[string]bool)
	if err := d.bringTunnels(ctx, wanted.tunnels, no); err != nil {
		return err
	}
	asked := false
	if !d.known {
		if err := d.ask(ctx); err != nil {
			return err
		}
		asked = true
	}
	refused, err := d.route(ctx, d.passable(wanted))
	if err != nil {
		return err
	}
	for _, sentence := range refused {
		no[sentence] = true
	}
	steps := want.Diff(d.have, wanted.services)
	for len(steps) > 0 {
		at, err := d.apply(ctx, steps)
		if err == nil {
			break
		}
		if at < 0 {
			return err
		}
		if !asked {
			// It has something else than we think: others may have been at it.
			if err := d.ask(ctx); err != nil {
				return err
			}
			asked, steps = true, want.Diff(d.have, wanted.services)
			continue
		}
		s := steps[at]
		no[fmt.Sprintf("%s: %s: %s", s.Key, s.What, client.Message(err))] = true
		steps = without(steps, at)
	}
	if err := d.dropTunnels(ctx, wanted.tunnels, no); err != nil {
		return err
	}
	d.tell(no, quiet)
	if len(no) > 0 {
		d.later()
	} else {
		d.again, d.wait = time.Time{}, 0
		clear(d.ours)
		for k := range d.have {
			d.ours[k] = true
		}
	}
	return nil
}

// apply carries steps out, and notes that they are; at is the step that was refused, or -1.
func (d *remote) apply(ctx context.Context, steps []want.Step) (at int, err error) {
	m := &weirv1.ApplyRequest{}
	for i := range steps {
		m.Steps = append(m.Steps, steps[i].Msg)
	}
	if _, err = d.client.Apply(ctx, connect.NewRequest(m)); err != nil {
		if detail, is := client.Detail(err); is && detail.GetStep() > 0 && int(detail.GetStep()) <= len(steps) {
			return int(detail.GetStep()) - 1, err
		}
		return -1, err
	}
	for i := range steps {
		d.have.Did(&steps[i])
	}
	return -1, nil
}

// without leaves out a step, and those that need it.
func without(steps []want.Step, at int) []want.Step {
	kept := make([]want.Step, 0, len(steps))
	for i, s := range steps {
		if i == at || i > at && steps[at].Makes && s.Key == steps[at].Key {
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// later plans the next try.
func (d *remote) later() {
	d.wait = min(max(2*d.wait, firstRetry), lastRetry)
	d.again = time.Now().Add(d.wait)
}

// tell logs what was refused, each sentence once as long as it is true. With quiet nothing is
// said yet: a script is under way that may be what is missing.
func (d *remote) tell(no map[string]bool, quiet bool) {
	for said := range d.refused {
		if !no[said] {
			delete(d.refused, said)
		}
	}
	if d.refused == nil {
		d.refused = make(map[string]bool)
	}
	for sentence := range no {
		if !d.refused[sentence] && !quiet {
			d.log.Warn("refused, and tried again: " + sentence)
			d.refused[sentence] = true
		}
	}
}

// isEnd reports whether an error says that the other side is gone, and not that it refuses.
func isEnd(err error) bool {
	_, refused := client.Detail(err)
	return !refused || errors.Is(err, context.Canceled)
}

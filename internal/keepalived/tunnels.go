package keepalived

import (
	"context"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/keepalived/want"
	"weir/internal/spec"
)

// Tunnel devices of the file (tunnel_group). They come before all that may lie on them, and go
// after it. One that is there already and is the same is taken over, as services are: keepalived
// that was killed left it.

// letGo is how long the director may take to see that addresses on a device are held no more.
const letGo = time.Second

// bringTunnels makes the director have the devices that are wanted. Sentences about those that
// it refuses go into no.
func (d *remote) bringTunnels(ctx context.Context, wanted []spec.TunnelDevice, no map[string]bool) error {
	if d.tunnels == nil {
		d.tunnels, d.devices = make(map[string]spec.TunnelDevice), make(map[string]bool)
	}
	if len(wanted) == 0 || d.known && !slices.ContainsFunc(wanted, func(t spec.TunnelDevice) bool { return !d.devices[t.Name] || d.tunnels[t.Name] != t }) {
		return nil
	}
	has, err := d.listTunnels(ctx)
	if err != nil {
		return err
	}
	// What the file has no more may have ends that another shall have now. What is in the way of
	// that is told at the end, if it still is.
	if slices.ContainsFunc(wanted, func(t spec.TunnelDevice) bool { return has[t.Name] == nil || d.tunnels[t.Name] != t }) {
		if err := d.dropTunnels(ctx, wanted, make(map[string]bool)); err != nil {
			return err
		}
	}
	if err := d.changeTunnels(ctx, wanted, has); err != nil {
		return err
	}
	for i := range wanted {
		why, err := d.bringTunnel(ctx, &wanted[i], has[wanted[i].Name])
		if err != nil {
			return err
		}
		if why != "" {
			no[fmt.Sprintf("tunnel %s: %s", wanted[i].Name, why)] = true
		}
	}
	if d.came {
		d.came = false
		d.moved()
	}
	return nil
}

// changeTunnels changes those of ours that have other ends now, all at once: one may take the ends
// that another gives up. One that is refused is left out: bringTunnel asks again, and tells.
func (d *remote) changeTunnels(ctx context.Context, wanted []spec.TunnelDevice, has map[string]*weirv1.Tunnel) error {
	var changes []*spec.TunnelDevice
	for i := range wanted {
		t := &wanted[i]
		known, ours := d.tunnels[t.Name]
		if m := has[t.Name]; m != nil && ours && known != *t && known.Kind == t.Kind && !want.TunnelIs(t, m) {
			changes = append(changes, t)
		}
	}
	for len(changes) > 1 { // one alone is bringTunnel's
		m := &weirv1.ApplyRequest{}
		for _, t := range changes {
			m.Steps = append(m.Steps, &weirv1.Step{Change: &weirv1.Step_ChangeTunnel{ChangeTunnel: changeOf(t)}})
		}
		_, err := d.client.Apply(ctx, connect.NewRequest(m))
		if err == nil {
			for _, t := range changes {
				d.tunnels[t.Name] = *t
			}
			return nil
		}
		if isEnd(err) {
			return err
		}
		detail, _ := client.Detail(err)
		at := int(detail.GetStep())
		if at < 1 || at > len(changes) {
			return nil // all together, for a reason that is none's alone
		}
		changes = slices.Delete(changes, at-1, at)
	}
	return nil
}

// changeOf has a device be between the ends that a file says, and leaves what no file can say.
func changeOf(t *spec.TunnelDevice) *weirv1.ChangeTunnelRequest {
	return &weirv1.ChangeTunnelRequest{Tunnel: want.Tunnel(t), Fields: []string{"local", "remote", "device"}}
}

// bringTunnel brings one device, of which the director has this, or nil. It returns why the
// director does not take it.
func (d *remote) bringTunnel(ctx context.Context, t *spec.TunnelDevice, has *weirv1.Tunnel) (why string, err error) {
	known, ours := d.tunnels[t.Name]
	switch {
	case has == nil:
		// Routes over it went with it, if it ever was there.
		on := func(r spec.Route) bool { return r.Port == t.Name }
		d.routes, d.others = slices.DeleteFunc(d.routes, on), slices.DeleteFunc(d.others, on)
		_, err = d.client.AddTunnel(ctx, connect.NewRequest(&weirv1.AddTunnelRequest{Tunnel: want.Tunnel(t)}))
	case want.TunnelIs(t, has) || ours && known == *t: // what was changed by hand in one of ours stands
	case !ours:
		return fmt.Sprintf("there is one that is not as the file has it: %s; delete it (dpip tunnel del %s), or have the file say the same", want.TunnelWords(has), t.Name), nil
	case known.Kind != t.Kind:
		if why, err = d.dropTunnel(ctx, t.Name); why != "" || err != nil {
			return why, err
		}
		return d.bringTunnel(ctx, t, nil)
	default:
		_, err = d.client.ChangeTunnel(ctx, connect.NewRequest(changeOf(t)))
	}
	if err != nil {
		if isEnd(err) {
			return "", err
		}
		return client.Message(err), nil
	}
	d.came = d.came || !d.devices[t.Name]
	d.tunnels[t.Name], d.devices[t.Name] = *t, true
	return "", nil
}

// dropTunnels takes away those of ours that are wanted no more, with all that is on them.
func (d *remote) dropTunnels(ctx context.Context, wanted []spec.TunnelDevice, no map[string]bool) error {
	for name := range d.tunnels {
		if slices.ContainsFunc(wanted, func(t spec.TunnelDevice) bool { return t.Name == name }) {
			continue
		}
		why, err := d.dropTunnel(ctx, name)
		if err != nil {
			return err
		}
		if why != "" {
			no[fmt.Sprintf("tunnel %s leaves: %s", name, why)] = true
		}
	}
	return nil
}

// dropTunnel takes one device away, after the addresses that we hold on it.
func (d *remote) dropTunnel(ctx context.Context, name string) (why string, err error) {
	was := d.devices[name]
	if was {
		delete(d.devices, name)
		d.moved()
	}
	if err := d.awaitRelease(ctx, name); err != nil {
		return "", err
	}
	_, err = d.client.DeleteTunnel(ctx, connect.NewRequest(&weirv1.DeleteTunnelRequest{Name: name}))
	detail, is := client.Detail(err)
	switch {
	case err == nil || is && spec.Code(detail.GetCode()) == spec.NotExists:
		delete(d.tunnels, name)
		on := func(r spec.Route) bool { return r.Port == name }
		d.routes, d.others = slices.DeleteFunc(d.routes, on), slices.DeleteFunc(d.others, on)
		return "", nil
	case isEnd(err):
		return "", err
	}
	if was {
		d.devices[name] = true
		d.moved()
	}
	return client.Message(err), nil
}

// awaitRelease waits until nobody holds addresses on a device: the director hears of the end of
// our streams a moment after us.
func (d *remote) awaitRelease(ctx context.Context, name string) error {
	for deadline := time.Now().Add(letGo); ; {
		list, err := d.client.ListAddresses(ctx, connect.NewRequest(&weirv1.ListAddressesRequest{Device: name}))
		if err != nil {
			if isEnd(err) {
				return err
			}
			return nil // there is no such device
		}
		held := slices.ContainsFunc(list.Msg.Addresses, func(a *weirv1.Address) bool { return a.GetHolders() > 0 })
		if !held || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (d *remote) listTunnels(ctx context.Context) (map[string]*weirv1.Tunnel, error) {
	list, err := d.client.ListTunnels(ctx, connect.NewRequest(&weirv1.ListTunnelsRequest{}))
	if err != nil {
		return nil, err
	}
	has := make(map[string]*weirv1.Tunnel)
	for _, m := range list.Msg.Tunnels {
		has[m.GetName()] = m
	}
	return has, nil
}

// passable are the wanted routes but those over tunnels of the file that the director has not got.
func (d *remote) passable(wanted *goal) []spec.Route {
	return slices.DeleteFunc(slices.Clone(wanted.routes), func(r spec.Route) bool {
		return !d.devices[r.Port] && slices.ContainsFunc(wanted.tunnels, func(t spec.TunnelDevice) bool { return t.Name == r.Port })
	})
}

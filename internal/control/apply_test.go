package control

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/spec"
)

func apply(c weirv1.DirectorClient, t *testing.T, steps ...*weirv1.Step) error {
	_, err := c.Apply(t.Context(), connect.NewRequest(&weirv1.ApplyRequest{Steps: steps}))
	return err
}

func addService(k *weirv1.ServiceKey) *weirv1.Step {
	return &weirv1.Step{Change: &weirv1.Step_AddService{AddService: &weirv1.AddServiceRequest{Service: &weirv1.Service{Key: k, Scheduler: "rr"}}}}
}

func addDest(k *weirv1.ServiceKey, d *weirv1.Dest) *weirv1.Step {
	return &weirv1.Step{Change: &weirv1.Step_AddDest{AddDest: &weirv1.AddDestRequest{Key: k, Dest: d}}}
}

func addLocal(k *weirv1.ServiceKey) *weirv1.Step {
	return &weirv1.Step{Change: &weirv1.Step_AddLocalAddress{AddLocalAddress: &weirv1.AddLocalAddressRequest{
		Key: k, Local: &weirv1.LocalAddress{Address: "192.168.1.200", Device: "lan"},
	}}}
}

func flush() *weirv1.Step {
	return &weirv1.Step{Change: &weirv1.Step_FlushServices{FlushServices: &weirv1.FlushServicesRequest{}}}
}

// TestApply: all steps, one after the other, or none.
func TestApply(t *testing.T) {
	b, _, c := newAPI(t)
	twoArm(t, c)
	key := tcpKey(8080)
	before := b.Spec()
	for _, row := range []struct {
		name  string
		steps []*weirv1.Step
		step  uint32 // that is refused
		code  spec.Code
	}{
		{"a step that can't be read", []*weirv1.Step{addService(key), addDest(key, &weirv1.Dest{Address: "x"}), flush()}, 2, spec.Invalid},
		{"a step that is refused", []*weirv1.Step{flush(), addService(key), addService(key)}, 3, spec.Exists},
		{"a step that needs a later one", []*weirv1.Step{addDest(key, fullNAT("192.168.1.2", 80, 1)), addService(key)}, 1, spec.NotExists},
		{"a step that says nothing", []*weirv1.Step{addService(key), {}}, 2, spec.Invalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, ok := client.Detail(apply(c, t, row.steps...))
			if !ok || d.GetStep() != row.step || d.GetCode() != int32(row.code) {
				t.Errorf("refused with %v, want step %d, code %d", d, row.step, row.code)
			}
			if b.Spec() != before {
				t.Error("something has changed")
			}
		})
	}
	if err := apply(c, t); err != nil {
		t.Errorf("no steps: %v", err)
	}
	if err := apply(c, t, flush(), addService(key), addLocal(key), addDest(key, fullNAT("192.168.1.2", 80, 1))); err != nil {
		t.Fatal(err)
	}
	if s := b.Spec(); len(s.Services) != 1 || s.Services[0].Virtual.Port() != 8080 || len(s.Services[0].Dests) != 1 || len(s.Services[0].Locals) != 1 {
		t.Errorf("in the end there is %+v", s.Services)
	}
}

// TestApplyTunnels: tunnels that are changed by steps one behind the other may swap their ends; a
// step between them, or one that can't be, and they may not.
func TestApplyTunnels(t *testing.T) {
	b, _, c := newAPI(t)
	twoArm(t, c)
	to := func(name, remote string) *weirv1.Step {
		return &weirv1.Step{Change: &weirv1.Step_ChangeTunnel{ChangeTunnel: &weirv1.ChangeTunnelRequest{Tunnel: &weirv1.Tunnel{Name: name, Remote: remote}, Fields: []string{"remote"}}}}
	}
	add := func(name, remote string) *weirv1.Step {
		return &weirv1.Step{Change: &weirv1.Step_AddTunnel{AddTunnel: &weirv1.AddTunnelRequest{Tunnel: &weirv1.Tunnel{Name: name, Mode: "gre", Remote: remote}}}}
	}
	if err := apply(c, t, add("gre1", "192.168.1.91"), add("gre2", "192.168.1.92")); err != nil {
		t.Fatal(err)
	}
	remotes := func() (all string) {
		for _, d := range b.Spec().Tunnels {
			all += d.Name + " " + d.Remote.String() + "\n"
		}
		return all
	}
	for _, row := range []struct {
		name  string
		steps []*weirv1.Step
		step  uint32 // that is refused
		code  spec.Code
	}{
		{"a step between them", []*weirv1.Step{to("gre1", "192.168.1.92"), addService(tcpKey(8080)), to("gre2", "192.168.1.91")}, 1, spec.Exists},
		{"the last is refused", []*weirv1.Step{flush(), to("gre1", "192.168.1.92"), to("gre2", "192.168.1.91"), to("gre3", "192.168.1.93")}, 4, spec.NotExists},
		{"one that can't be read", []*weirv1.Step{to("gre1", "192.168.1.92"), to("gre2", "x")}, 2, spec.Invalid},
		{"one that says nothing", []*weirv1.Step{to("gre1", "192.168.1.92"), {Change: &weirv1.Step_ChangeTunnel{}}}, 2, spec.Invalid},
		{"one behind them", []*weirv1.Step{to("gre1", "192.168.1.92"), to("gre2", "192.168.1.91"), add("gre3", "192.168.1.92")}, 3, spec.Exists},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := remotes()
			d, ok := client.Detail(apply(c, t, row.steps...))
			if !ok || d.GetStep() != row.step || d.GetCode() != int32(row.code) {
				t.Errorf("refused with %v, want step %d, code %d", d, row.step, row.code)
			}
			if now := remotes(); now != before {
				t.Errorf("there is\n%s, was\n%s", now, before)
			}
		})
	}
	if err := apply(c, t, flush(), to("gre1", "192.168.1.92"), to("gre2", "192.168.1.91"), add("gre3", "192.168.1.93")); err != nil {
		t.Fatal(err)
	}
	if now, want := remotes(), "gre1 192.168.1.92\ngre2 192.168.1.91\ngre3 192.168.1.93\n"; now != want {
		t.Errorf("in the end there is\n%s, want\n%s", now, want)
	}
}

// TestApplyMayBeThere: what a step adds to the network may be there exactly so, if the
// step says it; nothing else may.
func TestApplyMayBeThere(t *testing.T) {
	b, _, c := newAPI(t)
	twoArm(t, c)
	before := b.Spec()
	address := func(m *weirv1.Address) *weirv1.Step {
		return &weirv1.Step{MayBeThere: true, Change: &weirv1.Step_AddAddress{AddAddress: &weirv1.AddAddressRequest{Address: m}}}
	}
	route := func(m *weirv1.Route) *weirv1.Step {
		return &weirv1.Step{MayBeThere: true, Change: &weirv1.Step_AddRoute{AddRoute: &weirv1.AddRouteRequest{Route: m}}}
	}
	neighbour := func(m *weirv1.Neighbour) *weirv1.Step {
		return &weirv1.Step{MayBeThere: true, Change: &weirv1.Step_AddNeighbour{AddNeighbour: &weirv1.AddNeighbourRequest{Neighbour: m}}}
	}
	there := []*weirv1.Step{
		address(&weirv1.Address{Prefix: "192.168.1.1/24", Device: "lan"}),
		route(&weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.254", Device: "wan"}),
		neighbour(&weirv1.Neighbour{Address: "10.0.0.254", Lladdr: "02:00:00:00:01:fe", Device: "wan"}),
	}
	if err := apply(c, t, there...); err != nil {
		t.Fatal(err)
	}
	if now := b.Spec(); !reflect.DeepEqual(now, before) {
		t.Errorf("what was there became\n%+v, was\n%+v", now, before)
	}
	service := addService(udpKey(53))
	service.MayBeThere = true
	unsaid := address(&weirv1.Address{Prefix: "192.168.1.1/24", Device: "lan"})
	unsaid.MayBeThere = false
	for _, row := range []struct {
		name string
		step *weirv1.Step
	}{
		{"another prefix length", address(&weirv1.Address{Prefix: "192.168.1.1/25", Device: "lan"})},
		{"sapool", address(&weirv1.Address{Prefix: "192.168.1.1/24", Device: "lan", Sapool: true})},
		{"another device", address(&weirv1.Address{Prefix: "192.168.1.1/24", Device: "wan"})},
		{"another gateway", route(&weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.253", Device: "wan"})},
		{"another MAC", neighbour(&weirv1.Neighbour{Address: "10.0.0.254", Lladdr: "02:00:00:00:01:ff", Device: "wan"})},
		{"a service", service},
		{"it does not say so", unsaid},
	} {
		t.Run(row.name, func(t *testing.T) {
			if d, ok := client.Detail(apply(c, t, row.step)); !ok || d.GetCode() != int32(spec.Exists) {
				t.Errorf("refused with %v, want code %d", d, spec.Exists)
			}
		})
	}
}

// TestThousandServicesUnderTraffic: 1,000 services of ten real servers each come,
// are listed, edited and go, one command each, while packets of another one pass. The
// figures are printed; that no packet is lost is what is judged.
func TestThousandServicesUnderTraffic(t *testing.T) {
	b, _, c := newAPI(t)
	twoArm(t, c)
	b.lan.Take()
	b.wan.Take()
	x := &traffic{b: b}
	running := make(chan struct{})
	go func() { defer close(running); x.run() }()
	ctx := t.Context()
	key := func(i int) *weirv1.ServiceKey {
		return &weirv1.ServiceKey{Protocol: weirv1.Protocol_PROTOCOL_TCP, Address: fmt.Sprintf("10.1.%d.%d", i>>8, i&255), Port: 80}
	}
	const many = 1000
	var restore []*weirv1.Step
	for i := range many {
		restore = append(restore, addService(key(i)), addLocal(key(i)))
		for j := range 10 {
			restore = append(restore, addDest(key(i), fullNAT(fmt.Sprintf("192.168.1.%d", 100+j), uint32(1000+i), 1)))
		}
	}
	longest := func(what string, n int, f func(i int) error) {
		var worst, all time.Duration
		for i := range n {
			began := time.Now()
			if err := f(i); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			took := time.Since(began)
			worst, all = max(worst, took), all+took
		}
		t.Logf("%-36s %4d times, %v on average, %v at most", what, n, (all / time.Duration(n)).Round(time.Microsecond), worst.Round(time.Microsecond))
	}
	longest(fmt.Sprintf("restore of %d lines", len(restore)), 1, func(int) error { return apply(c, t, restore...) })
	longest("list all", 3, func(int) error {
		r, err := c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{}))
		if err == nil && len(r.Msg.Services) != many+1 {
			err = fmt.Errorf("%d services are listed", len(r.Msg.Services))
		}
		return err
	})
	longest("list one", 20, func(i int) error {
		_, err := c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{Key: key(i)}))
		return err
	})
	longest("edit a service", 20, func(i int) error {
		_, err := c.EditService(ctx, connect.NewRequest(&weirv1.EditServiceRequest{Service: &weirv1.Service{Key: key(i), Scheduler: "wlc"}}))
		return err
	})
	longest("edit a real server", 20, func(i int) error {
		_, err := c.EditDest(ctx, connect.NewRequest(&weirv1.EditDestRequest{Key: key(i), Dest: fullNAT("192.168.1.100", uint32(1000+i), 9)}))
		return err
	})
	longest("delete a real server", 20, func(i int) error {
		_, err := c.DeleteDest(ctx, connect.NewRequest(&weirv1.DeleteDestRequest{Key: key(i), Dest: fullNAT("192.168.1.100", uint32(1000+i), 9)}))
		return err
	})
	longest("delete a service", 20, func(i int) error {
		_, err := c.DeleteService(ctx, connect.NewRequest(&weirv1.DeleteServiceRequest{Key: key(i)}))
		return err
	})
	var rest []*weirv1.Step
	for i := 20; i < many; i++ {
		rest = append(rest, &weirv1.Step{Change: &weirv1.Step_DeleteService{DeleteService: &weirv1.DeleteServiceRequest{Key: key(i)}}})
	}
	longest("delete the others in one change", 1, func(int) error { return apply(c, t, rest...) })
	x.stop.Store(true)
	<-running
	v := must(c.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{})))(t).Services
	if len(v) != 1 {
		t.Fatalf("%d services are left", len(v))
	}
	if got := v[0].Counters; got.InPkts != uint64(x.sent[0]) || got.OutPkts != uint64(x.sent[1]) || got.Conns != flows {
		t.Errorf("counted %v, want %d in and %d out on %d connections", got, x.sent[0], x.sent[1], flows)
	}
	t.Logf("%v packets passed meanwhile", x.sent)
}

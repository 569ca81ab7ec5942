package control

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/packet"
	"weir/internal/spec"
)

// traffic sends packets of a service both ways through two running workers, as
// many at a time as fit, until it is told to stop.
type traffic struct {
	b    *bed
	stop atomic.Bool
	sent [2]int // to the real server, to the clients
	came [2]int
}

const (
	flows  = 64
	window = 256
)

// run gives packets in on both sides, in turn on both queues, and counts those
// that come out. Each flow's packets meet both workers.
func (x *traffic) run() {
	var in, out [flows][]byte
	for i := range flows {
		in[i] = frame(x.b.t, macGW, macWAN, fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 / udp %d > 53 data=4", 20000+i))
	}
	// The first packet of each flow tells which local port it got.
	for i := range flows {
		x.b.wan.InjectAt(i%2, in[i])
		x.sent[0]++
		var answer []byte
		eventually(x.b.t, "the flow begins", func() bool {
			for _, f := range x.b.lan.Take() {
				if f[12] == 8 && f[13] == 0 && f[36] == 0 && f[37] == 53 {
					x.came[0]++
					answer = f
				}
			}
			return answer != nil
		})
		line := fmt.Sprintf("ip 192.168.1.2 > 192.168.1.200 / udp 53 > %d data=4", int(answer[34])<<8|int(answer[35]))
		out[i] = frame(x.b.t, macRS, macLAN, line)
	}
	for n := 0; !x.stop.Load() || x.came != x.sent; n++ {
		if !x.stop.Load() {
			for ; x.sent[0]-x.came[0] < window && x.b.wan.InjectAt(n%2, in[n%flows]); n++ {
				x.sent[0]++
			}
			for ; x.sent[1]-x.came[1] < window && x.b.lan.InjectAt(n/3%2, out[n%flows]); n++ {
				x.sent[1]++
			}
		}
		before := x.came
		eventually(x.b.t, "packets come out", func() bool { x.collect(); return x.came != before || x.came == x.sent })
	}
}

// collect counts the service's own packets: others' go the same ways.
func (x *traffic) collect() {
	for _, f := range x.b.lan.Take() {
		if f[12] == 8 && f[13] == 0 && f[36] == 0 && f[37] == 53 {
			x.came[0]++
		}
	}
	for _, f := range x.b.wan.Take() {
		if f[12] == 8 && f[13] == 0 && f[34] == 0 && f[35] == 53 {
			x.came[1]++
		}
	}
}

// 50 programs change services of their own at the same time, under traffic. None
// of their changes is lost, and a service that nobody touches loses no packet.
func TestManyChangersUnderTraffic(t *testing.T) {
	const changers, rounds = 50, 5 // 8 changes a round
	b, path, c := newAPI(t)
	twoArm(t, c)
	b.lan.Take()
	b.wan.Take()
	x := &traffic{b: b}
	running := make(chan struct{})
	go func() { defer close(running); x.run() }()

	var all sync.WaitGroup
	for i := range changers {
		all.Go(func() {
			own, ctx := client.New(path), t.Context()
			key := tcpKey(uint32(1000 + i))
			if i%2 == 1 {
				key = udpKey(uint32(1000 + i))
			}
			local := &weirv1.LocalAddress{Address: fmt.Sprintf("192.168.1.%d", 100+i%10), Device: "lan"} // shared with four others
			do := func(_ any, err error) {
				if err != nil {
					t.Errorf("changer %d: %v", i, err)
				}
			}
			knock := func() {
				line := fmt.Sprintf("ip 1.2.3.5 > 10.0.0.100 / udp %d > %d data=4", 30000+i, 1000+i)
				if i%2 == 0 {
					line = fmt.Sprintf("ip 1.2.3.5 > 10.0.0.100 / tcp %d > %d S seq=1", 30000+i, 1000+i)
				}
				b.wan.InjectAt(i%2, frame(t, macGW, macWAN, line)) // on a full wire it is lost, as on any
			}
			for r := range rounds {
				do(own.AddService(ctx, connect.NewRequest(&weirv1.AddServiceRequest{Service: &weirv1.Service{Key: key, Scheduler: "rr", ConnTimeout: 2}})))
				do(own.AddDest(ctx, connect.NewRequest(&weirv1.AddDestRequest{Key: key, Dest: fullNAT("192.168.1.2", 80, 1)})))
				do(own.AddLocalAddress(ctx, connect.NewRequest(&weirv1.AddLocalAddressRequest{Key: key, Local: local})))
				knock()
				do(own.AddDest(ctx, connect.NewRequest(&weirv1.AddDestRequest{Key: key, Dest: fullNAT("192.168.1.2", 81, 2)})))
				do(own.EditService(ctx, connect.NewRequest(&weirv1.EditServiceRequest{Service: &weirv1.Service{Key: key, Scheduler: "wrr", ConnTimeout: 2}})))
				do(own.EditDest(ctx, connect.NewRequest(&weirv1.EditDestRequest{Key: key, Dest: fullNAT("192.168.1.2", 81, uint32(r+1))})))
				do(own.DeleteDest(ctx, connect.NewRequest(&weirv1.DeleteDestRequest{Key: key, Dest: fullNAT("192.168.1.2", 80, 0)})))
				knock()
				if r < rounds-1 {
					do(own.DeleteService(ctx, connect.NewRequest(&weirv1.DeleteServiceRequest{Key: key})))
				}
			}
		})
	}
	all.Wait()
	x.stop.Store(true)
	<-running

	// The final state is exactly what each left.
	s := b.Spec()
	if len(s.Services) != changers+1 || len(s.Addresses) != 3+1+10 {
		t.Errorf("%d services, want %d; %d addresses, want %d", len(s.Services), changers+1, len(s.Addresses), 3+1+10)
	}
	for i := range changers {
		proto := []spec.Proto{spec.TCP, spec.UDP}[i%2]
		j := slices.IndexFunc(s.Services, func(o spec.Service) bool { return o.Proto == proto && o.Virtual.Port() == uint16(1000+i) })
		if j < 0 {
			t.Errorf("the service of changer %d is lost", i)
			continue
		}
		svc := &s.Services[j]
		if svc.Scheduler != "wrr" || svc.ConnTimeout != 2 || len(svc.Dests) != 1 || svc.Dests[0].Addr.Port() != 81 || svc.Dests[0].Weight != rounds ||
			len(svc.Locals) != 1 || svc.Locals[0].Addr.As4()[3] != byte(100+i%10) {
			t.Errorf("changer %d left %+v", i, svc)
		}
	}

	// Every packet of the untouched service passed, on one connection for each flow.
	v := must(c.ListServices(t.Context(), connect.NewRequest(&weirv1.ListServicesRequest{Key: udpKey(53)})))(t).Services[0]
	if got := v.Counters; got.InPkts != uint64(x.sent[0]) || got.OutPkts != uint64(x.sent[1]) || got.Conns != flows {
		t.Errorf("counted %v, want %d in and %d out on %d connections", got, x.sent[0], x.sent[1], flows)
	}
	if x.sent[0] < 1000 || x.sent[1] < 1000 {
		t.Errorf("too little traffic to tell: %v packets", x.sent)
	}
	t.Logf("%v packets passed meanwhile", x.sent)

	// When those of the others have timed out nothing of them is counted any more.
	eventually(t, "the connections of the changed services have ended", func() bool { return b.Gauges().Conns == flows })
	views, err := b.Services(func(k spec.ServiceKey) bool { return k.Virtual.Port() != 53 })
	ok(t, err)
	for _, v := range views {
		for _, d := range v.Dests {
			if d.Active != 0 || d.Inactive != 0 {
				t.Errorf("%s %s: %d active, %d inactive without a connection", v.ServiceKey, d.Addr, d.Active, d.Inactive)
			}
		}
		for _, l := range v.Locals {
			if used, _, _, _ := b.LocalCounts(l.Addr); used != 0 {
				t.Errorf("%s: %d ports in use without a connection", l.Addr, used)
			}
		}
	}
	if g := b.Gauges(); g.HalfOpen != 0 {
		t.Errorf("%d half-open connections without any", g.HalfOpen)
	}
	drops, err := b.Drops()
	ok(t, err)
	for _, r := range []packet.Reason{packet.WalkFault, packet.NoReason, packet.PoolEmpty, packet.HandoffFull, packet.PortTxFull} {
		if drops[r] != 0 {
			t.Errorf("%d packets dropped for %s", drops[r], r)
		}
	}
}

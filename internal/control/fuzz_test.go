package control

import (
	"context"
	"errors"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/spec"
)

// rpc calls a method of the server with a message of bytes; ok is false if they are none.
type rpc func(*Server, []byte) (err error, ok bool)

func method[Q, A any](f func(*Server, context.Context, *connect.Request[Q]) (*connect.Response[A], error)) rpc {
	return func(s *Server, b []byte) (error, bool) {
		q := new(Q)
		if proto.Unmarshal(b, any(q).(proto.Message)) != nil {
			return nil, false
		}
		_, err := f(s, context.Background(), connect.NewRequest(q))
		return err, true
	}
}

var rpcs = []rpc{
	method((*Server).AddAddress), method((*Server).DeleteAddress), method((*Server).FlushAddresses), method((*Server).ListAddresses),
	method((*Server).AddRoute), method((*Server).DeleteRoute), method((*Server).FlushRoutes), method((*Server).ListRoutes),
	method((*Server).AddNeighbour), method((*Server).DeleteNeighbour), method((*Server).ListNeighbours),
	method((*Server).SetLink), method((*Server).ListLinks), method((*Server).ListWorkers), method((*Server).GetStats),
	method((*Server).AddService), method((*Server).EditService), method((*Server).DeleteService), method((*Server).FlushServices), method((*Server).ListServices),
	method((*Server).AddDest), method((*Server).EditDest), method((*Server).DeleteDest),
	method((*Server).AddLocalAddress), method((*Server).DeleteLocalAddress), method((*Server).ZeroCounters), method((*Server).GetVersion),
	method((*Server).ListMulticast), method((*Server).AddAccess), method((*Server).DeleteAccess), method((*Server).ListAccess),
}

// FuzzConvert gives the server any messages: each input is calls in a row, the
// number of the rpc, the length of the message, the message. None panics; what
// is refused is refused with a sentence and DPVS's code, and changes nothing;
// what is accepted can be listed.
func FuzzConvert(f *testing.F) {
	var whole []byte
	seed := func(i int, m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		c := append([]byte{byte(i), byte(len(b))}, b...)
		f.Add(c)
		whole = append(whole, c...)
	}
	key, dest := udpKey(53), fullNAT("192.168.1.9", 53, 1)
	seed(0, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "10.0.0.1/24", Device: "wan", Broadcast: "10.0.0.255", Scope: 1}})
	seed(0, &weirv1.AddAddressRequest{Replace: true, Address: &weirv1.Address{Prefix: "192.168.1.200/32", Device: "lan", Sapool: true}})
	seed(4, &weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "0.0.0.0/0", Via: "10.0.0.254", Src: "10.0.0.1", Device: "wan", Mtu: 1400, Metric: 1}})
	seed(4, &weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "10.0.0.0/24", Device: "lan", Scope: 3}})
	seed(8, &weirv1.AddNeighbourRequest{Neighbour: &weirv1.Neighbour{Address: "10.0.0.254", Lladdr: "02:00:00:00:00:01", Device: "wan"}})
	seed(11, &weirv1.SetLinkRequest{Device: "lan", Item: "link", Value: "down"})
	seed(15, &weirv1.AddServiceRequest{Service: &weirv1.Service{Key: key, Scheduler: "rr", ConnTimeout: 9}})
	seed(16, &weirv1.EditServiceRequest{Service: &weirv1.Service{Key: key, Scheduler: "wlc", Uoa: "opp"}})
	seed(16, &weirv1.EditServiceRequest{Service: &weirv1.Service{Key: key, Scheduler: "wlc", ProxyProtocol: "v2-insecure"}})
	seed(15, &weirv1.AddServiceRequest{Service: &weirv1.Service{Key: tcpKey(80), Scheduler: "rr", ProxyProtocol: "v1", NoToa: true}})
	seed(20, &weirv1.AddDestRequest{Key: key, Dest: dest})
	seed(21, &weirv1.EditDestRequest{Key: key, Dest: &weirv1.Dest{Address: "192.168.1.9", Port: 53, Forward: 4, Weight: 65535, UThreshold: 7, LThreshold: 3}})
	seed(23, &weirv1.AddLocalAddressRequest{Key: key, Local: &weirv1.LocalAddress{Address: "192.168.1.200", Device: "lan"}})
	seed(24, &weirv1.DeleteLocalAddressRequest{Key: key, Local: &weirv1.LocalAddress{Address: "192.168.1.200", Device: "lan"}})
	seed(22, &weirv1.DeleteDestRequest{Key: key, Dest: dest})
	seed(5, &weirv1.DeleteRouteRequest{Route: &weirv1.Route{Prefix: "0.0.0.0/0", Device: "wan"}})
	seed(9, &weirv1.DeleteNeighbourRequest{Address: "10.0.0.254", Device: "wan"})
	seed(1, &weirv1.DeleteAddressRequest{Prefix: "10.0.0.1/24", Device: "wan"})
	seed(0, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "2001:db8::1/64", Device: "wan"}})
	seed(0, &weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "fe80::1/64", Device: "lan", Scope: 1}})
	seed(4, &weirv1.AddRouteRequest{Route: &weirv1.Route{Prefix: "::/0", Via: "fe80::254", Src: "2001:db8::1", Device: "wan", Mtu: 1280}})
	seed(8, &weirv1.AddNeighbourRequest{Neighbour: &weirv1.Neighbour{Address: "fe80::254", Lladdr: "02:00:00:00:00:01", Device: "wan"}})
	seed(15, &weirv1.AddServiceRequest{Service: &weirv1.Service{Key: &weirv1.ServiceKey{Protocol: 6, Address: "2001:db8::100", Port: 80}, Scheduler: "rr", Persistent: 9, PersistentMask: "64"}})
	seed(20, &weirv1.AddDestRequest{Key: key, Dest: fullNAT("2001:db8:1::2", 53, 1)})
	seed(23, &weirv1.AddLocalAddressRequest{Key: key, Local: &weirv1.LocalAddress{Address: "2001:db8:1::200", Device: "lan"}})
	seed(28, &weirv1.AddAccessRequest{List: &weirv1.AccessList{Key: key, Kind: 1, Entries: []string{"2001:db8::9"}}})
	seed(2, &weirv1.FlushAddressesRequest{Device: "wan", Family: 6})
	seed(17, &weirv1.DeleteServiceRequest{Key: key})
	for i := range rpcs {
		whole = append(whole, byte(i), 0)
		f.Add([]byte{byte(i), 0})
	}
	f.Add(whole)

	b := newBed(f, true)
	s := New(b.Director, "fuzz")
	nothing := b.Spec().Clone()
	f.Fuzz(func(t *testing.T, in []byte) {
		for len(in) >= 2 {
			r, n := rpcs[int(in[0])%len(rpcs)], min(int(in[1]), len(in)-2)
			message := in[2 : 2+n]
			in = in[2+n:]
			before := b.Spec()
			err, ok := r(s, message)
			if !ok || err == nil {
				continue
			}
			var e *connect.Error
			d, detailed := client.Detail(err)
			if !errors.As(err, &e) || e.Code() == connect.CodeInternal || e.Message() == "" || !detailed || d.Code >= 0 || d.Text == "" || d.Object == "" {
				t.Errorf("refused with %v, detail %v", err, d)
			}
			if b.Spec() != before {
				t.Errorf("%v: and yet something changed", err)
			}
		}
		for _, i := range []int{3, 7, 10, 12, 13, 14, 19, 27, 30} { // the lists
			if err, ok := rpcs[i](s, nil); !ok || err != nil {
				t.Errorf("list %d: %v", i, err)
			}
		}
		if err := b.Change(func(c *spec.Spec) error { *c = *nothing.Clone(); return nil }); err != nil {
			t.Fatal(err)
		}
		b.KeepHouse()
		for _, w := range b.Lanes() {
			w.Breathe()
		}
		b.lan.Take()
		b.wan.Take()
	})
}

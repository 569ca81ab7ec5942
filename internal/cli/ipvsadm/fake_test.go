package ipvsadm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"weir/api/client"
	"weir/api/weirv1"
)

// fake is a director without packets: it keeps what it is told, refuses what is
// there already or is not there, and derives routes from addresses.
type fake struct {
	weirv1.UnimplementedDirectorHandler

	mu         sync.Mutex
	vlans      []*weirv1.VLAN
	addresses  []*weirv1.Address
	routes     []*weirv1.Route // configured ones
	neighbours []*weirv1.Neighbour
	tunnels    []*weirv1.Tunnel
	services   []*weirv1.Service
	access     []*weirv1.AccessList
	timeouts   weirv1.Timeouts
	conns      [][]*weirv1.Connection // in lots
	asked      *weirv1.ListConnectionsRequest
	calls      []string // names of the calls, and of the steps of Apply
}

// ServeHTTP serves the API and notes the calls.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, path.Base(r.URL.Path))
	_, api := weirv1.NewDirectorHandler(f)
	api.ServeHTTP(w, r)
}

// changes returns the calls that change something.
func (f *fake) changes() []string {
	return slices.DeleteFunc(slices.Clone(f.calls), func(name string) bool {
		return strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Get") || name == "Apply"
	})
}

// refuse makes the director's no.
func refuse(code int32, object, format string, args ...any) error {
	text := map[int32]string{-3: "already exist", -4: "not exist", -14: "not support"}[code]
	err := connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf(format, args...))
	detail, derr := connect.NewErrorDetail(&weirv1.ErrorDetail{Code: code, Text: text, Object: object})
	if derr != nil {
		return derr
	}
	err.AddDetail(detail)
	return err
}

func done[A any](a *A, err error) (*connect.Response[A], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(a), nil
}

// find returns the service's index.
func (f *fake) find(key *weirv1.ServiceKey) (int, error) {
	i := slices.IndexFunc(f.services, func(s *weirv1.Service) bool { return proto.Equal(s.Key, key) })
	if i < 0 {
		return i, refuse(-4, "service", "there is no service %s %s:%d", protoWord(key.GetProtocol()), key.GetAddress(), key.GetPort())
	}
	return i, nil
}

// Apply makes all steps, or none.
func (f *fake) Apply(ctx context.Context, q *connect.Request[weirv1.ApplyRequest]) (*connect.Response[weirv1.ApplyResponse], error) {
	was := fake{
		vlans: clones(f.vlans), tunnels: clones(f.tunnels),
		addresses: clones(f.addresses), routes: clones(f.routes), neighbours: clones(f.neighbours), services: clones(f.services),
		access: clones(f.access), calls: slices.Clone(f.calls),
	}
	timeouts := proto.Clone(&f.timeouts)
	for i, s := range q.Msg.Steps {
		name, err := f.step(ctx, s)
		if err == nil {
			f.calls = append(f.calls, name)
			continue
		}
		if s.GetMayBeThere() && connect.CodeOf(err) == connect.CodeFailedPrecondition && strings.HasSuffix(err.Error(), "already exists") {
			continue
		}
		f.vlans, f.tunnels = was.vlans, was.tunnels
		f.addresses, f.routes, f.neighbours, f.services, f.access, f.calls = was.addresses, was.routes, was.neighbours, was.services, was.access, was.calls
		proto.Reset(&f.timeouts)
		proto.Merge(&f.timeouts, timeouts)
		d, _ := client.Detail(err)
		d.Step = uint32(i + 1)
		refused := connect.NewError(connect.CodeOf(err), errors.New(client.Message(err)))
		detail, err := connect.NewErrorDetail(d)
		if err != nil {
			return nil, err
		}
		refused.AddDetail(detail)
		return nil, refused
	}
	return done(&weirv1.ApplyResponse{}, nil)
}

func clones[M proto.Message](all []M) (out []M) {
	for _, m := range all {
		out = append(out, proto.Clone(m).(M))
	}
	return out
}

func (f *fake) step(ctx context.Context, s *weirv1.Step) (name string, err error) {
	switch c := s.Change.(type) {
	case *weirv1.Step_AddTunnel:
		_, err = f.AddTunnel(ctx, connect.NewRequest(c.AddTunnel))
	case *weirv1.Step_AddVlan:
		_, err = f.AddVLAN(ctx, connect.NewRequest(c.AddVlan))
	case *weirv1.Step_AddAddress:
		_, err = f.AddAddress(ctx, connect.NewRequest(c.AddAddress))
	case *weirv1.Step_DeleteAddress:
		_, err = f.DeleteAddress(ctx, connect.NewRequest(c.DeleteAddress))
	case *weirv1.Step_FlushAddresses:
		_, err = f.FlushAddresses(ctx, connect.NewRequest(c.FlushAddresses))
	case *weirv1.Step_AddRoute:
		_, err = f.AddRoute(ctx, connect.NewRequest(c.AddRoute))
	case *weirv1.Step_DeleteRoute:
		_, err = f.DeleteRoute(ctx, connect.NewRequest(c.DeleteRoute))
	case *weirv1.Step_FlushRoutes:
		_, err = f.FlushRoutes(ctx, connect.NewRequest(c.FlushRoutes))
	case *weirv1.Step_AddNeighbour:
		_, err = f.AddNeighbour(ctx, connect.NewRequest(c.AddNeighbour))
	case *weirv1.Step_DeleteNeighbour:
		_, err = f.DeleteNeighbour(ctx, connect.NewRequest(c.DeleteNeighbour))
	case *weirv1.Step_SetLink:
		_, err = f.SetLink(ctx, connect.NewRequest(c.SetLink))
	case *weirv1.Step_AddService:
		_, err = f.AddService(ctx, connect.NewRequest(c.AddService))
	case *weirv1.Step_EditService:
		_, err = f.EditService(ctx, connect.NewRequest(c.EditService))
	case *weirv1.Step_DeleteService:
		_, err = f.DeleteService(ctx, connect.NewRequest(c.DeleteService))
	case *weirv1.Step_FlushServices:
		_, err = f.FlushServices(ctx, connect.NewRequest(c.FlushServices))
	case *weirv1.Step_AddDest:
		_, err = f.AddDest(ctx, connect.NewRequest(c.AddDest))
	case *weirv1.Step_EditDest:
		_, err = f.EditDest(ctx, connect.NewRequest(c.EditDest))
	case *weirv1.Step_DeleteDest:
		_, err = f.DeleteDest(ctx, connect.NewRequest(c.DeleteDest))
	case *weirv1.Step_AddLocalAddress:
		_, err = f.AddLocalAddress(ctx, connect.NewRequest(c.AddLocalAddress))
	case *weirv1.Step_DeleteLocalAddress:
		_, err = f.DeleteLocalAddress(ctx, connect.NewRequest(c.DeleteLocalAddress))
	case *weirv1.Step_AddAccess:
		_, err = f.AddAccess(ctx, connect.NewRequest(c.AddAccess))
	case *weirv1.Step_DeleteAccess:
		_, err = f.DeleteAccess(ctx, connect.NewRequest(c.DeleteAccess))
	case *weirv1.Step_SetTimeouts:
		_, err = f.SetTimeouts(ctx, connect.NewRequest(c.SetTimeouts))
	default:
		err = refuse(-1, "step", "it says nothing")
	}
	name = fmt.Sprintf("%T", s.Change)
	return name[strings.LastIndex(name, "_")+1:], err
}

func (f *fake) GetVersion(context.Context, *connect.Request[weirv1.GetVersionRequest]) (*connect.Response[weirv1.GetVersionResponse], error) {
	return done(&weirv1.GetVersionResponse{Version: "test"}, nil)
}

func (f *fake) ListServices(_ context.Context, q *connect.Request[weirv1.ListServicesRequest]) (*connect.Response[weirv1.ListServicesResponse], error) {
	if q.Msg.Key == nil {
		return done(&weirv1.ListServicesResponse{Services: f.services}, nil)
	}
	i, err := f.find(q.Msg.Key)
	if err != nil {
		return nil, err
	}
	return done(&weirv1.ListServicesResponse{Services: f.services[i : i+1]}, nil)
}

func (f *fake) AddService(_ context.Context, q *connect.Request[weirv1.AddServiceRequest]) (*connect.Response[weirv1.AddServiceResponse], error) {
	s := q.Msg.Service
	if _, err := f.find(s.Key); err == nil {
		return nil, refuse(-3, "service", "service %s:%d already exists", s.Key.Address, s.Key.Port)
	}
	f.services = append(f.services, s)
	return done(&weirv1.AddServiceResponse{}, nil)
}

func (f *fake) EditService(_ context.Context, q *connect.Request[weirv1.EditServiceRequest]) (*connect.Response[weirv1.EditServiceResponse], error) {
	i, err := f.find(q.Msg.Service.Key)
	if err == nil {
		q.Msg.Service.Dests, q.Msg.Service.Locals = f.services[i].Dests, f.services[i].Locals
		f.services[i] = q.Msg.Service
	}
	return done(&weirv1.EditServiceResponse{}, err)
}

func (f *fake) DeleteService(_ context.Context, q *connect.Request[weirv1.DeleteServiceRequest]) (*connect.Response[weirv1.DeleteServiceResponse], error) {
	i, err := f.find(q.Msg.Key)
	if err == nil {
		f.services = slices.Delete(f.services, i, i+1)
	}
	return done(&weirv1.DeleteServiceResponse{}, err)
}

func (f *fake) FlushServices(context.Context, *connect.Request[weirv1.FlushServicesRequest]) (*connect.Response[weirv1.FlushServicesResponse], error) {
	f.services = nil
	return done(&weirv1.FlushServicesResponse{}, nil)
}

func (f *fake) ZeroCounters(_ context.Context, q *connect.Request[weirv1.ZeroCountersRequest]) (*connect.Response[weirv1.ZeroCountersResponse], error) {
	for _, s := range f.services {
		for _, d := range s.Dests {
			if q.Msg.Key == nil || proto.Equal(q.Msg.Key, s.Key) {
				d.Counters = nil
			}
		}
	}
	return done(&weirv1.ZeroCountersResponse{}, nil)
}

// findDest returns a service and the index of a real server of it.
func (f *fake) findDest(key *weirv1.ServiceKey, d *weirv1.Dest) (s *weirv1.Service, i int, err error) {
	at, err := f.find(key)
	if err != nil {
		return nil, -1, err
	}
	s = f.services[at]
	return s, slices.IndexFunc(s.Dests, func(have *weirv1.Dest) bool {
		return have.Address == d.Address && have.Port == d.Port
	}), nil
}

func (f *fake) AddDest(_ context.Context, q *connect.Request[weirv1.AddDestRequest]) (*connect.Response[weirv1.AddDestResponse], error) {
	s, i, err := f.findDest(q.Msg.Key, q.Msg.Dest)
	switch {
	case err != nil:
	case q.Msg.Dest.Forward == weirv1.Forward_FORWARD_ROUTE:
		err = refuse(-14, "dest", "forwarding mode Route is not yet supported: use -b (full-NAT)")
	case i >= 0:
		err = refuse(-3, "dest", "real server %s:%d already exists", q.Msg.Dest.Address, q.Msg.Dest.Port)
	default:
		s.Dests = append(s.Dests, q.Msg.Dest)
	}
	return done(&weirv1.AddDestResponse{}, err)
}

func (f *fake) EditDest(_ context.Context, q *connect.Request[weirv1.EditDestRequest]) (*connect.Response[weirv1.EditDestResponse], error) {
	s, i, err := f.findDest(q.Msg.Key, q.Msg.Dest)
	if err == nil && i < 0 {
		err = refuse(-4, "dest", "there is no such real server")
	}
	if err == nil {
		s.Dests[i] = q.Msg.Dest
	}
	return done(&weirv1.EditDestResponse{}, err)
}

func (f *fake) DeleteDest(_ context.Context, q *connect.Request[weirv1.DeleteDestRequest]) (*connect.Response[weirv1.DeleteDestResponse], error) {
	s, i, err := f.findDest(q.Msg.Key, q.Msg.Dest)
	if err == nil && i < 0 {
		err = refuse(-4, "dest", "there is no such real server")
	}
	if err == nil {
		s.Dests = slices.Delete(s.Dests, i, i+1)
	}
	return done(&weirv1.DeleteDestResponse{}, err)
}

func (f *fake) AddLocalAddress(_ context.Context, q *connect.Request[weirv1.AddLocalAddressRequest]) (*connect.Response[weirv1.AddLocalAddressResponse], error) {
	i, err := f.find(q.Msg.Key)
	if err != nil {
		return nil, err
	}
	s, l := f.services[i], q.Msg.Local
	for _, have := range s.Locals {
		if proto.Equal(have, l) {
			return nil, refuse(-3, "laddr", "local address %s already exists", l.Address)
		}
	}
	s.Locals = append(s.Locals, l)
	existed := slices.ContainsFunc(f.addresses, func(a *weirv1.Address) bool {
		return netip.MustParsePrefix(a.Prefix).Addr().String() == l.Address && a.Device == l.Device
	})
	if !existed {
		f.addresses = append(f.addresses, &weirv1.Address{Prefix: host(netip.MustParseAddr(l.Address)).String(), Device: l.Device, Sapool: true})
	}
	return done(&weirv1.AddLocalAddressResponse{AddressExisted: existed}, nil)
}

func (f *fake) DeleteLocalAddress(_ context.Context, q *connect.Request[weirv1.DeleteLocalAddressRequest]) (*connect.Response[weirv1.DeleteLocalAddressResponse], error) {
	i, err := f.find(q.Msg.Key)
	if err == nil {
		s := f.services[i]
		s.Locals = slices.DeleteFunc(s.Locals, func(l *weirv1.LocalAddress) bool { return proto.Equal(l, q.Msg.Local) })
	}
	return done(&weirv1.DeleteLocalAddressResponse{}, err)
}

func (f *fake) GetTimeouts(context.Context, *connect.Request[weirv1.GetTimeoutsRequest]) (*connect.Response[weirv1.GetTimeoutsResponse], error) {
	return done(&weirv1.GetTimeoutsResponse{Timeouts: &weirv1.Timeouts{Tcp: 900, TcpFin: f.timeouts.TcpFin, Udp: 300}, Set: &f.timeouts}, nil)
}

func (f *fake) SetTimeouts(_ context.Context, q *connect.Request[weirv1.SetTimeoutsRequest]) (*connect.Response[weirv1.SetTimeoutsResponse], error) {
	proto.Reset(&f.timeouts)
	proto.Merge(&f.timeouts, q.Msg.Timeouts)
	return done(&weirv1.SetTimeoutsResponse{}, nil)
}

func (f *fake) ListAccess(_ context.Context, q *connect.Request[weirv1.ListAccessRequest]) (*connect.Response[weirv1.ListAccessResponse], error) {
	if q.Msg.Key != nil {
		if _, err := f.find(q.Msg.Key); err != nil {
			return nil, err
		}
	}
	out := &weirv1.ListAccessResponse{}
	for _, l := range f.access {
		if (q.Msg.Key == nil || proto.Equal(q.Msg.Key, l.Key)) && (q.Msg.Kind == 0 || q.Msg.Kind == l.Kind) {
			out.Lists = append(out.Lists, l)
		}
	}
	return done(out, nil)
}

func (f *fake) findAccess(want *weirv1.AccessList) (*weirv1.AccessList, error) {
	if _, err := f.find(want.Key); err != nil {
		return nil, err
	}
	for _, l := range f.access {
		if proto.Equal(want.Key, l.Key) && want.Kind == l.Kind {
			return l, nil
		}
	}
	l := &weirv1.AccessList{Key: want.Key, Kind: want.Kind}
	f.access = append(f.access, l)
	return l, nil
}

func (f *fake) AddAccess(_ context.Context, q *connect.Request[weirv1.AddAccessRequest]) (*connect.Response[weirv1.AddAccessResponse], error) {
	l, err := f.findAccess(q.Msg.List)
	if err == nil {
		if slices.Contains(l.Entries, q.Msg.List.Entries[0]) {
			return nil, refuse(-3, "blacklist", "address already exists: %s", q.Msg.List.Entries[0])
		}
		l.Entries = append(l.Entries, q.Msg.List.Entries...)
	}
	return done(&weirv1.AddAccessResponse{}, err)
}

func (f *fake) DeleteAccess(_ context.Context, q *connect.Request[weirv1.DeleteAccessRequest]) (*connect.Response[weirv1.DeleteAccessResponse], error) {
	l, err := f.findAccess(q.Msg.List)
	if err == nil {
		l.Entries = slices.DeleteFunc(l.Entries, func(e string) bool { return e == q.Msg.List.Entries[0] })
	}
	return done(&weirv1.DeleteAccessResponse{}, err)
}

func (f *fake) ListConnections(_ context.Context, q *connect.Request[weirv1.ListConnectionsRequest], stream *connect.ServerStream[weirv1.ListConnectionsResponse]) error {
	f.asked = q.Msg
	for _, lot := range f.conns {
		if err := stream.Send(&weirv1.ListConnectionsResponse{Connections: lot}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) ListAddresses(context.Context, *connect.Request[weirv1.ListAddressesRequest]) (*connect.Response[weirv1.ListAddressesResponse], error) {
	return done(&weirv1.ListAddressesResponse{Addresses: f.addresses}, nil)
}

func (f *fake) AddAddress(_ context.Context, q *connect.Request[weirv1.AddAddressRequest]) (*connect.Response[weirv1.AddAddressResponse], error) {
	for _, have := range f.addresses {
		if have.Prefix == q.Msg.Address.Prefix && have.Device == q.Msg.Address.Device {
			return nil, refuse(-3, "address", "address %s already exists", have.Prefix)
		}
	}
	f.addresses = append(f.addresses, q.Msg.Address)
	return done(&weirv1.AddAddressResponse{}, nil)
}

// ListRoutes shows the derived routes as the director does: with the device's MTU, and
// not where a configured one stands in their place.
func (f *fake) ListRoutes(context.Context, *connect.Request[weirv1.ListRoutesRequest]) (*connect.Response[weirv1.ListRoutesResponse], error) {
	var routes []*weirv1.Route
	for _, a := range f.addresses {
		own := netip.MustParsePrefix(a.Prefix)
		routes = append(routes, &weirv1.Route{
			Prefix: host(own.Addr()).String(), Device: a.Device,
			Mtu: 1500, Scope: weirv1.Scope_SCOPE_HOST, Proto: "auto", Derived: true,
		})
		instead := func(r *weirv1.Route) bool { return r.Prefix == own.Masked().String() && r.Device == a.Device }
		if !own.IsSingleIP() && !slices.ContainsFunc(f.routes, instead) {
			src := own.Addr().String()
			if own.Addr().Is6() {
				src = "" // as long as the address is probed for
			}
			routes = append(routes, &weirv1.Route{
				Prefix: own.Masked().String(), Src: src, Device: a.Device,
				Mtu: 1500, Scope: weirv1.Scope_SCOPE_LINK, Proto: "auto", Derived: true,
			})
		}
	}
	return done(&weirv1.ListRoutesResponse{Routes: append(routes, f.routes...)}, nil)
}

func (f *fake) AddRoute(_ context.Context, q *connect.Request[weirv1.AddRouteRequest]) (*connect.Response[weirv1.AddRouteResponse], error) {
	r := q.Msg.Route
	if r.Mtu == 0 {
		r.Mtu = 1500
	}
	for _, a := range f.addresses {
		if a.Device == r.Device && netip.MustParsePrefix(a.Prefix).Masked().String() == r.Prefix {
			return nil, refuse(-3, "route", "already exist: %s follows from the address %s", r.Prefix, a.Prefix)
		}
	}
	f.routes = append(f.routes, r)
	return done(&weirv1.AddRouteResponse{}, nil)
}

func (f *fake) ListTunnels(context.Context, *connect.Request[weirv1.ListTunnelsRequest]) (*connect.Response[weirv1.ListTunnelsResponse], error) {
	return done(&weirv1.ListTunnelsResponse{Tunnels: f.tunnels}, nil)
}

func (f *fake) AddTunnel(_ context.Context, q *connect.Request[weirv1.AddTunnelRequest]) (*connect.Response[weirv1.AddTunnelResponse], error) {
	f.tunnels = append(f.tunnels, q.Msg.Tunnel)
	return done(&weirv1.AddTunnelResponse{}, nil)
}

func (f *fake) ListNeighbours(context.Context, *connect.Request[weirv1.ListNeighboursRequest]) (*connect.Response[weirv1.ListNeighboursResponse], error) {
	return done(&weirv1.ListNeighboursResponse{Neighbours: f.neighbours}, nil)
}

func (f *fake) ListVLANs(context.Context, *connect.Request[weirv1.ListVLANsRequest]) (*connect.Response[weirv1.ListVLANsResponse], error) {
	return done(&weirv1.ListVLANsResponse{Vlans: f.vlans}, nil)
}

func (f *fake) AddVLAN(_ context.Context, q *connect.Request[weirv1.AddVLANRequest]) (*connect.Response[weirv1.AddVLANResponse], error) {
	f.vlans = append(f.vlans, q.Msg.Vlan)
	return done(&weirv1.AddVLANResponse{}, nil)
}

func (f *fake) AddNeighbour(_ context.Context, q *connect.Request[weirv1.AddNeighbourRequest]) (*connect.Response[weirv1.AddNeighbourResponse], error) {
	q.Msg.Neighbour.Static = true
	f.neighbours = append(f.neighbours, q.Msg.Neighbour)
	return done(&weirv1.AddNeighbourResponse{}, nil)
}

func (f *fake) ListLinks(context.Context, *connect.Request[weirv1.ListLinksRequest]) (*connect.Response[weirv1.ListLinksResponse], error) {
	return done(&weirv1.ListLinksResponse{Links: []*weirv1.Link{
		{Name: "dpdk0", Mtu: 1500}, {Name: "dpdk1", Mtu: 1500},
	}}, nil)
}

// fakeNames knows a few names, and answers at once.
type fakeNames struct{}

func (fakeNames) Addr(_ context.Context, of Family, host string) (netip.Addr, error) {
	switch {
	case host == "www.example.com" && of == IPv4, host == "both.example.com" && of == IPv4:
		return netip.MustParseAddr("10.0.0.100"), nil
	case host == "six.example.com" && of == IPv6, host == "both.example.com" && of == IPv6:
		return netip.MustParseAddr("2001:db8::100"), nil
	}
	return netip.Addr{}, errors.New("no such host")
}

func (fakeNames) Port(_ context.Context, proto, service string) (uint16, error) {
	if proto == "tcp" && service == "http" {
		return 80, nil
	}
	return 0, errors.New("unknown port")
}

func (fakeNames) Host(_ context.Context, addr netip.Addr) string {
	switch addr.String() {
	case "10.0.0.100":
		return "www.example.com"
	case "2001:db8::100":
		return "six.example.com"
	}
	return ""
}

func (fakeNames) Service(proto string, port uint16) string {
	if proto == "tcp" && port == 80 {
		return "http"
	}
	return ""
}

// start serves f on a Unix socket and returns a client.
func start(t testing.TB, f *fake) weirv1.DirectorClient {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return client.New(socket)
}

// result is what a run leaves.
type result struct {
	stdout, stderr string
	exit           int
}

// run runs a line against c; stdin is what -R reads.
func run(t testing.TB, c weirv1.DirectorClient, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	exit := Run(t.Context(), args, Env{
		Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr,
		Client: c, Socket: "/run/weir.sock", Version: "1.2.3", Names: fakeNames{},
	})
	return result{stdout.String(), stderr.String(), exit}
}

// must runs lines that have to succeed without a word on standard error.
func must(t testing.TB, c weirv1.DirectorClient, lines ...string) {
	t.Helper()
	for _, text := range lines {
		if r := run(t, c, "", strings.Fields(text)...); r.exit != 0 || r.stderr != "" {
			t.Fatalf("ipvsadm %s: exit %d: %s", text, r.exit, r.stderr)
		}
	}
}

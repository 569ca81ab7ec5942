package dpip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"weir/api/client"
	"weir/api/weirv1"
)

// fake is a director that answers with what it was given and remembers what it
// was asked, as "Procedure {message}".
type fake struct {
	weirv1.UnimplementedDirectorHandler

	vlans      []*weirv1.VLAN
	addresses  []*weirv1.Address
	routes     []*weirv1.Route
	neighbours []*weirv1.Neighbour
	groups     []*weirv1.MulticastGroup
	links      func() []*weirv1.Link
	tunnels    []*weirv1.Tunnel
	workers    []*weirv1.Worker
	refusal    error // of every change

	mu    sync.Mutex
	calls []proto.Message
}

// note remembers a call.
func (f *fake) note(m proto.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, m)
}

// take returns the calls since the last take.
func (f *fake) take() []proto.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func answer[Q, A any](f *fake, q *connect.Request[Q], a *A, err error) (*connect.Response[A], error) {
	f.note(any(q.Msg).(proto.Message))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(a), nil
}

func (f *fake) ListAddresses(_ context.Context, q *connect.Request[weirv1.ListAddressesRequest]) (*connect.Response[weirv1.ListAddressesResponse], error) {
	return answer(f, q, &weirv1.ListAddressesResponse{Addresses: f.addresses}, nil)
}
func (f *fake) AddAddress(_ context.Context, q *connect.Request[weirv1.AddAddressRequest]) (*connect.Response[weirv1.AddAddressResponse], error) {
	return answer(f, q, &weirv1.AddAddressResponse{}, f.refusal)
}
func (f *fake) DeleteAddress(_ context.Context, q *connect.Request[weirv1.DeleteAddressRequest]) (*connect.Response[weirv1.DeleteAddressResponse], error) {
	return answer(f, q, &weirv1.DeleteAddressResponse{}, f.refusal)
}
func (f *fake) FlushAddresses(_ context.Context, q *connect.Request[weirv1.FlushAddressesRequest]) (*connect.Response[weirv1.FlushAddressesResponse], error) {
	return answer(f, q, &weirv1.FlushAddressesResponse{}, f.refusal)
}
func (f *fake) ListRoutes(_ context.Context, q *connect.Request[weirv1.ListRoutesRequest]) (*connect.Response[weirv1.ListRoutesResponse], error) {
	return answer(f, q, &weirv1.ListRoutesResponse{Routes: f.routes}, nil)
}
func (f *fake) AddRoute(_ context.Context, q *connect.Request[weirv1.AddRouteRequest]) (*connect.Response[weirv1.AddRouteResponse], error) {
	return answer(f, q, &weirv1.AddRouteResponse{}, f.refusal)
}
func (f *fake) DeleteRoute(_ context.Context, q *connect.Request[weirv1.DeleteRouteRequest]) (*connect.Response[weirv1.DeleteRouteResponse], error) {
	return answer(f, q, &weirv1.DeleteRouteResponse{}, f.refusal)
}
func (f *fake) FlushRoutes(_ context.Context, q *connect.Request[weirv1.FlushRoutesRequest]) (*connect.Response[weirv1.FlushRoutesResponse], error) {
	return answer(f, q, &weirv1.FlushRoutesResponse{}, f.refusal)
}
func (f *fake) ListNeighbours(_ context.Context, q *connect.Request[weirv1.ListNeighboursRequest]) (*connect.Response[weirv1.ListNeighboursResponse], error) {
	return answer(f, q, &weirv1.ListNeighboursResponse{Neighbours: f.neighbours}, nil)
}
func (f *fake) AddNeighbour(_ context.Context, q *connect.Request[weirv1.AddNeighbourRequest]) (*connect.Response[weirv1.AddNeighbourResponse], error) {
	return answer(f, q, &weirv1.AddNeighbourResponse{}, f.refusal)
}
func (f *fake) DeleteNeighbour(_ context.Context, q *connect.Request[weirv1.DeleteNeighbourRequest]) (*connect.Response[weirv1.DeleteNeighbourResponse], error) {
	return answer(f, q, &weirv1.DeleteNeighbourResponse{}, f.refusal)
}
func (f *fake) ListVLANs(_ context.Context, q *connect.Request[weirv1.ListVLANsRequest]) (*connect.Response[weirv1.ListVLANsResponse], error) {
	return answer(f, q, &weirv1.ListVLANsResponse{Vlans: f.vlans}, nil)
}
func (f *fake) AddVLAN(_ context.Context, q *connect.Request[weirv1.AddVLANRequest]) (*connect.Response[weirv1.AddVLANResponse], error) {
	return answer(f, q, &weirv1.AddVLANResponse{}, f.refusal)
}
func (f *fake) DeleteVLAN(_ context.Context, q *connect.Request[weirv1.DeleteVLANRequest]) (*connect.Response[weirv1.DeleteVLANResponse], error) {
	return answer(f, q, &weirv1.DeleteVLANResponse{}, f.refusal)
}
func (f *fake) ListMulticast(_ context.Context, q *connect.Request[weirv1.ListMulticastRequest]) (*connect.Response[weirv1.ListMulticastResponse], error) {
	return answer(f, q, &weirv1.ListMulticastResponse{Groups: f.groups}, nil)
}
func (f *fake) ListLinks(_ context.Context, q *connect.Request[weirv1.ListLinksRequest]) (*connect.Response[weirv1.ListLinksResponse], error) {
	var links []*weirv1.Link
	if f.links != nil {
		links = f.links()
	}
	return answer(f, q, &weirv1.ListLinksResponse{Links: links}, nil)
}
func (f *fake) SetLink(_ context.Context, q *connect.Request[weirv1.SetLinkRequest]) (*connect.Response[weirv1.SetLinkResponse], error) {
	return answer(f, q, &weirv1.SetLinkResponse{}, f.refusal)
}
func (f *fake) ListTunnels(_ context.Context, q *connect.Request[weirv1.ListTunnelsRequest]) (*connect.Response[weirv1.ListTunnelsResponse], error) {
	return answer(f, q, &weirv1.ListTunnelsResponse{Tunnels: f.tunnels}, nil)
}
func (f *fake) AddTunnel(_ context.Context, q *connect.Request[weirv1.AddTunnelRequest]) (*connect.Response[weirv1.AddTunnelResponse], error) {
	return answer(f, q, &weirv1.AddTunnelResponse{}, f.refusal)
}
func (f *fake) ChangeTunnel(_ context.Context, q *connect.Request[weirv1.ChangeTunnelRequest]) (*connect.Response[weirv1.ChangeTunnelResponse], error) {
	return answer(f, q, &weirv1.ChangeTunnelResponse{}, f.refusal)
}
func (f *fake) DeleteTunnel(_ context.Context, q *connect.Request[weirv1.DeleteTunnelRequest]) (*connect.Response[weirv1.DeleteTunnelResponse], error) {
	return answer(f, q, &weirv1.DeleteTunnelResponse{}, f.refusal)
}
func (f *fake) ListWorkers(_ context.Context, q *connect.Request[weirv1.ListWorkersRequest]) (*connect.Response[weirv1.ListWorkersResponse], error) {
	return answer(f, q, &weirv1.ListWorkersResponse{Workers: f.workers}, nil)
}

// serve serves d on a Unix socket for as long as the test runs.
func serve(t testing.TB, d weirv1.DirectorHandler) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(weirv1.NewDirectorHandler(d))
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return socket
}

// bench is dpip with a fake director.
type bench struct {
	*fake
	client weirv1.DirectorClient
}

func newBench(t testing.TB) *bench {
	f := &fake{}
	return &bench{fake: f, client: client.New(serve(t, f))}
}

// result is what a run left.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a line. Its clock stands still but for what it sleeps.
func (b *bench) run(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	now := time.Unix(1000, 0)
	code := Run(ctx, args, Env{
		Stdout: &stdout, Stderr: &stderr, Client: b.client, Socket: "/run/weir.sock", Version: "1.2.3",
		Now: func() time.Time { return now },
		Sleep: func(ctx context.Context, d time.Duration) error {
			now = now.Add(d)
			return ctx.Err()
		},
	})
	return result{code, stdout.String(), stderr.String()}
}

var errGone = errors.New("gone")

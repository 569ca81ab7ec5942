package ipvsadm

import (
	"context"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// batch is a director to whom lines can be told: it notes the changes, which are made
// later and together, and asks the real one everything else.
type batch struct {
	weirv1.DirectorClient
	number int // of the line in hand
	steps  []*weirv1.Step
	lines  []int // beside steps
}

// note takes down a step of the line in hand.
func note[A any](b *batch, s *weirv1.Step) (*connect.Response[A], error) {
	b.steps, b.lines = append(b.steps, s), append(b.lines, b.number)
	return connect.NewResponse(new(A)), nil
}

func (b *batch) AddAddress(_ context.Context, q *connect.Request[weirv1.AddAddressRequest]) (*connect.Response[weirv1.AddAddressResponse], error) {
	return note[weirv1.AddAddressResponse](b, &weirv1.Step{Change: &weirv1.Step_AddAddress{AddAddress: q.Msg}})
}

func (b *batch) DeleteAddress(_ context.Context, q *connect.Request[weirv1.DeleteAddressRequest]) (*connect.Response[weirv1.DeleteAddressResponse], error) {
	return note[weirv1.DeleteAddressResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteAddress{DeleteAddress: q.Msg}})
}

func (b *batch) FlushAddresses(_ context.Context, q *connect.Request[weirv1.FlushAddressesRequest]) (*connect.Response[weirv1.FlushAddressesResponse], error) {
	return note[weirv1.FlushAddressesResponse](b, &weirv1.Step{Change: &weirv1.Step_FlushAddresses{FlushAddresses: q.Msg}})
}

func (b *batch) AddRoute(_ context.Context, q *connect.Request[weirv1.AddRouteRequest]) (*connect.Response[weirv1.AddRouteResponse], error) {
	return note[weirv1.AddRouteResponse](b, &weirv1.Step{Change: &weirv1.Step_AddRoute{AddRoute: q.Msg}})
}

func (b *batch) DeleteRoute(_ context.Context, q *connect.Request[weirv1.DeleteRouteRequest]) (*connect.Response[weirv1.DeleteRouteResponse], error) {
	return note[weirv1.DeleteRouteResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteRoute{DeleteRoute: q.Msg}})
}

func (b *batch) FlushRoutes(_ context.Context, q *connect.Request[weirv1.FlushRoutesRequest]) (*connect.Response[weirv1.FlushRoutesResponse], error) {
	return note[weirv1.FlushRoutesResponse](b, &weirv1.Step{Change: &weirv1.Step_FlushRoutes{FlushRoutes: q.Msg}})
}

func (b *batch) AddNeighbour(_ context.Context, q *connect.Request[weirv1.AddNeighbourRequest]) (*connect.Response[weirv1.AddNeighbourResponse], error) {
	return note[weirv1.AddNeighbourResponse](b, &weirv1.Step{Change: &weirv1.Step_AddNeighbour{AddNeighbour: q.Msg}})
}

func (b *batch) DeleteNeighbour(_ context.Context, q *connect.Request[weirv1.DeleteNeighbourRequest]) (*connect.Response[weirv1.DeleteNeighbourResponse], error) {
	return note[weirv1.DeleteNeighbourResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteNeighbour{DeleteNeighbour: q.Msg}})
}

func (b *batch) AddTunnel(_ context.Context, q *connect.Request[weirv1.AddTunnelRequest]) (*connect.Response[weirv1.AddTunnelResponse], error) {
	return note[weirv1.AddTunnelResponse](b, &weirv1.Step{Change: &weirv1.Step_AddTunnel{AddTunnel: q.Msg}})
}

func (b *batch) ChangeTunnel(_ context.Context, q *connect.Request[weirv1.ChangeTunnelRequest]) (*connect.Response[weirv1.ChangeTunnelResponse], error) {
	return note[weirv1.ChangeTunnelResponse](b, &weirv1.Step{Change: &weirv1.Step_ChangeTunnel{ChangeTunnel: q.Msg}})
}

func (b *batch) DeleteTunnel(_ context.Context, q *connect.Request[weirv1.DeleteTunnelRequest]) (*connect.Response[weirv1.DeleteTunnelResponse], error) {
	return note[weirv1.DeleteTunnelResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteTunnel{DeleteTunnel: q.Msg}})
}

func (b *batch) SetLink(_ context.Context, q *connect.Request[weirv1.SetLinkRequest]) (*connect.Response[weirv1.SetLinkResponse], error) {
	return note[weirv1.SetLinkResponse](b, &weirv1.Step{Change: &weirv1.Step_SetLink{SetLink: q.Msg}})
}

func (b *batch) AddService(_ context.Context, q *connect.Request[weirv1.AddServiceRequest]) (*connect.Response[weirv1.AddServiceResponse], error) {
	return note[weirv1.AddServiceResponse](b, &weirv1.Step{Change: &weirv1.Step_AddService{AddService: q.Msg}})
}

func (b *batch) EditService(_ context.Context, q *connect.Request[weirv1.EditServiceRequest]) (*connect.Response[weirv1.EditServiceResponse], error) {
	return note[weirv1.EditServiceResponse](b, &weirv1.Step{Change: &weirv1.Step_EditService{EditService: q.Msg}})
}

func (b *batch) DeleteService(_ context.Context, q *connect.Request[weirv1.DeleteServiceRequest]) (*connect.Response[weirv1.DeleteServiceResponse], error) {
	return note[weirv1.DeleteServiceResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteService{DeleteService: q.Msg}})
}

func (b *batch) FlushServices(_ context.Context, q *connect.Request[weirv1.FlushServicesRequest]) (*connect.Response[weirv1.FlushServicesResponse], error) {
	return note[weirv1.FlushServicesResponse](b, &weirv1.Step{Change: &weirv1.Step_FlushServices{FlushServices: q.Msg}})
}

func (b *batch) AddDest(_ context.Context, q *connect.Request[weirv1.AddDestRequest]) (*connect.Response[weirv1.AddDestResponse], error) {
	return note[weirv1.AddDestResponse](b, &weirv1.Step{Change: &weirv1.Step_AddDest{AddDest: q.Msg}})
}

func (b *batch) EditDest(_ context.Context, q *connect.Request[weirv1.EditDestRequest]) (*connect.Response[weirv1.EditDestResponse], error) {
	return note[weirv1.EditDestResponse](b, &weirv1.Step{Change: &weirv1.Step_EditDest{EditDest: q.Msg}})
}

func (b *batch) DeleteDest(_ context.Context, q *connect.Request[weirv1.DeleteDestRequest]) (*connect.Response[weirv1.DeleteDestResponse], error) {
	return note[weirv1.DeleteDestResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteDest{DeleteDest: q.Msg}})
}

func (b *batch) AddLocalAddress(_ context.Context, q *connect.Request[weirv1.AddLocalAddressRequest]) (*connect.Response[weirv1.AddLocalAddressResponse], error) {
	return note[weirv1.AddLocalAddressResponse](b, &weirv1.Step{Change: &weirv1.Step_AddLocalAddress{AddLocalAddress: q.Msg}})
}

func (b *batch) DeleteLocalAddress(_ context.Context, q *connect.Request[weirv1.DeleteLocalAddressRequest]) (*connect.Response[weirv1.DeleteLocalAddressResponse], error) {
	return note[weirv1.DeleteLocalAddressResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteLocalAddress{DeleteLocalAddress: q.Msg}})
}

func (b *batch) AddAccess(_ context.Context, q *connect.Request[weirv1.AddAccessRequest]) (*connect.Response[weirv1.AddAccessResponse], error) {
	return note[weirv1.AddAccessResponse](b, &weirv1.Step{Change: &weirv1.Step_AddAccess{AddAccess: q.Msg}})
}

func (b *batch) DeleteAccess(_ context.Context, q *connect.Request[weirv1.DeleteAccessRequest]) (*connect.Response[weirv1.DeleteAccessResponse], error) {
	return note[weirv1.DeleteAccessResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteAccess{DeleteAccess: q.Msg}})
}

func (b *batch) AddVLAN(_ context.Context, q *connect.Request[weirv1.AddVLANRequest]) (*connect.Response[weirv1.AddVLANResponse], error) {
	return note[weirv1.AddVLANResponse](b, &weirv1.Step{Change: &weirv1.Step_AddVlan{AddVlan: q.Msg}})
}

func (b *batch) DeleteVLAN(_ context.Context, q *connect.Request[weirv1.DeleteVLANRequest]) (*connect.Response[weirv1.DeleteVLANResponse], error) {
	return note[weirv1.DeleteVLANResponse](b, &weirv1.Step{Change: &weirv1.Step_DeleteVlan{DeleteVlan: q.Msg}})
}

func (b *batch) SetTimeouts(_ context.Context, q *connect.Request[weirv1.SetTimeoutsRequest]) (*connect.Response[weirv1.SetTimeoutsResponse], error) {
	return note[weirv1.SetTimeoutsResponse](b, &weirv1.Step{Change: &weirv1.Step_SetTimeouts{SetTimeouts: q.Msg}})
}

// SetWorker is no change of what -S saves: it is made with what only shows.
func (b *batch) SetWorker(context.Context, *connect.Request[weirv1.SetWorkerRequest]) (*connect.Response[weirv1.SetWorkerResponse], error) {
	return connect.NewResponse(&weirv1.SetWorkerResponse{}), nil
}

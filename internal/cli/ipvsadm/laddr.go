package ipvsadm

import (
	"context"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// listLocals prints the local addresses of the services, or of one, in numbers.
func (env *Env) listLocals(ctx context.Context, l *line) error {
	answer, err := env.Client.ListServices(ctx, connect.NewRequest(&weirv1.ListServicesRequest{Key: l.key()}))
	if err != nil {
		return err
	}
	services := answer.Msg.GetServices()
	sortServices(services)
	numbers := namer{}
	var out sheet
	out.line("%-20s %-8s %-20s %-10s %-10s", "VIP:VPORT", "TOTAL", "SNAT_IP", "CONFLICTS", "CONNS")
	for _, s := range services {
		key := s.GetKey()
		out.line("%-20s %-8d", numbers.virtual(key), len(s.GetLocals()))
		for _, local := range s.GetLocals() {
			out.line("%-20s %-8s %-20s %-10d %-10d", "", "", local.GetAddress(), local.GetConflicts(), local.GetConns())
		}
	}
	return env.print(out.String())
}

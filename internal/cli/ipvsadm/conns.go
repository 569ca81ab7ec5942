package ipvsadm

import (
	"context"
	"fmt"
	"net/netip"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// exitNotExist is the exit code of DPVS's "not exist".
const exitNotExist = 256 - 4

// listConnections prints every connection, or the one of --sockpair. There may be
// millions: each lot is printed as it comes.
func (env *Env) listConnections(ctx context.Context, l *line) error {
	lots, err := env.Client.ListConnections(ctx, connect.NewRequest(l.pair))
	if err != nil {
		return err
	}
	defer lots.Close()
	names := namer{}
	if !l.given.has(optNumeric) {
		names.names = env.Names
	}
	found := 0
	for lots.Receive() {
		conns := lots.Msg().GetConnections()
		found += len(conns)
		names.ask(ctx, addressesOfConns(conns))
		var out sheet
		for _, c := range conns {
			proto := protoWord(c.GetProtocol())
			out.line("[%d]%-3s %-6s %-11s %-18s %-18s %-18s %s", c.GetWorker(), proto,
				fmt.Sprintf("%ds", c.GetTimeoutSeconds()), c.GetState(),
				names.text(c.GetClient(), proto), names.text(c.GetVirtual(), proto),
				names.text(c.GetLocal(), proto), names.text(c.GetReal(), proto))
		}
		if err := env.print(out.String()); err != nil {
			return err
		}
	}
	if err := lots.Err(); err != nil {
		return err
	}
	if found == 0 && l.given.has(optSockpair) {
		return &refusal{text: "connection specified not found", exit: exitNotExist}
	}
	return nil
}

// addressesOfConns returns every address that a listing of connections shows.
func addressesOfConns(conns []*weirv1.Connection) map[netip.Addr]bool {
	found := map[netip.Addr]bool{}
	for _, c := range conns {
		for _, text := range []string{c.GetClient(), c.GetVirtual(), c.GetLocal(), c.GetReal()} {
			if at, err := netip.ParseAddrPort(text); err == nil {
				found[at.Addr()] = true
			}
		}
	}
	return found
}

// text writes an "address:port" as the listing wants it.
func (n *namer) text(endpoint, proto string) string {
	at, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return endpoint
	}
	return n.endpoint(at.Addr().String(), uint32(at.Port()), proto)
}

package ipvsadm

import (
	"context"
	"strconv"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// listTimeouts prints what --set changes.
func (env *Env) listTimeouts(ctx context.Context) error {
	answer, err := env.Client.GetTimeouts(ctx, connect.NewRequest(&weirv1.GetTimeoutsRequest{}))
	if err != nil {
		return err
	}
	t := answer.Msg.GetTimeouts()
	var out sheet
	out.line("Timeout (tcp tcpfin udp): %d %d %d", t.GetTcp(), t.GetTcpFin(), t.GetUdp())
	return env.print(out.String())
}

// timeoutsLine is the line that sets timeouts again; it is empty if none was set.
func timeoutsLine(t *weirv1.Timeouts) string {
	if t.GetTcp()|t.GetTcpFin()|t.GetUdp() == 0 {
		return ""
	}
	words := []string{"--set"}
	for _, n := range []uint32{t.GetTcp(), t.GetTcpFin(), t.GetUdp()} {
		words = append(words, strconv.FormatUint(uint64(n), 10))
	}
	return join(words...)
}

package weir

import (
	"context"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
)

// Version prints the version of this program and of the running director. That
// none runs is an answer too, not an error.
func Version(ctx context.Context, dir weirv1.DirectorClient, w io.Writer, own string) error {
	if _, err := fmt.Fprintf(w, "weir      %s\n", own); err != nil {
		return err
	}
	answer, err := dir.GetVersion(ctx, connect.NewRequest(&weirv1.GetVersionRequest{}))
	if client.Unreachable(err) {
		_, err = fmt.Fprintln(w, "director  not running")
		return err
	}
	if err != nil {
		return err
	}
	up := time.Duration(answer.Msg.UptimeSeconds) * time.Second
	_, err = fmt.Fprintf(w, "director  %s, up %s\n", answer.Msg.Version, up)
	return err
}

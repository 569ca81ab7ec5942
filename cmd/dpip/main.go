// Command dpip sets and shows addresses, routes, links and neighbours of the
// director, in the grammar of DPVS's dpip. See package weir/internal/cli/dpip.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"weir/api/client"
	"weir/internal/cli/dpip"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	socket := client.SocketPath()
	code := dpip.Run(ctx, os.Args[1:], dpip.Env{
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Client:  client.New(socket),
		Socket:  socket,
		Version: version,
	})
	stop()
	os.Exit(code)
}

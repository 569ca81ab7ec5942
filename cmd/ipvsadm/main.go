// Command ipvsadm shows and changes the director's services, real servers and
// local addresses, in the grammar of DPVS's ipvsadm. See package weir/internal/cli/ipvsadm.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"weir/api/client"
	"weir/internal/cli/ipvsadm"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	socket := client.SocketPath()
	code := ipvsadm.Run(ctx, os.Args[1:], ipvsadm.Env{
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Client:  client.New(socket),
		Socket:  socket,
		Version: version,
	})
	stop()
	os.Exit(code)
}

// Command keepalived makes the director do what a keepalived.conf says. See package
// weir/internal/cli/keepalived.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"weir/api/client"
	"weir/internal/cli/keepalived"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	socket := client.SocketPath()
	code := keepalived.Run(ctx, os.Args[1:], keepalived.Env{
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Client:  client.New(socket),
		Socket:  socket,
		Version: version,
	})
	stop()
	os.Exit(code)
}

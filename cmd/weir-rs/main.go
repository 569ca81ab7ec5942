// Command weir-rs is the agent on a real server: it gives programs the true client
// address of what came through a director (TOA, UOA).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"weir/internal/cli/weirrs"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	root := &cobra.Command{
		Use:           "weir-rs",
		Short:         "shows programs on a real server their true clients, with eBPF",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(weirrs.Commands(version)...)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir-rs:", err)
		os.Exit(1)
	}
}

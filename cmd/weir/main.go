// Command weir is the director, and what looks into it: `weir serve` runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"weir/api/client"
	"weir/internal/cli/weir"
	"weir/internal/daemon"
	"weir/internal/demo"
	"weir/internal/pinned"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "dev"

func main() {
	weir.BuildVersion = version
	root := &cobra.Command{
		Use:           "weir",
		Short:         "a layer-4 load balancer that speaks DPVS",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serve(), purge(), runDemo())
	if len(os.Args) < 2 || os.Args[1] != "serve" { // who starts is in a hurry
		root.AddCommand(weir.Commands()...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "weir:", err)
		os.Exit(1)
	}
}

func serve() *cobra.Command {
	o := daemon.Options{Version: version}
	c := &cobra.Command{
		Use:   "serve",
		Short: "run the director in the foreground",
		Long: "Run the director in the foreground. SIGHUP reads the file again, SIGTERM ends it.\n" +
			"Under systemd it tells when it is ready and that it lives (Type=notify, WatchdogSec).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return daemon.Serve(cmd.Context(), o) },
	}
	c.Flags().StringVarP(&o.Config, "config", "c", "/etc/dpvs.conf", "the configuration file")
	c.Flags().StringVarP(&o.Socket, "socket", "x", client.SocketPath(), "the Unix socket of the API")
	c.Flags().StringVar(&o.Metrics, "metrics", "", "ADDRESS:PORT where Prometheus finds /metrics; nothing: nowhere")
	c.Flags().StringVar(&o.Keep, "pin", "", "folder of a bpffs where connections and services outlive weir, for the next start to go on with; auto: one of this socket's under /sys/fs/bpf/weir")
	c.Flags().BoolVar(&o.Fresh, "fresh", false, "throw away the connections and services that the weir before left")
	return c
}

func purge() *cobra.Command {
	var socket, folder string
	c := &cobra.Command{
		Use:   "purge",
		Short: "take away what an ended director has left for the next one",
		Long: "Take away what a director that has ended left for the next one: its connections and services, the\n" +
			"XDP programs that go on forwarding, and in this network namespace the .kni twins, with the addresses\n" +
			"and routes that Linux has on them. Interfaces whose interrupts a killed one held back (napi_busy_poll)\n" +
			"get what they had. Stop weir first.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if folder == "" || folder == daemon.KeepAuto {
				folder, _ = pinned.Placed(socket)
			}
			return daemon.Purge(cmd.OutOrStdout(), folder)
		},
	}
	c.Flags().StringVarP(&socket, "socket", "x", client.SocketPath(), "the Unix socket that the API of that director had")
	c.Flags().StringVar(&folder, "pin", "", "the folder that was given to weir serve, if not auto")
	return c
}

func runDemo() *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "show two-arm full-NAT in network namespaces; everything is removed at the end",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return demo.Run(cmd.Context(), cmd.OutOrStdout(), o) },
	}
	c.Flags().StringVar(&o.Driver, "driver", "auto", "port driver: auto, afxdp or afpacket")
	return c
}

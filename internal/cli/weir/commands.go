package weir

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"weir/api/client"
	"weir/api/weirv1"
)

// BuildVersion is the version of this program, set by the build:
// -ldflags "-X weir/internal/cli/weir.BuildVersion=1.2.3".
var BuildVersion = "dev"

// Commands returns the subcommands that ask the director on the socket that
// client.SocketPath names. Their errors are sentences; the caller prints them
// after its own name and exits 1.
func Commands() []*cobra.Command {
	socket := client.SocketPath()
	return commands(socket, client.New(socket))
}

func commands(socket string, dir weirv1.DirectorClient) []*cobra.Command {
	cmds := []*cobra.Command{statsCommand(dir), offloadCommand(dir), workerCommand(dir), connCommand(dir), versionCommand(dir)}
	for _, cmd := range cmds {
		prepare(cmd, socket)
	}
	return cmds
}

// prepare makes cmd and its subcommands silent about what the caller says: an
// error is a sentence about the world, not about the command line.
func prepare(cmd *cobra.Command, socket string) {
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			return inWords(run(cmd, args), socket)
		}
	}
	for _, sub := range cmd.Commands() {
		prepare(sub, socket)
	}
}

// inWords turns err into what to tell the user: the director's own sentence if
// it refused, else that it could not be reached.
func inWords(err error, socket string) error {
	var call *connect.Error
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted before the director answered")
	case !errors.As(err, &call):
		return err
	case connect.IsWireError(err):
		return errors.New(client.Message(err))
	}
	return fmt.Errorf("cannot reach weir at %s: %s", socket, client.Message(err))
}

func statsCommand(dir weirv1.DirectorClient) *cobra.Command {
	var o StatsOptions
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show why packets were dropped, and what ports and tables hold",
		Long: `Show every reason for which packets were dropped since the start, with the
count and what it means; the packets of the ports; and how full the tables are.
Reasons that never happened are not shown.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Stats(cmd.Context(), dir, cmd.OutOrStdout(), o)
		},
	}
	cmd.Flags().BoolVarP(&o.Verbose, "verbose", "v", false, "a column for each worker")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "as JSON, counts by worker included")
	return cmd
}

func workerCommand(dir weirv1.DirectorClient) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "worker { show | stop NAME | start NAME }",
		Short: "Show, stop and start workers",
		// Without this a misspelt subcommand would print help and succeed.
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q: write weir worker show, stop NAME or start NAME", args[0])
			}
			return errors.New("say what: weir worker show, stop NAME or start NAME")
		},
	}
	show := &cobra.Command{
		Use:     "show",
		Aliases: []string{"list"},
		Short:   "List the workers with their queues and counters",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Workers(cmd.Context(), dir, cmd.OutOrStdout(), asJSON)
		},
	}
	show.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.AddCommand(show,
		switchCommand(dir, "stop", "Stop a worker: another one serves its queues", false),
		switchCommand(dir, "start", "Start a stopped worker: it takes its queues back", true))
	return cmd
}

func switchCommand(dir weirv1.DirectorClient, verb, short string, run bool) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return fmt.Errorf("name one worker: weir worker %s NAME (`weir worker show' lists them)", verb)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return SetWorker(cmd.Context(), dir, args[0], run)
		},
	}
}

func connCommand(dir weirv1.DirectorClient) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "conn",
		Short: "List the connections",
		Long: `List the connections as the director streams them: protocol, state, seconds
left of its timeout, client, virtual, local and real address, and worker.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Connections(cmd.Context(), dir, cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, one object a line")
	return cmd
}

func versionCommand(dir weirv1.DirectorClient) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program and of the running director",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Version(cmd.Context(), dir, cmd.OutOrStdout(), BuildVersion)
		},
	}
}

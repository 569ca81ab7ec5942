package weirrs

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"weir/internal/rsagent"
)

// Commands returns the subcommands. Their errors are sentences; the caller prints
// them after its own name and exits 1.
func Commands(version string) []*cobra.Command {
	cmds := []*cobra.Command{runCommand(version), statusCommand(), statsCommand(), stopCommand(), versionCommand(version)}
	for _, c := range cmds {
		c.SilenceUsage, c.SilenceErrors = true, true
	}
	return cmds
}

// runFlags are the flags of run as they are written.
type runFlags struct {
	trust   []string
	uoa     string
	devices string
}

func runCommand(version string) *cobra.Command {
	o := rsagent.Options{Version: version}
	var f runFlags
	c := &cobra.Command{
		Use:   "run --trust CIDR[,CIDR...]",
		Short: "Attach the programs and run the agent in the foreground",
		Long: `Attach the programs that show the true client to other programs, and run the
agent in the foreground until SIGTERM or Ctrl-C. What is attached stays attached
then, and the next run takes it over without a gap; "weir-rs stop" detaches it.

It needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and a folder of a bpffs
that it may write to. Under systemd it tells when it is ready (Type=notify).`,
		Example: `  weir-rs run --trust 192.168.100.200/32
  weir-rs run --trust 192.168.100.200,192.168.100.201 --uoa getsockopt
  weir-rs run --trust 192.168.100.192/27,fd00:100::/64 --uoa transparent --opp-dev eth0`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, &o, &f) },
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.trust, "trust", nil, "whose options are believed: the directors' local addresses, as prefixes")
	fl.StringVar(&f.uoa, "uoa", string(rsagent.Off), "UDP: off, getsockopt (programs ask) or transparent (programs need not know)")
	fl.IntVar(&o.Entries, "uoa-entries", rsagent.DefaultEntries, "UDP flows to remember")
	fl.DurationVar(&o.Timeout, "uoa-timeout", rsagent.DefaultTimeout, "forget a UDP flow that was not used for so long")
	fl.BoolVar(&o.DropEmpty, "uoa-drop-empty", false, "drop datagrams that carry UOA and nothing else")
	fl.BoolVar(&o.NAT64, "nat64-getsockopt", false, "answer getsockopt(IPPROTO_IP, 4096) for IPv6 clients of IPv4 sockets, and with --uoa transparent 2048 for UDP; always on with --uoa getsockopt")
	fl.BoolVar(&o.SaveSYN, "save-syn", false, "look for TOA in the SYN too, which listeners then keep for each connection")
	fl.StringVar(&f.devices, "opp-dev", "all", "where the option protocol (248) is translated: all, none, or device names with commas between")
	fl.StringVar(&o.Cgroup, "cgroup", "", "folder of cgroup v2 with the programs concerned (default: the root, all of them)")
	fl.StringVar(&o.PinDir, "pin", rsagent.DefaultPinDir, "folder of a bpffs for what outlives the agent")
	return c
}

func run(cmd *cobra.Command, o *rsagent.Options, f *runFlags) error {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{ReplaceAttr: noTime}))
	var warnings []string
	var err error
	if o.Trust, warnings, err = rsagent.ParseTrust(f.trust); err != nil {
		return err
	}
	if o.UOA, err = rsagent.ParseMode(f.uoa); err != nil {
		return err
	}
	if o.OPPDevices, err = rsagent.ParseDevices(f.devices); err != nil {
		return err
	}
	for _, w := range warnings {
		log.Warn("is this meant?", "warning", w)
	}
	a, err := rsagent.Start(*o, rsagent.Running{}, log)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.Serve(cmd.Context())
}

// noTime leaves time stamps to systemd and syslog, as weir does.
func noTime(groups []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && len(groups) == 0 {
		return slog.Attr{}
	}
	return a
}

func statusCommand() *cobra.Command {
	var pin string
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what is attached, who is trusted, and what was counted",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := rsagent.ReadStatus(pin)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				e.SetEscapeHTML(false)
				return e.Encode(s)
			}
			return writeStatus(cmd.OutOrStdout(), s)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, counts by processor included")
	pinFlag(c, &pin)
	return c
}

func statsCommand() *cobra.Command {
	var pin string
	c := &cobra.Command{
		Use:   "stats [toa|uoa]",
		Short: "Print what /proc/net/toa_stats and /proc/net/uoa_stats had",
		Long: `Print the statistics of DPVS's kernel modules in their own layout: what
/proc/net/toa_stats had, and after it what /proc/net/uoa_stats had. "weir-rs
stats toa" and "weir-rs stats uoa" print one of them, for scripts.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "toa" && args[0] != "uoa" {
				return errors.New("write weir-rs stats, weir-rs stats toa or weir-rs stats uoa")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := rsagent.ReadStatus(pin)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if len(args) == 0 || args[0] == "toa" {
				if err := s.WriteTOA(w); err != nil {
					return err
				}
			}
			if len(args) == 0 || args[0] == "uoa" {
				return s.WriteUOA(w)
			}
			return nil
		},
	}
	pinFlag(c, &pin)
	return c
}

func stopCommand() *cobra.Command {
	var pin string
	c := &cobra.Command{
		Use:   "stop",
		Short: "Detach everything and remove it; what was known of clients is forgotten",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := rsagent.Stop(pin)
			if errors.Is(err, rsagent.ErrNothing) {
				fmt.Fprintln(cmd.OutOrStdout(), err)
				return nil
			}
			return err
		},
	}
	pinFlag(c, &pin)
	return c
}

func versionCommand(version string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "weir-rs   %s\n", version)
			return err
		},
	}
}

func pinFlag(c *cobra.Command, pin *string) {
	c.Flags().StringVar(pin, "pin", rsagent.DefaultPinDir, "the folder that was given to weir-rs run")
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, but got %q: see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

package keepalived

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"weir/api/weirv1"
	"weir/internal/keepalived"
	"weir/internal/keepalived/vrrp"
)

// Exit codes, as far as they have a meaning in keepalived(8).
const (
	exitOK      = 0
	exitUsage   = 1
	exitFailed  = 2
	exitRefused = 3 // the configuration cannot be run
	exitUnknown = 4 // with -t: it can, but for keywords that nobody knows
)

// Env is what the command has to do with.
type Env struct {
	Stdout, Stderr io.Writer
	Client         weirv1.DirectorClient
	Socket         string // of the director
	Version        string
}

// Run runs the command and returns its exit code.
func Run(ctx context.Context, args []string, env Env) int {
	s, err := parse(args)
	if err != nil {
		fmt.Fprintln(env.Stderr, "keepalived:", err)
		return exitUsage
	}
	switch {
	case s.help:
		fmt.Fprint(env.Stdout, usage())
		return exitOK
	case s.version:
		fmt.Fprintf(env.Stdout, "keepalived of Weir %s\n", env.Version)
		return exitOK
	case s.signum != "":
		return signum(s.signum, env)
	}
	for _, o := range s.empty {
		fmt.Fprintf(env.Stderr, "keepalived: %s means nothing here and is passed over\n", o)
	}
	if s.test {
		return test(s, env)
	}
	ready, behind := inBackground()
	if !s.fore && !behind {
		return background(args, env.Stdout, env.Stderr)
	}
	if err := serve(ctx, s, env, ready); err != nil {
		fmt.Fprintln(env.Stderr, "keepalived:", err)
		return exitRefused
	}
	return exitOK
}

// signum prints the number of a signal.
func signum(word string, env Env) int {
	signals := map[string]syscall.Signal{"STOP": syscall.SIGTERM, "RELOAD": syscall.SIGHUP, "DATA": syscall.SIGUSR1, "STATS": syscall.SIGUSR2}
	n, known := signals[word]
	if !known {
		fmt.Fprintf(env.Stderr, "keepalived: --signum %s is none of STOP, RELOAD, DATA, STATS\n", word)
		return exitUsage
	}
	fmt.Fprintln(env.Stdout, int(n))
	return exitOK
}

// test is -t. Into a file goes all at once: what could not be written is told.
func test(s *settings, env Env) int {
	if s.testLog == "" {
		return s.judge(env.Stderr)
	}
	var said bytes.Buffer
	code := s.judge(&said)
	if err := os.WriteFile(s.testLog, said.Bytes(), 0o666); err != nil {
		fmt.Fprintln(env.Stderr, "keepalived:", err)
		return exitFailed
	}
	return code
}

// judge reads the file as a start would, and prints what is wrong with it.
func (s *settings) judge(out io.Writer) int {
	f, err := keepalived.Read(s.file, s.id, nil)
	for _, w := range f.Warnings {
		fmt.Fprintln(out, w)
	}
	if err != nil {
		fmt.Fprintln(out, err)
		return exitRefused
	}
	if f.Conf.Stock != "" && !s.checkOnly {
		path, err := vrrp.Find(s.program)
		if err != nil {
			fmt.Fprintln(out, err)
			return exitRefused
		}
		said, err := vrrp.Check(path, f.Conf)
		if err != nil {
			fmt.Fprintln(out, err)
			return exitFailed
		}
		for line := range strings.Lines(said) {
			fmt.Fprint(out, "vrrp: ", strings.TrimRight(line, "\n"), "\n")
		}
	}
	if f.UnknownWords() {
		return exitUnknown
	}
	return exitOK
}

// serve reads the file and works until the end.
func serve(ctx context.Context, s *settings, env Env, ready func(bool)) error {
	f, err := keepalived.Read(s.file, s.id, nil)
	for _, w := range f.Warnings {
		if ready != nil {
			fmt.Fprintln(env.Stderr, w) // in the foreground the log is there
		}
	}
	if err != nil {
		return fmt.Errorf("%s is refused:\n%w", s.file, err)
	}
	log, missing, err := openLog(s, env.Stderr)
	if err != nil {
		return err
	}
	if missing != "" {
		fmt.Fprintln(env.Stderr, "keepalived:", missing)
	}
	pid, err := takePid(s.pid)
	if err != nil {
		return err
	}
	defer pid.remove()
	for _, more := range []struct {
		path string
		on   bool
	}{{s.vrrpPid, !s.checkOnly}, {s.checkPid, !s.vrrpOnly}} {
		if more.path == "" || !more.on {
			continue
		}
		p, err := takePid(more.path)
		if err != nil {
			return err
		}
		defer p.remove()
	}
	findOurs(env.Socket)
	debug.SetGCPercent(gcPercent)
	d, err := keepalived.New(keepalived.Options{
		Path: absolute(s.file), ID: s.id, Client: env.Client, Socket: env.Socket, Log: log,
		Checks: !s.vrrpOnly, VRRP: !s.checkOnly, Keep: s.keep,
		Program: s.program, ProgramArgs: stockArgs(s), RunDir: runDir(absolute(s.pid)),
		DataFile: beside(absolute(s.pid), ".data"), StatsFile: beside(absolute(s.pid), ".stats"),
		Reloading: func() { tell(reloading()) }, Reloaded: func() { tell(systemd.SdNotifyReady) },
	}, f)
	if err != nil {
		return err
	}
	keepalived.Tell(log, f.Warnings)
	log.Info("keepalived begins", "version", env.Version, "config", s.file)
	if ready != nil {
		ready(s.console)
	}
	tell(systemd.SdNotifyReady)
	err = d.Run(ctx)
	tell(systemd.SdNotifyStopping)
	if err != nil {
		log.Log(ctx, slog.LevelError, err.Error())
	}
	return err
}

// gcPercent: checks make little garbage and often; what lives is small.
const gcPercent = 400

// stockArgs are the options that the stock keepalived is given too.
func stockArgs(s *settings) (args []string) {
	if s.detail {
		args = append(args, "--log-detail")
	}
	if s.keepVRRP {
		args = append(args, "--dont-release-vrrp")
	}
	return args
}

// findOurs lets scripts find our other commands, and these the director: `dpip addr add …`
// in quorum_up works.
func findOurs(socket string) {
	if self, err := os.Executable(); err == nil {
		_ = os.Setenv("PATH", filepath.Dir(self)+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	_ = os.Setenv("DPVS_IPC_FILE", socket)
}

// absolute is a path from the root: in the background we are there.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// tell notifies systemd, if it listens.
func tell(state string) { _, _ = systemd.SdNotify(false, state) }

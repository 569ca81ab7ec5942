package dpip

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
)

// Env is what a run touches of the world.
type Env struct {
	Stdout, Stderr io.Writer
	Client         weirv1.DirectorClient
	Socket         string // where Client calls, for messages
	Version        string // what -V prints after "dpip-"

	// Now and Sleep are the clock of `-i`; nil means the system's. Sleep returns
	// ctx's error when ctx ends first.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// Exit codes. Help that was asked for is a success; help that is shown because
// the line stopped too early is not.
const (
	exitOK   = 0
	exitFail = 1
)

// Run executes one command line (without the program's name) and returns the
// exit code. It writes an error as one line, "dpip: SENTENCE", to env.Stderr.
// An end of ctx while `-i` repeats is the user's Ctrl-C and not a failure.
func Run(ctx context.Context, args []string, env Env) int {
	if len(args) == 0 {
		fmt.Fprint(env.Stderr, usage)
		return exitOK
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Sleep == nil {
		env.Sleep = sleep
	}
	l, err := parse(args)
	if err != nil {
		return refuse(env, err.Error())
	}
	switch {
	case l.version:
		fmt.Fprintln(env.Stdout, "dpip-"+env.Version)
		return exitOK
	case l.help != "":
		fmt.Fprint(env.Stderr, l.help)
		return l.helpExit
	}
	s := &session{env: env, dir: env.Client, opts: l.opts, out: bufio.NewWriter(env.Stdout)}
	err = l.run(ctx, s)
	if flushErr := s.out.Flush(); err == nil && flushErr != nil {
		err = flushErr
	}
	if err != nil {
		return refuse(env, sentence(err, env.Socket))
	}
	return exitOK
}

// session is one line while it runs.
type session struct {
	env  Env
	dir  weirv1.DirectorClient
	opts options
	out  *bufio.Writer
}

// action does what a line says. Everything of the line was checked before.
type action func(ctx context.Context, s *session) error

// printf writes to the answer; an error of the writer shows when Run flushes.
func (s *session) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// refuse prints the one line of a failure.
func refuse(env Env, what string) int {
	fmt.Fprintln(env.Stderr, "dpip: "+what)
	return exitFail
}

// sentence returns what to tell the user about err: the director's own sentence
// if it refused, else that it could not be reached. Errors of this program are
// sentences already.
func sentence(err error, socket string) string {
	var call *connect.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted before the director answered"
	case !errors.As(err, &call) || connect.IsWireError(err):
		return client.Message(err)
	}
	return fmt.Sprintf("cannot reach weir at %s: %s", socket, client.Message(err))
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

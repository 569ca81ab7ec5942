package ipvsadm

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/cli/dpip"
)

// maxLine is the longest line that -R reads, in bytes.
const maxLine = 64 << 10

// step is a line of a saved file.
type step struct {
	number int
	line   *line    // of ipvsadm; nil for one of dpip
	dpip   []string // of dpip, without its name
}

// restore carries out the lines on standard input. All are read first: a line that is
// wrong by its words ends it with exit code 2 before anything is changed. A line that
// the director refuses is told with its number, the rest is still done, and the
// exit code is the last line's.
func (env *Env) restore(ctx context.Context) int {
	steps, number, err := env.readSteps(ctx)
	if err != nil {
		fmt.Fprintf(env.Stderr, "line %d: ", number)
		report(env.Stderr, env.Socket, err)
		fmt.Fprintln(env.Stderr, "nothing was changed")
		return exitWrong
	}
	if len(steps) == 0 {
		return exitDone
	}
	// Nobody there: say it once, and not for every line.
	if _, err := env.Client.GetVersion(ctx, connect.NewRequest(&weirv1.GetVersionRequest{})); err != nil {
		return report(env.Stderr, env.Socket, err)
	}
	exit := exitDone
	for _, s := range steps {
		exit = env.doStep(ctx, s)
	}
	return exit
}

// readSteps reads all lines; on an error number is the line's.
func (env *Env) readSteps(ctx context.Context) (steps []step, number int, err error) {
	scan := bufio.NewScanner(env.Stdin)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		number++
		if !utf8.Valid(scan.Bytes()) {
			return nil, number, wrong("the line is not UTF-8")
		}
		field := strings.Fields(scan.Text())
		if len(field) == 0 || strings.HasPrefix(field[0], "#") {
			continue
		}
		switch path.Base(field[0]) {
		case "ipvsadm", "weir":
			field = field[1:]
		case "dpip":
			steps = append(steps, step{number: number, dpip: field[1:]})
			continue
		}
		l, err := parse(ctx, field, env.Names)
		if err != nil {
			return nil, number, err
		}
		if l.verb == cmdRestore {
			return nil, number, wrong("a restored file cannot restore")
		}
		steps = append(steps, step{number: number, line: l})
	}
	if err := scan.Err(); err != nil {
		return nil, number + 1, wrong("cannot read standard input: %v", err)
	}
	return steps, number, nil
}

// doStep carries out one line and returns its exit code; what it complains of begins
// with the line's number.
func (env *Env) doStep(ctx context.Context, s step) int {
	var complaint bytes.Buffer
	exit := exitDone
	if s.line == nil {
		exit = dpip.Run(ctx, s.dpip, dpip.Env{
			Stdout: env.Stdout, Stderr: &complaint,
			Client: env.Client, Socket: env.Socket, Version: env.Version,
		})
	} else if err := env.do(ctx, s.line); err != nil {
		exit = report(&complaint, env.Socket, err)
	}
	for text := range strings.Lines(complaint.String()) {
		fmt.Fprintf(env.Stderr, "line %d: %s\n", s.number, strings.TrimRight(text, "\n"))
	}
	return exit
}

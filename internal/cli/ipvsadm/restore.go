package ipvsadm

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"

	"weir/api/client"
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

// restore carries out the lines on standard input. All are read first, and all that
// they change is one change: a line that is wrong by its words, or that the director
// refuses, is told with its number, and then nothing was changed. What only shows, and
// -Z, is done afterwards, in turn; the exit code is then that of the last such line.
func (env *Env) restore(ctx context.Context) int {
	steps, number, err := env.readSteps(ctx)
	if err != nil {
		return env.unchanged(number, func(w io.Writer) int {
			report(w, env.Socket, err)
			return exitWrong
		})
	}
	if len(steps) == 0 {
		return exitDone
	}
	// Nobody there: say it once, and not for every line.
	if _, err := env.Client.GetVersion(ctx, connect.NewRequest(&weirv1.GetVersionRequest{})); err != nil {
		return report(env.Stderr, env.Socket, err)
	}
	changes := &batch{DirectorClient: env.Client}
	var rest []step
	for _, s := range steps {
		noted := len(changes.steps)
		changes.number = s.number
		var complaint bytes.Buffer
		if exit := env.noteStep(ctx, s, changes, &complaint); exit != exitDone {
			return env.unchanged(s.number, func(w io.Writer) int {
				_, _ = complaint.WriteTo(w)
				return exit
			})
		}
		if len(changes.steps) == noted {
			rest = append(rest, s)
		}
	}
	if len(changes.steps) > 0 {
		if _, err := env.Client.Apply(ctx, connect.NewRequest(&weirv1.ApplyRequest{Steps: changes.steps})); err != nil {
			number := 0
			if d, ok := client.Detail(err); ok && d.GetStep() > 0 && int(d.GetStep()) <= len(changes.lines) {
				number = changes.lines[d.GetStep()-1]
			}
			return env.unchanged(number, func(w io.Writer) int { return report(w, env.Socket, err) })
		}
	}
	exit := exitDone
	for _, s := range rest {
		exit = env.doStep(ctx, s)
	}
	return exit
}

// unchanged says what is wrong with a line, 0 for none, and that nothing was changed;
// it returns the exit code that tell does.
func (env *Env) unchanged(number int, tell func(io.Writer) int) int {
	var complaint bytes.Buffer
	exit := tell(&complaint)
	env.complain(number, complaint.String())
	fmt.Fprintln(env.Stderr, "nothing was changed")
	return exit
}

// complain prints lines, each with the number of the one that they are about.
func (env *Env) complain(number int, text string) {
	for line := range strings.Lines(text) {
		if number != 0 {
			fmt.Fprintf(env.Stderr, "line %d: ", number)
		}
		fmt.Fprintln(env.Stderr, strings.TrimRight(line, "\n"))
	}
}

// noteStep notes what a line changes. One that changes nothing leaves no trace.
func (env *Env) noteStep(ctx context.Context, s step, changes *batch, complaint io.Writer) int {
	if s.line == nil {
		noted := len(changes.steps)
		exit := dpip.Run(ctx, s.dpip, dpip.Env{
			Stdout: io.Discard, Stderr: complaint,
			Client: changes, Socket: env.Socket, Version: env.Version,
		})
		for _, step := range changes.steps[noted:] {
			step.MayBeThere = true // -C takes services alone away, and -S saves addresses too
		}
		return exit
	}
	switch s.line.verb {
	case cmdHelp, cmdVersion, cmdList, cmdGetLaddr, cmdGetBlklst, cmdGetWhtlst, cmdSave, cmdZero:
		return exitDone
	default: // those that change something
	}
	noting := *env
	noting.Client = changes
	if err := noting.change(ctx, s.line); err != nil {
		return report(complaint, env.Socket, err)
	}
	return exitDone
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
	env.complain(s.number, complaint.String())
	return exit
}

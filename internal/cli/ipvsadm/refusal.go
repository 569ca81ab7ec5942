package ipvsadm

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"weir/api/client"
)

// The exit codes that do not come from the director.
const (
	exitDone      = 0
	exitWrong     = 2   // a wrong line, no director, a refusal without a code
	exitNoCommand = 255 // popt's: an unknown option, or no command
)

// refusal is a line that is not carried out. No call has been made.
type refusal struct {
	text string // what is printed, without the newline at the end
	exit int
}

func (r *refusal) Error() string { return r.text }

// wrong refuses a line with exit code 2.
func wrong(format string, args ...any) error {
	return &refusal{text: fmt.Sprintf(format, args...), exit: exitWrong}
}

// notYet refuses what the original does and Weir does not do yet.
func notYet(what string) error { return wrong("%s is not supported yet", what) }

// badOption refuses an option in popt's words.
func badOption(option, text string) error {
	return &refusal{text: option + ": " + text, exit: exitNoCommand}
}

// noCommand refuses a line whose first option is no command.
func noCommand() error {
	return &refusal{
		text: "Try `ipvsadm -h' or 'ipvsadm --help' for more information.",
		exit: exitNoCommand,
	}
}

// report prints err, a refusal of ours or of the director's, and returns its exit code.
func report(stderr io.Writer, socket string, err error) int {
	var r *refusal
	if errors.As(err, &r) {
		fmt.Fprintln(stderr, r.text)
		return r.exit
	}
	text := client.Message(err)
	if client.Unreachable(err) {
		fmt.Fprintf(stderr, "Can't initialize ipvs: %s (%s)\nAre you sure that weir is running?\n", text, socket)
		return exitWrong
	}
	fmt.Fprintln(stderr, strings.TrimRight(text, "\n"))
	if detail, ok := client.Detail(err); ok {
		if code := int(uint8(detail.GetCode())); code != 0 {
			return code
		}
	}
	return exitWrong
}

package dpip

import (
	"errors"
	"fmt"
	"strings"
)

// line is a command line that was understood: it asks for the version, for a
// help text, or for an action.
type line struct {
	opts     options
	version  bool
	help     string
	helpExit int
	run      action
}

// object is what a line is about. An object without commands is one of DPVS's
// that is not built yet.
type object struct {
	names    []string // the first is its name
	help     string
	commands []command
	families bool   // its commands take -6
	why      string // of an object that will have no commands: what to use instead
}

// command is a command of an object; parse reads the words after it,
// of the family that -4 or -6 names.
type command struct {
	names     []string // the first is its name in messages
	parse     func(of family, words []string) (action, error)
	mayRepeat bool // takes -i
}

// objects in the order in which a word cut short is looked up, as in iproute2:
// `l` is link and not lldp.
var objects = []object{
	{names: []string{"link"}, help: linkHelp, commands: linkCommands},
	{names: []string{"addr", "address"}, help: addrHelp, commands: addrCommands, families: true},
	{names: []string{"route"}, help: routeHelp, commands: routeCommands, families: true},
	{names: []string{"neigh", "neighbour", "neighbor"}, help: neighHelp, commands: neighCommands, families: true},
	{names: []string{"vlan"}, help: vlanHelp, commands: vlanCommands},
	{names: []string{"tunnel"}, help: tunnelHelp, commands: tunnelCommands, families: true},
	{names: []string{"qsch"}},
	{names: []string{"cls"}},
	{names: []string{"ipv6"}, help: ipv6Help, commands: ipv6Commands},
	{names: []string{"iftraf"}},
	{names: []string{"eal-mem"}},
	{names: []string{"ipset"}},
	{names: []string{"flow"}},
	{names: []string{"maddr"}, help: maddrHelp, commands: maddrCommands, families: true},
	{names: []string{"lldp"}},
}

// parse understands a command line without doing anything.
func parse(args []string) (line, error) {
	opts, words, err := takeOptions(args)
	if err != nil {
		return line{}, err
	}
	switch {
	case opts.version:
		return line{version: true}, nil
	case len(words) == 0 && opts.help:
		return line{help: usage, helpExit: exitOK}, nil
	case len(words) == 0:
		return line{help: usage, helpExit: exitFail}, nil
	case words[0] == "help":
		return line{help: usage, helpExit: exitOK}, nil
	}
	obj := findObject(words[0])
	switch {
	case obj == nil:
		return line{}, errors.New("invalid object, use `-h' for help.")
	case obj.why != "":
		return line{}, errors.New(obj.why)
	case obj.commands == nil:
		return line{}, fmt.Errorf("object %q is not supported yet", obj.names[0])
	case opts.help:
		return line{help: obj.help, helpExit: exitOK}, nil
	case len(words) == 1:
		return line{help: obj.help, helpExit: exitFail}, nil
	}
	cmd := obj.find(words[1])
	switch {
	case cmd == nil && begins("help", words[1]):
		return line{help: obj.help, helpExit: exitOK}, nil
	case cmd == nil:
		return line{}, fmt.Errorf("invalid command %s, use `dpip %s help' for help.", plain(words[1]), obj.names[0])
	}
	if err := opts.check(cmd.mayRepeat, obj.families); err != nil {
		return line{}, err
	}
	run, err := cmd.parse(opts.family, words[2:])
	return line{opts: opts, run: run}, err
}

// findObject returns the object that word names or begins, or nil.
func findObject(word string) *object {
	i := match(len(objects), func(i int) []string { return objects[i].names }, word)
	if i < 0 {
		return nil
	}
	return &objects[i]
}

// find returns the command that word names or begins, or nil.
func (o *object) find(word string) *command {
	i := match(len(o.commands), func(i int) []string { return o.commands[i].names }, word)
	if i < 0 {
		return nil
	}
	return &o.commands[i]
}

// match returns the first of n rows that has word for a name, else the first
// that has a name which begins with word, else -1.
func match(n int, names func(int) []string, word string) int {
	for _, same := range []func(name, word string) bool{
		func(name, word string) bool { return name == word }, begins,
	} {
		for i := range n {
			for _, name := range names(i) {
				if same(name, word) {
					return i
				}
			}
		}
	}
	return -1
}

// begins reports whether name begins with word. The empty word begins nothing.
func begins(name, word string) bool { return word != "" && strings.HasPrefix(name, word) }

// plain returns a word of the user's fit for a message: as it is when it is
// printable, else quoted.
func plain(word string) string {
	if q := fmt.Sprintf("%q", word); q != `"`+word+`"` || word == "" {
		return q
	}
	return word
}

// refusal is the parser of a command that exists in name only.
func refusal(sentence string) func(family, []string) (action, error) {
	return func(family, []string) (action, error) { return nil, errors.New(sentence) }
}

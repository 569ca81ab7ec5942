package dpip

import (
	"errors"
	"fmt"
	"strings"
)

// options are the GNU-style options, which may stand anywhere on the line.
type options struct {
	help, version  bool
	stats, verbose bool
	color, force   bool
	family         family // -4, -6
	interval       uint32 // seconds; 0: don't repeat
	count          uint32 // rounds; 0: no end
}

// option is one row of the option table. Exactly one of flag and value is set.
type option struct {
	short byte
	long  []string
	flag  func(*options)
	value func(o *options, arg string) error
}

// Bounds of -i and -c.
const (
	maxInterval = 86400      // a day
	maxCount    = 1000000000 // rounds
)

var optionTable = []option{
	{short: 'v', long: []string{"verbose"}, flag: func(o *options) { o.verbose = true }},
	{short: 'h', long: []string{"help"}, flag: func(o *options) { o.help = true }},
	{short: 'V', long: []string{"version"}, flag: func(o *options) { o.version = true }},
	{short: '4', flag: func(o *options) { o.family = inet }},
	{short: '6', flag: func(o *options) { o.family = inet6 }},
	{short: 'f', long: []string{"family"}, value: setFamily},
	{short: 's', long: []string{"stats", "statistics"}, flag: func(o *options) { o.stats = true }},
	{short: 'i', long: []string{"interval"}, value: func(o *options, arg string) (err error) {
		o.interval, err = number("-i", arg, 1, maxInterval)
		return err
	}},
	{short: 'c', long: []string{"count"}, value: func(o *options, arg string) (err error) {
		o.count, err = number("-c", arg, 1, maxCount)
		return err
	}},
	{short: 'C', long: []string{"color"}, flag: func(o *options) { o.color = true }},
	{short: 'F', long: []string{"force"}, flag: func(o *options) { o.force = true }},
}

func setFamily(o *options, arg string) error {
	switch arg {
	case "inet":
		o.family = inet
	case "inet6":
		o.family = inet6
	default:
		return fmt.Errorf("invalid family %q: use inet or inet6", arg)
	}
	return nil
}

// takeOptions parts args into options and the words that remain, in their order.
// As getopt does, it takes bundles (-sv), attached arguments (-i5, --interval=5),
// long names cut short, and "--", after which everything is a word.
func takeOptions(args []string) (o options, words []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return o, append(words, args...), nil
		case strings.HasPrefix(arg, "--"):
			args, err = o.takeLong(arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = o.takeShort(arg[1:], args)
		default:
			words = append(words, arg)
		}
		if err != nil {
			return o, nil, err
		}
	}
	return o, words, nil
}

// takeLong takes a long option, whose argument may be the first of rest, and
// returns what follows it.
func (o *options) takeLong(arg string, rest []string) ([]string, error) {
	name, value, attached := strings.Cut(arg, "=")
	opt, err := findLong(name)
	if err != nil {
		return nil, err
	}
	if opt.flag != nil {
		if attached {
			return nil, fmt.Errorf("option --%s takes no argument", name)
		}
		opt.flag(o)
		return rest, nil
	}
	if !attached {
		if len(rest) == 0 {
			return nil, fmt.Errorf("missing argument for `--%s'", name)
		}
		value, rest = rest[0], rest[1:]
	}
	return rest, opt.value(o, value)
}

// findLong finds the option whose name is, or alone begins with, name.
func findLong(name string) (found *option, err error) {
	for i := range optionTable {
		for _, long := range optionTable[i].long {
			switch {
			case long == name:
				return &optionTable[i], nil
			case name == "" || !strings.HasPrefix(long, name):
			case found != nil && found != &optionTable[i]:
				return nil, fmt.Errorf("option --%s is ambiguous: use `-h' for help", name)
			default:
				found = &optionTable[i]
			}
		}
	}
	if found == nil {
		return nil, fmt.Errorf("invalid option %q: use `-h' for help", "--"+name)
	}
	return found, nil
}

// takeShort takes a bundle of short options, the last of which may have its
// argument in the rest of the bundle or in the first of rest.
func (o *options) takeShort(bundle string, rest []string) ([]string, error) {
	for i, c := range []byte(bundle) {
		opt := findShort(c)
		if opt == nil {
			return nil, fmt.Errorf("invalid option %q: use `-h' for help", "-"+bundle[i:])
		}
		if opt.flag != nil {
			opt.flag(o)
			continue
		}
		if value := bundle[i+1:]; value != "" {
			return rest, opt.value(o, value)
		}
		if len(rest) == 0 {
			return nil, fmt.Errorf("missing argument for `-%c'", c)
		}
		return rest[1:], opt.value(o, rest[0])
	}
	return rest, nil
}

func findShort(c byte) *option {
	for i := range optionTable {
		if optionTable[i].short == c {
			return &optionTable[i]
		}
	}
	return nil
}

// check refuses options that have no meaning for the command, which would else
// be passed over in silence.
func (o options) check(mayRepeat, families bool) error {
	switch {
	case o.family == inet6 && !families:
		return errors.New("option -6 is for addr, route, neigh, maddr and tunnel: leave it out")
	case o.force:
		return errors.New("option -F is for ipset only: leave it out")
	case o.interval == 0 && o.count != 0:
		return errors.New("missing option '-i': -c N counts the rounds of -i SECONDS")
	case o.interval == 0 && o.color:
		return errors.New("missing option '-i': -C redraws the rounds of -i SECONDS")
	case o.interval != 0 && !mayRepeat:
		return errors.New("option -i repeats `link show' only: leave it out")
	}
	return nil
}

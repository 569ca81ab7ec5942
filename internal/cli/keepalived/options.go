package keepalived

import (
	"errors"
	"fmt"
	"strings"
)

// settings are what the command line says.
type settings struct {
	file      string
	id        string
	vrrpOnly  bool
	checkOnly bool
	test      bool
	testLog   string // -t=FILE; "": standard error
	fore      bool   // -n
	console   bool   // -l
	detail    bool   // -D
	quiet     bool   // -G: no syslog
	logFile   string // -g
	facility  string // -S
	keep      bool   // -I
	keepVRRP  bool   // -V
	pid       string
	vrrpPid   string
	checkPid  string
	program   string // --vrrp-program
	signum    string
	version   bool
	help      bool
	empty     []string // options that mean nothing here, as written
}

// option is one of stock keepalived's.
type option struct {
	short byte
	long  string
	value byte // 0: takes none; '=': needs one; '?': may have one, joined to it
	set   func(s *settings, v string)
	help  string
}

// means says that an option is taken and means nothing.
func means(short byte, long string, value byte, help string) option {
	o := option{short: short, long: long, value: value, help: help}
	o.set = func(s *settings, _ string) { s.empty = append(s.empty, "--"+long) }
	return o
}

var options = []option{
	{'f', "use-file", '=', func(s *settings, v string) { s.file = v }, "Read this file, not /etc/keepalived/keepalived.conf"},
	{'P', "vrrp", 0, func(s *settings, _ string) { s.vrrpOnly = true }, "VRRP only: no health checks, no services"},
	{'C', "check", 0, func(s *settings, _ string) { s.checkOnly = true }, "Health checks and services only: no VRRP"},
	{'l', "log-console", 0, func(s *settings, _ string) { s.console = true }, "Log to standard error"},
	{'D', "log-detail", 0, func(s *settings, _ string) { s.detail = true }, "Tell more, of VRRP too"},
	{'S', "log-facility", '=', func(s *settings, v string) { s.facility = v }, "Facility of syslog: 0-7, local0-local7, user, daemon"},
	{'g', "log-file", '?', func(s *settings, v string) { s.logFile = or(v, "/tmp/keepalived.log") }, "Log to a file as well"},
	{'G', "no-syslog", 0, func(s *settings, _ string) { s.quiet = true }, "Do not log to syslog"},
	{'I', "dont-release-ipvs", 0, func(s *settings, _ string) { s.keep = true }, "Leave the services to the director at the end"},
	{'V', "dont-release-vrrp", 0, func(s *settings, _ string) { s.keepVRRP = true }, "Leave addresses and routes of VRRP to Linux at the end (not to the director)"},
	{'n', "dont-fork", 0, func(s *settings, _ string) { s.fore = true }, "Stay in the foreground, log to standard error"},
	{'p', "pid", '=', func(s *settings, v string) { s.pid = v }, "The pid file, /run/keepalived.pid"},
	{'r', "vrrp_pid", '=', func(s *settings, v string) { s.vrrpPid = v }, "A further pid file, made while VRRP runs"},
	{'c', "checkers_pid", '=', func(s *settings, v string) { s.checkPid = v }, "A further pid file, made while checks are made"},
	{'i', "config-id", '=', func(s *settings, v string) { s.id = v }, "The id of lines that begin with @"},
	{0, "signum", '=', func(s *settings, v string) { s.signum = v }, "Print the number of the signal STOP, RELOAD, DATA, STATS"},
	{'t', "config-test", '?', func(s *settings, v string) { s.test, s.testLog = true, v }, "Look at the file and end: 0 it is good, 4 it has unknown keywords, 3 it is refused"},
	{0, "vrrp-program", '=', func(s *settings, v string) { s.program = v }, "The distribution's keepalived, which speaks VRRP"},
	{'v', "version", 0, func(s *settings, _ string) { s.version = true }, "Print the version"},
	{'h', "help", 0, func(s *settings, _ string) { s.help = true }, "Print this"},
	means('d', "dump-conf", 0, "Means nothing here"),
	means('B', "no_bfd", 0, "Means nothing here"),
	means(0, "all", 0, "Means nothing here"),
	means('u', "umask", '=', "Means nothing here"),
	means('X', "release-vips", 0, "Means nothing here"),
	means('R', "dont-respawn", 0, "Means nothing here"),
	means('a', "address-monitoring", 0, "Means nothing here"),
	means('b', "bfd_pid", '=', "Means nothing here"),
	means('x', "snmp", 0, "Means nothing here"),
	means('A', "snmp-agent-socket", '=', "Means nothing here"),
	means('m', "core-dump", 0, "Means nothing here"),
	means('M', "core-dump-pattern", '?', "Means nothing here"),
	means('e', "all-config", 0, "Means nothing here: a missing file is always refused, but for patterns"),
	means(0, "debug", '?', "Means nothing here"),
	means(0, "no-mem-check", 0, "Means nothing here"),
}

// elsewhere are options that would mean something else if they were passed over.
var elsewhere = map[string]string{
	"namespace":   "start keepalived in the namespace: ip netns exec NAME keepalived",
	"s":           "start keepalived in the namespace: ip netns exec NAME keepalived",
	"genhash":     "the digest of a page is that of: curl -s URL | md5sum",
	"T":           "the digest of a page is that of: curl -s URL | md5sum",
	"config-dump": "there is no dump of the configuration",
}

func or(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}

// parse reads a command line as getopt_long does: -nlf FILE, --use-file FILE, --use-file=FILE.
func parse(args []string) (*settings, error) {
	s := &settings{file: "/etc/keepalived/keepalived.conf", pid: "/run/keepalived.pid"}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case strings.HasPrefix(arg, "--") && len(arg) > 2:
			args, err = s.long(arg[2:], args)
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			args, err = s.short(arg[1:], args)
		default:
			err = fmt.Errorf("unexpected argument %q: keepalived takes options only", arg)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.vrrpOnly && s.checkOnly {
		return nil, errors.New("--vrrp and --check exclude each other: leave both out for both")
	}
	return s, nil
}

func (s *settings) long(word string, rest []string) ([]string, error) {
	name, value, joined := strings.Cut(word, "=")
	if why, is := elsewhere[name]; is {
		return nil, fmt.Errorf("--%s is not supported: %s", name, why)
	}
	for i := range options {
		o := &options[i]
		if o.long != name {
			continue
		}
		switch {
		case joined && o.value == 0:
			return nil, fmt.Errorf("--%s takes no value", name)
		case !joined && o.value == '=':
			if len(rest) == 0 {
				return nil, fmt.Errorf("--%s needs a value", name)
			}
			value, rest = rest[0], rest[1:]
		}
		o.set(s, value)
		return rest, nil
	}
	return nil, fmt.Errorf("unknown option --%s: keepalived --help lists them", name)
}

func (s *settings) short(letters string, rest []string) ([]string, error) {
	for i := 0; i < len(letters); i++ {
		c := letters[i]
		if why, is := elsewhere[string(c)]; is {
			return nil, fmt.Errorf("-%c is not supported: %s", c, why)
		}
		o := find(c)
		if o == nil {
			return nil, fmt.Errorf("unknown option -%c: keepalived --help lists them", c)
		}
		value := ""
		if o.value != 0 {
			value = strings.TrimPrefix(letters[i+1:], "=")
			i = len(letters)
			if value == "" && o.value == '=' {
				if len(rest) == 0 {
					return nil, fmt.Errorf("-%c needs a value", c)
				}
				value, rest = rest[0], rest[1:]
			}
		}
		o.set(s, value)
	}
	return rest, nil
}

func find(c byte) *option {
	for i := range options {
		if options[i].short == c && c != 0 {
			return &options[i]
		}
	}
	return nil
}

// usage is what --help prints.
func usage() string {
	var b strings.Builder
	b.WriteString("Usage: keepalived [OPTION...]\n\nHealth checks and virtual servers for Weir, from a keepalived.conf. VRRP is done by the\ndistribution's keepalived, which this one runs.\n\n")
	for _, o := range options {
		short := "    "
		if o.short != 0 {
			short = fmt.Sprintf("-%c, ", o.short)
		}
		long := "--" + o.long
		switch o.value {
		case '=':
			long += "=VALUE"
		case '?':
			long += "[=VALUE]"
		}
		fmt.Fprintf(&b, "  %s%-26s %s\n", short, long, o.help)
	}
	return b.String()
}

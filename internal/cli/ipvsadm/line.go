package ipvsadm

import (
	"context"
	"unicode/utf8"

	"weir/api/weirv1"
)

// line is a command line that has been read: what to do and with what.
type line struct {
	verb  verb
	given options

	// The service as written, and what kind of one it is.
	virtual string
	proto   weirv1.Protocol
	kind    serviceKind
	service *weirv1.Service

	real string // the real server as written
	dest *weirv1.Dest

	laddr string // the local address as written
	local *weirv1.LocalAddress

	entry string // of a black- or whitelist

	timeouts weirv1.Timeouts

	pair *weirv1.ListConnectionsRequest

	// later names the first thing asked for that Weir does not do yet. It is told
	// last, after everything that is wrong with the line.
	later string
}

// serviceKind is how a service is selected.
type serviceKind uint8

const (
	byAddress serviceKind = iota
	byFwmark
	byMatch
)

// needs notes that the line asks for what is not supported yet.
func (l *line) needs(what string) {
	if l.later == "" {
		l.later = what
	}
}

// key returns the service's key, nil when the line names no service.
func (l *line) key() *weirv1.ServiceKey {
	if !l.given.has(optServiceAddress) {
		return nil
	}
	return l.service.Key
}

// parse reads a command line, without the program's name. No names are resolved for a
// line that is wrong by its words alone, and no call is made for any.
func parse(ctx context.Context, args []string, names Names) (*line, error) {
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return nil, wrong("argument %q is not UTF-8", arg)
		}
	}
	l := &line{
		service: &weirv1.Service{Key: &weirv1.ServiceKey{}},
		dest:    &weirv1.Dest{Weight: 1, Forward: weirv1.Forward_FORWARD_ROUTE},
		local:   &weirv1.LocalAddress{},
		pair:    &weirv1.ListConnectionsRequest{},
	}
	if len(args) == 0 {
		l.verb = cmdList
		return l, nil
	}
	s := &scanner{words: args}
	first, arg, given, err := s.scan()
	if err != nil || first == nil || first.verb == noCmd {
		return nil, noCommand()
	}
	l.verb = first.verb
	if l.verb == cmdHelp || l.verb == cmdVersion {
		return l, nil
	}
	if first.set != nil {
		if err := first.set(l, arg, given); err != nil {
			return nil, err
		}
	}
	if err := l.readOptions(s); err != nil {
		return nil, err
	}
	if err := l.readLeftover(s.leftover); err != nil {
		return nil, err
	}
	if err := l.checkOptions(); err != nil {
		return nil, err
	}
	if err := l.resolve(ctx, names); err != nil {
		return nil, err
	}
	if err := l.checkService(); err != nil {
		return nil, err
	}
	if l.later != "" {
		return nil, notYet(l.later)
	}
	return l, nil
}

// readOptions reads the options behind the command.
func (l *line) readOptions(s *scanner) error {
	for {
		w, arg, given, err := s.scan()
		if err != nil || w == nil {
			return err
		}
		if w.verb != noCmd {
			return wrong("multiple commands specified")
		}
		if !w.loose {
			if l.given.has(w.option) && !w.many {
				return wrong("multiple '%s' options specified", w.option)
			}
			l.given |= of(w.option)
		}
		if w.set != nil {
			if err := w.set(l, arg, given); err != nil {
				return err
			}
		}
	}
}

// readLeftover takes the words that belong to no option: only --set has such.
func (l *line) readLeftover(leftover []string) error {
	if l.verb == cmdSetTimeouts {
		if len(leftover) < 3 {
			return wrong("--set option requires 3 timeout values")
		}
		to := []*uint32{&l.timeouts.Tcp, &l.timeouts.TcpFin, &l.timeouts.Udp}
		for i, text := range leftover[:3] {
			n, err := parseTimeout(text, 0)
			if err != nil {
				return err
			}
			*to[i] = n
		}
		leftover = leftover[3:]
	}
	if len(leftover) > 0 {
		return wrong("unexpected argument %s", leftover[0])
	}
	return nil
}

package dpip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

var tunnelCommands = []command{
	{names: []string{"show", "list"}, parse: parseTunnelShow},
	{names: []string{"add"}, parse: parseTunnelAdd},
	{names: []string{"change", "set"}, parse: parseTunnelChange},
	{names: []string{"replace"}, parse: parseTunnelReplace},
	{names: []string{"del", "delete"}, parse: parseTunnelDel},
}

// tunnelWords is a tunnel as a line says it, and which fields it names (as the API has them).
type tunnelWords struct {
	weirv1.Tunnel
	fields []string
}

const tunnelForm = " NAME [mode ipip|gre] [remote ADDR] [local ADDR] [[i|o]seq] [[i|o]key KEY] [[i|o]csum] [ttl TTL] [tos TOS] [dev DEVICE]"

// parseTunnel reads a tunnel; its name may stand before or after any of the others.
func parseTunnel(command string, of family, words []string) (*tunnelWords, error) {
	t := &tunnelWords{Tunnel: weirv1.Tunnel{In: &weirv1.TunnelWords{}, Out: &weirv1.TunnelWords{}}}
	named := func(field string, read func(string) error) func(string) error {
		return func(arg string) error {
			t.fields = append(t.fields, field)
			return read(arg)
		}
	}
	name := func(arg string) (err error) {
		if t.Name != "" {
			return fmt.Errorf("Is `%s' or `%s' garbage ? write %s", t.Name, plain(arg), command+tunnelForm)
		}
		t.Name, err = device(arg)
		return err
	}
	g := grammar{form: command + tunnelForm, operand: name, further: name, keywords: []keyword{
		key("name", name),
		{names: []string{"mode", "type", "kind"}, value: take(&t.Mode, tunnelMode)},
		key("remote", named("remote", take(&t.Remote, func(arg string) (string, error) { return tunnelEnd(of, "remote", arg) }))),
		key("local", named("local", take(&t.Local, func(arg string) (string, error) { return tunnelEnd(of, "local", arg) }))),
		key("dev", named("device", take(&t.Device, device))),
		{names: []string{"ttl", "hoplimit", "hlim"}, value: named("ttl", takeOrInherit(&t.Ttl, "ttl", 1, 0))},
		{names: []string{"tos", "tclass", "dsfield"}, value: named("tos", takeOrInherit(&t.Tos, "tos", 0, 1))},
	}}
	for _, way := range []struct {
		prefix string
		fields []string
		into   []*weirv1.TunnelWords
	}{
		{"", []string{"in", "out"}, []*weirv1.TunnelWords{t.In, t.Out}},
		{"i", []string{"in"}, []*weirv1.TunnelWords{t.In}},
		{"o", []string{"out"}, []*weirv1.TunnelWords{t.Out}},
	} {
		g.keywords = append(g.keywords,
			keyword{names: []string{way.prefix + "seq"}, set: func() {
				t.fields = append(t.fields, way.fields...)
				for _, w := range way.into {
					w.Sequence = true
				}
			}},
			keyword{names: []string{way.prefix + "csum"}, set: func() {
				t.fields = append(t.fields, way.fields...)
				for _, w := range way.into {
					w.Checksum = true
				}
			}},
			keyword{names: []string{way.prefix + "key"}, value: func(arg string) error {
				t.fields = append(t.fields, way.fields...)
				k, err := tunnelKey(arg)
				for _, w := range way.into {
					w.Keyed, w.Key = true, k
				}
				return err
			}})
	}
	if err := g.parse(words); err != nil {
		return nil, err
	}
	return t, nil
}

// call is the tunnel as it goes to the director: what is not said is not there.
func (t *tunnelWords) call() *weirv1.Tunnel {
	none := func(w *weirv1.TunnelWords) bool { return !w.Checksum && !w.Sequence && !w.Keyed }
	if none(t.In) {
		t.In = nil
	}
	if none(t.Out) {
		t.Out = nil
	}
	return &t.Tunnel
}

func tunnelMode(arg string) (string, error) {
	if arg != "ipip" && arg != "gre" {
		return "", fmt.Errorf("invalid tunnel type %q: use ipip or gre; either goes over IPv4 and IPv6, as local and remote say", arg)
	}
	return arg, nil
}

// tunnelEnd reads an end of a tunnel; any is none.
func tunnelEnd(of family, what, arg string) (string, error) {
	if arg == "any" || arg == "0.0.0.0" || arg == "::" {
		return "", nil
	}
	a, err := netip.ParseAddr(arg)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return "", fmt.Errorf("invalid %s address: `%s'", what, plain(arg))
	}
	if err := unicast(what+" address", a); err != nil {
		return "", err
	}
	return a.String(), of.check(a)
}

// tunnelKey reads a key: a number, or four in the form of an IPv4 address.
func tunnelKey(arg string) (uint32, error) {
	if a, err := netip.ParseAddr(arg); err == nil && a.Is4() {
		b := a.As4()
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), nil
	}
	n, err := strconv.ParseUint(arg, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("invalid key %q: give a number up to 4294967295, or one such as 0.0.0.7", arg)
	}
	return uint32(n), nil
}

// takeOrInherit makes a keyword's parser of a number up to 255, or of the word inherit.
func takeOrInherit(into *uint32, name string, least, inherit uint32) func(string) error {
	return func(arg string) error {
		if arg == "inherit" {
			*into = inherit
			return nil
		}
		n, err := strconv.ParseUint(arg, 0, 8)
		if err != nil || uint32(n) < least {
			return fmt.Errorf("invalid %s %q: give a number from %d to 255, or inherit", name, arg, least)
		}
		*into = uint32(n)
		return nil
	}
}

var errNoTunnel = errors.New("missing tunnel dev name.: give it, as in `tunnel add gre1 mode gre local 1.1.1.1 remote 2.2.2.2'")

func parseTunnelAdd(of family, words []string) (action, error) {
	t, err := parseTunnel("tunnel add", of, words)
	switch {
	case err != nil:
		return nil, err
	case t.Mode == "":
		return nil, errors.New("missing tunnel type.: give `mode ipip' or `mode gre'")
	case t.Name == "":
		return nil, errNoTunnel
	}
	m := t.call()
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.AddTunnel(ctx, connect.NewRequest(&weirv1.AddTunnelRequest{Tunnel: m}))
		return err
	}, nil
}

// parseTunnelChange changes what the line names; the rest of the tunnel stays.
func parseTunnelChange(of family, words []string) (action, error) {
	t, err := parseTunnel("tunnel change", of, words)
	if err == nil && t.Name != "" && len(t.fields) == 0 {
		return nil, fmt.Errorf("nothing to change: write tunnel change%s", tunnelForm)
	}
	return changeTunnel(t, err, false)
}

// parseTunnelReplace makes the tunnel what the line says, and else what it is by default.
func parseTunnelReplace(of family, words []string) (action, error) {
	t, err := parseTunnel("tunnel replace", of, words)
	return changeTunnel(t, err, true)
}

func changeTunnel(t *tunnelWords, err error, all bool) (action, error) {
	switch {
	case err != nil:
		return nil, err
	case t.Name == "":
		return nil, errNoTunnel
	}
	q := &weirv1.ChangeTunnelRequest{Tunnel: t.call(), Fields: t.fields}
	if all {
		q.Fields = nil
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.ChangeTunnel(ctx, connect.NewRequest(q))
		return err
	}, nil
}

// parseTunnelDel takes the same words as add; the name alone says what is deleted.
func parseTunnelDel(of family, words []string) (action, error) {
	t, err := parseTunnel("tunnel del", of, words)
	switch {
	case err != nil:
		return nil, err
	case t.Name == "":
		return nil, errNoTunnel
	}
	return func(ctx context.Context, s *session) error {
		_, err := s.dir.DeleteTunnel(ctx, connect.NewRequest(&weirv1.DeleteTunnelRequest{Name: t.Name}))
		return err
	}, nil
}

// parseTunnelShow takes a name, or mode, ends and device that those shown have.
func parseTunnelShow(of family, words []string) (action, error) {
	t, err := parseTunnel("tunnel show", of, words)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, s *session) error {
		all, err := s.dir.ListTunnels(ctx, connect.NewRequest(&weirv1.ListTunnelsRequest{Name: t.Name}))
		if err != nil {
			return err
		}
		for _, o := range all.Msg.Tunnels {
			same := func(asked, has string) bool { return asked == "" || asked == has }
			if same(t.Mode, o.Mode) && same(t.Local, o.Local) && same(t.Remote, o.Remote) && same(t.Device, o.Device) && showsTunnel(of, o) {
				s.printf("%s\n", tunnelLine(o))
			}
		}
		return nil
	}, nil
}

// showsTunnel reports whether -4 or -6 lets a tunnel through; one between any and any is
// of IPv4.
func showsTunnel(of family, t *weirv1.Tunnel) bool {
	end := t.Remote
	if end == "" {
		end = t.Local
	}
	if end == "" {
		end = "0.0.0.0"
	}
	return of.shows(end)
}

// tunnelLine is a tunnel in DPVS's words:
//
//	gre1:  gre remote 2.2.2.2 local 1.1.1.1 dev dpdk0 ttl inherit
func tunnelLine(t *weirv1.Tunnel) string {
	orAny := func(a string) string {
		if a == "" {
			return "any"
		}
		return a
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %4s remote %s local %s", t.Name, t.Mode, orAny(t.Remote), orAny(t.Local))
	if t.Device != "" {
		fmt.Fprintf(&b, " dev %s", t.Device)
	}
	if t.Ttl == 0 {
		b.WriteString(" ttl inherit")
	} else {
		fmt.Fprintf(&b, " ttl %d", t.Ttl)
	}
	switch {
	case t.Tos == 1:
		b.WriteString(" tos inherit")
	case t.Tos != 0:
		fmt.Fprintf(&b, " tos %#x", t.Tos)
	}
	for _, way := range []struct {
		name string
		w    *weirv1.TunnelWords
	}{{"i", t.In}, {"o", t.Out}} {
		if f := tunnelFlags(way.w); f != 0 {
			fmt.Fprintf(&b, " %s_flags %#x", way.name, f)
		}
	}
	for _, way := range []struct {
		name string
		w    *weirv1.TunnelWords
	}{{"i", t.In}, {"o", t.Out}} {
		if way.w.GetKeyed() {
			fmt.Fprintf(&b, " %s_key %#x", way.name, way.w.GetKey())
		}
	}
	return b.String()
}

// tunnelFlags is the number of what is expected or sent: 1 checksum, 4 key, 8 sequence
// (Linux's TUNNEL_CSUM, TUNNEL_KEY, TUNNEL_SEQ).
func tunnelFlags(w *weirv1.TunnelWords) (f int) {
	if w.GetChecksum() {
		f |= 1
	}
	if w.GetKeyed() {
		f |= 4
	}
	if w.GetSequence() {
		f |= 8
	}
	return f
}

package want

import (
	"fmt"
	"slices"
	"strings"

	"weir/api/weirv1"
	"weir/internal/config/keepalivedconf"
	"weir/internal/spec"
)

// Tunnel devices of tunnel_group.

// tunnels plans the devices of all groups, in the order of the file, and puts them on paper.
func (p *planner) tunnels() (all []spec.TunnelDevice) {
	names := tunnelNames(p.conf)
	for i := range p.conf.Tunnels {
		for _, e := range p.conf.Tunnels[i].Tunnels {
			at := p.at.Block("tunnel_entry", e.Name)
			t := spec.TunnelDevice{Name: e.Name, Kind: spec.TunnelKind(e.Kind), Local: e.Local, Remote: e.Remote, Link: e.Port}
			if slices.Contains(names, t.Link) {
				p.refuse(at, "tunnel_entry %s: if %s is a tunnel: packets of a tunnel leave by another device", t.Name, t.Link)
				continue
			}
			if err := p.paper.AddTunnel(t); err != nil {
				p.refuse(at, "tunnel_entry %s: %v", t.Name, err)
				continue
			}
			all = append(all, t)
		}
	}
	return all
}

func tunnelNames(conf *keepalivedconf.Config) (names []string) {
	for i := range conf.Tunnels {
		for _, e := range conf.Tunnels[i].Tunnels {
			names = append(names, e.Name)
		}
	}
	return names
}

// Tunnel is a device as the director is asked for it.
func Tunnel(t *spec.TunnelDevice) *weirv1.Tunnel {
	m := &weirv1.Tunnel{Name: t.Name, Mode: string(t.Kind), Device: t.Link}
	if t.Local.IsValid() {
		m.Local = t.Local.String()
	}
	if t.Remote.IsValid() {
		m.Remote = t.Remote.String()
	}
	return m
}

// TunnelIs reports whether a device of the director is the one that a file means: it takes and
// sends the same packets. TTL and TOS, which no file can say, are whatever somebody gave it.
func TunnelIs(t *spec.TunnelDevice, m *weirv1.Tunnel) bool {
	w := Tunnel(t)
	return m.GetMode() == w.Mode && m.GetLocal() == w.Local && m.GetRemote() == w.Remote && m.GetDevice() == w.Device && m.GetIn() == nil && m.GetOut() == nil
}

// TunnelWords is a device of the director in dpip's words.
func TunnelWords(m *weirv1.Tunnel) string {
	words := []string{m.GetMode()}
	for _, w := range []struct{ word, value string }{{"local", m.GetLocal()}, {"remote", m.GetRemote()}, {"dev", m.GetDevice()}} {
		if w.value != "" {
			words = append(words, w.word, w.value)
		}
	}
	for _, f := range []struct {
		role  string
		words *weirv1.TunnelWords
	}{{"i", m.GetIn()}, {"o", m.GetOut()}} {
		if f.words.GetKeyed() {
			words = append(words, fmt.Sprintf("%skey %d", f.role, f.words.GetKey()))
		}
		if f.words.GetChecksum() {
			words = append(words, f.role+"csum")
		}
		if f.words.GetSequence() {
			words = append(words, f.role+"seq")
		}
	}
	return strings.Join(words, " ")
}

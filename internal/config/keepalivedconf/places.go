package keepalivedconf

import (
	"net/netip"

	"weir/internal/config/block"
)

// Places says where in the files things of a Config stand, for whoever finds later
// that one of them can't be.
type Places struct {
	named   map[string]block.Pos
	servers map[string]serverPlace
}

// Load is Parse with the places.
func Load(path, id string) (*Config, *Places, []Warning, error) {
	l := newLoader(id)
	l.open = true
	l.main(path)
	r, err := read(path, l)
	switch {
	case r == nil:
		return nil, nil, nil, err
	case err != nil:
		return nil, nil, r.warnings, err
	}
	p := &Places{named: r.named, servers: make(map[string]serverPlace, len(r.servers))}
	for i := range r.cfg.Servers {
		p.servers[r.cfg.Servers[i].Key()] = r.servers[i]
	}
	return &r.cfg, p, r.warnings, nil
}

// Server is the place of a virtual server.
func (p *Places) Server(vs *VirtualServer) block.Pos { return p.servers[vs.Key()].pos }

// Real is the place of one of its real servers; that of the virtual server for what is
// none of them.
func (p *Places) Real(vs *VirtualServer, addr netip.AddrPort) block.Pos {
	at := p.servers[vs.Key()]
	if pos, there := at.reals[addr]; there {
		return pos
	}
	return at.pos
}

// Block is the place of a block with a name: "local_address_group", "lips".
func (p *Places) Block(keyword, name string) block.Pos { return p.named[keyword+" "+name] }

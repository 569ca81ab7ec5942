package worker

import (
	"weir/internal/lb"
	"weir/internal/neigh"
	"weir/internal/port"
	"weir/internal/route"
	"weir/internal/tunnel"
)

// Snapshot is the configuration in force: immutable, published by the director
// with one store, loaded once per breath.
type Snapshot struct {
	Ports       *[port.Max]port.Facts
	Routes      *route.Table
	Tunnels     *tunnel.Table // nil: none
	Neigh       neigh.Config
	Forwarding  bool // of IPv4
	Forwarding6 bool
	TTL         uint8
	LB          lb.Tables
}

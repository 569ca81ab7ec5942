package route

import (
	"encoding/binary"
	"net/netip"
)

// Most clients come by one route, the default one, and a new connection asks for it. So a
// table knows of each block of IPv4 addresses, a /12, whether all of it goes along one route:
// then the longest match, for which a new flow of UDP would pay a tenth of its price, is not
// looked for. Of IPv6, clients come from a few such blocks, in which our own networks lie as
// well: there it would be of no use.

const (
	blockBits = 12
	numBlocks = 1 << blockBits
)

// blocks are the routes that are their blocks' only ones; nil: there are several, or none.
type blocks [numBlocks]*Route

func blockOf(ip [4]byte) uint32 { return binary.BigEndian.Uint32(ip[:]) >> (32 - blockBits) }

// fill finds out about all blocks of a table whose lpm is complete.
func (b *blocks) fill(t *Table) {
	var parted [numBlocks]bool // by a longer prefix
	for _, all := range [][]Route{t.local, t.nets, t.linux} {
		for i := range all {
			if p := all[i].Prefix; p.Addr().Is4() && p.Bits() > blockBits {
				parted[blockOf(p.Addr().As4())] = true
			}
		}
	}
	for i := range b {
		if parted[i] {
			continue
		}
		var ip [4]byte
		binary.BigEndian.PutUint32(ip[:], uint32(i)<<(32-blockBits))
		if r, ok := t.lpm.Lookup(netip.AddrFrom4(ip)); ok {
			b[i] = r
		}
	}
}

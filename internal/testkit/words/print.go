package words

import (
	"encoding/binary"
	"fmt"
)

// Print says what a frame is, without its link-layer addresses.
func Print(f Frame, s Stations) string {
	d := f.Data
	if len(d) < 14 {
		return fmt.Sprintf("short %x", d)
	}
	kind, rest := binary.BigEndian.Uint16(d[12:]), d[14:]
	front := ""
	for (kind == etherVLAN || kind == etherQinQ) && len(rest) >= 4 {
		front += fmt.Sprintf("%s %d / ", map[uint16]string{etherVLAN: "vlan", etherQinQ: "svlan"}[kind], binary.BigEndian.Uint16(rest))
		kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	switch {
	case kind == etherIPv4:
		return front + printIP(rest, &f)
	case kind == etherIPv6:
		return front + viewer{&f, s, MAC(d[6:12])}.ip6(rest)
	case kind == etherARP && len(rest) >= 28:
		return front + printARP(rest, s, MAC(d[6:12]))
	}
	return front + fmt.Sprintf("eth type=0x%04x /%s", kind, dataWords(rest))
}

func printARP(a []byte, s Stations, from MAC) string {
	op := binary.BigEndian.Uint16(a[6:])
	sha, spa, tpa := MAC(a[8:14]), addr(a[14:18]), addr(a[24:28])
	mac := ""
	if sha != from {
		mac = " mac=" + s.Name(sha)
	}
	extra := ""
	if len(a) > 28 {
		extra = fmt.Sprintf(" and %d bytes", len(a)-28)
	}
	switch op {
	case 1:
		return fmt.Sprintf("arp request who=%s tell=%s%s%s", tpa, spa, mac, extra)
	case 2:
		return fmt.Sprintf("arp reply is=%s for=%s%s%s", spa, tpa, mac, extra)
	}
	return fmt.Sprintf("arp op=%d", op)
}

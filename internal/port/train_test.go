package port

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"weir/internal/packet"
	"weir/internal/wire"
)

// Segments makes n segments of a stream, of so many bytes each, with Linux's timestamp.
func Segments(t testing.TB, pool *packet.Pool, v6 bool, n, size int) []*packet.Packet {
	t.Helper()
	var burst []*packet.Packet
	for i := range n {
		p := pool.Get()
		l4, kind := etherLen+ipv4Least, uint16(typeIPv4)
		if v6 {
			l4, kind = etherLen+ipv6Len, typeIPv6
		}
		if !p.Resize(l4 + 32 + size) {
			t.Fatal("no room")
		}
		d := p.Data
		clear(d)
		copy(d, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2})
		binary.BigEndian.PutUint16(d[typeAt:], kind)
		if v6 {
			d[etherLen], d[etherLen+6], d[etherLen+7], d[etherLen+23], d[etherLen+39] = 0x60, protoTCP, 64, 1, 2
		} else {
			copy(d[etherLen:], []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protoTCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
			binary.BigEndian.PutUint16(d[etherLen+4:], uint16(0xfffe+i)) // it wraps
		}
		copy(d[l4:], []byte{0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 9, 8 << 4, tcpACK, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 8})
		binary.BigEndian.PutUint32(d[l4+4:], uint32(0xffffff00+i*size))
		for k := range d[l4+32:] {
			d[l4+32+k] = byte(i + k)
		}
		Seal(d)
		burst = append(burst, p)
	}
	return burst
}

// Seal writes lengths and checksums.
func Seal(d []byte) {
	l4, _ := transport(d)
	if l4 == etherLen+ipv6Len {
		wire.IPv6(d[etherLen:]).SetPayloadLength(uint16(len(d) - l4))
	} else {
		wire.IPv4(d[etherLen:]).SetTotalLength(uint16(len(d) - etherLen))
		wire.IPv4(d[etherLen:]).ComputeChecksum()
	}
	clear(d[l4+tcpChecksum : l4+tcpChecksum+2])
	pseudo := wire.PseudoSum4([4]byte(d[etherLen+12:]), [4]byte(d[etherLen+16:]), protoTCP, uint16(len(d)-l4))
	if l4 == etherLen+ipv6Len {
		pseudo = wire.PseudoSum6([16]byte(d[etherLen+8:]), [16]byte(d[etherLen+24:]), protoTCP, uint32(len(d)-l4))
	}
	binary.BigEndian.PutUint16(d[l4+tcpChecksum:], wire.Checksum(d[l4:], pseudo))
}

// A train ends before whatever a super-frame would not say, and behind what only its last may be.
// Each row changes the sixth of eight segments, or all.
func TestTrainCouples(t *testing.T) {
	type change struct {
		name string
		do   func(p *packet.Packet, d []byte, l4 int)
		want int // how many are coupled
	}
	add := func(at int) func(*packet.Packet, []byte, int) {
		return func(_ *packet.Packet, d []byte, l4 int) { d[l4+at]++ }
	}
	both := []change{
		{"nothing", func(*packet.Packet, []byte, int) {}, 8},
		{"PSH: the last", func(_ *packet.Packet, d []byte, l4 int) { d[l4+tcpFlags] = tcpPSH }, 6},
		{"shorter: the last", func(p *packet.Packet, _ []byte, _ int) { p.Resize(len(p.Data) - 100) }, 6},
		{"longer", func(p *packet.Packet, _ []byte, _ int) { p.Resize(len(p.Data) + 1) }, 5},
		{"no data", func(p *packet.Packet, _ []byte, l4 int) { p.Resize(l4 + 32) }, 5},
		{"FIN", func(_ *packet.Packet, d []byte, l4 int) { d[l4+tcpFlags] |= 1 }, 5},
		{"URG", func(_ *packet.Packet, d []byte, l4 int) { d[l4+tcpFlags] |= 0x20 }, 5},
		{"ECE", func(_ *packet.Packet, d []byte, l4 int) { d[l4+tcpFlags] |= 0x40 }, 5},
		{"CWR", func(_ *packet.Packet, d []byte, l4 int) { d[l4+tcpFlags] |= 0x80 }, 5},
		{"another port", add(1), 5},
		{"other bytes", add(6), 5},
		{"another acknowledgement", add(11), 5},
		{"another length of options", func(_ *packet.Packet, d []byte, l4 int) { d[l4+tcpOffset] -= 0x10 }, 5},
		{"another window", add(15), 5},
		{"an urgent pointer", add(19), 5},
		{"another timestamp", add(27), 5},
		{"another machine", func(_ *packet.Packet, d []byte, _ int) { d[5]++ }, 5},
		{"another address", add(-1), 5},
		{"another class", func(_ *packet.Packet, d []byte, _ int) { d[etherLen+1] ^= 0x10 }, 5},
		{"a checksum that is to be completed", func(p *packet.Packet, _ []byte, _ int) { p.Flags |= packet.CsumPartial }, 5},
		{"a super-frame", func(p *packet.Packet, _ []byte, _ int) { p.Flags |= packet.GSO }, 5},
	}
	four := append(both[:len(both):len(both)],
		change{"another TTL", func(_ *packet.Packet, d []byte, _ int) { d[etherLen+8]-- }, 5},
		change{"may be fragmented", func(_ *packet.Packet, d []byte, _ int) { d[etherLen+6] = 0 }, 5},
		change{"another identification", func(_ *packet.Packet, d []byte, _ int) { d[etherLen+5]++ }, 5})
	six := append(both[:len(both):len(both)],
		change{"another hop limit", func(_ *packet.Packet, d []byte, _ int) { d[etherLen+7]-- }, 5},
		change{"another flow", func(_ *packet.Packet, d []byte, _ int) { d[etherLen+3]++ }, 5})
	for v6, rows := range map[bool][]change{false: four, true: six} {
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s v6=%v", row.name, v6), func(t *testing.T) {
				pool := poolOf(t, Burst, 0)
				burst := Segments(t, pool, v6, 8, 600)
				l4, _ := transport(burst[0].Data)
				row.do(burst[5], burst[5].Data, l4)
				Seal(burst[5].Data)
				var train Train
				if train.Couple(burst, 2); train.Packets != row.want {
					t.Errorf("%d are coupled, want %d", train.Packets, row.want)
				}
				if train.Couple(burst, row.want+1); train.Packets != 0 {
					t.Errorf("%d are coupled of %d at least", train.Packets, row.want+1)
				}
				if n := testing.AllocsPerRun(10, func() { train.Couple(burst, 2) }); n != 0 {
					t.Errorf("%v allocations, want none", n)
				}
				free(burst)
			})
		}
	}
}

// What is damaged is in no train, whose checksum is made anew: not a first one, and not another.
func TestTrainLeavesDamage(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for i, want := range map[int]int{0: 0, 1: 0, 2: 2, 7: 7} {
			pool := poolOf(t, Burst, 0)
			burst := Segments(t, pool, v6, 8, 600)
			d := burst[i].Data
			d[len(d)-1] ^= 4
			var train Train
			if train.Couple(burst, 2); train.Packets != want {
				t.Errorf("v6=%v: with the %d-th damaged %d are coupled, want %d", v6, i, train.Packets, want)
			}
			free(burst)
		}
	}
}

// What no train begins with.
func TestNoTrain(t *testing.T) {
	for name, do := range map[string]func(p *packet.Packet, d []byte){
		"short":        func(p *packet.Packet, _ []byte) { p.Resize(etherLen + ipv4Least + 32 + TrainLeast - 1) },
		"PSH":          func(_ *packet.Packet, d []byte) { d[34+tcpFlags] = tcpPSH },
		"UDP":          func(_ *packet.Packet, d []byte) { d[etherLen+9] = protoUDP },
		"IP options":   func(_ *packet.Packet, d []byte) { d[etherLen] = 0x46 },
		"a fragment":   func(_ *packet.Packet, d []byte) { d[etherLen+6] |= 0x20 },
		"tagged":       func(_ *packet.Packet, d []byte) { binary.BigEndian.PutUint16(d[typeAt:], typeVLAN) },
		"ARP":          func(_ *packet.Packet, d []byte) { binary.BigEndian.PutUint16(d[typeAt:], 0x0806) },
		"short header": func(_ *packet.Packet, d []byte) { d[34+tcpOffset] = 4 << 4 },
		"open":         func(p *packet.Packet, _ []byte) { p.Flags |= packet.CsumPartial },
	} {
		pool := poolOf(t, Burst, 0)
		burst := Segments(t, pool, false, 8, 600)
		for _, p := range burst { // all alike, so that nothing else keeps them apart
			do(p, p.Data)
			wire.IPv4(p.Data[etherLen:]).SetTotalLength(uint16(len(p.Data) - etherLen))
		}
		var train Train
		if train.Couple(burst, 2); train.Packets != 0 {
			t.Errorf("%s: %d are coupled", name, train.Packets)
		}
		free(burst)
	}
	// The frame is longer than its packet.
	pool := poolOf(t, Burst, 0)
	burst := Segments(t, pool, false, 4, 600)
	burst[0].Resize(len(burst[0].Data) + 2)
	var train Train
	if train.Couple(burst, 2); train.Packets != 0 {
		t.Errorf("padded: %d are coupled", train.Packets)
	}
	free(burst)
}

// A train is no longer than an IP packet, and its headers are those of one that long.
func TestTrainLength(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		pool := poolOf(t, Burst, 0)
		burst := Segments(t, pool, v6, Burst, 1428)
		var train Train
		train.Couple(burst, 2)
		want := (trainBytes - len(burst[0].Data) + etherLen + 1428) / 1428
		if train.Packets != want {
			t.Errorf("v6=%v: %d are coupled, want %d", v6, train.Packets, want)
		}
		whole := bytes.Clone(train.Head)
		for _, p := range burst[:train.Packets] {
			whole = append(whole, train.Payload(p)...)
		}
		if n := len(whole) - etherLen; n > trainBytes || n+1428 <= trainBytes {
			t.Errorf("v6=%v: the packet has %d bytes", v6, n)
		}
		sum := train.Vnet
		sum.complete(whole)
		l4, _ := transport(whole)
		if !intact(whole, l4) {
			t.Errorf("v6=%v: the checksum is wrong when it is completed", v6)
		}
		length := int(binary.BigEndian.Uint16(whole[etherLen+2:])) + etherLen
		if v6 {
			length = int(binary.BigEndian.Uint16(whole[etherLen+4:])) + etherLen + ipv6Len
		}
		if length != len(whole) || !v6 && !wire.IPv4(whole[etherLen:]).ChecksumOK() {
			t.Errorf("v6=%v: the header says %d bytes of %d, or its checksum is wrong", v6, length, len(whole))
		}
		if train.Vnet.gsoSize != 1428 || int(train.Vnet.hdrLen) != len(train.Head) {
			t.Errorf("v6=%v: vnet header %+v", v6, train.Vnet)
		}
		free(burst)
	}
}

func free(burst []*packet.Packet) {
	for _, p := range burst {
		p.Pool().Put(p)
	}
}

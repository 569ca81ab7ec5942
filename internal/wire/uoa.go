package wire

import "encoding/binary"

// UOA, the UDP option of address: DPVS's way to tell a real server who sent a
// datagram. The option is the same in both carriers:
//
//	1F len port(2) address(4 or 16)
//
// as an IPv4 option behind the fixed header, or behind 4 bytes of an IP
// protocol of its own between the IP and the UDP header:
//
//	version << 4 | 0, next protocol (17), length with the option (2), option
//
// where version is 1 for an IPv4 address and 2 for an IPv6 one.

const (
	// OptUOA is the IPv4 option's type: not copied, control class, number 31.
	OptUOA uint8 = 31
	// OptUOA4Len is its length with an IPv4 address, in bytes.
	OptUOA4Len = 8
	// OptUOA6Len is its length with an IPv6 address, which only ProtoOPP carries.
	OptUOA6Len = 20
	// ProtoOPP is the IP protocol of the other carrier ("option protocol").
	ProtoOPP uint8 = 248
	// OptUOADestination is the number of the IPv6 destination option in which weir-rs
	// has UOA from the device to the socket (bpf/rs/opp.h). No director sends it: on a
	// wire it is somebody's claim. The type's three high bits say what becomes of it.
	OptUOADestination uint8 = 0x1e
	// OPP4Len is the length of that header with an IPv4 address in its option.
	OPP4Len = 4 + OptUOA4Len
	// OPP6Len is its length with an IPv6 address in its option.
	OPP6Len = 4 + OptUOA6Len
	// IPv4MaxOptions is the most that fits between the fixed header and 60 bytes.
	IPv4MaxOptions = 40
)

// PutUOA4 writes the option; b has at least OptUOA4Len bytes.
func PutUOA4(b []byte, port uint16, addr [4]byte) {
	_ = b[OptUOA4Len-1]
	b[0], b[1] = OptUOA, OptUOA4Len
	binary.BigEndian.PutUint16(b[2:4], port)
	*(*[4]byte)(b[4:8]) = addr
}

// PutOPP4 writes the header of the option protocol with the option in it; b has
// at least OPP4Len bytes.
func PutOPP4(b []byte, port uint16, addr [4]byte) {
	_ = b[OPP4Len-1]
	b[0], b[1] = 1<<4, ProtoUDP
	binary.BigEndian.PutUint16(b[2:4], OPP4Len)
	PutUOA4(b[4:], port, addr)
}

// PutUOA6 writes the option; b has at least OptUOA6Len bytes.
func PutUOA6(b []byte, port uint16, addr [16]byte) {
	_ = b[OptUOA6Len-1]
	b[0], b[1] = OptUOA, OptUOA6Len
	binary.BigEndian.PutUint16(b[2:4], port)
	*(*[16]byte)(b[4:20]) = addr
}

// PutOPP6 writes the header of the option protocol with the option in it; b has
// at least OPP6Len bytes. Over IPv6 it stands where an extension header would,
// in front of the datagram, whose checksum does not cover it.
func PutOPP6(b []byte, port uint16, addr [16]byte) {
	_ = b[OPP6Len-1]
	b[0], b[1] = 2<<4, ProtoUDP
	binary.BigEndian.PutUint16(b[2:4], OPP6Len)
	PutUOA6(b[4:], port, addr)
}

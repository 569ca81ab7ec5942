package weir

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

// connFormat lays out a connection. The columns are fixed because the list is
// streamed: a million connections are printed while they arrive. 21 is the length
// of the longest IPv4 address with its port; a longer one of IPv6 moves what is behind it.
const connFormat = "%-6s  %-11s  %7s  %-21s  %-21s  %-21s  %-21s  %s\n"

// Connections lists the connections as the director streams them.
func Connections(ctx context.Context, dir weirv1.DirectorClient, w io.Writer, asJSON bool) error {
	stream, err := dir.ListConnections(ctx, connect.NewRequest(&weirv1.ListConnectionsRequest{}))
	if err != nil {
		return err
	}
	defer stream.Close()

	out := bufio.NewWriter(w)
	encode := json.NewEncoder(out)
	// That nobody listens shows at the first receive only: no heading before it.
	more := stream.Receive()
	if !asJSON && (more || stream.Err() == nil) {
		fmt.Fprintf(out, connFormat, "PROTO", "STATE", "EXPIRES", "CLIENT", "VIRTUAL", "LOCAL", "REAL", "WORKER")
	}
	for ; more; more = stream.Receive() {
		for _, m := range stream.Msg().Connections {
			c := connectionOf(m)
			if asJSON {
				err = encode.Encode(c)
			} else {
				_, err = fmt.Fprintf(out, connFormat, c.Protocol, c.State, decimal(c.Remaining),
					c.Client, c.Virtual, c.Local, c.Real, decimal(c.Worker))
			}
			if err != nil {
				return err // the reader of our output has gone
			}
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return stream.Err()
}

// connection is the JSON of a connection. Times are in seconds.
type connection struct {
	Protocol  string `json:"protocol"`
	State     string `json:"state"`
	Timeout   uint32 `json:"timeout"`
	Remaining uint32 `json:"remaining"`
	Client    string `json:"client"`
	Virtual   string `json:"virtual"`
	Local     string `json:"local"`
	Real      string `json:"real"`
	Worker    uint32 `json:"worker"`
}

func connectionOf(m *weirv1.Connection) connection {
	return connection{
		Protocol: protocol(m.Protocol), State: m.State, Timeout: m.TimeoutSeconds, Remaining: m.RemainingSeconds,
		Client: m.Client, Virtual: m.Virtual, Local: m.Local, Real: m.Real, Worker: m.Worker,
	}
}

// protocol returns the name that ipvsadm has for p.
func protocol(p weirv1.Protocol) string {
	switch p {
	case weirv1.Protocol_PROTOCOL_TCP:
		return "TCP"
	case weirv1.Protocol_PROTOCOL_UDP:
		return "UDP"
	case weirv1.Protocol_PROTOCOL_SCTP:
		return "SCTP"
	case weirv1.Protocol_PROTOCOL_ICMP:
		return "ICMP"
	case weirv1.Protocol_PROTOCOL_ICMPV6:
		return "ICMPv6"
	default:
		return decimal(int32(p))
	}
}

package service

import "weir/internal/flow"

// Tell says how a service's real servers learn who the client is: the flags that
// its connections begin with (flow.ConnTOA and what follows it).
type Tell uint32

// TellOf returns what a service was configured with. UOA words are "ipo" and
// "opp", those of the PROXY protocol "v1", "v2", "v1-insecure" and "v2-insecure";
// spec has seen to it that they are among these and fit the protocol.
func TellOf(toa bool, uoa, proxy string) Tell {
	t := Tell(0)
	switch proxy {
	case "v1", "v1-insecure":
		t = Tell(flow.ConnProxyV1)
	case "v2", "v2-insecure":
		t = Tell(flow.ConnProxyV2)
	}
	switch proxy {
	case "v1-insecure", "v2-insecure":
		t |= Tell(flow.ConnProxyInsecure)
	}
	switch {
	case t != 0: // the header says it all
	case toa:
		t = Tell(flow.ConnTOA)
	case uoa == "ipo":
		t = Tell(flow.ConnUOAOption)
	case uoa == "opp":
		t = Tell(flow.ConnUOAProtocol)
	}
	return t
}

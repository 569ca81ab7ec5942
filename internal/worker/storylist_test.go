package worker_test

// example says what a page has to show in packets, in the words of kinds: a
// forwarding mode with the families of client and real server and the protocol;
// its ICMP errors and fragments; and what tells the client's address.
type example struct {
	page  string
	kinds []string
}

// examples has each forwarding mode, in each family.
var examples = []example{
	{"full-nat.md", []string{
		"full-NAT 4-4 tcp", "full-NAT 6-6 tcp", "full-NAT 4-4 udp", "full-NAT 6-6 udp",
		"error 4-4", "error 6-6", "fragments full-NAT 4-4", "fragments full-NAT 6-6",
		"TOA 4-4", "TOA 6-6", "UOA option 4-4", "UOA protocol 4-4", "UOA protocol 6-6",
		"PROXY v1 tcp 4-4", "PROXY v1 tcp 6-6", "PROXY v2 udp 4-4", "PROXY v2 udp 6-6",
	}},
	{"nat64.md", []string{
		"full-NAT 6-4 tcp", "full-NAT 4-6 tcp", "full-NAT 6-4 udp", "full-NAT 4-6 udp",
		"error 6-4", "error 4-6", "fragments full-NAT 6-4", "fragments full-NAT 4-6",
		"TOA 6-4", "TOA 4-6", "UOA protocol 6-4", "UOA protocol 4-6", "PROXY v1 tcp 6-4",
	}},
	{"dr.md", []string{
		"DR 4 tcp", "DR 6 tcp", "error 4 as it is", "error 6 as it is", "fragments DR 4", "fragments DR 6",
	}},
	{"tunnel.md", []string{
		"Tunnel 4in4 tcp", "Tunnel 6in6 tcp", "Tunnel 6in4 tcp", "Tunnel 4in6 tcp",
		"error 4 in a tunnel 4in4", "error 6 in a tunnel 6in6", "error 6 in a tunnel 6in4", "error 4 in a tunnel 4in6",
		"error of a tunnel 4in4", "error of a tunnel 6in6", "error of a tunnel 6in4", "error of a tunnel 4in6",
		"fragments Tunnel 4in4", "fragments Tunnel 6in6",
	}},
	{"nat.md", []string{
		"NAT 4 tcp", "NAT 6 tcp", "error 4-4", "error 6-6", "fragments NAT 4", "fragments NAT 6",
	}},
	{"snat.md", []string{
		"SNAT 4 tcp", "SNAT 6 tcp", "SNAT 4 udp", "SNAT 6 udp", "SNAT 4 echo", "SNAT 6 echo",
		"error 4-4", "error 6-6", "fragments SNAT 4", "fragments SNAT 6",
	}},
	{"sctp.md", []string{
		"full-NAT 4-4 sctp", "full-NAT 6-6 sctp", "NAT 4 sctp", "NAT 6 sctp", "SNAT 4 sctp", "SNAT 6 sctp",
		"DR 4 sctp", "DR 6 sctp", "Tunnel 4in4 sctp", "Tunnel 6in6 sctp", "error 4-4", "error 6-6",
	}},
}

// notShown has the stories that no page quotes, and why.
var notShown = map[string]string{
	"arp.txt":         "neighbours are no forwarding mode: dr.md shows the question and the answer",
	"dr_waiting.txt":  "who waits while routes change gets there, which is all that docs/dr.md promises anybody",
	"dr6_waiting.txt": "who waits while routes change gets there, which is all that docs/dr.md promises anybody",
	"arp_order.txt":   "an order that nobody sees but by what does not go wrong",
	"nd.txt":          "as arp.txt, of IPv6",

	"closing.txt":  "which engine forwards a closing connection's segments: offload.md says in which states XDP does",
	"closing6.txt": "as closing.txt",

	"defence.txt":  "one drop reason in the place of another: the keywords in dpvs.conf.md say it",
	"defence6.txt": "as defence.txt",
	"drops.txt":    "what is wrong with packets: drops.md has a row for each",
	"lists.txt":    "a denied client's packets leave nothing to see",
	"lists6.txt":   "as lists.txt",

	"forward6.txt": "forwarding for others: what leaves is what came, less one hop",
	"icmp_own.txt": "the director's own pings and errors are those of any host",
	"ping6.txt":    "as icmp_own.txt, of IPv6",
	"too_big6.txt": "of forwarding for others; tunnel.md and nat64.md show what it is with a balancer",

	"full.txt":        "what happens when tables are full: full-nat.md says it in a sentence, and packets do not show it",
	"sctp_full.txt":   "as full.txt",
	"linklocal6.txt":  "clients without a router are an edge: the pages say in which modes they are served",
	"tunnel_from.txt": "the first second after the start",

	"offload64.txt": "offload.txt and offload6.txt are shown, and between the families nothing else is to be seen",

	"persistence_workers.txt": "two workers, which no packet shows",
	"two_workers.txt":         "two workers, which no packet shows",
	"two_workers6.txt":        "two workers, which no packet shows",

	"sched_hash.txt":  "which real server is taken: ipvsadm.md says how each scheduler does that, and packets do not",
	"sched_least.txt": "as sched_hash.txt",
	"sched_quic.txt":  "as sched_hash.txt",
	"scheduling.txt":  "what is missing when a connection can't be made: each has its row in drops.md",
}

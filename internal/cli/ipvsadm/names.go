package ipvsadm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/api/weirv1"
)

// Names looks names up: those that a command line uses, and, without -n, those that a
// listing shows.
type Names interface {
	// Addr returns an address of a host that is of the family.
	Addr(ctx context.Context, of Family, host string) (netip.Addr, error)
	// Port returns the port of a service ("http") of a protocol ("tcp").
	Port(ctx context.Context, proto, service string) (uint16, error)
	// Host returns the name of an address, "" if it has none or the answer does not
	// come before ctx ends.
	Host(ctx context.Context, addr netip.Addr) string
	// Service returns the name of a port, "" if it has none.
	Service(proto string, port uint16) string
}

// Family is IPv4 or IPv6.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// nameBudget is how long a listing waits for the names of all its addresses
// together; what has no name by then is shown as a number.
const nameBudget = time.Second

// lookups bounds how many addresses are asked for at once.
const lookups = 32

// SystemNames asks the system's resolver and /etc/services.
type SystemNames struct {
	once     sync.Once
	services map[string]string // "tcp/80" to "http"
}

// Addr implements Names.
func (*SystemNames) Addr(ctx context.Context, of Family, host string) (netip.Addr, error) {
	network := "ip4"
	if of == IPv6 {
		network = "ip6"
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(found) == 0 {
		return netip.Addr{}, errors.New("no address for " + host)
	}
	return found[0].Unmap(), nil
}

// Port implements Names.
func (*SystemNames) Port(ctx context.Context, proto, service string) (uint16, error) {
	port, err := net.DefaultResolver.LookupPort(ctx, proto, service)
	return uint16(port), err
}

// Host implements Names.
func (*SystemNames) Host(ctx context.Context, addr netip.Addr) string {
	found, err := net.DefaultResolver.LookupAddr(ctx, addr.String())
	if err != nil || len(found) == 0 {
		return ""
	}
	return strings.TrimSuffix(found[0], ".")
}

// Service implements Names. The standard library finds the port of a name but
// not the name of a port, so the file is read here.
func (n *SystemNames) Service(proto string, port uint16) string {
	n.once.Do(func() {
		file, err := os.Open("/etc/services")
		if err != nil {
			return // a machine without the file shows numbers
		}
		defer file.Close()
		n.services = readServices(file)
	})
	return n.services[proto+"/"+strconv.Itoa(int(port))]
}

// readServices reads the format of services(5): name, port/protocol, aliases, comment.
// The first name of a port counts.
func readServices(r io.Reader) map[string]string {
	services := map[string]string{}
	for scan := bufio.NewScanner(r); scan.Scan(); {
		text, _, _ := strings.Cut(scan.Text(), "#")
		field := strings.Fields(text)
		if len(field) < 2 {
			continue
		}
		port, proto, ok := strings.Cut(field[1], "/")
		if !ok {
			continue
		}
		if key := proto + "/" + port; services[key] == "" {
			services[key] = field[0]
		}
	}
	return services
}

// namer writes addresses as the listing wants them: numbers, or names that were asked
// for beforehand.
type namer struct {
	names Names // nil for numbers
	hosts map[netip.Addr]string
}

// ask looks the addresses up, all at once, within nameBudget.
func (n *namer) ask(ctx context.Context, addrs map[netip.Addr]bool) {
	if n.names == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, nameBudget)
	defer cancel()
	if n.hosts == nil {
		n.hosts = map[netip.Addr]string{}
	}
	type answer struct {
		addr netip.Addr
		name string
	}
	// Both channels hold everything, so that nobody waits for a slow resolver.
	questions, answers := make(chan netip.Addr, len(addrs)), make(chan answer, len(addrs))
	asked := 0
	for addr := range addrs {
		if _, known := n.hosts[addr]; !known {
			questions <- addr
			asked++
		}
	}
	close(questions)
	for range min(lookups, asked) {
		go func() {
			for addr := range questions {
				answers <- answer{addr, n.names.Host(ctx, addr)}
			}
		}()
	}
	for range asked {
		select {
		case a := <-answers:
			n.hosts[a.addr] = a.name
		case <-ctx.Done():
			return
		}
	}
}

// virtual writes where a service is; one that has no address of its own, a match, as
// "0.0.0.0:0" or "[::]:0".
func (n *namer) virtual(key *weirv1.ServiceKey) string {
	switch m := key.GetMatch(); {
	case m == nil:
		return n.endpoint(key.GetAddress(), key.GetPort(), "")
	case m.GetFamily() == 6:
		return "[::]:0"
	}
	return "0.0.0.0:0"
}

// endpoint writes "10.0.0.100:80", or "www.example.com:http".
func (n *namer) endpoint(address string, port uint32, proto string) string {
	host, service := address, ""
	if n.names != nil {
		if addr, err := netip.ParseAddr(address); err == nil && n.hosts[addr] != "" {
			host = n.hosts[addr]
		}
		service = n.names.Service(proto, uint16(port))
	}
	if service == "" {
		service = strconv.FormatUint(uint64(port), 10)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + service
}

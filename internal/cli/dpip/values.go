package dpip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"weir/api/weirv1"
)

// forever is the lifetime that never ends, as the API has it.
const forever = 0

// number reads a decimal number within [least, most]; name is what it is of.
func number(name, arg string, least, most uint32) (uint32, error) {
	n, err := strconv.ParseUint(arg, 10, 32)
	if err != nil || uint32(n) < least || uint32(n) > most {
		return 0, fmt.Errorf("invalid %s %q: give a number from %d to %d", name, arg, least, most)
	}
	return uint32(n), nil
}

// take makes a keyword's parser out of one that returns a value.
func take[T any](into *T, read func(arg string) (T, error)) func(string) error {
	return func(arg string) (err error) {
		*into, err = read(arg)
		return err
	}
}

// takeNumber makes a keyword's parser of a number.
func takeNumber(into *uint32, name string, least, most uint32) func(string) error {
	return func(arg string) (err error) {
		*into, err = number(name, arg, least, most)
		return err
	}
}

// maxDevice is the greatest length of a device name in bytes.
const maxDevice = 31

// device reads a device name: printable ASCII without spaces or slashes. Whether
// it exists is the director's to say.
func device(arg string) (string, error) {
	wrong := func(c rune) bool { return c <= ' ' || c > '~' || c == '/' }
	if arg == "" || len(arg) > maxDevice || strings.ContainsFunc(arg, wrong) {
		return "", fmt.Errorf("invalid device name %q: `dpip link show' lists the devices", arg)
	}
	return arg, nil
}

// requireDevice refuses a command without `dev`.
func requireDevice(dev string) error {
	if dev == "" {
		return errors.New("no device specified: add `dev DEVICE'")
	}
	return nil
}

// address reads an address of either family.
func address(arg string) (netip.Addr, error) {
	a, err := netip.ParseAddr(arg)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Errorf("invalid ipaddress: %q is not an address such as 192.168.100.200 or 2001:db8::200", arg)
	case a.Zone() != "":
		return netip.Addr{}, fmt.Errorf("invalid ipaddress %s: leave %%%s out; `dev' names the link", a, a.Zone())
	case a.Is4In6():
		return netip.Addr{}, fmt.Errorf("invalid ipaddress %s: an IPv4-mapped address; write %s", a, a.Unmap())
	}
	return a, nil
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// unicast refuses an address that no host can have; what says whose it is.
func unicast(what string, a netip.Addr) error {
	var kind string
	switch {
	case a.IsUnspecified():
		kind = "unspecified"
	case a.IsMulticast():
		kind = "a multicast"
	case a.IsLoopback():
		kind = "a loopback"
	case a == limitedBroadcast:
		kind = "the broadcast"
	default:
		return nil
	}
	if kind == "unspecified" {
		return fmt.Errorf("invalid %s %s: the address of no host; give a unicast address", what, a)
	}
	return fmt.Errorf("invalid %s %s: %s address; give a unicast address", what, a, kind)
}

// host reads a unicast address.
func host(what, arg string) (netip.Addr, error) {
	a, err := address(arg)
	if err == nil {
		err = unicast(what, a)
	}
	return a, err
}

// takeHost makes a keyword's parser of a unicast address.
func takeHost(into *netip.Addr, what string) func(string) error {
	return func(arg string) (err error) {
		*into, err = host(what, arg)
		return err
	}
}

// prefix reads A[/LEN], and reports whether LEN was said; without, it is 32, or 128. Host bits
// are kept.
func prefix(arg string) (p netip.Prefix, said bool, err error) {
	ip, length, said := strings.Cut(arg, "/")
	a, err := address(ip)
	if err != nil {
		return p, false, err
	}
	if !said {
		return netip.PrefixFrom(a, a.BitLen()), false, nil
	}
	n, err := number("prefix length", length, 0, uint32(a.BitLen()))
	if err != nil {
		return p, false, err
	}
	return netip.PrefixFrom(a, int(n)), true, nil
}

// lladdr reads a unicast MAC address and returns it in lower case with colons.
func lladdr(arg string) (string, error) {
	mac, err := net.ParseMAC(arg)
	switch {
	case err != nil || len(mac) != 6 || strings.Count(arg, ":") != 5:
		return "", fmt.Errorf("invalid link layer addr: %q is not six hexadecimal pairs such as 00:16:3e:00:00:01", arg)
	case mac[0]&1 != 0:
		return "", fmt.Errorf("invalid link layer addr: %s is a multicast address; give the address of one machine", mac)
	case mac.String() == "00:00:00:00:00:00":
		return "", fmt.Errorf("invalid link layer addr: %s is the address of no machine", mac)
	}
	return mac.String(), nil
}

// scopeWords are the scopes in words, and scopeNumbers those of rtnetlink, which
// iproute2 takes too.
var (
	scopeWords = map[string]weirv1.Scope{
		"host": weirv1.Scope_SCOPE_HOST, "link": weirv1.Scope_SCOPE_LINK,
		"global": weirv1.Scope_SCOPE_GLOBAL, "site": weirv1.Scope_SCOPE_SITE, "kni_host": weirv1.Scope_SCOPE_KNI_HOST,
	}
	scopeNumbers = map[string]weirv1.Scope{
		"0": weirv1.Scope_SCOPE_GLOBAL, "253": weirv1.Scope_SCOPE_LINK, "254": weirv1.Scope_SCOPE_HOST,
	}
)

// scope reads a scope that is one of the words, or one of scopeNumbers.
func scope(arg string, words ...string) (weirv1.Scope, error) {
	for _, word := range words {
		if word == arg {
			return scopeWords[word], nil
		}
	}
	if s, ok := scopeNumbers[arg]; ok {
		return s, nil
	}
	return 0, fmt.Errorf("invalid scope %q: use %s, or one of the numbers 0 (global), 253 (link), 254 (host)",
		arg, strings.Join(words, ", "))
}

// scopeName returns dpip's word for s.
func scopeName(s weirv1.Scope) string {
	for word, v := range scopeWords {
		if v == s {
			return word
		}
	}
	return strconv.Itoa(int(s))
}

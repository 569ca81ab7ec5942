package port

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Hush switches Linux's own IPv6 off on the interface, and reports whether it was on. Else
// Linux speaks there with the interface's MAC address whenever the link comes up and later
// on, at times of its own: multicast listener reports, router solicitations. A switch
// takes whatever has an address for the sign of where that address is. It takes the
// addresses that Linux has there as well. A kernel without IPv6 is quiet.
func (l *Link) Hush() (was bool, err error) {
	said, err := os.ReadFile(l.ipv6Off())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err == nil && strings.TrimSpace(string(said)) != "0":
		return false, nil
	case err == nil:
		err = os.WriteFile(l.ipv6Off(), []byte("1"), 0o644)
	}
	if err != nil {
		return false, fmt.Errorf("interface %q: switch Linux's own IPv6 off: %w", l.Name, err)
	}
	return true, nil
}

// Unhush undoes Hush: Linux makes itself a link-local address again.
func (l *Link) Unhush() error {
	if err := os.WriteFile(l.ipv6Off(), []byte("0"), 0o644); err != nil {
		return fmt.Errorf("interface %q: switch Linux's own IPv6 on again: %w", l.Name, err)
	}
	return nil
}

// ipv6Off is a file of the calling thread's network namespace.
func (l *Link) ipv6Off() string {
	return "/proc/sys/net/ipv6/conf/" + l.Name + "/disable_ipv6"
}

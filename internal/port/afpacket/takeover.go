package afpacket

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"weir/bpf"
	"weir/internal/port"
)

// Takeover keeps the host's own kernel from answering what the director
// answers: packet sockets get copies, the originals go on to Linux.
type Takeover struct {
	objects bpf.IngressDropObjects
	link    link.Link
}

// TakeOver drops at tcx ingress, behind the packet sockets' taps, everything that
// arrives on an interface of the calling thread's network namespace. It lasts
// until Close or the end of the process. An error is for the log, as a warning:
// the sockets work all the same.
func TakeOver(l *port.Link) (*Takeover, error) {
	t := new(Takeover)
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, t.failed(l, err)
	}
	if err := bpf.LoadIngressDropObjects(&t.objects, nil); err != nil {
		return nil, t.failed(l, err)
	}
	var err error
	t.link, err = link.AttachTCX(link.TCXOptions{
		Interface: l.Index,
		Program:   t.objects.IngressDrop,
		Attach:    ebpf.AttachTCXIngress,
		Anchor:    link.Head(),
	})
	if err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			err = fmt.Errorf("%w (it takes Linux 6.6 or newer)", err)
		}
		return nil, errors.Join(t.failed(l, err), t.objects.Close())
	}
	return t, nil
}

func (t *Takeover) failed(l *port.Link, err error) error {
	return fmt.Errorf("Linux still sees what arrives on %s and may answer too: "+
		"take its own addresses away (ip addr flush dev %[1]s), switch IPv6 off there (sysctl -w net.ipv6.conf.%[1]s.disable_ipv6=1) and switch forwarding off: %[2]w", l.Name, err)
}

// Close gives the interface back to Linux.
func (t *Takeover) Close() error { return errors.Join(t.link.Close(), t.objects.Close()) }

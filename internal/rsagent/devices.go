package rsagent

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// devices keeps the translator informed of the devices of the agent's network
// namespace. It belongs to the goroutine that serves the agent.
type devices struct {
	t       *translator
	updates chan netlink.LinkUpdate // nil: nobody wants to know
	lost    chan error              // the kernel's messages ended, or some were lost
	stop    chan struct{}
}

// watchDevices gives all devices their programs, and listens for others.
func watchDevices(t *translator) (*devices, error) {
	d := &devices{t: t}
	if t.options.opp() {
		if err := d.listen(); err != nil {
			return nil, err
		}
	}
	if err := t.forgetOthers(); err != nil {
		d.close()
		return nil, err
	}
	for _, name := range t.missing() {
		t.log.Warn("the device is not there yet; the option protocol will be translated on it when it comes", "device", name)
	}
	return d, nil
}

// listen first subscribes and then looks at what is there, so that no device comes
// in between unseen.
func (d *devices) listen() error {
	d.updates, d.lost, d.stop = make(chan netlink.LinkUpdate, 64), make(chan error, 1), make(chan struct{})
	lost := d.lost
	err := netlink.LinkSubscribeWithOptions(d.updates, d.stop, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) {
			select {
			case lost <- err:
			default: // the first is enough
			}
		},
	})
	if err != nil {
		return fmt.Errorf("listen for network devices: %w", err)
	}
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		close(d.stop)
		return fmt.Errorf("list network devices: %w", err)
	}
	there := map[int]bool{}
	for _, l := range links {
		there[l.Attrs().Index] = true
		if err := d.t.add(l.Attrs()); err != nil {
			close(d.stop)
			return err
		}
	}
	for i := range d.t.at {
		if !there[i] && err == nil {
			if err := d.t.remove(i); err != nil {
				close(d.stop)
				return err
			}
		}
	}
	return nil
}

// serve does what an update asks for. Errors are of one device; the others go on.
func (d *devices) serve(u *netlink.LinkUpdate) {
	var err error
	switch u.Header.Type {
	case unix.RTM_NEWLINK:
		err = d.t.add(u.Attrs())
	case unix.RTM_DELLINK:
		// Bridges say so too when a port leaves them, and the device stays.
		if u.IfInfomsg.Family == unix.AF_UNSPEC {
			err = d.t.remove(int(u.Index))
		}
	}
	if err != nil {
		d.t.log.Error("a device is not as it should be", "error", err)
	}
}

// again subscribes anew after messages were lost.
func (d *devices) again(why error) {
	d.t.log.Warn("messages about network devices were lost: all are looked at again", "why", why)
	d.close()
	if err := d.listen(); err != nil {
		d.t.log.Error("network devices can't be watched", "error", err)
		// Try again, but not all the time.
		lost := make(chan error, 1)
		d.lost = lost
		time.AfterFunc(time.Second, func() { lost <- err })
	}
}

func (d *devices) close() {
	if d.stop != nil {
		select {
		case <-d.stop:
		default:
			close(d.stop)
		}
	}
	d.updates, d.lost = nil, nil
}

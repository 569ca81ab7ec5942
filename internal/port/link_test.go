package port_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"weir/internal/port"
)

// What Linux says of a veth.
func TestFindLink(t *testing.T) {
	host, dir := cable(t, 3, 1400)
	mac, err := dir.MAC("d0")
	check(t, err)
	var l *port.Link
	find := func() (err error) { l, err = port.FindLink("d0"); return err }
	check(t, dir.Do(find))
	want := port.Link{
		Name: "d0", Index: l.Index, MAC: port.MAC(mac), MTU: 1400, Up: true, Carrier: true,
		Kind: "veth", Driver: "veth", RxQueues: 3, TxQueues: 3, SpeedMbps: 10000, FullDuplex: true,
	}
	if *l != want {
		t.Errorf("got %+v\nwant %+v", *l, want)
	}
	if !l.Partial() {
		t.Error("a veth's frames may have partial checksums")
	}
	check(t, dir.LinkDown("d0"))
	check(t, dir.Do(find))
	if l.Up || l.Carrier {
		t.Errorf("up %v, carrier %v after it was switched off", l.Up, l.Carrier)
	}
	check(t, dir.Do(func() error {
		return errors.Join(l.SetUp(), l.SetPromisc(true), l.SetAllMulticast(true), l.SetMTU(1300))
	}))
	check(t, dir.Do(find))
	if !l.Up || !l.Carrier || !l.Promisc || l.MTU != 1300 {
		t.Errorf("up %v, carrier %v, promisc %v, mtu %d after they were set", l.Up, l.Carrier, l.Promisc, l.MTU)
	}
	check(t, dir.Do(func() error { return l.SetPromisc(false) }))
	check(t, host.Do(func() error {
		if names := port.LinkNames(); len(names) != 1 || names[0] != "h0" {
			t.Errorf("interfaces of host: %v, want h0 alone", names)
		}
		if _, err := port.FindLinkOnBus("0000:99:00.0"); err == nil || !strings.Contains(err.Error(), "0000:99:00.0") {
			t.Errorf("no device sits there: %v", err)
		}
		_, err := port.FindLink("lo")
		if err == nil || !strings.Contains(err.Error(), "no Ethernet") {
			t.Errorf("loopback as a port: %v", err)
		}
		return nil
	}))
}

// Linux's own IPv6 is switched off and on again. Who did not switch it off is told so, and has
// nothing to switch on.
func TestHush(t *testing.T) {
	_, dir := cable(t, 1, 1500)
	check(t, dir.WriteSysctl("ipv6/conf/d0/disable_ipv6", "0"))
	check(t, dir.Do(func() error {
		l, err := port.FindLink("d0")
		if err != nil {
			return err
		}
		for _, on := range []bool{true, false} {
			if was, err := l.Hush(); was != on || err != nil {
				t.Errorf("it was on: %v, %v, want %v", was, err, on)
			}
			if said, err := os.ReadFile("/proc/sys/net/ipv6/conf/d0/disable_ipv6"); string(said) != "1\n" {
				t.Errorf("disable_ipv6 is %q, %v", said, err)
			}
		}
		if err := l.Unhush(); err != nil {
			return err
		}
		if said, err := os.ReadFile("/proc/sys/net/ipv6/conf/d0/disable_ipv6"); string(said) != "0\n" {
			t.Errorf("disable_ipv6 is %q, %v after all", said, err)
		}
		gone := port.Link{Name: "none"}
		if was, err := gone.Hush(); was || err != nil {
			t.Errorf("an interface without IPv6: %v, %v", was, err)
		}
		if err := gone.Unhush(); err == nil {
			t.Error("IPv6 is on where there is none")
		}
		return nil
	}))
}

// A device's features are switched by name; one that it does not have, or does not
// change, is told of.
func TestFeatures(t *testing.T) {
	_, dir := cable(t, 1, 1500)
	var l *port.Link
	check(t, dir.Do(func() (err error) { l, err = port.FindLink("d0"); return err }))
	for _, on := range []bool{true, false} { // as it was, and as it is then
		check(t, dir.Do(func() error {
			was, err := l.SwitchOff(port.FeatureVLANStrip)
			if was != on {
				t.Errorf("it was on: %v, want %v", was, on)
			}
			return err
		}))
	}
	check(t, dir.Do(func() error { return l.SwitchOn(port.FeatureVLANStrip) }))
	check(t, dir.Do(func() error {
		if was, err := l.SwitchOff(port.FeatureVLANStrip); !was || err != nil {
			t.Errorf("after it was switched on again: %v, %v", was, err)
		}
		was, err := l.SwitchOff("no-such-feature")
		if was || err != nil {
			t.Errorf("a feature that there is not: %v, %v", was, err)
		}
		if err := l.SwitchOn(port.FeatureVLANFilter); err == nil || !strings.Contains(err.Error(), "rx-vlan-filter") {
			t.Errorf("a feature that veth does not have: %v", err)
		}
		return nil
	}))
}

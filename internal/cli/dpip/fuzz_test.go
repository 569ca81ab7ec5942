package dpip

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"weir/api/client"
)

// FuzzRun throws lines at dpip; NUL parts the words. Whatever the line is:
// dpip does not panic; it exits 0 or 1; a refused line has asked nothing of the
// director and says why in one line; and a change is asked for at most once, in
// a message that can be sent.
func FuzzRun(f *testing.F) {
	for _, line := range []string{
		"", "-h", "addr", "a s", "addr show dev dpdk0", "addr add 10.0.0.100/32 dev dpdk1",
		"addr add 10.219.100.6/22 dev dpdk0 broadcast 10.219.103.255 scope link valid_lft 600 prefered_lft 300 sapool",
		"route add default via 10.0.0.1 src 10.0.0.2 dev dpdk1 mtu 1400 metric 5", "route add 172.10.0.2/32 dev dpdk1 scope kni_host",
		"route add 10.0.0.1/16 dev d local", "neigh add 10.0.0.1 lladdr 00:16:3e:00:00:01 dev dpdk0",
		"link set dpdk0 addr 00:16:3e:00:00:01", "link show cpu1 -sv -i2 --count=3 -C", "-6 addr show", "addr add 2001:db8::1/64 dev dpdk0 sapool", "-6 route add default via fe80::1 dev dpdk1", "neigh add fe80::1%d lladdr 00:16:3e:00:00:01 dev d", "maddr show dpdk0", "-- addr show", "vlan add", "link show bond0 status",
	} {
		f.Add(strings.ReplaceAll(line, " ", "\x00"))
	}
	d := &fake{links: growing(-1), workers: threeWorkers()}
	dir := client.New(serve(f, d))

	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		var stdout, stderr bytes.Buffer
		rounds := 0
		code := Run(t.Context(), args, Env{Stdout: &stdout, Stderr: &stderr, Client: dir, Version: "v",
			Sleep: func(context.Context, time.Duration) error {
				if rounds++; rounds > 2 {
					return context.Canceled
				}
				return nil
			}})
		calls := d.take()

		parsed, err := parse(args)
		switch {
		case err != nil:
			if code != exitFail || stdout.Len() != 0 || len(calls) != 0 {
				t.Errorf("refused with %v, but code %d, stdout %q, calls %v", err, code, &stdout, calls)
			}
			if s := stderr.String(); !strings.HasPrefix(s, "dpip: ") || strings.Count(s, "\n") != 1 || !strings.HasSuffix(s, "\n") {
				t.Errorf("a refusal is one line, not %q", s)
			}
		case parsed.run == nil:
			if len(calls) != 0 {
				t.Errorf("help and version asked the director: %v", calls)
			}
		case code == exitOK && len(calls) == 0:
			t.Error("success without asking the director")
		}
		changes := 0
		for _, c := range calls {
			if !strings.HasPrefix(string(proto.MessageName(c)), "weir.v1.List") {
				changes++
			}
			if _, err := proto.Marshal(c); err != nil {
				t.Errorf("asked with %v: %v", c, err)
			}
		}
		if changes > 1 {
			t.Errorf("one line made %d changes: %v", changes, calls)
		}
	})
}

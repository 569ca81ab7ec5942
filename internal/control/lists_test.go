package control

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"weir/api/weirv1"
	"weir/internal/spec"
)

func TestAccess(t *testing.T) {
	_, _, c := newAPI(t)
	twoArm(t, c)
	ctx := t.Context()
	black := func(entries ...string) *weirv1.AccessList {
		return &weirv1.AccessList{Key: udpKey(53), Kind: weirv1.AccessKind_ACCESS_KIND_BLACKLIST, Entries: entries}
	}
	white := func(entries ...string) *weirv1.AccessList {
		return &weirv1.AccessList{Key: udpKey(53), Kind: weirv1.AccessKind_ACCESS_KIND_WHITELIST, Entries: entries}
	}
	add := func(l *weirv1.AccessList) error {
		_, err := c.AddAccess(ctx, connect.NewRequest(&weirv1.AddAccessRequest{List: l}))
		return err
	}
	del := func(l *weirv1.AccessList) error {
		_, err := c.DeleteAccess(ctx, connect.NewRequest(&weirv1.DeleteAccessRequest{List: l}))
		return err
	}
	list := func(q *weirv1.ListAccessRequest, want ...*weirv1.AccessList) {
		t.Helper()
		got := must(c.ListAccess(ctx, connect.NewRequest(q)))(t)
		if d := cmp.Diff(&weirv1.ListAccessResponse{Lists: want}, got, protocmp.Transform()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	ok(t, add(black("1.2.3.4", "1.2.3.5")))
	ok(t, add(white("1.2.3.6")))
	list(&weirv1.ListAccessRequest{}, black("1.2.3.4", "1.2.3.5"), white("1.2.3.6"))
	list(&weirv1.ListAccessRequest{Key: udpKey(53), Kind: weirv1.AccessKind_ACCESS_KIND_WHITELIST}, white("1.2.3.6"))
	refused(t, add(black("1.2.3.7", "1.2.3.5")), connect.CodeAlreadyExists, spec.Exists, "blacklist", "already exists")
	refused(t, del(white("1.2.3.5")), connect.CodeNotFound, spec.NotExists, "whitelist", "no such whitelist address")
	refused(t, add(black("x")), connect.CodeInvalidArgument, spec.Invalid, "blacklist", "no address")
	refused(t, add(black()), connect.CodeInvalidArgument, spec.Invalid, "service", "missing")
	refused(t, add(nil), connect.CodeInvalidArgument, spec.Invalid, "service", "missing")
	refused(t, add(&weirv1.AccessList{Key: udpKey(53), Kind: 7, Entries: []string{"1.2.3.4"}}), connect.CodeInvalidArgument, spec.Invalid, "service", "blacklist (1)")
	refused(t, add(&weirv1.AccessList{Key: udpKey(54), Kind: 1, Entries: []string{"1.2.3.4"}}), connect.CodeNotFound, spec.NotExists, "service", "no such service")
	_, err := c.ListAccess(ctx, connect.NewRequest(&weirv1.ListAccessRequest{Key: udpKey(54)}))
	refused(t, err, connect.CodeNotFound, spec.NotExists, "service", "no such service")
	ok(t, del(black("1.2.3.4")))
	ok(t, del(white("1.2.3.6")))
	list(&weirv1.ListAccessRequest{}, black("1.2.3.5"))
}

func TestTimeouts(t *testing.T) {
	_, _, c := newAPI(t)
	ctx := t.Context()
	set := func(m *weirv1.Timeouts) error {
		_, err := c.SetTimeouts(ctx, connect.NewRequest(&weirv1.SetTimeoutsRequest{Timeouts: m}))
		return err
	}
	ok(t, set(&weirv1.Timeouts{Tcp: 600, Udp: 30}))
	ok(t, set(nil))
	refused(t, set(&weirv1.Timeouts{TcpFin: spec.MaxTimeout + 1}), connect.CodeInvalidArgument, spec.Invalid, "timeout", "tcpfin timeout")
	want := &weirv1.GetTimeoutsResponse{Timeouts: &weirv1.Timeouts{Tcp: 600, TcpFin: 7, Udp: 30}, Set: &weirv1.Timeouts{Tcp: 600, Udp: 30}}
	if d := cmp.Diff(want, must(c.GetTimeouts(ctx, connect.NewRequest(&weirv1.GetTimeoutsRequest{})))(t), protocmp.Transform()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

package control

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/director"
	"weir/internal/spec"
)

// heldPrefixes are the addresses that somebody holds.
func heldPrefixes(b *bed) (out []string) {
	for _, a := range b.Spec().Addresses {
		if a.Held.Holders > 0 {
			out = append(out, a.Prefix.String())
		}
	}
	return out
}

func holdOf(ctx context.Context, t testing.TB, c weirv1.DirectorClient, prefixes ...string) *connect.ServerStreamForClient[weirv1.HoldAddressesResponse] {
	t.Helper()
	q := &weirv1.HoldAddressesRequest{Holder: "test"}
	for _, p := range prefixes {
		q.Addresses = append(q.Addresses, &weirv1.Address{Prefix: p, Device: "wan"})
	}
	stream, err := c.HoldAddresses(ctx, connect.NewRequest(q))
	ok(t, err)
	return stream
}

// TestHoldAddresses: 200 addresses come in one change, and leave in one when the stream ends.
func TestHoldAddresses(t *testing.T) {
	b, _, c := newAPI(t)
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprintf("10.0.1.%d/32", i), fmt.Sprintf("2001:db8:1::%d/128", i))
	}
	ctx, end := context.WithCancel(t.Context())
	stream := holdOf(ctx, t, c, all...)
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	if got := heldPrefixes(b); len(got) != len(all) {
		t.Fatalf("%d of %d addresses are held", len(got), len(all))
	}
	listed := must(c.ListAddresses(ctx, connect.NewRequest(&weirv1.ListAddressesRequest{Device: "wan"})))(t)
	if len(listed.Addresses) != len(all) || listed.Addresses[0].Holders != 1 || listed.Addresses[0].Scope != weirv1.Scope_SCOPE_GLOBAL {
		t.Errorf("%d addresses are listed, the first is %v", len(listed.Addresses), listed.Addresses[0])
	}
	end()
	for stream.Receive() {
	}
	eventually(t, "the addresses leave", func() bool { return len(b.Spec().Addresses) == 0 })
}

// TestHoldRefusedOverAPI: a refusal comes with its sentence, and nothing is held.
func TestHoldRefusedOverAPI(t *testing.T) {
	b, _, c := newAPI(t)
	for _, row := range []struct {
		name, prefix, word string
		code               connect.Code
		dpvs               spec.Code
	}{
		{"no address", "x", "no address", connect.CodeInvalidArgument, spec.Invalid},
		{"a group", "224.0.0.1/32", "unicast", connect.CodeInvalidArgument, spec.Invalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			stream := holdOf(t.Context(), t, c, "10.0.1.1/32", row.prefix)
			if stream.Receive() {
				t.Fatal("they are held")
			}
			refused(t, stream.Err(), row.code, row.dpvs, "address", row.word)
			if got := heldPrefixes(b); len(got) != 0 {
				t.Errorf("held are %v", got)
			}
		})
	}
}

// TestHolderDies: a holder who says no goodbye is as good as gone.
func TestHolderDies(t *testing.T) {
	b, path, _ := newAPI(t)
	line := make(chan net.Conn, 1)
	dying := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			line <- c
		}
		return c, err
	}}}
	c := weirv1.NewDirectorClient(dying, "http://weir")
	stream := holdOf(t.Context(), t, c, "10.0.1.1/32")
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	(<-line).Close()
	eventually(t, "the address leaves", func() bool { return len(heldPrefixes(b)) == 0 })
	for stream.Receive() {
	}
}

// TestTooManyHolders: one more than there may be is refused, and when one has gone it is not.
func TestTooManyHolders(t *testing.T) {
	b := newBed(t, false)
	s := New(b.Director, "1.2.3")
	s.holders.Store(maxHolders)
	err := s.HoldAddresses(t.Context(), connect.NewRequest(&weirv1.HoldAddressesRequest{}), nil)
	refused(t, err, connect.CodeResourceExhausted, spec.NoResource, "address", "already")
	if got := s.holders.Load(); got != maxHolders {
		t.Errorf("%d holders are counted", got)
	}
}

// TestServerEndsHolders: a director that ends does not wait for those who hold addresses.
func TestServerEndsHolders(t *testing.T) {
	b := newBed(t, false)
	ctx, end := context.WithCancel(t.Context())
	path := t.TempDir() + "/s"
	l, lock, err := Listen(path)
	ok(t, err)
	defer lock.Close()
	served := make(chan error, 1)
	go func() { served <- New(b.Director, "1.2.3").Serve(ctx, l) }()
	stream := holdOf(t.Context(), t, client.New(path), "10.0.1.1/32")
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	began := time.Now()
	end()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if stream.Receive() || time.Since(began) > time.Second {
		t.Errorf("it took %v to end: %v", time.Since(began), stream.Err())
	}
	if got := strings.Join(heldPrefixes(b), " "); got != "10.0.1.1/32" {
		t.Errorf("held are %q: the end of the director is no change", got)
	}
}

// TestHeldIsNotProbed: a held IPv6 address with a link is in use at once, and stays so when it is
// added by hand as well; one that was added by hand alone is tentative first.
func TestHeldIsNotProbed(t *testing.T) {
	b, _, c := newAPI(t)
	state := func(a string) director.AddrState {
		for _, v := range b.Addresses() {
			if v.Prefix.Addr().String() == a {
				return v.State
			}
		}
		t.Fatalf("there is no %s", a)
		return 0
	}
	stream := holdOf(t.Context(), t, c, "2001:db8:1::5/64")
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	add := func(prefix string) {
		t.Helper()
		_, err := c.AddAddress(t.Context(), connect.NewRequest(&weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: prefix, Device: "wan"}}))
		ok(t, err)
	}
	if s := state("2001:db8:1::5"); s != director.AddrInUse {
		t.Errorf("held, it is %v", s)
	}
	add("2001:db8:1::5/64")
	if s := state("2001:db8:1::5"); s != director.AddrInUse {
		t.Errorf("held and added, it is %v", s)
	}
	add("2001:db8:1::6/64")
	if s := state("2001:db8:1::6"); s != director.AddrTentative {
		t.Errorf("added alone, it is %v", s)
	}
}

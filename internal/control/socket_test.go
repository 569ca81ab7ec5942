package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"weir/api/client"
	"weir/api/weirv1"
	"weir/internal/spec"
)

// The socket is for its owner alone, from its first moment.
func TestSocketIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s") // whose folder is made
	l, lock, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	defer l.Close()
	for _, p := range []string{path, path + ".lock"} {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 600", p, info.Mode(), err)
		}
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, lock, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, _, err = Listen(path)
	if want := "weir is already running: it answers at " + path + " (use -x for a second instance)"; err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the first does not answer any more: %v", err)
	}
	_ = c.Close()
	_ = lock.Close()
}

// What a dead daemon left is replaced.
func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, lock, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_, _ = l.Close(), lock.Close() // as the kernel does for one that was killed
	if _, err := net.Dial("unix", path); err == nil {
		t.Fatal("a dead daemon answers")
	}
	l, lock, err = Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// Who gives the path of something else does not lose it.
func TestOnlySocketsAreReplaced(t *testing.T) {
	dir := t.TempDir()
	file, sub := filepath.Join(dir, "notes"), filepath.Join(dir, "folder")
	if err := errors.Join(os.WriteFile(file, []byte("keep"), 0o644), os.Mkdir(sub, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, sub} {
		l, lock, err := Listen(path)
		if err == nil {
			_, _ = l.Close(), lock.Close()
			t.Errorf("%s was replaced by a socket", path)
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("refused with %q", err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "keep" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "missing", "s")); err == nil {
		t.Error("a folder was made")
	}
	if _, _, err := Listen(filepath.Join(file, "s")); err == nil || !strings.Contains(err.Error(), "api socket") {
		t.Errorf("a socket in a file: %v", err)
	}
}

// Of many that come and go, one has the socket at a time, whatever the moment
// at which the former one's files vanish.
func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var holders, most, turns atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for turns.Load() < 300 {
				l, lock, err := Listen(path)
				if err != nil {
					continue
				}
				if n := holders.Add(1); n > most.Load() {
					most.Store(n)
				}
				turns.Add(1)
				if c, err := net.Dial("unix", path); err == nil {
					_ = c.Close()
				} else {
					t.Errorf("who holds the lock does not answer: %v", err)
				}
				holders.Add(-1)
				_ = l.Close()
				// As the daemon goes.
				_ = os.Remove(path)
				_ = os.Remove(path + ".lock")
				_ = lock.Close()
			}
		})
	}
	all.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d daemons held the socket at once", n)
	}
}

// unixHTTP is a plain HTTP client.
func unixHTTP(t testing.TB, path string) *http.Client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// Anybody with an HTTP client and JSON can use the API.
func TestJSON(t *testing.T) {
	_, path, _ := newAPI(t)
	web := unixHTTP(t, path)
	for _, tc := range []struct {
		name, rpc, body string
		status          int
		want            string
	}{
		{"list of nothing", "ListServices", `{}`, 200, `{"version":"1.2.3"}`},
		{"change", "AddAddress", `{"address":{"prefix":"10.0.0.1/24","device":"wan","scope":"SCOPE_LINK"}}`, 200, `{}`},
		{"list", "ListAddresses", `{"device":"wan"}`, 200, `{"addresses":[{"prefix":"10.0.0.1/24","device":"wan","scope":"SCOPE_LINK"}]}`},
		{"refusal", "AddAddress", `{"address":{"prefix":"10.0.0.1/24","device":"wan"}}`, 409,
			`{"code":"already_exists","message":"already exist: 10.0.0.1/24 on wan; ` + "`dpip addr set`" + ` changes it"}`},
		{"a word that is none", "AddAddress", `{"addr":{}}`, 400, `{"code":"invalid_argument"}`},
		{"a port of 2^40", "AddService", `{"service":{"key":{"port":1099511627776}}}`, 400, `{"code":"invalid_argument"}`},
		{"no JSON", "ListServices", `hello`, 400, `{"code":"invalid_argument"}`},
		{"not UTF-8", "ListAddresses", "{\"device\":\"\xff\xfe\"}", 400, `{"code":"invalid_argument"}`},
		{"no such rpc", "MakeCoffee", `{}`, 404, ``},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := web.Post("http://weir/weir.v1.Director/"+tc.rpc, "application/json", strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != tc.status {
				t.Fatalf("status %d, %v: %s", r.StatusCode, err, b)
			}
			if tc.want == "" {
				return
			}
			var got, want map[string]any
			if err := errors.Join(json.Unmarshal(b, &got), json.Unmarshal([]byte(tc.want), &want)); err != nil {
				t.Fatal(err)
			}
			for k, v := range want {
				if fmt.Sprint(got[k]) != fmt.Sprint(v) {
					t.Errorf("%s is %v, want %v", k, got[k], v)
				}
			}
			if tc.status == 200 && len(got) != len(want) {
				t.Errorf("got %s", b)
			}
		})
	}
}

// What is sent with bytes that are no UTF-8, or cut short, is refused before
// anything is done.
func TestBrokenMessages(t *testing.T) {
	b, path, _ := newAPI(t)
	before := b.Spec()
	web := unixHTTP(t, path)
	for name, body := range map[string][]byte{
		"not UTF-8": {0x0a, 2, 0xff, 0xfe},
		"cut short": {0x0a, 200, 1},
		"wild":      bytes.Repeat([]byte{0xff}, 100),
	} {
		r, err := web.Post("http://weir/weir.v1.Director/FlushAddresses", "application/proto", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, r.StatusCode)
		}
	}
	if b.Spec() != before {
		t.Error("something was done")
	}
}

// gRPC works over HTTP/2 without TLS, streams and refusals included.
func TestGRPC(t *testing.T) {
	b, path, c := newAPI(t)
	twoArm(t, c)
	b.open(5)
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	g := weirv1.NewDirectorClient(&http.Client{Transport: tr}, "http://weir", connect.WithGRPC())
	if v := must(g.GetVersion(t.Context(), connect.NewRequest(&weirv1.GetVersionRequest{})))(t); v.Version != "1.2.3" {
		t.Errorf("version %q", v.Version)
	}
	_, err := g.AddService(t.Context(), connect.NewRequest(&weirv1.AddServiceRequest{Service: &weirv1.Service{Key: udpKey(53), Scheduler: "rr"}}))
	refused(t, err, connect.CodeAlreadyExists, spec.Exists, "service", "service already exists")
	lots, err := listed(t, g, &weirv1.ListConnectionsRequest{})
	if err != nil || !slices.Equal(lots, []int{5}) {
		t.Errorf("lots of %v, %v", lots, err)
	}
}

// open makes connections to the service of twoArm, of client ports from 20000 on.
func (b *bed) open(n int) {
	b.t.Helper()
	for i := range n {
		f := frame(b.t, macGW, macWAN, fmt.Sprintf("ip 1.2.3.4 > 10.0.0.100 / udp %d > 53 data=4", 20000+i))
		eventually(b.t, "room on the wire", func() bool { return b.wan.InjectAt(i%2, f) })
	}
	eventually(b.t, "all connections are there", func() bool { return b.Gauges().Conns == uint64(n) })
}

// listed lists connections and returns how many each lot held.
func listed(t testing.TB, c calls, q *weirv1.ListConnectionsRequest) (lots []int, err error) {
	t.Helper()
	s, err := c.ListConnections(t.Context(), connect.NewRequest(q))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for s.Receive() {
		lots = append(lots, len(s.Msg().Connections))
		for _, v := range s.Msg().Connections {
			if v.Virtual != "10.0.0.100:53" || v.Real != "192.168.1.2:53" || !strings.HasPrefix(v.Client, "1.2.3.4:2") || !strings.HasPrefix(v.Local, "192.168.1.200:") ||
				v.State != "UDP_ONEWAY" || v.TimeoutSeconds != 300 || v.RemainingSeconds > 300 || v.Protocol != weirv1.Protocol_PROTOCOL_UDP || v.Worker > 1 {
				t.Errorf("a connection is listed as %v", v)
			}
		}
	}
	return lots, s.Err()
}

// Connections come in lots; a filter gives the one that is meant.
func TestListConnections(t *testing.T) {
	b, path, c := newAPI(t)
	twoArm(t, c)
	if lots, err := listed(t, c, &weirv1.ListConnectionsRequest{}); err != nil || len(lots) != 0 {
		t.Errorf("without connections: lots of %v, %v", lots, err)
	}
	b.open(2*connLot + 7)
	for _, tc := range []struct {
		name string
		q    *weirv1.ListConnectionsRequest
		want []int
		word string
	}{
		{"all", &weirv1.ListConnectionsRequest{}, []int{connLot, connLot, 7}, ""},
		{"one", &weirv1.ListConnectionsRequest{Protocol: weirv1.Protocol_PROTOCOL_UDP, Source: "1.2.3.4:20500", Target: "10.0.0.100:53"}, []int{1}, ""},
		{"another protocol", &weirv1.ListConnectionsRequest{Protocol: weirv1.Protocol_PROTOCOL_TCP, Source: "1.2.3.4:20500", Target: "10.0.0.100:53"}, nil, ""},
		{"another client", &weirv1.ListConnectionsRequest{Protocol: weirv1.Protocol_PROTOCOL_UDP, Source: "1.2.3.4:1", Target: "10.0.0.100:53"}, nil, ""},
		{"no source", &weirv1.ListConnectionsRequest{Protocol: weirv1.Protocol_PROTOCOL_UDP, Target: "10.0.0.100:53"}, nil, "want ADDRESS:PORT for both"},
		{"no port", &weirv1.ListConnectionsRequest{Protocol: weirv1.Protocol_PROTOCOL_UDP, Source: "1.2.3.4:1", Target: "10.0.0.100"}, nil, "want ADDRESS:PORT for both"},
	} {
		lots, err := listed(t, c, tc.q)
		if tc.word != "" {
			refused(t, err, connect.CodeInvalidArgument, spec.Invalid, "connection", tc.word)
			continue
		}
		if err != nil || !slices.Equal(lots, tc.want) {
			t.Errorf("%s: lots of %v, %v, want %v", tc.name, lots, err, tc.want)
		}
	}
	_, err := listed(t, c, &weirv1.ListConnectionsRequest{Protocol: 99})
	refused(t, err, connect.CodeInvalidArgument, spec.Invalid, "service", "protocol 99")

	// Who goes away in the middle of a list disturbs nobody.
	ctx, away := context.WithCancel(t.Context())
	s, err := client.New(path).ListConnections(ctx, connect.NewRequest(&weirv1.ListConnectionsRequest{}))
	if err != nil || !s.Receive() {
		t.Fatal(err, s.Err())
	}
	away()
	_ = s.Close()
	if lots, err := listed(t, c, &weirv1.ListConnectionsRequest{}); err != nil || len(lots) != 3 {
		t.Errorf("after another client went away: lots of %v, %v", lots, err)
	}
}

// The end of the server finishes what is under way and lets no more in.
func TestServeEnds(t *testing.T) {
	b := newBed(t, false)
	path := filepath.Join(t.TempDir(), "s")
	l, lock, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- New(b.Director, "x").Serve(ctx, l) }()
	c := client.New(path)
	_ = must(c.GetVersion(ctx, connect.NewRequest(&weirv1.GetVersionRequest{})))(t)

	// A change is under way when the end comes.
	inEdit, goOn, changed := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		_ = b.Change(func(*spec.Spec) error { close(inEdit); <-goOn; return nil })
	}()
	<-inEdit
	go func() {
		_, err := c.AddAddress(context.Background(), connect.NewRequest(&weirv1.AddAddressRequest{Address: &weirv1.Address{Prefix: "10.0.0.1/24", Device: "wan"}}))
		changed <- err
	}()
	close(goOn)
	if err := <-changed; err != nil {
		t.Error(err)
	}
	end()
	if err := <-served; err != nil {
		t.Errorf("ended with %v", err)
	}
	if _, err := c.GetVersion(context.Background(), connect.NewRequest(&weirv1.GetVersionRequest{})); !client.Unreachable(err) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
}

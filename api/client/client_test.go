package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"weir/api/weirv1"
)

func TestSocketPath(t *testing.T) {
	t.Setenv("DPVS_IPC_FILE", "")
	if got := SocketPath(); got != DefaultSocket {
		t.Errorf("without DPVS_IPC_FILE: got %q, want %q", got, DefaultSocket)
	}
	t.Setenv("DPVS_IPC_FILE", "/tmp/other.sock")
	if got := SocketPath(); got != "/tmp/other.sock" {
		t.Errorf("with DPVS_IPC_FILE: got %q", got)
	}
}

// refusing is a director that refuses every deletion of a service.
type refusing struct {
	weirv1.UnimplementedDirectorHandler
}

func (refusing) DeleteService(context.Context, *connect.Request[weirv1.DeleteServiceRequest]) (*connect.Response[weirv1.DeleteServiceResponse], error) {
	err := connect.NewError(connect.CodeNotFound, errors.New("there is no service TCP 10.0.0.100:80"))
	detail, derr := connect.NewErrorDetail(&weirv1.ErrorDetail{Code: -4, Text: "not exist", Object: "service"})
	if derr != nil {
		return nil, derr
	}
	err.AddDetail(detail)
	return nil, err
}

func (refusing) GetVersion(context.Context, *connect.Request[weirv1.GetVersionRequest]) (*connect.Response[weirv1.GetVersionResponse], error) {
	return connect.NewResponse(&weirv1.GetVersionResponse{Version: "1.2.3"}), nil
}

func serve(t *testing.T, d weirv1.DirectorHandler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(weirv1.NewDirectorHandler(d))
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return path
}

func TestCalls(t *testing.T) {
	c := New(serve(t, refusing{}))
	v, err := c.GetVersion(t.Context(), connect.NewRequest(&weirv1.GetVersionRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if v.Msg.Version != "1.2.3" {
		t.Errorf("version: got %q", v.Msg.Version)
	}

	_, err = c.DeleteService(t.Context(), connect.NewRequest(&weirv1.DeleteServiceRequest{}))
	if err == nil {
		t.Fatal("the refusal did not arrive")
	}
	wrapped := fmt.Errorf("line 3: %w", err)
	for _, err := range []error{err, wrapped} {
		if got, want := Message(err), "there is no service TCP 10.0.0.100:80"; got != want {
			t.Errorf("message: got %q, want %q", got, want)
		}
		d, ok := Detail(err)
		if !ok || d.Code != -4 || d.Text != "not exist" || d.Object != "service" {
			t.Errorf("detail: got %v, %v", d, ok)
		}
		if Unreachable(err) {
			t.Error("a refusal is not unreachability")
		}
	}
}

// counting counts the requests that reach it.
type counting struct {
	weirv1.UnimplementedDirectorHandler
	calls atomic.Int32
}

func (c *counting) FlushAddresses(context.Context, *connect.Request[weirv1.FlushAddressesRequest]) (*connect.Response[weirv1.FlushAddressesResponse], error) {
	c.calls.Add(1)
	return connect.NewResponse(&weirv1.FlushAddressesResponse{}), nil
}

// What cannot be encoded must not arrive as an empty request: an empty name often means "all".
func TestNotUTF8IsNotSent(t *testing.T) {
	d := &counting{}
	c := New(serve(t, d))
	_, err := c.FlushAddresses(t.Context(), connect.NewRequest(&weirv1.FlushAddressesRequest{Device: "\xff"}))
	if got, want := Message(err), "a name or value is not UTF-8"; got != want {
		t.Errorf("message: got %q, want %q", got, want)
	}
	if n := d.calls.Load(); n != 0 {
		t.Errorf("the director was called %d times", n)
	}
	if _, err := c.FlushAddresses(t.Context(), connect.NewRequest(&weirv1.FlushAddressesRequest{Device: "é"})); err != nil {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()

	for _, tc := range []struct{ name, path, message string }{
		{"no such file", filepath.Join(dir, "nothing"), "no such file or directory"},
		{"left by a dead director", stale, "connection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(tc.path).GetVersion(t.Context(), connect.NewRequest(&weirv1.GetVersionRequest{}))
			if !Unreachable(err) {
				t.Errorf("Unreachable(%v) = false", err)
			}
			if got := Message(err); got != tc.message {
				t.Errorf("message: got %q, want %q", got, tc.message)
			}
			if _, ok := Detail(err); ok {
				t.Error("a failed connection has no detail")
			}
		})
	}
}

func TestPermissionIsNotUnreachability(t *testing.T) {
	err := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", os.ErrPermission)}
	if Unreachable(err) {
		t.Error("a socket that may not be opened belongs to a running director")
	}
}

func TestOtherErrors(t *testing.T) {
	if got := Message(errors.New("plain")); got != "plain" {
		t.Errorf("got %q", got)
	}
	if got := Message(nil); got != "" {
		t.Errorf("got %q", got)
	}
	if Unreachable(nil) {
		t.Error("no error is not unreachability")
	}
}

// cutting serves a director that takes a request, sends what is given, and hangs up.
func cutting(t *testing.T, answer string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, answer)
			}
			_ = c.Close()
		}
	}()
	return path
}

// An answer that breaks off is no refusal, wherever it does, and the user hears what it means.
func TestCut(t *testing.T) {
	for _, tc := range []struct{ name, answer string }{
		{"nothing", ""},
		{"headers", "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\n"},
		{"body", "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 100\r\n\r\n\x0a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(cutting(t, tc.answer)).FlushAddresses(t.Context(), connect.NewRequest(&weirv1.FlushAddressesRequest{}))
			if !Cut(err) {
				t.Errorf("Cut(%v) = false", err)
			}
			if Unreachable(err) {
				t.Errorf("Unreachable(%v) = true: it took the request", err)
			}
			if got, want := Message(err), "the director ended before its answer was whole: look what it has before you ask again"; got != want {
				t.Errorf("message: got %q, want %q", got, want)
			}
		})
	}
	_, refused := New(serve(t, refusing{})).DeleteService(t.Context(), connect.NewRequest(&weirv1.DeleteServiceRequest{}))
	_, unreachable := New(filepath.Join(t.TempDir(), "nothing")).GetVersion(t.Context(), connect.NewRequest(&weirv1.GetVersionRequest{}))
	for _, err := range []error{nil, refused, unreachable, io.ErrUnexpectedEOF} {
		if Cut(err) {
			t.Errorf("Cut(%v) = true", err)
		}
	}
}

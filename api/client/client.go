// Package client reaches the director's API on its Unix socket. Every CLI of
// Weir is built on it.
//
// Enters: a socket path.
// Leaves: a weirv1.DirectorClient, and answers to what a CLI asks of an error.
// Owns: the connections to the socket; the first call makes one, later calls reuse it.
// Drops: nothing; an error of the director arrives whole, with its code, sentence and detail.
// See: api/weirv1/director.proto, internal/control.
package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"weir/api/weirv1"
)

// DefaultSocket is where the director listens unless told otherwise.
const DefaultSocket = "/run/weir.sock"

// SocketPath returns the path of the director's socket: the environment's
// DPVS_IPC_FILE, which DPVS's own tools read, or DefaultSocket.
func SocketPath() string {
	if path := os.Getenv("DPVS_IPC_FILE"); path != "" {
		return path
	}
	return DefaultSocket
}

// New returns a client for the director that listens at path. It does not
// connect: the first call does, and fails if nobody listens (see Unreachable).
// The client may be used by several goroutines.
func New(path string) weirv1.DirectorClient {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		// The socket is local: bytes cost less than the time to compress them.
		DisableCompression: true,
	}
	// The host of the URL is only a name here; the dialer ignores it.
	return weirv1.NewDirectorClient(&http.Client{Transport: transport}, "http://weir",
		connect.WithInterceptors(connect.UnaryInterceptorFunc(sendable)))
}

// sendable refuses a request that cannot be encoded, which means a string in it that is
// not UTF-8. Connect would tell the same, but not before it had called the
// director with an empty request.
func sendable(call connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, q connect.AnyRequest) (connect.AnyResponse, error) {
		if m, ok := q.Any().(proto.Message); ok {
			if _, err := proto.Marshal(m); err != nil {
				return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("a name or value is not UTF-8"))
			}
		}
		return call(ctx, q)
	}
}

// Detail returns DPVS's own code and text that the director attached to a
// refusal; ok is false when err carries none.
func Detail(err error) (d *weirv1.ErrorDetail, ok bool) {
	var refusal *connect.Error
	if !errors.As(err, &refusal) {
		return nil, false
	}
	for _, detail := range refusal.Details() {
		value, err := detail.Value()
		if err != nil {
			continue // a detail of a newer director that this client does not know
		}
		if d, ok := value.(*weirv1.ErrorDetail); ok {
			return d, true
		}
	}
	return nil, false
}

// Unreachable reports whether err says that no director listens on the socket:
// there is no such file, or it refuses connections. That the file exists but may
// not be opened is not that: only root may, and Message says so.
func Unreachable(err error) bool {
	return dialFailed(err) && !errors.Is(err, os.ErrPermission)
}

// dialFailed reports whether err comes from connecting, before any call was sent.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// Message returns the sentence of err without the prefix that Connect gives it
// ("already_exists: "). Of an error of connecting it is the system's words,
// without the names of the calls: "no such file or directory". Of an answer that was cut off
// it says that, since nobody knows what became of the request (see Cut).
func Message(err error) string {
	if err == nil {
		return ""
	}
	if dialFailed(err) {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			if errors.Is(err, os.ErrPermission) {
				return "permission denied (you must be root)"
			}
			return errno.Error()
		}
	}
	if Cut(err) {
		return "the director ended before its answer was whole: look what it has before you ask again"
	}
	var refusal *connect.Error
	if errors.As(err, &refusal) {
		return refusal.Message()
	}
	return err.Error()
}

// Cut reports whether err says that the director's connection broke before its answer was
// whole: it ended meanwhile, or was killed. What was asked for may or may not have been done.
func Cut(err error) bool {
	var call *connect.Error
	if !errors.As(err, &call) || connect.IsWireError(err) {
		return false
	}
	// Connect calls what net/http fails with unavailable, with a connection closed while the
	// request was written among it; what fails within the body keeps its own error.
	if call.Code() == connect.CodeUnavailable {
		return !dialFailed(err)
	}
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && op.Op != "dial"
}

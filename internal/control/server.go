package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"weir/api/weirv1"
	"weir/internal/director"
	"weir/internal/spec"
)

// Server answers the API.
type Server struct {
	director *director.Director
	version  string
	http     *http.Server
	collect  func(edit func(*spec.Spec) error) // nil: edits are applied at once; see Apply

	holders atomic.Int32  // streams of HoldAddresses that live
	ending  chan struct{} // closed when the server ends, which ends those
}

var _ weirv1.DirectorHandler = (*Server)(nil)

// Listen takes the socket path for this process. It fails when another daemon
// answers there; what a dead one left is removed.
func Listen(path string) (net.Listener, *os.File, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, nil, fmt.Errorf("api socket: %s is there and is no socket: give another path (-x)", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, nil, fmt.Errorf("api socket: %w", err)
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		_ = lock.Close()
		return nil, nil, fmt.Errorf("api socket: %w", err)
	}
	mask := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(mask)
	if err != nil {
		_ = lock.Close()
		return nil, nil, fmt.Errorf("api socket: %w", err)
	}
	return l, lock, nil
}

// takeLock takes the lock that decides between two daemons that start at once; a
// socket file alone can't. Closing the file gives it back.
func takeLock(path string) (*os.File, error) {
	for {
		lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("api socket: %w", err)
		}
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = lock.Close()
			return nil, fmt.Errorf("weir is already running: it answers at %s (use -x for a second instance)", path)
		}
		// The former daemon removes the file as it ends: what was opened just
		// before that is a lock that nobody else will meet.
		mine, err := lock.Stat()
		if err == nil {
			var there os.FileInfo
			if there, err = os.Stat(lock.Name()); err == nil && os.SameFile(mine, there) {
				return lock, nil
			}
		}
		_ = lock.Close()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("api socket: %w", err)
		}
	}
}

// New makes a server for a director.
func New(d *director.Director, version string) *Server {
	s := &Server{director: d, version: version, ending: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle(weirv1.NewDirectorHandler(s))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC
	s.http = &http.Server{
		Handler: mux, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers requests until ctx ends, then finishes those under way.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		close(s.ending)
		end, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if s.http.Shutdown(end) != nil {
			_ = s.http.Close()
		}
	}()
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// failure turns an error into one that carries DPVS's code.
func failure(err error) error { return failureOf(0, err) }

// failureOf is failure for a step of Apply, counted from 1.
func failureOf(step int, err error) error {
	if err == nil {
		return nil
	}
	var r *spec.Refusal
	if !errors.As(err, &r) {
		return connect.NewError(connect.CodeInternal, err)
	}
	code := connect.CodeInvalidArgument
	switch r.Code {
	case spec.Invalid: // as it is
	case spec.Exists:
		code = connect.CodeAlreadyExists
	case spec.NotExists, spec.NoDevice:
		code = connect.CodeNotFound
	case spec.NotSupported:
		code = connect.CodeUnimplemented
	case spec.Busy:
		code = connect.CodeFailedPrecondition
	case spec.NoResource:
		code = connect.CodeResourceExhausted
	}
	e := connect.NewError(code, err)
	d, derr := connect.NewErrorDetail(&weirv1.ErrorDetail{Code: int32(r.Code), Text: r.Code.String(), Object: r.Object, Step: uint32(step)})
	if derr == nil {
		e.AddDetail(d)
	}
	return e
}

// run runs an edit, or leaves it to Apply.
func (s *Server) run(edit func(*spec.Spec) error) error {
	if s.collect != nil {
		s.collect(edit)
		return nil
	}
	return s.director.Change(edit)
}

// change runs an edit and answers with an empty message.
func change[T any](s *Server, edit func(*spec.Spec) error) (*connect.Response[T], error) {
	if err := s.run(edit); err != nil {
		return nil, failure(err)
	}
	return connect.NewResponse(new(T)), nil
}

func invalid(object, format string, args ...any) error {
	return &spec.Refusal{Code: spec.Invalid, Object: object, Why: fmt.Sprintf(format, args...)}
}

// GetVersion answers rpc GetVersion.
func (s *Server) GetVersion(context.Context, *connect.Request[weirv1.GetVersionRequest]) (*connect.Response[weirv1.GetVersionResponse], error) {
	return connect.NewResponse(&weirv1.GetVersionResponse{Version: s.version, UptimeSeconds: uint64(s.director.Uptime() / time.Second)}), nil
}

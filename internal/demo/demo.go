package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"weir/internal/testkit/netns"
)

// Options say how to run the demo. The zero value is what `weir demo` does.
type Options struct {
	// Weir is the path of the weir binary, with dpip, ipvsadm and weir-rs beside
	// it; "" means the running one.
	Weir string
	// Driver is the port driver: auto, afxdp or afpacket; "" means auto.
	Driver string
}

// patience is how long the whole demo may take: ten times what it needs.
const patience = 60 * time.Second

// farewell is how long the director may take to end once it was asked to.
const farewell = 5 * time.Second

// requests is how often the client asks: every real server has two turns.
const requests = 4

// Run shows the demo on out. It needs root. When it returns, everything it made
// is gone; when ctx ends before the demo does, Run returns the context's cause.
func Run(ctx context.Context, out io.Writer, opt Options) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience,
		fmt.Errorf("the demo took longer than %s", patience))
	defer cancel()
	s, err := prepare(out, opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	for _, act := range []func(context.Context) error{s.network, s.realServers, s.director, s.setup, s.look, s.ask, s.account} {
		if err := act(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
	s.title("Done")
	s.say("Both real servers answered in turn, and nginx saw the client's own address.\n")
	return nil
}

// stage is where the demo plays: what it found and what it made.
type stage struct {
	out           io.Writer
	weir, weirRS  string // the binaries
	dpip, ipvsadm string
	driver        string
	dir           string // temporary: configuration, socket, the director's log
	world         *netns.Network
	daemon        *netns.Process
}

// prepare looks whether all that the demo needs is there.
func prepare(out io.Writer, opt Options) (*stage, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the demo makes network namespaces and needs root: run it with sudo")
	}
	s := &stage{out: out, weir: opt.Weir, driver: opt.Driver}
	if s.weir == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		s.weir = self
	}
	if s.driver == "" {
		s.driver = "auto"
	}
	s.dpip = filepath.Join(filepath.Dir(s.weir), "dpip")
	s.ipvsadm = filepath.Join(filepath.Dir(s.weir), "ipvsadm")
	s.weirRS = filepath.Join(filepath.Dir(s.weir), "weir-rs")
	for _, program := range []string{s.dpip, s.ipvsadm, s.weirRS} {
		if _, err := os.Stat(program); err != nil {
			return nil, fmt.Errorf("%s is not beside weir in %s: run `make build`",
				filepath.Base(program), filepath.Dir(program))
		}
	}
	for program, pkg := range map[string]string{"curl": "curl", "nginx": "nginx-light", "umount": "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("the demo needs %s: apt-get install %s", program, pkg)
		}
	}
	dir, err := os.MkdirTemp("", "weir-demo-")
	if err != nil {
		return nil, err
	}
	s.dir = dir
	return s, nil
}

// strike takes the stage down.
func (s *stage) strike() error {
	var errs []error
	if s.daemon != nil && !s.daemon.Ended() {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		if err := s.daemon.Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("the director did not end well: %w\n%s", err, s.log()))
		}
	}
	if s.world != nil {
		errs = append(errs, s.world.World.Close())
	}
	errs = append(errs, os.RemoveAll(s.dir))
	return errors.Join(errs...)
}

// log returns what the director logged.
func (s *stage) log() string {
	text, err := os.ReadFile(s.path("log"))
	if err != nil || len(text) == 0 {
		return "(the director logged nothing)"
	}
	return "The director's log:\n" + string(text)
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

func (s *stage) title(text string) {
	s.say("\n── %s %s\n\n", text, strings.Repeat("─", max(0, 70-len(text))))
}

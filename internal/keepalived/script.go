package keepalived

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/internal/config/keepalivedconf"
)

// scriptTime is how long a script of a change may run before it is ended.
const scriptTime = time.Minute

// scriptQueue is how many scripts of one virtual server wait for each other; one more, and
// the oldest that waits is left out.
const scriptQueue = 64

// command makes of a command what is to be run: words as they are parted by spaces and
// bound by quotes, or if the first of them is no program (exit) or it has signs of the
// shell in it, the shell with the whole.
func command(line string) []string {
	words := split(line)
	if len(words) > 0 && !strings.ContainsAny(line, ";&|<>`$(){}*?~\n") {
		if _, err := exec.LookPath(words[0]); err == nil {
			return words
		}
	}
	return []string{"/bin/sh", "-c", line}
}

// split parts words at spaces; ' and " bind.
func split(line string) []string {
	var words []string
	var word strings.Builder
	var quote rune
	inside := false
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inside = c, true
		case c == ' ' || c == '\t':
			if inside {
				words = append(words, word.String())
				word.Reset()
				inside = false
			}
		default:
			word.WriteRune(c)
			inside = true
		}
	}
	if inside {
		words = append(words, word.String())
	}
	return words
}

// credential is whom a script runs as; nil for whom we run as.
func (c *checks) credential(s *keepalivedconf.Script) (*syscall.Credential, error) {
	return credential(s, &c.global)
}

func credential(s *keepalivedconf.Script, g *keepalivedconf.Global) (*syscall.Credential, error) {
	name, group := s.User, s.Group
	if name == "" {
		name, group = g.ScriptUser, g.ScriptGroup
	}
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("script %q: %w", s.Command, err)
	}
	gid := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return nil, fmt.Errorf("script %q: %w", s.Command, err)
		}
		gid = g.Gid
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	id, err2 := strconv.ParseUint(gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if int(uid) == os.Geteuid() {
		return nil, nil
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(id)}, nil
}

// runnable refuses a script that can't be run as who it shall be, and with
// enable_script_security one that runs as root and that others may change.
func (c *checks) runnable(s *keepalivedconf.Script) error {
	if s.Command == "" {
		return nil
	}
	who, err := c.credential(s)
	if err != nil || !c.global.ScriptSecurity || who != nil || os.Geteuid() != 0 {
		return err
	}
	program := command(s.Command)[0]
	path, err := exec.LookPath(program)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return fmt.Errorf("script %q: %w", s.Command, err)
	}
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("script %q: %w", s.Command, err)
		}
		st, is := info.Sys().(*syscall.Stat_t)
		sticky := info.IsDir() && info.Mode()&os.ModeSticky != 0
		if !is || st.Uid != 0 || info.Mode().Perm()&0o022 != 0 && !sticky {
			return fmt.Errorf("script %q runs as root, and others than root may change %s: enable_script_security forbids that", s.Command, at)
		}
		if at == "/" {
			return nil
		}
	}
}

// runner runs the scripts of one virtual server one after the other: an up that overtakes
// a down would leave the wrong thing done.
type runner struct {
	log  *slog.Logger
	done func() // after each

	mu      sync.Mutex
	waiting []job
	running bool
}

type job struct {
	what string
	s    keepalivedconf.Script
	g    keepalivedconf.Global
}

// run queues a script.
func (r *runner) run(all *sync.WaitGroup, what string, s keepalivedconf.Script, g keepalivedconf.Global) {
	if s.Command == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == scriptQueue {
		r.log.Error(fmt.Sprintf("%s: %q is left out: %d scripts wait already", r.waiting[0].what, r.waiting[0].s.Command, scriptQueue))
		r.waiting = r.waiting[1:]
	}
	r.waiting = append(r.waiting, job{what, s, g})
	if !r.running {
		r.running = true
		all.Go(r.work)
	}
}

func (r *runner) work() {
	for {
		r.mu.Lock()
		if len(r.waiting) == 0 {
			r.running = false
			r.mu.Unlock()
			return
		}
		j := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.mu.Unlock()
		r.one(&j)
		r.done()
	}
}

// idle reports whether no script runs or waits.
func (r *runner) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.running
}

func (r *runner) one(j *job) {
	who, err := credential(&j.s, &j.g)
	if err != nil {
		r.log.Error(j.what + ": " + err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	words := command(j.s.Command)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: who}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	if err == nil {
		r.log.Info(fmt.Sprintf("%s: ran %q", j.what, j.s.Command))
		return
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("it was ended after %v", scriptTime)
	}
	r.log.Error(fmt.Sprintf("%s: %q failed: %v: %s", j.what, j.s.Command, err, strings.TrimSpace(string(said))))
}

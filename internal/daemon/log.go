package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"weir/internal/director"
	"weir/internal/spec"
)

// logger is the daemon's log: level, file and time stamps follow dpvs.conf, at
// a reload too.
type logger struct {
	*slog.Logger
	level  slog.LevelVar
	out    *output
	stderr io.Writer // where lines go without a log_file
}

// output is where lines go. It is shared by all loggers made from it.
type output struct {
	mu   sync.Mutex // guards what follows
	w    io.Writer
	file *os.File
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}

// levels of dpvs.conf. EMERG to ERR are one here, NOTICE is INFO.
var levels = map[string]slog.Level{
	"EMERG": slog.LevelError, "ALERT": slog.LevelError, "CRIT": slog.LevelError, "ERR": slog.LevelError,
	"WARNING": slog.LevelWarn, "NOTICE": slog.LevelInfo, "INFO": slog.LevelInfo, "DEBUG": slog.LevelDebug,
}

func openLog(t *spec.Tunables) (*logger, error) {
	l := &logger{out: &output{w: os.Stderr}, stderr: os.Stderr}
	stamps := t.LogTimestamp
	l.Logger = slog.New(slog.NewTextHandler(l.out, &slog.HandlerOptions{
		Level: &l.level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.LevelKey && a.Value.Any() == director.Notice {
				return slog.String(a.Key, "NOTICE")
			}
			// systemd and syslog stamp lines themselves.
			if a.Key == slog.TimeKey && len(groups) == 0 && !stamps {
				return slog.Attr{}
			}
			return a
		},
	}))
	n, err := l.open(t)
	if err != nil {
		return nil, err
	}
	n.use()
	return l, nil
}

// newLog is where the log is about to go: use it, or drop it.
type newLog struct {
	log   *logger
	level slog.Level
	file  *os.File // nil: standard error
}

// open finds out whether the log can follow the settings, and changes nothing.
func (l *logger) open(t *spec.Tunables) (*newLog, error) {
	level, ok := levels[strings.ToUpper(t.LogLevel)]
	if !ok {
		return nil, fmt.Errorf("log_level %s is not known", t.LogLevel)
	}
	n := &newLog{log: l, level: level}
	if t.LogFile != "" {
		var err error
		if n.file, err = os.OpenFile(t.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640); err != nil {
			return nil, fmt.Errorf("log_file: %w", err)
		}
	}
	return n, nil
}

// use makes lines go there from now on.
func (n *newLog) use() {
	l := n.log
	l.level.Set(n.level)
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	old := l.out.file
	l.out.file, l.out.w = n.file, l.stderr
	if n.file != nil {
		l.out.w = n.file
	}
	if old != nil {
		_ = old.Close() // each line was written when it was said
	}
}

// drop forgets it.
func (n *newLog) drop() {
	if n.file != nil {
		_ = n.file.Close()
	}
}

func (l *logger) close() {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	if l.out.file != nil {
		_ = l.out.file.Close()
	}
}

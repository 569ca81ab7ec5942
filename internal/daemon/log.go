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
	level slog.LevelVar
	out   *output
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
	l := &logger{out: &output{w: os.Stderr}}
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
	return l, l.apply(t)
}

// apply follows the settings.
func (l *logger) apply(t *spec.Tunables) error {
	level, ok := levels[strings.ToUpper(t.LogLevel)]
	if !ok {
		return fmt.Errorf("log_level %s is not known", t.LogLevel)
	}
	var file *os.File
	if t.LogFile != "" {
		var err error
		if file, err = os.OpenFile(t.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640); err != nil {
			return fmt.Errorf("log_file: %w", err)
		}
	}
	l.level.Set(level)
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	old := l.out.file
	l.out.file, l.out.w = file, os.Stderr
	if file != nil {
		l.out.w = file
	}
	if old != nil {
		return old.Close()
	}
	return nil
}

func (l *logger) close() {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	if l.out.file != nil {
		_ = l.out.file.Close()
	}
}

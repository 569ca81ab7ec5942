package keepalived

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"strconv"
	"strings"
)

// openLog opens the log that the options ask for. missing says, "" if nothing is, what of it
// can't be had.
func openLog(s *settings, stderr io.Writer) (log *slog.Logger, missing string, err error) {
	least := slog.LevelInfo
	if s.detail {
		least = slog.LevelDebug
	}
	var to fan
	text := func(w io.Writer) {
		to = append(to, slog.NewTextHandler(w, &slog.HandlerOptions{Level: least}))
	}
	if s.fore || s.console {
		text(stderr)
	}
	if s.logFile != "" {
		f, err := os.OpenFile(s.logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
		if err != nil {
			return nil, "", fmt.Errorf("--log-file: %w", err)
		}
		text(f)
	}
	facility, err := facilityOf(s.facility)
	if err != nil {
		return nil, "", err
	}
	if !s.quiet && !s.fore {
		w, err := syslog.New(facility|syslog.LOG_INFO, "keepalived")
		switch {
		case err == nil:
			to = append(to, &sysHandler{w: w, least: least})
		case len(to) == 0:
			missing = "there is no syslog here, so nobody hears what keepalived has to say: use --log-file=FILE, or --dont-fork"
		}
	}
	return slog.New(to), missing, nil
}

// facilities of -S, in stock's words.
func facilityOf(word string) (syslog.Priority, error) {
	switch word {
	case "", "daemon":
		return syslog.LOG_DAEMON, nil
	case "user":
		return syslog.LOG_USER, nil
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(word, "local"), 10, 8)
	if err != nil || n > 7 {
		return 0, fmt.Errorf("--log-facility %s is none of 0-7, local0-local7, user, daemon", word)
	}
	return syslog.LOG_LOCAL0 + syslog.Priority(n)<<3, nil
}

// fan is several handlers.
type fan []slog.Handler

// Enabled implements [slog.Handler].
func (f fan) Enabled(ctx context.Context, l slog.Level) bool {
	for _, h := range f {
		if h.Enabled(ctx, l) {
			return true
		}
	}
	return false
}

// Handle implements [slog.Handler].
func (f fan) Handle(ctx context.Context, r slog.Record) error {
	var errs []error
	for _, h := range f {
		if h.Enabled(ctx, r.Level) {
			errs = append(errs, h.Handle(ctx, r.Clone()))
		}
	}
	return errors.Join(errs...)
}

// WithAttrs implements [slog.Handler].
func (f fan) WithAttrs(attrs []slog.Attr) slog.Handler {
	var out fan
	for _, h := range f {
		out = append(out, h.WithAttrs(attrs))
	}
	return out
}

// WithGroup implements [slog.Handler].
func (f fan) WithGroup(name string) slog.Handler {
	var out fan
	for _, h := range f {
		out = append(out, h.WithGroup(name))
	}
	return out
}

// sysHandler writes sentences to syslog, which has date and level by itself.
type sysHandler struct {
	w     *syslog.Writer
	least slog.Level
	attrs string
}

// Enabled implements [slog.Handler].
func (h *sysHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.least }

// Handle implements [slog.Handler].
func (h *sysHandler) Handle(_ context.Context, r slog.Record) error {
	line := r.Message + h.attrs
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		return h.w.Err(line)
	case r.Level >= slog.LevelWarn:
		return h.w.Warning(line)
	case r.Level >= slog.LevelInfo:
		return h.w.Info(line)
	}
	return h.w.Debug(line)
}

// WithAttrs implements [slog.Handler].
func (h *sysHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += " " + a.String()
	}
	return &c
}

// WithGroup implements [slog.Handler]; groups are not used here.
func (h *sysHandler) WithGroup(string) slog.Handler { return h }

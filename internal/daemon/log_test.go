package daemon

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/director"
	"weir/internal/spec"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each log_level lets through its own lines and those that matter more.
func TestLogLevels(t *testing.T) {
	for level, want := range map[string]string{
		"EMERG": "NOTICE ERROR", "ALERT": "NOTICE ERROR", "CRIT": "NOTICE ERROR", "ERR": "NOTICE ERROR", "WARNING": "NOTICE ERROR WARN",
		"NOTICE": "NOTICE ERROR WARN INFO", "INFO": "NOTICE ERROR WARN INFO", "info": "NOTICE ERROR WARN INFO", "DEBUG": "NOTICE ERROR WARN INFO DEBUG",
	} {
		path := filepath.Join(t.TempDir(), "log")
		l, err := openLog(&spec.Tunables{LogLevel: level, LogFile: path})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []slog.Level{director.Notice, slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
			l.Log(context.Background(), at, "x")
		}
		l.close()
		var got []string
		for line := range strings.Lines(read(t, path)) {
			got = append(got, strings.TrimPrefix(strings.Fields(line)[0], "level="))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", level, got, want)
		}
	}
	if _, err := openLog(&spec.Tunables{LogLevel: "LOUD"}); err == nil || err.Error() != "log_level LOUD is not known" {
		t.Errorf("an unknown level: %v", err)
	}
}

// Lines have a time stamp if log_with_timestamp says so.
func TestLogTimestamp(t *testing.T) {
	for stamps, begins := range map[bool]string{true: "time=20", false: "level=WARN msg=hello time=mine"} {
		path := filepath.Join(t.TempDir(), "log")
		l, err := openLog(&spec.Tunables{LogLevel: "INFO", LogFile: path, LogTimestamp: stamps})
		if err != nil {
			t.Fatal(err)
		}
		l.WithGroup("").Warn("hello", "time", "mine")
		l.close()
		if got := read(t, path); stamps && !strings.HasPrefix(got, begins) || !stamps && strings.HasPrefix(got, "time=") {
			t.Errorf("with stamps %v: %q", stamps, got)
		}
	}
}

// At a reload the log goes where the file says now; a file of the same name that
// was moved away is made anew, as logrotate wants it; and loggers made before
// follow.
func TestLogFollows(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	l, err := openLog(&spec.Tunables{LogLevel: "WARNING", LogFile: one})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var stderr memory
	l.stderr = &stderr
	early := l.With("of", "old")
	follow := func(level, file string) {
		t.Helper()
		n, err := l.open(&spec.Tunables{LogLevel: level, LogFile: file})
		if err != nil {
			t.Fatal(err)
		}
		n.use()
	}
	early.Warn("1")
	follow("WARNING", two)
	early.Warn("2")
	early.Info("3")
	if err := os.Rename(two, two+".1"); err != nil {
		t.Fatal(err)
	}
	early.Warn("4")
	follow("INFO", two)
	early.Info("5")
	follow("ERR", "")
	early.Warn("6")
	early.Error("7")
	for path, want := range map[string]string{one: "1", two + ".1": "24", two: "5"} {
		got := ""
		for line := range strings.Lines(read(t, path)) {
			got += strings.TrimSuffix(strings.TrimPrefix(strings.Fields(line)[1], "msg="), "\n")
		}
		if got != want {
			t.Errorf("%s has lines %q, want %q", filepath.Base(path), got, want)
		}
	}
	if got := stderr.take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "msg=7") {
		t.Errorf("standard error has %q, want line 7", got)
	}
	if _, err := l.open(&spec.Tunables{LogLevel: "ERR", LogFile: filepath.Join(dir, "none", "x")}); err == nil || !strings.Contains(err.Error(), "log_file") {
		t.Errorf("a file that can't be: %v", err)
	}
}

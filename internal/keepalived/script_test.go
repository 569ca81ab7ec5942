package keepalived

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/internal/config/keepalivedconf"
)

// TestCommand: what a command of the file runs.
func TestCommand(t *testing.T) {
	shell := func(line string) []string { return []string{"/bin/sh", "-c", line} }
	for _, row := range []struct {
		line string
		want []string
	}{
		{"/bin/true", []string{"/bin/true"}},
		{"/bin/true a  b", []string{"/bin/true", "a", "b"}},
		{"/bin/true 'a b' \"c 'd'\" e'f g'", []string{"/bin/true", "a b", "c 'd'", "ef g"}},
		{"/bin/true ''", []string{"/bin/true", ""}},
		{"true x", []string{"true", "x"}},
		{"exit", shell("exit")},
		{"exit 3", shell("exit 3")},
		{"no-such-program-here a", shell("no-such-program-here a")},
		{"/bin/true; /bin/true", shell("/bin/true; /bin/true")},
		{"/bin/true > /dev/null", shell("/bin/true > /dev/null")},
		{"/bin/echo $HOME", shell("/bin/echo $HOME")},
	} {
		if got := command(row.line); !slices.Equal(got, row.want) {
			t.Errorf("%s runs %q, want %q", row.line, got, row.want)
		}
	}
}

// FuzzSplit: no line panics, nothing is lost but quotes and spaces.
func FuzzSplit(f *testing.F) {
	f.Add("a 'b c' \"d\"")
	f.Add("'")
	f.Fuzz(func(t *testing.T, line string) {
		strip := func(s string) string {
			return strings.NewReplacer("'", "", `"`, "", " ", "", "\t", "").Replace(strings.ToValidUTF8(s, "\uFFFD"))
		}
		if got := strip(strings.Join(split(line), "")); strings.ToValidUTF8(line, "\uFFFD") == line && got != strip(line) {
			t.Errorf("%q is split into %q", line, split(line))
		}
	})
}

// TestScriptSecurity: a script that others than root may change is refused where the file asks for
// that, unless it runs as another user.
func TestScriptSecurity(t *testing.T) {
	dir := t.TempDir()
	for at := dir; at != "/"; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err != nil || info.Mode().Perm()&0o022 != 0 && info.Mode()&os.ModeSticky == 0 {
			t.Fatalf("%s is for all to write: this test proves nothing (%v)", at, err)
		}
	}
	path := filepath.Join(dir, "script")
	for _, row := range []struct {
		name     string
		mode     os.FileMode
		security bool
		user     string
		well     bool
	}{
		{"root's own", 0o755, true, "", true},
		{"everybody's", 0o777, true, "", false},
		{"everybody's, and nobody asks", 0o777, false, "", true},
		{"everybody's, as nobody", 0o777, true, "nobody", true},
		{"of a user that is not there", 0o755, false, "no-such-user", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, row.mode); err != nil {
				t.Fatal(err)
			}
			c := &checks{global: keepalivedconf.Global{ScriptSecurity: row.security}}
			err := c.runnable(&keepalivedconf.Script{Command: path + " a", User: row.user})
			if (err == nil) != row.well {
				t.Errorf("%v", err)
			}
		})
	}
}

package vrrp

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/internal/config/keepalivedconf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestParse: lines of the notify FIFO, as stock keepalived 2.2 writes them.
func TestParse(t *testing.T) {
	for _, row := range []struct {
		line, instance string
		state          State
	}{
		{`INSTANCE "VI_1" MASTER 100`, "VI_1", Master},
		{`INSTANCE "VI_1" BACKUP 100`, "VI_1", Backup},
		{`INSTANCE "VI_1" FAULT 100`, "VI_1", Fault},
		{`INSTANCE "VI_1" STOP 100`, "VI_1", Stopped},
		{`INSTANCE "VI_1" DELETED 100`, "VI_1", Stopped},
		{`INSTANCE "a "b" c" MASTER 1`, `a "b" c`, Master},
		{`INSTANCE "VI_1" MASTER_PRIO 90`, "", ""},
		{`INSTANCE "VI_1" MASTER_RX_LOWER_PRI 90`, "", ""},
		{`GROUP "VG_1" MASTER 0`, "", ""},
		{`INSTANCE "VI_1"`, "", ""},
		{`INSTANCE VI_1 MASTER`, "", ""},
		{``, "", ""},
	} {
		instance, state, ok := parse(row.line)
		if instance != row.instance || state != row.state || ok != (row.state != "") {
			t.Errorf("%s: %q %q %v", row.line, instance, state, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`INSTANCE "VI_1" MASTER 100`)
	f.Fuzz(func(t *testing.T, line string) {
		if instance, state, ok := parse(line); !ok && (instance != "" || state != "") {
			t.Errorf("%q is nothing, and %q %q", line, instance, state)
		}
	})
}

// told notes what a program tells.
type told struct {
	mu    sync.Mutex
	lines []string
	log   bytes.Buffer
}

func (o *told) add(instance string, s State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, instance+" "+string(s))
}

// Write implements [io.Writer], for the log.
func (o *told) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log.Write(p)
}

func (o *told) says(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Contains(o.log.String(), text)
}

func (o *told) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, ", ")
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// actor is a program that plays stock keepalived: it writes what the file "act" holds into the
// FIFO, tells that it was told to read its file again, and dies when "die" is there.
const actor = `#!/bin/sh
for a; do case $a in --use-file=*) f=${a#--use-file=};; esac; done
fifo=$(sed -n 's/.*notify_fifo "\(.*\)"/\1/p' "$f")
trap 'again=1' HUP
trap 'echo "says goodbye" >&2; exit 0' TERM
cat "%[1]s/act" > "$fifo"
echo "Fri Nov 27 20:35:23 2026: begins" >&2
while [ ! -e "%[1]s/die" ]; do
	if [ "$again" ]; then again=; echo "reads again" >&2; cat "%[1]s/act" > "$fifo"; fi
	sleep 0.02
done
rm "%[1]s/die"
exit 7
`

func conf(t *testing.T, priority int) *keepalivedconf.Config {
	t.Helper()
	c, _, err := keepalivedconf.ParseBytes("k", fmt.Appendf(nil, "vrrp_instance VI_1 {\n interface dpdk0.kni\n dpdk_interface dpdk0\n priority %d\n authentication {\n auth_pass secret\n }\n virtual_ipaddress {\n 10.0.0.1\n }\n}\n", priority), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestProgram: it is started with a file of its own that nobody else may read, what it says is
// told, it is told to read again, started again when it dies, and leaves nothing behind.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "actor")
	act := func(lines string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "act"), []byte(lines), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	act("INSTANCE \"VI_1\" BACKUP 100\nINSTANCE \"VI_1\" MASTER 100\n")
	if err := os.WriteFile(path, fmt.Appendf(nil, actor, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	o := &told{}
	run := filepath.Join(dir, "run")
	p, err := Start(Options{Path: path, Dir: run, Log: slog.New(slog.NewTextHandler(o, nil)), Told: o.add}, conf(t, 100))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is master", func() bool { return o.all() == "VI_1 BACKUP, VI_1 MASTER" })
	info, err := os.Stat(filepath.Join(run, "keepalived.conf"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its file: %v, %v", info, err)
	}
	eventually(t, "its log is ours, without dates", func() bool { return o.says(`"vrrp: begins"`) })
	act("INSTANCE \"VI_1\" BACKUP 90\n")
	if err := p.Reload(conf(t, 90)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it reads again", func() bool { return strings.HasSuffix(o.all(), "VI_1 MASTER, VI_1 BACKUP") })
	text, err := os.ReadFile(filepath.Join(run, "keepalived.conf"))
	if err != nil || !strings.Contains(string(text), "priority 90") || !strings.Contains(string(text), "vrrp_notify_fifo \""+run) {
		t.Errorf("its file is\n%s(%v)", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "die"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is dead, and its instances are at fault", func() bool { return strings.Contains(o.all(), "BACKUP,  FAULT") })
	eventually(t, "the log tells of it", func() bool { return o.says("is started again in 1s") })
	eventually(t, "it lives again", func() bool { return strings.HasSuffix(o.all(), " FAULT, VI_1 BACKUP") })
	p.Stop()
	if !strings.HasSuffix(o.all(), ",  STOP") || !o.says("says goodbye") {
		t.Errorf("in the end it told %s", o.all())
	}
	if _, err := os.Stat(run); !os.IsNotExist(err) {
		t.Errorf("its directory is left: %v", err)
	}
}

// TestOwnFIFO: a file that has one of the FIFOs for itself leaves the other to us.
func TestOwnFIFO(t *testing.T) {
	for own, ours := range map[string]string{"vrrp_notify_fifo": "notify_fifo", "notify_fifo": "vrrp_notify_fifo", "router_id": "vrrp_notify_fifo"} {
		c, _, err := keepalivedconf.ParseBytes("k", []byte("global_defs {\n "+own+" /run/mine\n}\nvrrp_instance A {\n interface lo\n}\n"), "")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := c.WriteStockFor(&b, "/run/ours"); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "    "+ours+" \"/run/ours\"\n") || !strings.Contains(b.String(), own+" /run/mine") {
			t.Errorf("%s: the file is\n%s", own, &b)
		}
	}
	if _, _, err := keepalivedconf.ParseBytes("k", []byte("global_defs {\n notify_fifo a\n vrrp_notify_fifo b\n}\n"), ""); err == nil || !strings.Contains(err.Error(), "k:3:") {
		t.Errorf("both: %v", err)
	}
}

package rsagent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// refusal starts an agent that shall be refused and returns what it says.
func (b *bed) refusal(t *testing.T, o Options) string {
	t.Helper()
	p := b.tryAgent(t, o, lacks{}, nil)
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := p.Wait(ctx); err == nil || p.ExitCode() != 1 {
		t.Errorf("the agent ended with %v", err)
	}
	for l := range p.lines {
		if s, ok := strings.CutPrefix(l, "agent: "); ok {
			return s
		}
	}
	t.Errorf("the agent gave no reason; it said:\n%s", p.text())
	return ""
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, b *bed)
		o     func(o *Options)
		want  string // %s is the pin folder
		kept  bool   // what was there stays
	}{
		{
			"a second agent", func(t *testing.T, b *bed) { b.agent(t, b.options(), lacks{}) }, nil,
			"an agent runs already with the pins in %s: one is enough; end it first", true,
		},
		{"another layout", func(t *testing.T, b *bed) {
			b.agent(t, b.options(), lacks{}).end(t, syscall.SIGTERM)
			b.rewrite(t, func(r *record) { r.Layout, r.Version = layout+1, "9.9" })
		}, nil, fmt.Sprintf("%%s holds maps of layout %d, made by weir-rs 9.9, and this one has layout %d: end the agent and run `weir-rs stop', then start this one; "+
			"connections and UDP flows of before then show the director's address", layout+1, layout), true},
		{
			"another size", func(t *testing.T, b *bed) {
				b.agent(t, b.options(withUOA(Getsockopt)), lacks{}).end(t, syscall.SIGTERM)
			},
			func(o *Options) { o.UOA, o.Entries = Transparent, 2048 },
			"--uoa-entries 2048: the tables that are pinned in %s have room for 1024, which can't be changed while they are in use: " +
				"keep that number, or run `weir-rs stop' first (UDP clients known are forgotten)", true,
		},
		{"pins without record", func(t *testing.T, b *bed) {
			b.agent(t, b.options(), lacks{}).end(t, syscall.SIGTERM)
			if err := os.Remove(filepath.Join(b.pin, "record")); err != nil {
				t.Fatal(err)
			}
		}, nil, "%[1]s has pins, but no record of whose they are: `weir-rs stop --pin %[1]s' removes them, or name another folder with --pin", true},
		{
			"no cgroup", nil, func(o *Options) { o.Cgroup = "/sys/fs/cgroup/unified/weir-rs-is-not-here" },
			"cgroup /sys/fs/cgroup/unified/weir-rs-is-not-here: no such file or directory", false,
		},
		{
			"not cgroup v2", nil, func(o *Options) { o.Cgroup = "/tmp" },
			"/tmp is no folder of cgroup v2: `findmnt -t cgroup2' says where those are", false,
		},
		{
			"no bpffs", nil, func(o *Options) { o.PinDir = "/tmp/weir-rs" },
			"/tmp is no bpffs, which is where programs are pinned: `mount -t bpf bpffs /sys/fs/bpf' as root, or name a folder of a bpffs with --pin", false,
		},
		{"nobody is trusted", nil, func(o *Options) { o.Trust = nil }, ErrNoTrust.Error(), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			if tt.setup != nil {
				tt.setup(t, b)
			}
			o := b.options()
			if tt.o != nil {
				tt.o(&o)
			}
			want := tt.want
			if strings.Contains(want, "%") {
				want = fmt.Sprintf(want, b.pin)
			}
			if got := b.refusal(t, o); got != want {
				t.Errorf("the agent says\n%q, want\n%q", got, want)
			}
			names, err := pins(b.links())
			if err != nil {
				t.Fatal(err)
			}
			if (len(names) > 0) != tt.kept {
				t.Errorf("hooks that are pinned: %v", names)
			}
			if _, err := os.Stat(b.pin); !tt.kept && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder of pins is there: %v", err)
			}
		})
	}
}

func (b *bed) links() string { return (&pinDir{path: b.pin}).links() }

// rewrite changes the record, as another version would have written it.
func (b *bed) rewrite(t *testing.T, change func(*record)) {
	t.Helper()
	r, err := openRecord(&pinDir{path: b.pin})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rec, err := r.read()
	if err != nil {
		t.Fatal(err)
	}
	change(rec)
	if err := r.write(rec); err != nil {
		t.Fatal(err)
	}
}

// TestADamagedRecordIsSaid, and stop removes all the same.
func TestADamagedRecordIsSaid(t *testing.T) {
	b := newBed(t)
	b.agent(t, b.options(), lacks{}).end(t, syscall.SIGTERM)
	r, err := openRecord(&pinDir{path: b.pin})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.m.Put(uint32(0), append([]byte("{"), make([]byte, recordSize-1)...)); err != nil {
		t.Fatal(err)
	}
	if got := b.refusal(t, b.options()); !strings.Contains(got, "the record of the last start is damaged") {
		t.Errorf("the agent says %q", got)
	}
	if err := b.rs.Do(func() error { return Stop(b.pin) }); err != nil {
		t.Error(err)
	}
}

// TestAFirstStartThatFailsLeavesNothing, in a folder that was made for it: the
// device filter that it wants is another's place.
func TestAFirstStartThatFailsLeavesNothing(t *testing.T) {
	b := newBed(t)
	b.run(t, "tc", "qdisc", "add", "dev", "lan0", "clsact")
	b.run(t, "tc", "filter", "add", "dev", "lan0", "ingress", "prio", "1", "protocol", "ip", "u32", "match", "u32", "0", "0", "classid", "1:1")
	before := b.run(t, "tc", "filter", "show", "dev", "lan0", "ingress")
	if err := os.Mkdir(b.pin, 0o700); err != nil {
		t.Fatal(err)
	}
	p := b.tryAgent(t, b.options(withUOA(Getsockopt)), lacks{TCX: true}, nil)
	if got := p.line(t, "agent:"); !strings.Contains(got, "translate the option protocol on lan0: filter of priority 1: ") {
		t.Errorf("the agent says %q", got)
	}
	<-p.Done()
	entries, err := os.ReadDir(b.pin)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in the folder: %v (%v)", entries, err)
	}
	if after := b.run(t, "tc", "filter", "show", "dev", "lan0", "ingress"); after != before {
		t.Errorf("filters were %q and are %q", before, after)
	}
}

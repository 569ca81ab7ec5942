package pinned

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/testkit/netns"
)

// placeRole in the environment makes the test's program one that finds its place, says
// where that is, and what it found there, and leaves a word.
const placeRole = "WEIR_PINNED_PLACE"

func TestMain(m *testing.M) {
	if word := os.Getenv(placeRole); word != "" {
		if err := findPlace(word); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func findPlace(word string) error {
	_, there := Placed("/run/some_where/weir.1.sock")
	path, err := Place("/run/some_where/weir.1.sock")
	if err != nil {
		return err
	}
	d, err := Open(path)
	if err != nil {
		return err
	}
	was, err := d.Read("word")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fmt.Printf("%s %v %s\n", path, there, was)
	return d.Write("word", []byte(word))
}

func bpf(t *testing.T) string {
	t.Helper()
	w, err := netns.New("weir-pinned")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	dir, err := w.Pins("pins")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Who runs under `ip netns exec`, behind a /sys of his own, and who does not, meet in one
// place, whoever came first; the first mounts it.
func TestPlace(t *testing.T) {
	const behind = "unshare -m -n sh -c 'mount -t sysfs none /sys && exec \"$0\"' \"$0\""
	const there, hidden = "/sys/fs/bpf/weir/run_some__where_weir-1", "/proc/1/root/sys/fs/bpf/weir/run_some__where_weir-1"
	for _, row := range []struct{ name, script, says string }{
		{"behind /sys first", behind + `; WEIR_PINNED_PLACE=two "$0"; ` + behind, hidden + " false \n" + there + " true one\n" + hidden + " true two\n"},
		{"not behind first", `"$0"; WEIR_PINNED_PLACE=two ` + behind + `; "$0"`, there + " false \n" + hidden + " true one\n" + there + " true two\n"},
	} {
		// A machine of its own: process 1 is the shell, and mounts are its own.
		cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", "umount -q /sys/fs/bpf; "+row.script, os.Args[0])
		cmd.Env = append(os.Environ(), placeRole+"=one")
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != row.says {
			t.Errorf("%s: %v\n%s\nwant\n%s", row.name, err, out, row.says)
		}
	}
}

func TestDir(t *testing.T) {
	top := bpf(t)
	path := filepath.Join(top, "one")
	if _, err := Find(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("find nothing: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "is no bpffs") {
		t.Errorf("no bpffs: %v", err)
	}
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrHeld) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := Find(path); !errors.Is(err, ErrHeld) {
		t.Errorf("a second one finds: %v", err)
	}
	other, err := Open(filepath.Join(top, "two"))
	if err != nil {
		t.Errorf("another director: %v", err)
	}
	_ = other.Close()

	m, err := d.Array("numbers-1", 10, 24)
	if err != nil || m.Found {
		t.Fatalf("%+v, %v", m, err)
	}
	copy(m.Bytes[7*24:], "seven")
	m.Close()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Find(path); err != nil {
		t.Fatal(err)
	}
	if m, err = d.Array("numbers-1", 10, 24); err != nil || !m.Found || string(m.Bytes[7*24:7*24+5]) != "seven" {
		t.Errorf("it is lost: %v %v", m.Found, err)
	}
	var sizes *Sizes
	for _, other := range [][2]int{{11, 24}, {10, 32}} {
		if _, err := d.Array("numbers-1", other[0], other[1]); !errors.As(err, &sizes) || sizes.Entries != 10 || sizes.Size != 24 {
			t.Errorf("other sizes: %v", err)
		}
	}
	if names, err := d.Names("numbers-"); err != nil || len(names) != 1 {
		t.Errorf("names %v, %v", names, err)
	}

	// A record is replaced as a whole, by a longer one too.
	if _, err := d.Read("word"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no record: %v", err)
	}
	for _, n := range []int{0, 3, recordPage - 8, recordPage - 7, 3 << 20, 5} {
		text := bytes.Repeat([]byte{'x', byte(n)}, n/2+1)[:n]
		if err := d.Write("word", text); err != nil {
			t.Fatal(n, err)
		}
		if got, err := d.Read("word"); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
	}
	if _, err := d.Read("numbers-1"); err == nil {
		t.Error("an array is read as a record")
	}

	if err := d.Clear(); err != nil {
		t.Error(err)
	}
	if names, _ := d.Names(""); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	copy(m.Bytes, "still mapped")
	m.Close()
	if err := d.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

// Nobody's folder keeps nothing, and all work with it.
func TestNoDir(t *testing.T) {
	var d *Dir
	m, err := d.Array("x", 100, 64)
	if err != nil || m.Map != nil || m.Found || len(m.Bytes) < 6400 {
		t.Errorf("%+v, %v", m, err)
	}
	m.Close()
	if _, err := d.Read("x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	names, err := d.Names("")
	if err := errors.Join(err, d.Write("x", nil), d.Unpin("x"), d.Clear(), d.Close()); err != nil || len(names) != 0 || d.Path() != "" {
		t.Error(err, names)
	}
}

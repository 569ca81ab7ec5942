package dpvsconf

import (
	"os"
	"testing"
)

// FuzzParseBytes holds that no file makes the parser panic, that a config comes
// exactly when there is no error, and that what is accepted can be run.
func FuzzParseBytes(f *testing.F) {
	for _, name := range []string{"testdata/whole.conf", "../../../conf/dpvs.conf.sample", "../../../conf/dpvs.conf.single-nic.sample"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(quick))
	f.Add([]byte(both + "}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, _, err := ParseBytes("conf", text)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		if err != nil {
			return
		}
		checkRunnable(t, c)
		again, _, err := ParseBytes("conf", text)
		if err != nil {
			t.Fatalf("second reading: %v", err)
		}
		if d := Diff(c, again); len(d) > 0 {
			t.Fatalf("two readings differ: %q", d)
		}
	})
}

// checkRunnable holds what the director relies on.
func checkRunnable(t *testing.T, c *Config) {
	t.Helper()
	b := &c.Boot
	devices := make(map[string]bool)
	for _, d := range b.Devices {
		if d.Name == "" || devices[d.Name] || d.Interface == "" || d.RxDesc < 16 || d.TxDesc < 16 {
			t.Fatalf("device %+v", d)
		}
		devices[d.Name] = true
	}
	if len(b.Devices) == 0 || len(b.Devices) > maxDevices {
		t.Fatalf("%d devices", len(b.Devices))
	}
	masters := 0
	cpus := make(map[int]bool)
	for _, w := range b.Workers {
		if w.CPU < 0 || cpus[w.CPU] || (w.Type == typeSlave) != (len(w.Ports) > 0) {
			t.Fatalf("worker %+v", w)
		}
		cpus[w.CPU] = true
		if w.Type == typeMaster {
			masters++
		}
		for _, p := range w.Ports {
			if !devices[p.Port] {
				t.Fatalf("worker %s serves %s", w.Name, p.Port)
			}
		}
	}
	if masters != 1 || len(b.Workers) < 2 {
		t.Fatalf("%d masters of %d workers", masters, len(b.Workers))
	}
	if b.ConnPool < minConnPool || b.ConnPool > maxConnPool || b.ConnPool6 < 0 || b.ConnPool6 > b.ConnPool || b.PktPool < minPktPool || b.PktPool > capPktPool || b.NeighQueue < minNeighQueue {
		t.Fatalf("sizes %+v", b)
	}
	if first, last := b.LocalPorts(); first == 0 || last < first {
		t.Fatalf("local ports %d-%d", first, last)
	}
	if o := &c.Tunables; o.DefaultTTL == 0 || o.NeighTimeout == 0 || o.Timeouts.TCP.Established == 0 || o.Timeouts.UDP.OneWay == 0 {
		t.Fatalf("tunables %+v", o)
	}
}

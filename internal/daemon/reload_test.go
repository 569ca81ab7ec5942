package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/config/dpvsconf"
	"weir/internal/worker"
)

// conf is a dpvs.conf.
func conf(global, netif, ipv4 string) string {
	return "global_defs {\n" + global + "\n}\nnetif_defs {\n<init> pktpool_size 16384\n<init> device dpdk0 {\n}\n" + netif + "\n}\n" +
		"worker_defs {\n<init> worker cpu0 {\ntype master\ncpu_id 0\n}\n<init> worker cpu1 {\ntype slave\ncpu_id 1\nport dpdk0 {\n}\n}\n}\nipv4_defs {\n" + ipv4 + "\n}\n"
}

// A reload puts in force what can be, and names what needs a restart, each time.
func TestReload(t *testing.T) {
	m := newDaemon(t, false, conf("log_level INFO", "", "default_ttl 64"))
	if got := m.ttl(); got != "64" {
		t.Fatalf("ttl %s", got)
	}
	m.write(strings.Replace(conf("log_level INFO\nbusy_poll on\nnice 3\nlog_with_timestamp on", "<init> device dpdk1 {\n}", "default_ttl 33\n}\nipvs_defs {\nudp {\nuoa_max_trail 7\n}"), "16384", "32768", 1))
	boot := m.conf.Boot
	for round := range 3 {
		m.said.take()
		reload(m.d, m.conf, m.log, m.path)
		said := m.said.take()
		for _, what := range []string{"busy_poll", "nice", "log_with_timestamp", "pktpool_size", "device dpdk1 (added)"} {
			if strings.Count(said, "reload: "+what+": needs a restart; the running value stays") != 1 {
				t.Errorf("round %d: %s is not named once in\n%s", round, what, said)
			}
		}
		if !strings.Contains(said, "reload: done") || m.ttl() != "33" || m.conf.Tunables.UOATrail != 7 {
			t.Errorf("round %d: ttl %s, uoa_max_trail %d; it said\n%s", round, m.ttl(), m.conf.Tunables.UOATrail, said)
		}
	}
	if m.conf.Boot.PktPool != boot.PktPool || len(m.conf.Boot.Devices) != len(boot.Devices) || m.conf.Tunables.BusyPoll || m.conf.Tunables.Nice != dpvsconf.DefaultNice || m.conf.Tunables.LogTimestamp {
		t.Error("what needs a restart is taken for running")
	}
	m.write(conf("log_level ERR", "", "default_ttl 44"))
	reload(m.d, m.conf, m.log, m.path)
	if said := m.said.take(); strings.Contains(said, "restart") || strings.Contains(said, "done") || m.ttl() != "44" {
		t.Errorf("back to what runs, with log_level ERR: ttl %s; it said\n%s", m.ttl(), said)
	}
}

// A refused reload says why and changes nothing: no setting, no log.
func TestRefusedReload(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"wrong value":          conf("log_level INFO", "", "default_ttl 300"),
		"unknown level":        conf("log_level LOUD", "", "default_ttl 33"),
		"no block end":         conf("log_level ERR", "", "default_ttl 33") + "global_defs {",
		"log file can't be":    conf("log_level ERR\nlog_file "+filepath.Join(dir, "none", "log"), "", "default_ttl 33"),
		"log file is a folder": conf("log_level ERR\nlog_file "+dir, "", "default_ttl 33"),
	} {
		t.Run(name, func(t *testing.T) {
			m := newDaemon(t, false, conf("log_level INFO", "", "default_ttl 64"))
			before := m.conf.Tunables
			m.write(text)
			reload(m.d, m.conf, m.log, m.path)
			if said := m.said.take(); !strings.Contains(said, "nothing has changed") || strings.Contains(said, "done") {
				t.Errorf("it said\n%s", said)
			}
			if got := m.ttl(); got != "64" || m.conf.Tunables != before {
				t.Errorf("the ttl is %s, the settings %+v", got, m.conf.Tunables)
			}
			m.log.Info("still here")
			if !strings.Contains(m.said.take(), "still here") {
				t.Error("the log changed")
			}
		})
	}
	m := newDaemon(t, false, conf("log_level INFO", "", ""))
	if err := os.Remove(m.path); err != nil {
		t.Fatal(err)
	}
	reload(m.d, m.conf, m.log, m.path)
	if said := m.said.take(); !strings.Contains(said, "nothing has changed") {
		t.Errorf("without a file it said\n%s", said)
	}
}

// A reload that the director refuses leaves the log too, and no file open.
func TestReloadRefusedByDirector(t *testing.T) {
	m := newDaemon(t, false, conf("log_level INFO", "", "default_ttl 64"))
	path := filepath.Join(t.TempDir(), "log")
	m.write(conf("log_level ERR\nlog_file "+path, "", "default_ttl 33"))
	m.d.Spec().Services = append(m.d.Spec().Services, brokenService)
	reload(m.d, m.conf, m.log, m.path)
	m.d.Spec().Services = nil
	if said := m.said.take(); !strings.Contains(said, "refused and nothing has changed") {
		t.Errorf("it said\n%s", said)
	}
	m.log.Info("still here")
	if !strings.Contains(m.said.take(), "still here") || read(t, path) != "" || m.ttl() != "64" {
		t.Error("the log or a setting changed")
	}
}

// The watchdog hears of a director whose every worker breathes, and of no other.
func TestWatchdog(t *testing.T) {
	path, said := notified(t)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000")
	m := newDaemon(t, true, conf("log_level INFO", "", ""))
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- wait(ctx, m.d, m.conf, m.log, m.path, nil, nil) }()
	next(t, said, "WATCHDOG=1")
	next(t, said, "WATCHDOG=1")

	hung, goOn := make(chan struct{}), make(chan struct{})
	go func() {
		_ = m.d.Lanes()[0].Do(context.Background(), func(*worker.Worker) { close(hung); <-goOn })
	}()
	<-hung
	after := 0
	for told := ""; !strings.Contains(told, "worker cpu1 does not answer"); told += m.said.take() {
		for len(said) > 0 {
			if <-said == "WATCHDOG=1" {
				after++
			}
		}
	}
	if after > 2 { // those that were on their way
		t.Errorf("%d signs of life while a worker hangs", after)
	}
	close(goOn)
	next(t, said, "WATCHDOG=1")
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

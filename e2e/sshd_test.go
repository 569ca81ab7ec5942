package e2e

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"weir/internal/testkit/netns"
)

// sshdConf is a server for this test alone: nobody's keys but its own.
const sshdConf = `Port 22
ListenAddress 172.10.0.2
ListenAddress 2001:db8:172::2
HostKey %[1]s/host
AuthorizedKeysFile %[1]s/user.pub
PidFile %[1]s/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
`

// sshd starts the distribution's sshd in the director's namespace, and returns how a
// client has to call scp.
func (d *director) sshd(addresses ...string) (scp []string) {
	d.t.Helper()
	// As Debian's unit does.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		d.t.Fatal(err)
	}
	for _, key := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", d.path(key)).CombinedOutput(); err != nil {
			d.t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	host, err := os.ReadFile(d.path("host.pub"))
	if err != nil {
		d.t.Fatal(err)
	}
	var known bytes.Buffer
	for _, a := range addresses {
		fmt.Fprintf(&known, "%s %s", a, host)
	}
	for name, text := range map[string]string{"known": known.String(), "sshd_config": fmt.Sprintf(sshdConf, d.dir)} {
		if err := os.WriteFile(d.path(name), []byte(text), 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	d.start(d.net.Director, "/usr/sbin/sshd", "-D", "-e", "-f", d.path("sshd_config"))
	d.listening(d.net.Director, "172.10.0.2:22")
	return []string{"scp", "-q", "-F", "none", "-i", d.path("user"), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + d.path("known")}
}

// answersOnce pings an address until done, and returns how many of the pings were
// answered. None may be answered twice; some are lost where two streams fill the way.
func (d *director) answersOnce(from *netns.Namespace, to string, done <-chan struct{}) (sent, answered int) {
	d.t.Helper()
	for {
		out, _ := from.Run(within(d.t, patience), "ping", "-c", "10", "-i", "0.1", "-W", "1", to)
		if m := pinged.FindStringSubmatch(out); m == nil || m[3] != "" {
			d.t.Errorf("%s pings %s: want no duplicates\n%s", from.Name(), to, out)
		} else {
			n, _ := strconv.Atoi(m[2])
			sent, answered = sent+10, answered+n
		}
		select {
		case <-done:
			return sent, answered
		default:
		}
	}
}

var pinged = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received(, \+\d+ duplicates)?`)

// TestSSHD: stock sshd on a twin's addresses. 100 MB come and 100 MB go, one by each
// family, while the director forwards all that it can; and whoever is pinged answers
// once. It is not run beside others: it takes all of the machine.
func TestSSHD(t *testing.T) {
	s := newSwitched(t, drivers[0])
	d := s.directors[0]
	d.script(ospfTutorial)
	d.linux(ospfLinux + "ip addr add 2001:db8:172::2/126 dev dpdk1.kni nodad\nip route add default via 2001:db8:172::1 dev dpdk1.kni\n")
	s.run(s.l3, "ip route add 123.1.2.3/32 via 172.10.0.2")
	scp := d.sshd("172.10.0.2", "2001:db8:172::2")

	const n = 100 << 20
	content := make([]byte, n)
	rng := rand.New(rand.NewSource(1)) // not compressible
	rng.Read(content)
	if err := os.WriteFile(d.path("here"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	load := s.steady("123.1.2.3:80", 4, "kept")
	fresh := s.steady("123.1.2.3:80", 2, "new")
	var copies, pings sync.WaitGroup
	done := make(chan struct{})
	for _, pair := range [][2]string{
		{d.path("here"), "root@172.10.0.2:" + d.path("there")},
		{"root@[2001:db8:172::2]:" + d.path("here"), d.path("back")},
	} {
		copies.Go(func() {
			if out, err := s.client().Run(within(t, 2*patience), scp[0], append(scp[1:len(scp):len(scp)], pair[0], pair[1])...); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	pinged := []struct {
		from *netns.Namespace
		to   string
	}{
		{s.client(), "172.10.0.2"}, {s.client(), "123.1.2.3"}, {s.client(), "2001:db8:172::2"}, {s.l3, "172.10.0.2"},
		{s.rs(1), "192.168.100.200"}, {s.rs(2), "192.168.100.201"},
	}
	for _, p := range pinged {
		pings.Go(func() {
			sent, answered := d.answersOnce(p.from, p.to, done)
			t.Logf("%s pinged %s: %d of %d answered", p.from.Name(), p.to, answered, sent)
			if 2*answered < sent {
				t.Errorf("%s pinged %s: only %d of %d were answered", p.from.Name(), p.to, answered, sent)
			}
		})
	}
	copies.Wait()
	close(done)
	pings.Wait()
	for _, name := range []string{"there", "back"} {
		got, err := os.ReadFile(d.path(name))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes arrived, not what was sent: %v", name, len(got), err)
		}
	}
	load.unharmed()
	fresh.unharmed()
	for _, p := range pinged {
		pings.Go(func() { d.once(p.from, p.to) })
	}
	pings.Wait()
}

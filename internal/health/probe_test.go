package health

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const timedOut = "i/o timeout"

func TestTCP(t *testing.T) {
	inBoth(t, func(t *testing.T, addr string) {
		expect(t, TCP{Way{To: listen(t, addr, silent), Timeout: patient}}, "")
		expect(t, TCP{Way{To: closed(t, "tcp", addr), Timeout: patient}}, "connection refused")
		expect(t, TCP{Way{To: full(t, addr), Timeout: hasty}}, timedOut)
	})
}

// full is a server whose queue of connections is full: Linux says nothing to a SYN.
func full(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	must(t, err)
	t.Cleanup(func() { l.Close() })
	raw, err := l.(*net.TCPListener).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }))
	must(t, err)
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestSMTP(t *testing.T) {
	script := func(replies ...string) behaviour {
		return func(c *net.TCPConn) {
			b := make([]byte, 200)
			for i, r := range replies {
				if i > 0 {
					if n, err := c.Read(b); err != nil || i == 1 && !strings.HasPrefix(string(b[:n]), "HELO me\r\n") {
						return
					}
				}
				if _, err := c.Write([]byte(r)); err != nil {
					return
				}
			}
			silent(c)
		}
	}
	inBoth(t, func(t *testing.T, addr string) {
		for _, tc := range []struct {
			name    string
			server  behaviour
			timeout time.Duration
			want    string
		}{
			{"well", script("220 here\r\n", "250 you\r\n", "221 bye\r\n"), patient, ""},
			{"in several lines", script("220-here\r\n220 I am\r\n", "250 you\r\n", "221 bye\r\n"), patient, ""},
			{"greets with a refusal", script("554 no\r\n"), patient, `greeting: 554 "no"`},
			{"does not like us", script("220 here\r\n", "550 not you\r\n"), patient, "HELO me: 550"},
			{"does not let go", script("220 here\r\n", "250 you\r\n", "500 what\r\n"), patient, "QUIT: 500"},
			{"goes after the greeting", func(c *net.TCPConn) { _, _ = c.Write([]byte("220 here\r\n")) }, patient, "HELO me"},
			{"another protocol", script("HTTP/1.0 400 what\r\n"), patient, "greeting"},
			{"RST", resets, patient, "reset by peer"},
			{"silence", silent, hasty, timedOut},
			{"a line without end", drips("220"), hasty, "short response"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				expect(t, SMTP{Way{To: listen(t, addr, tc.server), Timeout: tc.timeout}, "me"}, tc.want)
			})
		}
		expect(t, SMTP{Way: Way{To: closed(t, "tcp", addr), Timeout: patient}}, "connection refused")
	})
}

func TestUDP(t *testing.T) {
	answers := func(s ...string) func([]byte) [][]byte {
		return func(q []byte) (all [][]byte) {
			if string(q) != "ask" {
				return [][]byte{[]byte("WHAT")}
			}
			for _, a := range s {
				all = append(all, []byte(a))
			}
			return all
		}
	}
	inBoth(t, func(t *testing.T, addr string) {
		for _, tc := range []struct {
			name    string
			udp     UDP
			answers []string
			want    string
		}{
			{"silence is well", UDP{Way: Way{Timeout: hasty}}, nil, ""},
			{"any reply is well at once", UDP{}, []string{"x"}, ""},
			{"silence where a reply is required", UDP{Way: Way{Timeout: hasty}, RequireReply: true}, nil, timedOut},
			{"any reply required", UDP{RequireReply: true}, []string{"x"}, ""},
			{"the right one", UDP{RequireReply: true, Reply: []byte("abc")}, []string{"abc"}, ""},
			{"the wrong one", UDP{RequireReply: true, Reply: []byte("abc")}, []string{"abd"}, "byte 2"},
			{"it begins right", UDP{RequireReply: true, Reply: []byte("abc")}, []string{"abcdef"}, ""},
			{"a short one counts as far as it goes", UDP{RequireReply: true, Reply: []byte("abc")}, []string{"ab"}, ""},
			{"shorter than allowed", UDP{RequireReply: true, Reply: []byte("abc"), MinReply: 3}, []string{"ab"}, "has 2 bytes"},
			{"longer than allowed", UDP{RequireReply: true, MaxReply: 4}, []string{"abcde"}, "longer than 4"},
			{"as long as allowed", UDP{RequireReply: true, MaxReply: 4}, []string{"abcd"}, ""},
			{"longer than the default", UDP{RequireReply: true}, []string{strings.Repeat("x", 256)}, "longer than 255"},
			{"as long as the default", UDP{RequireReply: true}, []string{strings.Repeat("x", 255)}, ""},
			{"masked", UDP{RequireReply: true, Reply: []byte{0x61, 0x60}, ReplyMask: []byte{0xff, 0xf0}}, []string{"am"}, ""},
			{"masked, and wrong", UDP{RequireReply: true, Reply: []byte{0x61, 0x70}, ReplyMask: []byte{0xff, 0xf0}}, []string{"am"}, "byte 1"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				tc.udp.To, tc.udp.Payload = listenUDP(t, addr, answers(tc.answers...)), []byte("ask")
				if tc.udp.Timeout == 0 {
					tc.udp.Timeout = patient
				}
				expect(t, tc.udp, tc.want)
			})
		}
		expect(t, UDP{Way: Way{To: closed(t, "udp", addr), Timeout: patient}}, "connection refused")
		expect(t, DNS{Way: Way{To: closed(t, "udp", addr), Timeout: patient}}, "connection refused")
		// Without a payload it is noise, which is not the question.
		expect(t, UDP{Way: Way{To: listenUDP(t, addr, answers()), Timeout: patient}, RequireReply: true, Reply: []byte("WHAT")}, "")
	})
}

func TestDNS(t *testing.T) {
	// reply turns a question into an answer with some code (RFC 1035, section 4.1.1).
	reply := func(q []byte, code byte) []byte {
		a := append([]byte(nil), q...)
		a[2] |= 0x80
		a[3] |= code
		return a
	}
	other := func(q []byte) []byte {
		a := reply(q, 2)
		binary.BigEndian.PutUint16(a, binary.BigEndian.Uint16(a)+1)
		return a
	}
	asked := func(q []byte) string { return string(q[12:]) }
	const soa, aaaa = "\x00\x00\x06\x00\x01", "\x07example\x03org\x00\x00\x1c\x00\x01"
	inBoth(t, func(t *testing.T, addr string) {
		for _, tc := range []struct {
			name   string
			dns    DNS
			server func(q []byte) [][]byte
			want   string
		}{
			{"well, and SOA of the root", DNS{}, func(q []byte) [][]byte {
				if asked(q) != soa {
					return [][]byte{reply(q, 1)}
				}
				return [][]byte{reply(q, 0)}
			}, ""},
			{"type and name", DNS{Type: 28, Name: "example.org"}, func(q []byte) [][]byte {
				if asked(q) != aaaa {
					return [][]byte{reply(q, 1)}
				}
				return [][]byte{reply(q, 0)}
			}, ""},
			{"server failure", DNS{}, func(q []byte) [][]byte { return [][]byte{reply(q, 2)} }, "code is 2 (ServerFailure)"},
			{"no such name", DNS{}, func(q []byte) [][]byte { return [][]byte{reply(q, 3)} }, "code is 3"},
			{"others are waited over", DNS{}, func(q []byte) [][]byte { return [][]byte{{1}, other(q), q, reply(q, 0)} }, ""},
			{"only others", DNS{Way: Way{Timeout: hasty}}, func(q []byte) [][]byte { return [][]byte{{1}, other(q), q} }, timedOut},
			{"silence", DNS{Way: Way{Timeout: hasty}}, func([]byte) [][]byte { return nil }, timedOut},
			{"a name that is too long", DNS{Name: strings.Repeat("a", 300)}, func(q []byte) [][]byte { return nil }, "cannot be asked for"},
			{"an empty label", DNS{Name: "a..b"}, func(q []byte) [][]byte { return nil }, "segment"},
		} {
			t.Run(tc.name, func(t *testing.T) {
				tc.dns.To = listenUDP(t, addr, tc.server)
				if tc.dns.Timeout == 0 {
					tc.dns.Timeout = patient
				}
				expect(t, tc.dns, tc.want)
			})
		}
	})
	if n, known := DNSType("aaaa"); n != 28 || !known {
		t.Errorf("AAAA is %d", n)
	}
	if _, known := DNSType("AXFR"); known {
		t.Error("AXFR is no type of DNS_CHECK")
	}
}

func TestPing(t *testing.T) {
	inBoth(t, func(t *testing.T, addr string) {
		expect(t, Ping{Way{To: netip.AddrPortFrom(netip.MustParseAddr(addr), 0), Timeout: patient}}, "")
	})
}

func TestMisc(t *testing.T) {
	sh := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	for _, tc := range []struct {
		name   string
		misc   Misc
		want   string
		weighs bool
		weight int
	}{
		{"well", Misc{Command: sh("exit 0")}, "", false, 0},
		{"words, no shell", Misc{Command: []string{"/usr/bin/test", "a b;c", "=", "a b;c"}}, "", false, 0},
		{"not well", Misc{Command: sh("exit 1")}, "exit status 1", false, 0},
		{"another code is a failure too", Misc{Command: sh("exit 12")}, "exit status 12", false, 0},
		{"dynamic: well, weight unchanged", Misc{Command: sh("exit 0"), Dynamic: true}, "", false, 0},
		{"dynamic: not well", Misc{Command: sh("exit 1"), Dynamic: true}, "exit status 1", false, 0},
		{"dynamic: the least", Misc{Command: sh("exit 2"), Dynamic: true}, "", true, 0},
		{"dynamic: 10", Misc{Command: sh("exit 12"), Dynamic: true}, "", true, 10},
		{"dynamic: the most", Misc{Command: sh("exit 255"), Dynamic: true}, "", true, 253},
		{"killed", Misc{Command: sh("kill -9 $$"), Dynamic: true}, "was killed", false, 0},
		{"no such program", Misc{Command: []string{"/no/such/program"}}, "no such file", false, 0},
		{"as somebody else", Misc{Command: sh(`test "$(id -u)" = 65534`), Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, "", false, 0},
		{"nothing", Misc{}, "names no program", false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.misc.Timeout = patient
			expect(t, tc.misc, tc.want)
			if f := tc.misc.Probe(context.Background()); f.Weighs != tc.weighs || f.Weight != tc.weight {
				t.Errorf("weight %d (%v), want %d (%v)", f.Weight, f.Weighs, tc.weight, tc.weighs)
			}
		})
	}
}

// A program that takes too long ends, and so does what it started that ignores SIGTERM.
func TestMiscTimeout(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	script := `trap "" TERM; mkfifo ` + pidFile + `.stay; cat ` + pidFile + `.stay & echo $! > ` + pidFile + `; trap - TERM; wait`
	m := Misc{Command: []string{"/bin/sh", "-c", script}, Timeout: 2 * time.Second}
	expect(t, m, "deadline exceeded after 2s")
	pid, err := os.ReadFile(pidFile)
	must(t, err)
	stat := "/proc/" + strings.TrimSpace(string(pid)) + "/stat"
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for limit := time.Now().Add(patient); ; <-poll.C {
		// It may stay a zombie where nobody reaps orphans.
		line, err := os.ReadFile(stat)
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(line), ") Z ") {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("its child lives: %s", line)
		}
	}
}

// A check that is called off is over at once and leaves no descriptor.
func TestCalledOff(t *testing.T) {
	mute := listenUDP(t, "127.0.0.1", func([]byte) [][]byte { return nil })
	way := func(to netip.AddrPort) Way { return Way{To: to, Timeout: time.Hour} }
	for _, tc := range []struct {
		name  string
		probe Probe
	}{
		{"TCP", TCP{way(full(t, "127.0.0.1"))}},
		{"HTTP", HTTP{Way: way(listen(t, "127.0.0.1", silent)), URLs: []URL{{Path: "/"}}}},
		{"TLS", HTTP{Way: way(listen(t, "127.0.0.1", silent)), TLS: true, URLs: []URL{{Path: "/"}}}},
		{"SMTP", SMTP{Way: way(listen(t, "127.0.0.1", silent))}},
		{"UDP", UDP{Way: way(mute)}},
		{"DNS", DNS{Way: way(mute)}},
		{"Misc", Misc{Command: []string{"/bin/sleep", "1000"}, Timeout: time.Hour}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := descriptors(t)
			began := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), hasty)
			defer cancel()
			tc.probe.Probe(ctx)
			if took := time.Since(began); took < hasty || took > patient {
				t.Errorf("called off after %v, it took %v", hasty, took)
			}
			poll := time.NewTicker(time.Millisecond)
			defer poll.Stop()
			// The server's end of the connection goes when it sees that ours has gone.
			for limit := began.Add(patient); descriptors(t) > before; <-poll.C {
				if time.Now().After(limit) {
					t.Fatalf("%d descriptors, before %d", descriptors(t), before)
				}
			}
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

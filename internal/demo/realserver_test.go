package demo

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testkit/netns"
)

// roleEnv makes the test binary a real server.
const roleEnv = "WEIR_DEMO_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "rs" {
		if err := RealServer(context.Background(), os.Stdout, "rs1"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// A client joined to a real server by a cable asks it, without and with an option
// of address on the wire. A bare ACK with the option is put on the wire by hand,
// for Linux has no way to send one.
func TestRealServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w, err := netns.New("demo-test")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	client, rs := join(t, w)
	startSelf(t, rs)

	conn, err := client.Dial(ctx, "tcp", "192.168.100.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	local := conn.LocalAddr().String()
	if got, want := ask(t, conn), "I am rs1\nYour ip:port : "+local+"\nclient in TOA : none\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	inject(t, client, rs, netip.MustParseAddrPort(local).Port())
	if got, want := ask(t, conn), "I am rs1\nYour ip:port : "+local+"\nclient in TOA : 10.0.0.48:37177\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func join(t *testing.T, w *netns.World) (client, rs *netns.Namespace) {
	t.Helper()
	client, err := w.Namespace("client")
	if err == nil {
		rs, err = w.Namespace("rs1")
	}
	if err == nil {
		err = netns.Veth(netns.End{In: client, Name: "eth0"}, netns.End{In: rs, Name: "eth0"})
	}
	if err == nil {
		err = client.Address("eth0", netip.MustParsePrefix("192.168.100.200/24"))
	}
	if err == nil {
		err = rs.Address("eth0", netip.MustParsePrefix("192.168.100.2/24"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return client, rs
}

func startSelf(t *testing.T, rs *netns.Namespace) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=rs")
	cmd.Stderr = os.Stderr
	ready, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()
	cmd.Stdout = writer
	_, err = rs.Start(cmd)
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(ready).ReadString('\n'); strings.TrimSpace(line) != serverReady {
		t.Fatalf("the real server said %q, want %q", line, serverReady)
	}
}

// ask sends one request on a kept connection and returns the body.
func ask(t *testing.T, conn net.Conn) string {
	t.Helper()
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
		fmt.Sscanf(line, "Content-Length: %d", &length)
	}
	body := make([]byte, length)
	for n := 0; n < length; {
		m, err := r.Read(body[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return string(body)
}

// inject puts a segment of the connection with an option of address on the wire.
func inject(t *testing.T, client, rs *netns.Namespace, port uint16) {
	t.Helper()
	mac, err := rs.MAC("eth0")
	if err != nil {
		t.Fatal(err)
	}
	packet := segment(7, toa)
	packet[3] = byte(len(packet))
	packet[20], packet[21] = byte(port>>8), byte(port)
	err = client.Do(func() error {
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IP), Ifindex: iface.Index, Halen: 6}
		copy(to.Addr[:], mac)
		return unix.Sendto(fd, packet, 0, to)
	})
	if err != nil {
		t.Fatal(err)
	}
}

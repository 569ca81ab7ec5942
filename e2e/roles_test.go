package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"weir/internal/testkit/netns"
)

// roleEnv makes the test binary play a part inside a namespace instead of running
// tests: a load generator, a server.
const roleEnv = "WEIR_E2E_ROLE"

// play plays a role and returns the exit code. Arguments follow the role's name,
// separated by spaces; the result goes to standard output as JSON.
func play(role string) int {
	words := strings.Fields(role)
	var result any
	var err error
	switch words[0] {
	case "http-load":
		result, err = httpLoad(words[1:])
	case "tcp-touch":
		result, err = tcpTouch(words[1:])
	case "syn-flood":
		err = synFlood(words[1:])
	case "stream-server":
		err = streamServer(words[1:])
	case "stream-client":
		result, err = streamClient(words[1:])
	case "dns-load":
		result, err = dnsLoad(words[1:])
	case "peer-load":
		result, err = peerLoad(words[1:])
	case "peer-server":
		err = peerServer(words[1:])
	case "peer-udp":
		err = peerUDP(words[1:])
	case "outage":
		result, err = measureOutage(words[1:])
	case "silent-server":
		err = silentServer(words[1:])
	case "proxy-server":
		err = proxyServer()
	case "echo-server":
		err = echoServer(words[1:])
	default:
		err = fmt.Errorf("no such role: %s", role)
	}
	if err == nil && result != nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// roleCommand makes up a command that plays a role.
func roleCommand(format string, args ...any) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+fmt.Sprintf(format, args...))
	return cmd
}

// roleOf plays a role to its end in a namespace and decodes its result.
func roleOf[T any](b *bed, in *netns.Namespace, format string, args ...any) T {
	b.t.Helper()
	var out lines
	cmd := roleCommand(format, args...)
	cmd.Stdout = &out
	p := b.startCmd(in, cmd)
	if err := p.Wait(within(b.t, 4*patience)); err != nil {
		b.t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
	var result T
	if err := json.Unmarshal([]byte(out.String()), &result); err != nil {
		b.t.Fatalf("%s printed %q: %v", fmt.Sprintf(format, args...), out.String(), err)
	}
	return result
}

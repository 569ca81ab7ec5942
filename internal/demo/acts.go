package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"weir/internal/testkit/netns"
)

const picture = `   client                    director                        real servers
  ┌───────────┐        ┌───────────────────────┐         ┌────────────────────┐
  │ 10.0.0.48 ├────────┤ dpdk1           dpdk0 ├────┬────┤ rs1  192.168.100.2 │
  └───────────┘        │ VIP               LIP │    │    └────────────────────┘
                       │ 10.0.0.100:80    .200 │    │    ┌────────────────────┐
                       └───────────────────────┘    └────┤ rs2  192.168.100.3 │
                                                         └────────────────────┘
`

// network builds the namespaces.
func (s *stage) network(context.Context) error {
	s.title("The network: five namespaces, joined by veth")
	s.say("%s", picture)
	world, err := netns.NewTwoArm("weir-demo", netns.TwoArmOptions{})
	if err != nil {
		return err
	}
	s.world = world
	s.say("\nLook around while it lasts: ip netns exec %s bash\n", world.Director)
	return nil
}

// conf drives both devices with every queue they have; the workers are left to
// the defaults.
const conf = `netif_defs {
    device dpdk0 {          ! toward the real servers
        driver %[1]s
    }
    device dpdk1 {          ! toward the clients
        driver %[1]s
    }
}
`

// director starts the daemon and waits until it says that it is ready.
func (s *stage) director(ctx context.Context) error {
	s.title("The director")
	text := fmt.Sprintf(conf, s.driver)
	if err := os.WriteFile(s.path("dpvs.conf"), []byte(text), 0o644); err != nil {
		return err
	}
	s.say("$ cat dpvs.conf\n%s\n", text)
	notify, err := listenNotify(s.path("notify"))
	if err != nil {
		return err
	}
	defer func() { _ = notify.Close() }()
	log, err := os.Create(s.path("log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()

	s.say("$ ./weir serve -c dpvs.conf\n")
	cmd := exec.Command(s.weir, "serve", "-c", s.path("dpvs.conf"), "-x", s.path("weir.sock"))
	cmd.Dir = s.dir
	cmd.Env = notify.environ()
	cmd.Stdout, cmd.Stderr = log, log
	if s.daemon, err = s.world.Director.Start(cmd); err != nil {
		return err
	}
	if !notify.ready(ctx, s.daemon) {
		return fmt.Errorf("the director ended before it was ready\n%s", s.log())
	}
	return nil
}

// setup runs the tutorial's commands, word for word.
func (s *stage) setup(ctx context.Context) error {
	s.title("The tutorial's commands")
	for _, line := range []string{
		"# add VIP to WAN interface",
		"./dpip addr add 10.0.0.100/32 dev dpdk1",
		"",
		"# route for WAN/LAN access",
		"./dpip route add 10.0.0.0/16 dev dpdk1",
		"./dpip route add 192.168.100.0/24 dev dpdk0",
		"",
		"# add service <VIP:vport> to forwarding, scheduling mode is RR.",
		"./ipvsadm -A -t 10.0.0.100:80 -s rr",
		"",
		"# add two RS for service, forwarding mode is FNAT (-b)",
		"./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.2 -b",
		"./ipvsadm -a -t 10.0.0.100:80 -r 192.168.100.3 -b",
		"",
		"# add at least one Local-IP (LIP) for FNAT on LAN interface",
		"./ipvsadm --add-laddr -z 192.168.100.200 -t 10.0.0.100:80 -F dpdk0",
	} {
		if line == "" || line[0] == '#' {
			s.say("%s\n", line)
			continue
		}
		if err := s.command(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// look shows what was set.
func (s *stage) look(ctx context.Context) error {
	s.title("What was set")
	for i, line := range []string{"./dpip addr show", "./dpip route show", "./ipvsadm -ln", "./ipvsadm -G"} {
		if i > 0 {
			s.say("\n")
		}
		if err := s.command(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// account shows what the director counted.
func (s *stage) account(ctx context.Context) error {
	s.title("What the director counted")
	if err := s.command(ctx, "./ipvsadm -ln --stats"); err != nil {
		return err
	}
	s.say("\n")
	return s.command(ctx, "./weir stats")
}

// command prints a command line of the tutorial, runs it and prints its answer.
func (s *stage) command(ctx context.Context, line string) error {
	s.say("$ %s\n", line)
	words := strings.Fields(line)
	program := map[string]string{"./dpip": s.dpip, "./ipvsadm": s.ipvsadm, "./weir": s.weir}[words[0]]
	cmd := exec.CommandContext(ctx, program, words[1:]...)
	cmd.Env = append(os.Environ(), "DPVS_IPC_FILE="+s.path("weir.sock"))
	answer, err := cmd.CombinedOutput()
	s.say("%s", answer)
	if err != nil {
		return fmt.Errorf("`%s` failed: %w\n%s", line, err, s.log())
	}
	return nil
}

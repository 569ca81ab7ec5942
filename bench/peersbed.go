package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"weir/internal/testkit/netns"
)

// webBed is a course whose ends have IP stacks, a web server and its client:
//
//	client g0 ───── dpdk1 director dpdk0 ───── s0 server
//	       g1 ──────────── cable ───────────── s1
//
// The cable is the way without director: what generator and server cost by themselves.
type webBed struct {
	*course
	p      *peer
	server *netns.Process
	client *partProcess
	proxy  *netns.Process // the balancer, where it is a program that is not ours
	pids   []int          // of the balancer's processes
	netns  uint32         // the balancer's network namespace
}

var (
	serverAddr = netip.PrefixFrom(rip, locals.Bits())
	clientAddr = netip.PrefixFrom(gateway, 16)
	cableEnds  = [2]netip.Prefix{netip.MustParsePrefix("10.99.0.1/24"), netip.MustParsePrefix("10.99.0.2/24")}
	// Connections leave from many addresses, for one has but 64 k ports.
	manyClients = netip.MustParsePrefix("10.0.4.0/24")
)

// newWebBed makes the network and starts the peer in it, and server and client.
func newWebBed(ctx context.Context, bin string, p *peer) (_ *webBed, err error) {
	n, err := newCourse(bin, vethOptions{flows: webFlows})
	if err != nil {
		return nil, err
	}
	b := &webBed{course: n, p: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if err := netns.Veth(netns.End{In: n.gen, Name: "g1"}, netns.End{In: n.sink, Name: "s1"}); err != nil {
		return nil, err
	}
	if err := b.lay(ctx); err != nil {
		return nil, err
	}
	if err := p.web(ctx, b); err != nil {
		return nil, err
	}
	if err := comeToRest(ctx, b.course.pid()); err != nil {
		return nil, err
	}
	if b.netns, err = netnsOf(b.weir); err != nil {
		return nil, err
	}
	if err := b.startServer(); err != nil {
		return nil, err
	}
	return b, b.startClient()
}

// lay gives both ends their stacks. They send frames as a wire carries them, with
// checksums and of 1500 bytes; what comes in they put together as they like.
func (b *webBed) lay(ctx context.Context) error {
	for _, end := range []struct {
		in    *netns.Namespace
		links [2]string
		addrs [2]netip.Prefix
	}{{b.gen, [2]string{"g0", "g1"}, [2]netip.Prefix{clientAddr, cableEnds[0]}}, {b.sink, [2]string{"s0", "s1"}, [2]netip.Prefix{serverAddr, cableEnds[1]}}} {
		for i, link := range end.links {
			if err := end.in.Address(link, end.addrs[i]); err != nil {
				return err
			}
			if _, err := end.in.Run(ctx, "ethtool", "-K", link, "tx", "off", "tso", "off", "gso", "off", "gro", "on"); err != nil {
				return err
			}
		}
		if err := b.tune(end.in); err != nil {
			return err
		}
	}
	return errors.Join(
		run1(b.gen.Run(ctx, "ip", "route", "add", "local", manyClients.String(), "dev", "lo")),
		b.gen.Route(locals, vip),
		// For Linux's forwarding, which hides no client; and the cable's way back.
		b.sink.Route(netip.PrefixFrom(gateway, 16), local),
		b.sink.Route(manyClients, local),
	)
}

// close ends a proxy as it wants to be ended, and then all.
func (b *webBed) close() error {
	var errs []error
	if b.proxy != nil && !b.proxy.Ended() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		// How it says that it was ended differs; that it must be killed, not.
		if _ = b.proxy.Stop(ctx); ctx.Err() != nil {
			errs = append(errs, fmt.Errorf("%s did not end\n%s", b.p.name, &b.log))
		}
	}
	return errors.Join(append(errs, b.course.close())...)
}

func run1(_ string, err error) error { return err }

// tune gives a Linux with many short connections what it needs.
func (b *webBed) tune(in *netns.Namespace) error {
	return errors.Join(
		in.WriteSysctl("ipv4/ip_local_port_range", "1024 65535"),
		in.WriteSysctl("ipv4/tcp_max_syn_backlog", "8192"),
		in.WriteSysctl("core/somaxconn", "8192"),
	)
}

// self is this program in one of its parts.
func self(words ...string) (*exec.Cmd, error) {
	name, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(name, append([]string{"peers-part"}, words...)...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}

func (b *webBed) startServer() error {
	cmd, err := self("server")
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if b.server, err = b.sink.Start(cmd); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return fmt.Errorf("the server said %q and ended: %w", line, err)
	}
	return nil
}

func (b *webBed) startClient() error {
	cmd, err := self("client")
	if err != nil {
		return err
	}
	b.client, err = startPart(b.gen, cmd)
	return err
}

// target is where clients find a port of the server.
func (b *webBed) target(port uint16) netip.AddrPort { return netip.AddrPortFrom(b.p.to, port) }

// do has the client carry an order out, over the peer or over the cable.
func (b *webBed) do(ctx context.Context, o webOrder, cable bool) (ph webPhase, err error) {
	o.Clients = []int{b.server.PID()}
	if cable {
		o.To = netip.AddrPortFrom(cableEnds[1].Addr(), webPort)
	} else {
		o.To, o.Between = b.target(webPort), b.pids
		if o.For > 0 && o.Every == 0 {
			o.Netns = b.netns
		}
		for a := manyClients.Addr(); len(o.From) < webSources; {
			a = a.Next()
			o.From = append(o.From, a)
		}
	}
	answer := new(webPhase)
	if err := b.client.ask(ctx, o, answer); err != nil {
		return ph, fmt.Errorf("the web's client: %w", err)
	}
	ph = *answer
	switch {
	case ph.Err != "":
		err = errors.New(ph.Err)
	case ph.Failures > ph.Requests/1000+10:
		err = fmt.Errorf("%d of %d requests failed, the last because: %s", ph.Failures, ph.Requests, ph.FailedBecauseOf)
	case o.For > 0 && ph.Requests == 0:
		err = errors.New("no request was answered in all the time: measure longer, or on a machine with less to do")
	}
	return ph, err
}

// balancer starts a program as the balancer and waits until it listens and has all its
// processes: nginx's sockets are there before the worker is that accepts.
func (b *webBed) balancer(ctx context.Context, config, text string, words ...string) error {
	name := filepath.Join(b.dir, config)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return err
	}
	if err := b.forwardingAddresses(); err != nil {
		return err
	}
	if err := b.tune(b.weir); err != nil {
		return err
	}
	if err := b.receiveBoth(ctx); err != nil {
		return err
	}
	cmd := exec.Command(words[0], append(words[1:], name)...)
	cmd.Dir = b.dir
	cmd.Stdout, cmd.Stderr = &b.log, &b.log
	// Whatever children it has, they go with the network.
	group, err := b.world.Cgroup("proxy")
	if err != nil {
		return err
	}
	group.Take(cmd)
	p, err := b.weir.Start(cmd)
	if err != nil {
		return err
	}
	b.proxy = p
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		c, err := b.weir.Dial(ctx, "tcp", netip.AddrPortFrom(vip, webPort).String())
		if err == nil {
			c.Close()
			if b.pids, err = family(p.PID()); err == nil && len(b.pids) == b.p.processes {
				return nil
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-p.Done():
			return fmt.Errorf("%s ended: %w\n%s", words[0], p.Err(), &b.log)
		case <-ctx.Done():
			if err == nil {
				return fmt.Errorf("%s listens, and has the processes %d, not %d of them\n%s", words[0], b.pids, b.p.processes, &b.log)
			}
			return fmt.Errorf("%s does not listen: %w\n%s", words[0], err, &b.log)
		}
	}
}

// family is a process and its children.
func family(pid int) ([]int, error) {
	pids := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	for f := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// forwardingAddresses gives Linux in the director's place its addresses.
func (b *webBed) forwardingAddresses() error {
	return errors.Join(
		b.weir.Address("dpdk1", netip.PrefixFrom(vip, 16)),
		b.weir.Address("dpdk0", netip.PrefixFrom(local, locals.Bits())),
	)
}

// receiveBoth has both links that Linux works, or packet sockets, receive as network cards do: in
// NAPI, GRO on.
func (b *webBed) receiveBoth(ctx context.Context) error {
	return errors.Join(b.linux(ctx, "ethtool", "-K", "dpdk1", "gro", "on"), b.linux(ctx, "ethtool", "-K", "dpdk0", "gro", "on"))
}

// weirServes has the director serve the web and iperf3.
func (b *webBed) weirServes(ctx context.Context, v variant) error {
	if err := b.serve(ctx, v); err != nil {
		return err
	}
	b.pids = []int{b.pid()}
	script := fmt.Sprintf("dpip addr add %s/32 dev dpdk1\ndpip route add 10.0.0.0/16 dev dpdk1\ndpip route add %s dev dpdk0\n", vip, locals)
	for _, port := range []int{webPort, iperfPort} {
		service := "-t " + net.JoinHostPort(vip.String(), strconv.Itoa(port))
		script += fmt.Sprintf("ipvsadm -A %s -s rr\nipvsadm -a %s -r %s -b\n", service, service, rip)
		lip := local
		for range webFlows/masqueraded + 1 {
			script += fmt.Sprintf("ipvsadm --add-laddr -z %s %s -F dpdk0\n", lip, service)
			lip = lip.Next()
		}
	}
	return b.script(ctx, script)
}

// linuxForwards has Linux route between the ends.
func (b *webBed) linuxForwards(ctx context.Context) error {
	return errors.Join(b.forwardingAddresses(), b.receiveBoth(ctx), b.weir.WriteSysctl("ipv4/ip_forward", "1"))
}

// linuxTranslates has nftables do what the director does.
func (b *webBed) linuxTranslates(ctx context.Context) error {
	if err := b.linuxForwards(ctx); err != nil {
		return err
	}
	// The answers to hidden connections come to any of the range.
	if err := b.linux(ctx, "ip", "route", "add", "local", "192.168.100.192/26", "dev", "lo"); err != nil {
		return err
	}
	return errors.Join(
		b.translate(ctx, fmt.Sprintf("tcp dport { %d, %d }", webPort, iperfPort)),
		// As the director's: 7 s. Linux's 120 s would fill its table.
		b.weir.WriteSysctl("netfilter/nf_conntrack_tcp_timeout_time_wait", "7"),
	)
}

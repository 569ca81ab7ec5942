package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"weir/internal/flow"
)

// memory is what a connection takes at a proxy: of its processes, and of the kernel for
// two sockets. Over the cable a connection has two as well, client's and server's, so
// the kernel's part is measured there: twice, for the first ones find memory that
// others have just left, and what others give back meanwhile is not seen.
func (b *webBed) memory(ctx context.Context, conns int) (each float64, err error) {
	var kernel uint64
	for range 2 {
		before, err := kernelMemory()
		if err != nil {
			return 0, err
		}
		if _, err := b.do(ctx, webOrder{Conns: conns}, true); err != nil {
			return 0, fmt.Errorf("hold %d connections by the cable: %w", conns, err)
		}
		after, err := kernelMemory()
		if err != nil {
			return 0, err
		}
		kernel = max(kernel, after-min(before, after))
	}
	before, err := b.own()
	if err != nil {
		return 0, err
	}
	if _, err := b.do(ctx, webOrder{Conns: conns}, false); err != nil {
		return 0, fmt.Errorf("hold %d connections: %w", conns, err)
	}
	after, err := b.own()
	return float64(kernel+after-min(before, after)) / float64(conns), err
}

// own is the memory of the balancer's processes.
func (b *webBed) own() (sum uint64, err error) {
	for _, pid := range b.pids {
		n, err := residentMemory(pid)
		if err != nil {
			return 0, fmt.Errorf("the balancer is gone: %w", err)
		}
		sum += n
	}
	return sum, nil
}

// filled has another process fill Weir's table, and adds what it then takes.
func (c *catch) filled(ctx context.Context, o peersOptions, conns int, table flow.Backing) error {
	if !slices.ContainsFunc(o.peers, func(p *peer) bool { return p.fill && p.table == table }) {
		return nil
	}
	fmt.Fprintf(os.Stderr, "\r\033[K%s memory of %d connections", time.Now().Format(time.TimeOnly), conns)
	var out, stderr bytes.Buffer
	name, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, name, "peers-part", "fill", strconv.Itoa(conns), strconv.Itoa(int(table)))
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("fill a table with %d connections: %w: %s", conns, err, &stderr)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(out.String()), 10, 64)
	if err != nil {
		return fmt.Errorf("fill a table with %d connections: it said %q", conns, &out)
	}
	for _, p := range o.peers {
		if p.fill && p.table == table {
			c.add(memoryKey(conns), p, float64(n))
		}
	}
	return nil
}

// peersFill fills a table with as many UDP connections as it has room for, by the walk in
// memory, and prints what memory this process then has, less the list of answers, which is
// the benchmark's own. None may be refused.
func peersFill(number, kind string) error {
	conns, err1 := strconv.Atoi(number)
	table, err2 := strconv.Atoi(kind)
	if err := errors.Join(err1, err2); err != nil || conns < 1 {
		return fmt.Errorf("fill: %q connections in a table of kind %q can't be", number, kind)
	}
	r, err := newUDPRunIn(flow.Backing(table), conns, conns)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.fill(); err != nil {
		return err
	}
	n, err := residentMemory(os.Getpid())
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, n-uint64(len(r.replies))*uint64(unsafe.Sizeof(tuple{})))
	return r.lost()
}

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/internal/wire"
)

// The second process: generator in its own namespace, sink in another. It reads
// orders as JSON from standard input, and answers each with a phase on standard
// output. It ends with its input.

// order is one measurement.
type order struct {
	Window   int // frames on their way at most; 0: as many as can be
	Flows    int
	For      time.Duration
	Director int           // process id of the director; 0: none
	Open     bool          // all flows are: one of many slices, which goes on with the flow where the one before ended
	Interval time.Duration // between two frames, whose delays are measured; 0: no such pace
	Calm     calmOrder     // of many slices: what is counted of one
}

// phase is what was measured. Frames and times are those of the measured span;
// All counts are from the first frame to the last, before and after it too.
type phase struct {
	Err                         string `json:",omitempty"`
	Took                        time.Duration
	Calmed                      calmTime
	Away                        time.Duration // of that, when others had the processor that the generator wanted
	Sunk, Bad                   uint64
	Receive                     time.Duration // generator's processor time less its waiting, and that of ksoftirqd and interrupts
	User, System                time.Duration // of the director
	AllSent, AllSunk, AllOthers uint64
	Delays                      delays `json:",omitempty"` // with an interval
}

const (
	// A call into the kernel makes so many frames for each second of the
	// measurement, and at least those. It has a beginning and an end of some ms,
	// and goes on idly to its end when the generator is told to stop.
	repeatSecond, repeatLeast = 4 << 20, 1 << 18
	batchFull                 = 64
	// With an interval most of a call's frames are not sent: it is not due, and the
	// generator looks at the clock again. A batch is sent when it is full, so it is small.
	repeatPaced, batchPaced = 1 << 24, 8
	// A slice of a measurement has a few calls at most, whoever it is that is measured.
	repeatSliceSecond, repeatPacedSecond = 8 << 20, 10 << 20

	warmUp = 200 * time.Millisecond
	// warmSlice is the same where all flows are open already: the caches are another's.
	warmSlice = 50 * time.Millisecond
	// calm is how long no frame must have come for all to have come.
	calm = 20 * time.Millisecond
)

// partProcess is the second process as the first sees it.
type partProcess struct {
	orders  *json.Encoder
	answers *json.Decoder
}

// startVeth starts the second process for a path.
func (n *course) startVeth(p *path) (*partProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	at := n.sink.String() + "/s0"
	if p.short {
		at = n.weir.String() + "/dpdk1"
	}
	cmd := exec.Command(self, "veth-part", "-sink", at, "-swallow="+strconv.FormatBool(p.short || p.frames), "-from", n.genMAC.String(), "-to", n.wanMAC.String(),
		"-dst", p.dst.String(), "-want", rip.String(), "-seen", p.seen.String())
	cmd.Stderr = os.Stderr
	return startPart(n.gen, cmd)
}

// do has a phase measured.
func (p *partProcess) do(ctx context.Context, o order) (phase, error) {
	ph := new(phase)
	err := p.ask(ctx, o, ph)
	if err == nil && ph.Err != "" {
		err = errors.New(ph.Err)
	}
	if ctx.Err() != nil {
		return phase{}, err
	}
	if err != nil {
		err = fmt.Errorf("generator and sink: %w", err)
	}
	return *ph, err
}

// ask sends an order and waits for its answer. When ctx ends the answer is not waited
// for, and must not be looked at: the process ends with its network.
func (p *partProcess) ask(ctx context.Context, order, answer any) error {
	done := make(chan error, 1)
	go func() {
		err := p.orders.Encode(order)
		if err == nil {
			err = p.answers.Decode(answer)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// part is the second process as it sees itself.
type part struct {
	obj      bpf.GenerateObjects
	model    [64]byte
	clock    processors
	interval time.Duration // above 0: delays are counted

	thread atomic.Int32 // the generator's
}

func vethPart(args []string) error {
	fs := flag.NewFlagSet("veth-part", flag.ContinueOnError)
	sink := fs.String("sink", "", "NAMESPACE/LINK of the sink")
	swallow := fs.Bool("swallow", false, "the sink gets frames of XDP, not skbs")
	from := fs.String("from", "", "MAC address to send from")
	to := fs.String("to", "", "MAC address to send to")
	dst := fs.String("dst", "", "IP address to send to")
	want := fs.String("want", "", "destination that the sink counts")
	seen := fs.String("seen", "", "and the prefix that the source must be of")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var p part
	if err := p.load(*from, *to, *dst, *want, *seen); err != nil {
		return err
	}
	defer p.obj.Close()
	l, err := p.attach(*sink, *swallow)
	if err != nil {
		return err
	}
	defer l.Close()
	// Who reads the clocks shall not take turns with the generator, whose thread has the other
	// processor.
	runtime.LockOSThread()
	if err := bindTo(workerCPU); err != nil {
		return err
	}
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		ph, err := p.measure(o)
		if err != nil {
			ph.Err = err.Error()
		}
		if err := answers.Encode(ph); err != nil {
			return err
		}
	}
}

// load loads the programs and gives them their orders.
func (p *part) load(from, to, dst, want, seen string) error {
	src, err1 := net.ParseMAC(from)
	dest, err2 := net.ParseMAC(to)
	target, err3 := netip.ParseAddr(dst)
	counted, err4 := netip.ParseAddr(want)
	prefix, err5 := netip.ParsePrefix(seen)
	g0, err6 := net.InterfaceByName("g0")
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	if err := bpf.LoadGenerateObjects(&p.obj, nil); err != nil {
		return fmt.Errorf("load generator and sink: %w", err)
	}
	f := frame(wan, wire.ProtoUDP, netip.IPv4Unspecified(), target, 0, servicePort, frameSize)
	copy(p.model[:], f)
	copy(p.model[0:], dest)
	copy(p.model[6:], src)
	mask := uint32(1<<prefix.Bits()-1) << (32 - prefix.Bits())
	return errors.Join(
		p.obj.Model.Set(p.model),
		p.obj.Out.Set(uint32(g0.Index)),
		p.obj.WantDst.Set(onWire(counted)),
		p.obj.WantSrc.Set(onWire(prefix.Masked().Addr())),
		p.obj.SrcMask.Set(mask>>24|mask>>8&0xff00|mask<<8&0xff0000|mask<<24),
		p.obj.WantPort.Set(uint16(servicePort<<8)),
	)
}

func onWire(a netip.Addr) uint32 {
	b := a.As4()
	return binary.LittleEndian.Uint32(b[:])
}

// attach puts the sink, or swallow in its place, on a link of another namespace.
func (p *part) attach(at string, swallow bool) (l link.Link, err error) {
	space, name, ok := strings.Cut(at, "/")
	if !ok {
		return nil, fmt.Errorf("-sink: %q is not NAMESPACE/LINK", at)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends in the other namespace
		var ns netns.NsHandle
		if ns, err = netns.GetFromName(space); err != nil {
			return
		}
		defer ns.Close()
		if err = netns.Set(ns); err != nil {
			return
		}
		var i *net.Interface
		if i, err = net.InterfaceByName(name); err != nil {
			return
		}
		if swallow {
			l, err = link.AttachXDP(link.XDPOptions{Program: p.obj.Swallow, Interface: i.Index, Flags: link.XDPDriverMode})
		} else {
			l, err = link.AttachTCX(link.TCXOptions{Program: p.obj.Sink, Interface: i.Index, Attach: ebpf.AttachTCXIngress})
		}
	}()
	<-done
	if err != nil {
		return nil, fmt.Errorf("put the sink on %s: %w", at, err)
	}
	return l, nil
}

// generate sends until it is told to stop, by calls of so many frames; it closes began when
// its thread is known.
func (p *part) generate(repeat, batch uint32, began chan<- struct{}, stopped <-chan struct{}) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := bindTo(generatorCPU); err != nil {
		return err
	}
	p.thread.Store(int32(unix.Gettid()))
	close(began)
	for {
		select {
		case <-stopped:
			return nil
		default:
		}
		// Between two calls it is away for some ms, which is nobody's delay.
		if err := p.obj.Anew.Set(uint32(1)); err != nil {
			return err
		}
		_, err := p.obj.Generate.Run(&ebpf.RunOptions{
			Data: p.model[:frameSize], Repeat: repeat, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, BatchSize: batch,
		})
		if err != nil {
			return fmt.Errorf("run the generator: %w", err)
		}
	}
}

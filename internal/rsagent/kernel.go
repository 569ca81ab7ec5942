package rsagent

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Kernel answers what a kernel can do. An error that is ebpf.ErrNotSupported means
// that it can't; any other, that it could not be asked.
type Kernel interface {
	Release() string
	Capable() error                                         // may we load programs at all?
	Helper(of ebpf.ProgramType, name asm.BuiltinFunc) error // a function that programs may call
	TCX() error                                             // programs at devices by a link
	BTF() error                                             // the kernel's own types
	Mounts() ([]byte, error)                                // as in /proc/mounts
}

// Running is the kernel that runs.
type Running struct{}

// Release implements Kernel.
func (Running) Release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "of an unknown release"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// needed are the capabilities without which nothing can be loaded: BPF for maps
// and programs, NET_ADMIN for programs of the network, PERFMON for programs that
// follow pointers.
var needed = []uint{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON}

// Capable implements Kernel.
func (Running) Capable() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("ask for our capabilities: %w", err)
	}
	has := func(c uint) bool { return data[c/32].Effective>>(c%32)&1 == 1 }
	if has(unix.CAP_SYS_ADMIN) && has(unix.CAP_NET_ADMIN) {
		return nil // contains the other two
	}
	for _, c := range needed {
		if !has(c) {
			return errors.New("weir-rs needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")
		}
	}
	return nil
}

// Helper implements Kernel.
func (Running) Helper(of ebpf.ProgramType, name asm.BuiltinFunc) error {
	return features.HaveProgramHelper(of, name)
}

// TCX implements Kernel. There is no device -1: a kernel that knows tcx looks for it.
func (Running) TCX() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "probe_tcx", Type: ebpf.SchedCLS, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return err
	}
	defer letGo(p)
	l, err := link.AttachTCX(link.TCXOptions{Interface: 1<<31 - 1, Program: p, Attach: ebpf.AttachTCXIngress})
	switch {
	case err == nil:
		return errors.Join(errors.New("a device that can't be was there"), l.Close())
	case errors.Is(err, unix.ENODEV):
		return nil
	}
	return err
}

// BTF implements Kernel.
func (Running) BTF() error {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	if errors.Is(err, os.ErrNotExist) {
		return ebpf.ErrNotSupported
	}
	return err
}

// Mounts implements Kernel.
func (Running) Mounts() ([]byte, error) { return os.ReadFile("/proc/self/mounts") }

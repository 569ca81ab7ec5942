package rsagent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

// fakeKernel is one that the tests make up.
type fakeKernel struct {
	release string
	capable error
	lacks   []asm.BuiltinFunc
	broken  asm.BuiltinFunc // asking for it fails
	noTCX   bool
	noBTF   bool
	mounts  string
}

func (k *fakeKernel) Release() string { return k.release }
func (k *fakeKernel) Capable() error  { return k.capable }

func (k *fakeKernel) Helper(_ ebpf.ProgramType, name asm.BuiltinFunc) error {
	switch {
	case name == k.broken:
		return unix.EIO
	case slices.Contains(k.lacks, name):
		return fmt.Errorf("%v: %w", name, ebpf.ErrNotSupported)
	}
	return nil
}

func (k *fakeKernel) TCX() error {
	if k.noTCX {
		return ebpf.ErrNotSupported
	}
	return nil
}

func (k *fakeKernel) BTF() error {
	if k.noBTF {
		return ebpf.ErrNotSupported
	}
	return nil
}

func (k *fakeKernel) Mounts() ([]byte, error) { return []byte(k.mounts), nil }

// TestProbeRefuses has the exact sentences for kernels on which there is no use.
func TestProbeRefuses(t *testing.T) {
	const mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
	tests := []struct {
		name string
		k    fakeKernel
		want string
	}{
		{
			"too old",
			fakeKernel{release: "4.19.0-9-amd64", lacks: []asm.BuiltinFunc{asm.FnLoadHdrOpt}, mounts: mounts},
			"this kernel (4.19.0-9-amd64) is too old: sockops programs see no TCP options; Linux 5.10 or later is needed",
		},
		{
			"no cgroup2",
			fakeKernel{release: "5.10.0", mounts: "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n"},
			"cgroup v2 is not mounted, and programs attach to its folders: mount -t cgroup2 none /sys/fs/cgroup/unified (make the folder first), or boot with systemd.unified_cgroup_hierarchy=1",
		},
		{
			"no privilege",
			fakeKernel{release: "5.10.0", capable: errors.New("weir-rs needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")},
			"weir-rs needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
		},
		{
			"can't be asked",
			fakeKernel{release: "6.1.0", broken: asm.FnGetNetnsCookie},
			"ask the kernel for FnGetNetnsCookie in CGroupSKB programs: input/output error",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Trust: trustLIPs, UOA: Getsockopt, Entries: 1, Timeout: DefaultTimeout, PinDir: "/nowhere/at/all"}
			_, err := Start(o, &tt.k, nil)
			if err == nil || err.Error() != tt.want {
				t.Errorf("Start says %v, want %s", err, tt.want)
			}
		})
	}
}

// TestProbeSaysWhatIsMissing: one line for each feature that the options want.
func TestProbeSaysWhatIsMissing(t *testing.T) {
	tests := []struct {
		name string
		k    fakeKernel
		o    Options
		want []string // "+name" or "-name: what follows"
	}{
		{"6.18, TCP", fakeKernel{}, Options{UOA: Off}, []string{"+toa", "+mptcp"}},
		{"6.18, transparent that may be asked", fakeKernel{}, Options{UOA: Transparent, NAT64: true}, []string{"+toa", "+mptcp", "+netns", "+registers", "+errno", "+tcx"}},
		{"6.18, getsockopt", fakeKernel{}, Options{UOA: Getsockopt}, []string{"+toa", "+mptcp", "+netns", "+registers", "+errno", "+tcx"}},
		{"6.18, transparent", fakeKernel{}, Options{UOA: Transparent, OPPDevices: []string{}}, []string{"+toa", "+mptcp", "+netns"}},
		{
			"5.10, all",
			fakeKernel{release: "5.10.0-30", noTCX: true, lacks: []asm.BuiltinFunc{asm.FnTaskPtRegs, asm.FnSetRetval, asm.FnGetNetnsCookie, asm.FnSkcToMptcpSock}},
			Options{UOA: Getsockopt},
			[]string{
				"+toa",
				"-mptcp: this kernel (5.10.0-30) can't lead from a subflow to its MPTCP socket: connections by MPTCP show the director's address; Linux 5.19 with BTF can",
				"-netns: this kernel (5.10.0-30) does not tell programs the namespace of a datagram: two namespaces must not have the same director's address and port at the same local port; Linux 6.15 does",
				"-registers: this kernel (5.10.0-30) can't read what getsockopt is asked: it answers for the last datagram received on the socket; Linux 5.15 with BTF can",
				"-errno: this kernel (5.10.0-30) lets no program choose an errno: getsockopt says ENOPROTOOPT for an unknown client; Linux 5.18 does",
				"-tcx: this kernel (5.10.0-30) has no tcx: the option protocol is translated by filters of the qdisc clsact, which replace others at their place less gently; Linux 6.6 has it",
			},
		},
		{
			"no BTF",
			fakeKernel{release: "6.18.0-small", noBTF: true},
			Options{UOA: Getsockopt},
			[]string{
				"+toa",
				"-mptcp: this kernel (6.18.0-small) can't lead from a subflow to its MPTCP socket: connections by MPTCP show the director's address; Linux 5.19 with BTF can",
				"+netns",
				"-registers: this kernel (6.18.0-small) can't read what getsockopt is asked: it answers for the last datagram received on the socket; Linux 5.15 with BTF can",
				"+errno", "+tcx",
			},
		},
		{
			"5.10, transparent that may be asked",
			fakeKernel{release: "5.10.0-30", lacks: []asm.BuiltinFunc{asm.FnTaskPtRegs}},
			Options{UOA: Transparent, NAT64: true},
			[]string{
				"+toa", "+mptcp", "+netns",
				"-registers: this kernel (5.10.0-30) can't read what getsockopt is asked: NAT64's clients of UDP are not known in transparent mode; Linux 5.15 with BTF can",
				"+errno", "+tcx",
			},
		},
		{
			"NAT64 alone",
			fakeKernel{release: "5.15.0", lacks: []asm.BuiltinFunc{asm.FnSetRetval}},
			Options{UOA: Off, NAT64: true},
			[]string{"+toa", "+mptcp", "-errno: this kernel (5.15.0) lets no program choose an errno: getsockopt says ENOPROTOOPT for an unknown client; Linux 5.18 does"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := probe(&tt.k)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range f.list(&tt.o) {
				if l.Text == "" {
					t.Errorf("%s says nothing", l.Name)
				}
				if l.Have {
					got = append(got, "+"+l.Name)
				} else {
					got = append(got, "-"+l.Name+": "+l.Text)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("features are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestProgramsLoadWhereWordsMustBeAligned: not every machine may read a word of a packet
// at any address, and its verifier refuses a program that does.
func TestProgramsLoadWhereWordsMustBeAligned(t *testing.T) {
	spec, err := bpf.LoadRS()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range spec.Programs {
		p.Flags |= unix.BPF_F_STRICT_ALIGNMENT
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestProgramsLoadWhateverIsMissing: what a kernel lacks is switched off before the
// verifier looks. (This kernel has it all, so it can't refuse what is left in; the
// number of calls that are left tells.)
func TestProgramsLoadWhateverIsMissing(t *testing.T) {
	for _, mode := range Modes {
		for _, f := range []*abilities{{}, here(t)} {
			o := Options{UOA: mode, NAT64: true, Entries: 16, Timeout: DefaultTimeout}
			c := loadUnpinned(t, &o, f)
			for _, p := range c.Programs {
				info, err := p.Info()
				if err != nil {
					t.Fatal(err)
				}
				ins, err := info.Instructions()
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range ins {
					if !i.IsBuiltinCall() || *f != (abilities{}) {
						continue
					}
					if slices.Contains(younger, asm.BuiltinFunc(i.Constant)) {
						t.Errorf("%s calls %v, which this kernel is said not to have", info.Name, asm.BuiltinFunc(i.Constant))
					}
				}
			}
		}
	}
}

// younger are functions that not every kernel of ours has.
var younger = []asm.BuiltinFunc{
	asm.FnGetNetnsCookie, asm.FnSkcToMptcpSock, asm.FnTaskPtRegs, asm.FnGetCurrentTaskBtf, asm.FnProbeReadUser, asm.FnSetRetval,
}

func TestCgroup2Root(t *testing.T) {
	tests := []struct{ name, mounts, want string }{
		{"both versions", "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", "/sys/fs/cgroup/unified"},
		{"version 2 alone", "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "/sys/fs/cgroup"},
		{"a space in the path", `x /a\040b cgroup2 rw 0 0`, "/a b"},
		{"a line cut short", "cgroup2 /x\n", ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cgroup2Root([]byte(tt.mounts))
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("root is %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

package netns

import (
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// Offsets in struct __sk_buff (linux/bpf.h).
const (
	skbVLANPresent = 20
	skbVLANTCI     = 24
)

const (
	tcOK   = 0
	tcDrop = 2
)

// Tag makes a link one of a VLAN, as a switch's access port would: what leaves gets the
// tag, what comes without it is dropped, and the machine sees neither. It needs no VLAN
// device, which not every kernel has. The tag stands beside the frame, as Linux's own
// VLAN devices have it. proto is 0x8100 or 0x88a8.
func (n *Namespace) Tag(name string, proto, id uint16) (err error) {
	var index int
	err = n.Do(func() error {
		l, err := net.InterfaceByName(name)
		if err == nil {
			index = l.Index
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: link %s: %w", n.name, name, err)
	}
	swapped := int32(proto>>8 | proto<<8) // __be16 in a register
	leave := asm.Instructions{
		asm.Mov.Imm(asm.R2, swapped),
		asm.Mov.Imm(asm.R3, int32(id)),
		asm.FnSkbVlanPush.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R0, tcOK),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcDrop).WithSymbol("drop"),
		asm.Return(),
	}
	come := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, skbVLANPresent, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "drop"),
		asm.LoadMem(asm.R2, asm.R1, skbVLANTCI, asm.Word),
		asm.And.Imm(asm.R2, 0xfff),
		asm.JNE.Imm(asm.R2, int32(id), "drop"),
		asm.FnSkbVlanPop.Call(),
		asm.JNE.Imm(asm.R0, 0, "drop"),
		asm.Mov.Imm(asm.R0, tcOK),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcDrop).WithSymbol("drop"),
		asm.Return(),
	}
	for _, half := range []struct {
		attach ebpf.AttachType
		code   asm.Instructions
	}{{ebpf.AttachTCXEgress, leave}, {ebpf.AttachTCXIngress, come}} {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: half.code, License: "GPL"})
		if err != nil {
			return fmt.Errorf("%s: link %s: a program for its tag: %w", n.name, name, err)
		}
		defer p.Close()
		err = n.Do(func() error {
			l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: half.attach})
			if err == nil {
				n.tags = append(n.tags, l)
			}
			return err
		})
		if err != nil {
			return errors.Join(fmt.Errorf("%s: link %s: attach the program for its tag: %w", n.name, name, err))
		}
	}
	return nil
}

package control

import (
	"net"

	"weir/api/weirv1"
	"weir/internal/director"
	"weir/internal/lacp"
)

// fromBond turns a bond into its message; nil stays nil.
func fromBond(b *director.BondView) *weirv1.Bond {
	if b == nil {
		return nil
	}
	m := &weirv1.Bond{
		Mode: uint32(b.Mode), XmitPolicy: b.XmitPolicy, MonitorInterval: b.MonitorInterval, LinkUpDelay: b.UpDelay, LinkDownDelay: b.DownDelay,
		Primary: b.Primary, LacpFast: b.LACPFast, AdSelect: b.ADSelect, SystemPriority: uint32(b.SystemPriority), Aggregator: uint32(b.Aggregator),
	}
	for i := range b.Members {
		m.Members = append(m.Members, fromMember(&b.Members[i]))
	}
	for _, c := range b.Changed {
		m.Changed = append(m.Changed, &weirv1.SetLinkRequest{Device: b.Name, Item: c[0], Value: c[1]})
	}
	return m
}

func fromMember(b *director.BondMember) *weirv1.BondMember {
	m := &weirv1.BondMember{
		Name: b.Name, Addr: net.HardwareAddr(b.MAC[:]).String(), Out: !b.Attached, Up: b.Up, Active: b.Active,
		Speed: uint32(b.Mbps), FullDuplex: b.Duplex, Failures: b.Failures,
	}
	v := b.LACP
	if v == nil {
		return m
	}
	m.Lacp = &weirv1.LACPPort{
		Actor: fromInfo(&v.Actor), Partner: fromInfo(&v.Partner), Receive: v.Rx.String(), Mux: v.Mux.String(), Standby: v.Standby,
		Heard: v.Heard, Aggregator: uint32(v.Aggregator), ActorChurn: v.ActorChurn.String(), PartnerChurn: v.PartnerChurn.String(),
		Rx: v.Stats.Rx, Tx: v.Stats.Tx, Markers: v.Stats.Markers, Illegal: v.Stats.Illegal, Loops: v.Stats.Loops,
	}
	return m
}

func fromInfo(i *lacp.Info) *weirv1.LACPInfo {
	return &weirv1.LACPInfo{
		SystemPriority: uint32(i.System.Priority), System: net.HardwareAddr(i.System.MAC[:]).String(),
		Key: uint32(i.Key), PortPriority: uint32(i.PortPriority), Port: uint32(i.Port), State: uint32(i.State), StateWords: i.State.String(),
	}
}

package keepalivedconf

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"weir/internal/config/block"
)

// stockLines are words of the file that take no block and are stock keepalived's.
var stockLines = []string{
	"net_namespace", "net_namespace_ipvs", "namespace_with_ipsets", "instance", "use_pid_dir",
	"linkbeat_use_polling", "child_wait_time",
}

// stockWords are the blocks of the file that are stock keepalived's, and the
// words it knows inside, nil where anything may stand.
var stockWords = map[string][]string{
	"static_ipaddress":         nil,
	"static_routes":            nil,
	"static_rules":             nil,
	"track_group":              {"group"},
	"garp_group":               {"garp_interval", "gna_interval", "interface", "interfaces"},
	"linkbeat_interfaces":      nil,
	"interface_up_down_delays": nil,
	"track_file":               {"file", "init_file", "weight"},
	"vrrp_track_file":          {"file", "init_file", "weight"},
	"bfd_instance": {
		"neighbor_ip", "source_ip", "min_rx", "min_tx", "idle_tx", "multiplier", "passive",
		"ttl", "hoplimit", "max_hops", "weight", "vrrp", "checker",
	},
	"vrrp_script": {"script", "interval", "timeout", "weight", "rise", "fall", "user", "init_fail"},
	"vrrp_track_process": {
		"process", "param_match", "weight", "quorum", "quorum_max", "delay", "terminate_delay",
		"fork_delay", "full_command",
	},
	"vrrp_sync_group": {
		"group", "track_interface", "track_script", "track_file", "track_process", "track_bfd",
		"notify_backup", "notify_master", "notify_fault", "notify_stop", "notify", "smtp_alert",
		"global_tracking", "sync_group_tracking_weight", "notify_priority_changes",
	},
	"vrrp_instance": {
		"use_vmac", "use_vmac_addr", "vmac_xmit_base", "use_ipvlan", "unicast_peer", "unicast_fault_no_peer",
		"check_unicast_src", "old_unicast_checksum", "native_ipv6", "state", "interface", "vrf",
		"dont_track_primary", "track_interface", "track_script", "track_file", "track_process", "track_bfd",
		"mcast_src_ip", "unicast_src_ip", "mcast_dst_ip", "track_src_ip", "virtual_router_id", "unicast_ttl",
		"version", "priority", "advert_int", "virtual_ipaddress", "virtual_ipaddress_excluded",
		"no_virtual_ipaddress", "promote_secondaries", "linkbeat_use_polling", "v3_checksum_as_v2",
		"virtual_routes", "virtual_rules", "accept", "no_accept", "skip_check_adv_addr", "strict_mode",
		"preempt", "nopreempt", "preempt_delay", "debug", "notify_backup", "notify_master", "notify_fault",
		"notify_stop", "notify_deleted", "notify", "notify_master_rx_lower_pri", "smtp_alert",
		"notify_priority_changes", "lvs_sync_daemon_interface", "garp_master_delay", "garp_master_refresh",
		"garp_master_repeat", "garp_master_refresh_repeat", "garp_lower_prio_delay", "garp_lower_prio_repeat",
		"down_timer_adverts", "garp_extra_if", "vmac_garp_intvl", "lower_prio_no_advert",
		"higher_prio_send_advert", "owner_ignore_adverts", "kernel_rx_buf_size", "authentication",
	},
	"global_defs": {
		"process_names", "process_name", "vrrp_process_name", "checker_process_name", "bfd_process_name",
		"use_symlink_paths", "set_supplementary_groups", "router_id", "notification_email_from",
		"smtp_server", "smtp_helo_name", "smtp_connect_timeout", "notification_email", "smtp_alert",
		"startup_script", "startup_script_timeout", "shutdown_script", "shutdown_script_timeout",
		"max_auto_priority", "min_auto_priority_delay", "smtp_alert_vrrp", "smtp_alert_checker",
		"checker_log_all_failures", "dynamic_interfaces", "no_email_faults", "default_interface",
		"disable_local_igmp", "v3_checksum_as_v2", "vrrp_mcast_group4", "vrrp_mcast_group6",
		"vrrp_garp_master_delay", "vrrp_garp_master_repeat", "vrrp_garp_master_refresh",
		"vrrp_garp_master_refresh_repeat", "vrrp_garp_lower_prio_delay", "vrrp_garp_lower_prio_repeat",
		"vrrp_down_timer_adverts", "vrrp_garp_interval", "vrrp_gna_interval", "vrrp_min_garp",
		"vrrp_garp_extra_if", "vrrp_vmac_garp_intvl", "vrrp_lower_prio_no_advert",
		"vrrp_higher_prio_send_advert", "vrrp_version", "vrrp_iptables", "vrrp_ipsets", "nftables",
		"nftables_priority", "nftables_ifindex", "nftables_counters", "nftables_ipvs",
		"nftables_ipvs_priority", "nftables_ipvs_start_fwmark", "vrrp_check_unicast_src",
		"vrrp_skip_check_adv_addr", "vrrp_strict", "vrrp_priority", "vrrp_no_swap", "vrrp_rt_priority",
		"vrrp_cpu_affinity", "vrrp_rlimit_rttime", "vrrp_rlimit_rtime", "notify_fifo",
		"notify_fifo_script", "vrrp_notify_fifo", "vrrp_notify_fifo_script", "vrrp_notify_priority_changes",
		"fifo_write_vrrp_states_on_reload", "checker_priority", "checker_no_swap", "checker_rt_priority",
		"checker_cpu_affinity", "checker_rlimit_rttime", "checker_rlimit_rtime", "bfd_priority",
		"bfd_no_swap", "bfd_rt_priority", "bfd_cpu_affinity", "bfd_rlimit_rttime", "bfd_rlimit_rtime",
		"snmp_socket", "enable_traps", "enable_snmp_vrrp", "enable_snmp_keepalived", "enable_snmp_rfc",
		"enable_snmp_rfcv2", "enable_snmp_rfcv3", "enable_snmp_checker", "snmp_vs_stats_update_interval",
		"snmp_rs_stats_update_interval", "enable_dbus", "dbus_service_name", "dbus_no_interface_name",
		"script_user", "enable_script_security", "vrrp_netlink_cmd_rcv_bufs",
		"vrrp_netlink_cmd_rcv_bufs_force", "vrrp_netlink_monitor_rcv_bufs",
		"vrrp_netlink_monitor_rcv_bufs_force", "process_monitor_rcv_bufs", "process_monitor_rcv_bufs_force",
		"rs_init_notifies", "no_checker_emails", "vrrp_rx_bufs_policy", "vrrp_rx_bufs_multiplier",
		"vrrp_startup_delay", "vrrp_delay_after_boot", "log_unknown_vrids", "vrrp_owner_ignore_adverts",
		"vmac_prefix", "vmac_addr_prefix", "umask", "random_seed", "reload_check_config",
		"reload_time_file", "reload_repeat", "reload_file", "include_check", "config_save_dir",
		"tmp_config_directory", "data_use_instance", "json_version", "iproute_usr_dir", "iproute_etc_dir",
		"state_dump_file", "stats_dump_file", "json_dump_file",
	},
}

// hand gives a block or line of the file to stock keepalived, which reads it.
func (r *reader) hand(n *node) {
	if _, isBlock := stockWords[n.keyword]; isBlock && !n.isBlock() {
		r.errorf(n.pos, "%s is a block: write \"%s { ... }\"", n.keyword, n.keyword)
		return
	}
	if n.keyword == "net_namespace" {
		r.warnf(n.pos, "net_namespace is for VRRP alone: health checks are made where keepalived was started; start it inside (ip netns exec)")
	}
	r.strange(n)
	r.stock = append(r.stock, *n)
}

// strange warns of what stock keepalived does not know in a block of its own.
func (r *reader) strange(n *node) {
	known := stockWords[n.keyword]
	for i := range n.block {
		c := &n.block[i]
		if known != nil && !slices.Contains(known, c.keyword) {
			if near := block.Nearest(c.keyword, known); near != "" {
				r.warnf(c.pos, "unknown keyword %s in %s is given to stock keepalived as it is: did you mean %s?", shown(c.keyword), n.keyword, near)
				continue
			}
			r.warnf(c.pos, "unknown keyword %s in %s is given to stock keepalived as it is", shown(c.keyword), n.keyword)
		}
	}
}

// without returns a node without the lines that drop takes.
func without(n *node, drop func(c *node) bool) node {
	out := *n
	out.block = slices.DeleteFunc(slices.Clone(n.block), func(c node) bool { return drop(&c) })
	return out
}

// global reads what concerns Weir of global_defs. The rest is stock's, but not
// what has to do with the kernel's IPVS.
func (r *reader) global(n *node) {
	if !n.isBlock() || len(n.args) > 0 {
		r.errorf(n.pos, "global_defs is a block without a name: write \"global_defs { ... }\"")
		return
	}
	g := &r.cfg.Global
	user := func(c *node) {
		if len(c.args) == 0 || len(c.args) > 2 || c.isBlock() {
			r.errorf(c.pos, "script_user takes a user and perhaps a group")
			return
		}
		g.ScriptUser, g.ScriptGroup = c.args[0], ""
		if len(c.args) == 2 {
			g.ScriptGroup = c.args[1]
		}
	}
	ours := rules{
		"script_user":              user,
		"enable_script_security":   r.flag(&g.ScriptSecurity),
		"checker_log_all_failures": r.flag(&g.LogAllFailures),
		"lvs_flush":                r.flag(&g.Flush),
		"lvs_flush_on_stop":        r.flushOnStop,
		"lvs_flush_onstop":         r.flushOnStop,
	}
	handed := without(n, func(c *node) bool {
		switch c.keyword {
		case "notify_fifo":
			r.fifos[0] = c.pos
		case "vrrp_notify_fifo":
			r.fifos[1] = c.pos
			g.OwnFIFO = true
		}
		if do := ours[c.keyword]; do != nil {
			do(c)
		} else if strings.HasPrefix(c.keyword, "lvs_") {
			r.warnf(c.pos, "%s is ignored: it sets the kernel's IPVS, which is not used", shown(c.keyword))
		}
		return strings.HasPrefix(c.keyword, "lvs_")
	})
	r.strange(&handed)
	r.stock = append(r.stock, handed)
}

// flushOnStop reads whether all services go at the end. With VS it is those of the file alone,
// which go anyway.
func (r *reader) flushOnStop(n *node) {
	if len(n.args) == 1 && n.args[0] == "VS" {
		r.cfg.Global.FlushOnStop = false
		return
	}
	r.flag(&r.cfg.Global.FlushOnStop)(n)
}

func (r *reader) tls() rules {
	t := &r.cfg.TLS
	return rules{"password": r.text(&t.Password), "ca": r.text(&t.CA), "certificate": r.text(&t.Certificate), "key": r.text(&t.Key)}
}

// instance reads what concerns Weir of a vrrp_instance; the rest is stock's.
func (r *reader) instance(n *node, name string) {
	in := Instance{Name: name}
	handed := without(n, func(c *node) bool {
		switch c.keyword {
		case "interface":
			r.text(&in.Interface)(c)
		case "dpdk_interface":
			r.text(&in.Port)(c)
			return true
		case "virtual_ipaddress", "virtual_ipaddress_excluded":
			for i := range c.block {
				r.virtualAddress(&c.block[i], &in)
			}
		}
		return false
	})
	if in.Port != "" && in.Interface != in.Port+".kni" {
		onTwin(&handed, in.Port+".kni")
	}
	if in.Port == "" && len(in.Addresses) > 0 {
		r.warnf(n.pos, "vrrp_instance %s has no dpdk_interface: its addresses come to no port of weir", shown(name))
	}
	r.strange(&handed)
	r.stock = append(r.stock, handed)
	r.cfg.Instances = append(r.cfg.Instances, in)
}

// onTwin puts addresses that say no device of their own on the port's twin in Linux:
// stock would put them on the interface where VRRP is spoken.
func onTwin(instance *node, twin string) {
	for i := range instance.block {
		list := &instance.block[i]
		if list.keyword != "virtual_ipaddress" && list.keyword != "virtual_ipaddress_excluded" {
			continue
		}
		list.block = slices.Clone(list.block)
		for j := range list.block {
			if a := &list.block[j]; !slices.Contains(a.args, "dev") {
				a.args = append(slices.Clone(a.args), "dev", twin)
				a.raw = append(slices.Clone(a.raw), "dev", twin)
			}
		}
	}
}

// WriteStockFor is WriteStock for a stock keepalived that tells what becomes of its
// instances on a FIFO, and that goes on while an interface is missing: those of
// Weir come and go with the director.
func (c *Config) WriteStockFor(w io.Writer, fifo string) error {
	word := "vrrp_notify_fifo"
	if c.Global.OwnFIFO {
		word = "notify_fifo"
	}
	if _, err := fmt.Fprintf(w, "global_defs {\n    dynamic_interfaces\n    %s \"%s\"\n}\n", word, fifo); err != nil {
		return err
	}
	return c.WriteStock(w)
}

// virtualAddress reads "IP[/LENGTH] …". What follows is for the kernel.
func (r *reader) virtualAddress(n *node, in *Instance) {
	text := n.keyword
	p, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil {
			p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
		}
	}
	if err != nil || p.Addr().Is4In6() {
		r.errorf(n.pos, "%s is not an address IP or IP/LENGTH", shown(text))
		return
	}
	if slices.Contains(in.Addresses, p) {
		r.warnf(n.pos, "address %s is there already: it counts once", p)
		return
	}
	in.Addresses = append(in.Addresses, p)
}

// stockText is the file for stock keepalived, or "" if there is nothing to do for it.
func stockText(name string, nodes []node) string {
	work := slices.ContainsFunc(nodes, func(n node) bool { return n.isBlock() && n.keyword != "global_defs" })
	if !work {
		return ""
	}
	var b strings.Builder
	b.WriteString("# Written by weir for keepalived --vrrp: changes here are lost.\n")
	for i := range nodes {
		write(&b, &nodes[i], 0)
	}
	return b.String()
}

// write writes a node in the one form that all versions read: a brace begins its
// block at the end of a line, and one alone on a line ends it.
func write(b *strings.Builder, n *node, depth int) {
	indent := strings.Repeat("    ", depth)
	b.WriteString(indent)
	for i, w := range n.raw {
		if i > 0 {
			b.WriteByte(' ')
		} else if _, is := includes[w]; is || strings.ContainsAny(w[:1], "@$~") {
			b.WriteString(`""`) // or the line would be a condition, a definition, a sequence or an include
		}
		b.WriteString(unbang(w))
	}
	if !n.isBlock() {
		b.WriteByte('\n')
		return
	}
	b.WriteString(" {\n")
	for i := range n.block {
		write(b, &n.block[i], depth+1)
	}
	b.WriteString(indent + "}\n")
}

// unbang writes what would begin a comment outside double quotes as a definition.
func unbang(raw string) string {
	var b strings.Builder
	double, single := false, false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '#' && !double:
			b.WriteString("${_HASH}")
			continue
		case c == '!' && !double:
			b.WriteString("${_BANG}")
			continue
		case c == '\\' && i+1 < len(raw) && raw[i+1] != '#' && raw[i+1] != '!':
			b.WriteByte(c)
			i++
			c = raw[i]
		case c == '"' && !single:
			double = !double
		case c == '\'' && !double:
			single = !single
		}
		b.WriteByte(c)
	}
	return b.String()
}

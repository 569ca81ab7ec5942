package dpvsconf

import (
	"weir/internal/config/block"
	"weir/internal/spec"
)

// This file is the grammar, in the order of the samples: every block and keyword
// of dpvs.conf but those of device (device.go) and worker (worker.go).

// Ranges of what is fixed at boot.
const (
	minPktPool, maxPktPool       = 1023, 134217727
	capPktPool                   = 65535
	minConnPool, maxConnPool     = 65536, 67108863
	minConnPool6                 = 1024
	minNeighQueue, maxNeighQueue = 16, 8192
	maxFragEntries               = 65536 // 192 MiB a worker; DPVS names no bound
)

// Why Weir does without, in words that several keywords share.
const (
	noDPDK     = "it has no DPDK memory"
	noDirector = "no flow rules of the NIC are used, any worker can forward any packet"
	noMessages = "a command waits for no worker"
	noLast     = "a connection that ended is forgotten at once"
	growing    = "its tables grow as they need"
)

func (r *reader) file() rules {
	return rules{
		"global_defs": r.block(r.global()),
		"netif_defs":  r.block(r.netif()),
		"worker_defs": r.block(rules{"worker": r.named(r.worker)}),
		"timer_defs":  r.block(rules{"schedule_interval": r.unused("timers follow the clock, not a count of loops")}),
		"neigh_defs":  r.block(r.neigh()),
		"ipset_defs":  r.block(rules{"ipset_hash_pool_size": r.unused(growing)}),
		"ipv4_defs":   r.block(r.ipv4()),
		"ipv6_defs":   r.block(r.ipv6()),
		"ctrl_defs": r.block(rules{"lcore_msg": r.unused(noMessages,
			"ring_size", "sync_msg_timeout_us", "priority_level")}),
		"ipvs_defs": r.block(rules{
			"conn": r.block(r.conn()),
			"udp":  r.block(r.udp()),
			"tcp":  r.block(r.tcp()),
		}),
		"sa_pool": r.block(rules{
			"pool_hash_size": r.unused("a local address always has 16 pools of ports"),
			"flow_enable":    r.unused(noDirector),
			"port_range":     r.portRange,
		}),
	}
}

func (r *reader) global() rules {
	t := &r.cfg.Tunables
	return rules{
		"log_level": choice(r, &t.LogLevel,
			"EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG"),
		"log_file":            r.path(&t.LogFile, "standard error"),
		"log_with_timestamp":  r.flag(&t.LogTimestamp),
		"log_async_mode":      r.unused("workers never log"),
		"log_async_pool_size": r.unused("workers never log"),
		"pdump":               r.later(),
		"kni":                 r.flag(&r.cfg.Boot.KNI),
		"lldp":                r.later(),
		"busy_poll":           r.flag(&t.BusyPoll),
		"nice": func(n *block.Node) {
			r.nice = &n.Pos
			number(r, &t.Nice, -20, 19, "-20, with busy_poll 0")(n)
		},
		"rt_priority": func(n *block.Node) {
			r.rt = &n.Pos
			number(r, &t.RTPriority, 0, 99, "1")(n)
		},
		"offload": choice(r, &r.cfg.Boot.Offload, spec.OffloadAuto, spec.OffloadOn, spec.OffloadOff),
	}
}

func (r *reader) netif() rules {
	return rules{
		"pktpool_size":  r.pktPool,
		"pktpool_cache": r.unused(noDPDK),
		"fdir_mode":     r.unused(noDirector),
		"device":        r.named(r.device),
		"bonding":       r.named(r.bonding),
	}
}

func (r *reader) neigh() rules {
	return rules{
		"unres_queue_length": number(r, &r.cfg.Boot.NeighQueue, minNeighQueue, maxNeighQueue, "128"),
		"timeout":            number(r, &r.cfg.Tunables.NeighTimeout, 1, 3600, "60"),
	}
}

func (r *reader) ipv4() rules {
	return rules{
		"forwarding": r.flag(&r.cfg.Tunables.Forwarding),
		// DPVS accepts 0, which no host may send (RFC 1122, 3.2.1.7).
		"default_ttl": number(r, &r.cfg.Tunables.DefaultTTL, 1, 255, "64"),
		"fragment":    r.block(r.fragment()),
	}
}

func (r *reader) ipv6() rules {
	return rules{
		"disable":    r.flag(&r.cfg.Boot.IPv6.Disable),
		"forwarding": r.flag(&r.cfg.Tunables.Forwarding6),
		"addr_gen_mode": choice(r, &r.cfg.Boot.IPv6.AddrGenMode,
			spec.AddrGenEUI64, spec.AddrGenNone, spec.AddrGenStablePrivacy, spec.AddrGenRandom),
		"stable_secret": r.stableSecret,
		"route6": r.block(rules{
			"method":       r.unused("one table of prefixes holds both families"),
			"recycle_time": r.unused("a table that nobody reads any more is freed by itself"),
			"lpm":          r.unused(growing, "lpm6_max_rules", "lpm6_num_tbl8s", "rt6_hash_bucket"),
		}),
	}
}

func (r *reader) fragment() rules {
	f := &r.cfg.Boot.Fragments
	return rules{
		"bucket_number":  number(r, &f.Buckets, 32, 65536, "4096"),
		"bucket_entries": number(r, &f.BucketEntries, 1, 256, "16"),
		"max_entries":    number(r, &f.Entries, 32, maxFragEntries, "4096"),
		"ttl":            number(r, &f.TTL, 1, 255, "1"),
	}
}

func (r *reader) conn() rules {
	return rules{
		"conn_pool_size":            number(r, &r.cfg.Boot.ConnPool, minConnPool, maxConnPool, "2097151"),
		"conn_pool_ipv6":            r.connPool6,
		"conn_pool_cache":           r.unused(noDPDK),
		"conn_init_timeout":         r.unused("a connection has a state, and its timeout, from its first packet on"),
		"expire_quiescent_template": r.flag(&r.cfg.Tunables.QuiescentTemplates),
		"fast_xmit_close":           r.unused("packets follow routes; only where none leads to a client do they go back the way they came"),
		"redirect":                  r.unused("all workers share one connection table"),
		"xmit_ttl":                  r.unused("the TTL is always decremented, as routers do"),
	}
}

// connPool6 is Weir's own: the part of the connections that IPv6 may have.
func (r *reader) connPool6(n *block.Node) {
	r.pool6 = &n.Pos
	number(r, &r.cfg.Boot.ConnPool6, minConnPool6, maxConnPool, "conn_pool_size")(n)
}

func (r *reader) udp() rules {
	u := &r.cfg.Tunables.Timeouts.UDP
	return rules{
		"defence_udp_drop": r.flag(&r.cfg.Tunables.DefenceUDP),
		"uoa_mode":         r.uoaMode,
		"uoa_max_trail":    number(r, &r.cfg.Tunables.UOATrail, 0, 255, "3"),
		"timeout": r.block(rules{
			"oneway": r.seconds(&u.OneWay),
			"normal": r.seconds(&u.Normal),
			"last":   r.unused(noLast),
		}),
	}
}

func (r *reader) tcp() rules {
	t := &r.cfg.Tunables.Timeouts.TCP
	return rules{
		"defence_tcp_drop": r.flag(&r.cfg.Tunables.DefenceTCP),
		"timeout": r.block(rules{
			"none":        r.seconds(&t.None),
			"established": r.seconds(&t.Established),
			"syn_sent":    r.seconds(&t.SynSent),
			"syn_recv":    r.seconds(&t.SynRecv),
			"fin_wait":    r.seconds(&t.FinWait),
			"time_wait":   r.seconds(&t.TimeWait),
			"close":       r.seconds(&t.Close),
			"close_wait":  r.seconds(&t.CloseWait),
			"last_ack":    r.seconds(&t.LastAck),
			"listen":      r.unused("no connection comes into this state"),
			"synack":      r.notYet(r.seconds(&t.SynAck)), // a state of synproxy
			"last":        r.unused(noLast),
		}),
		"synproxy": r.later(
			"synack_options", "mss", "ttl", "sack", "wscale", "timestamp",
			"close_client_window", "defer_rs_syn", "rs_syn_max_retry", "ack_storm_thresh", "max_ack_saved",
			"conn_reuse_state", "close", "time_wait", "fin_wait", "close_wait", "last_ack"),
	}
}

package keepalivedconf

import (
	"fmt"
	"strings"
	"testing"
)

// server puts lines into a virtual server that is otherwise well.
func server(lines string) string {
	return "virtual_server 10.0.0.1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind FNAT\n" + lines + "\n}\n"
}

// check puts lines into a checker of a real server.
func checkOf(kind, lines string) string {
	return server("real_server 10.0.0.2 80 {\n" + kind + " {\n" + lines + "\n}\n}")
}

func TestRefuses(t *testing.T) {
	tests := []struct{ name, src, want string }{
		// The form of the file.
		{"unclosed block", "global_defs {\n", `f:1: block global_defs is not closed: add a '}'`},
		{"stray brace", "\n}", `f:2: '}' closes no block`},
		{"unclosed quote", "global_defs {\n router_id \"x\n}", `f:2: a quote is opened`},
		{"two unclosed quotes", "a \"x\nb 'y", "f:1: a quote is opened and not closed on the same line: add the missing \"\nf:2: a quote"},
		{"line that goes on", "global_defs {\n router_id \\\n x\n}", `f:2: a '\' stands at the end of a line`},
		{"a definition of itself", "$A=${A}x\n${A}", `f:2: a line puts in more than 256 definitions`},
		{"a long definition of itself", "$A= \\\n x \\\n $A\n$A", `f:4: definitions hold one another more than 32 deep`},
		{"random", "global_defs {\n router_id ${_RANDOM 1 9}\n}", `f:2: ${_RANDOM 1 9} is not supported: write the value`},
		{"sequence without numbers", "~SEQ(A, x) b", `f:1: ~SEQ(A, x) is not NAME, first, step, last`},
		{"endless sequence", "~SEQ(A, 1, 0, 9) b", `f:1: ~SEQ(A, 1, 0, 9) is not`},
		{"long sequence", "~SEQ(A, 1, 2000000000) static_routes { x }", `f:1: more than 262144 lines`},
		{"include", "include x", `f:1: include is possible only in a file`},
		{"zero byte", "a \x00", `f:1: character 0x00`},
		{"zero byte by escape", `a "\0"`, `f:1: an escape makes a word`},
		{"not UTF-8", "a \xff", `f:1: a word is not valid UTF-8`},
		{"deep", strings.Repeat("a {\n", 40), `f:33: block a lies deeper than 32 blocks`},

		// Groups.
		{"group without a name", "local_address_group {\n}", `f:1: local_address_group needs one name`},
		{"group twice", "local_address_group a { }\nlocal_address_group a { }", `f:2: local_address_group a is there already at f:1`},
		{"local address without device", "local_address_group a {\n10.0.0.1\n}", `f:2: local_address_group a: write "IP DEVICE"`},
		{"range to 255", "local_address_group a {\n10.0.0.1-255 dpdk0\n}", `f:2: 10.0.0.1-255 is not an IP address, or a range`},
		{"range backwards", "local_address_group a {\n10.0.0.9-3 dpdk0\n}", `f:2: range 10.0.0.9-3 ends before it begins`},
		{"set without name", "deny_address_group a {\nipset:\n}", `f:2: deny_address_group a: write`},
		{"tunnel without ends", "tunnel_group a {\ntunnel_entry t {\nkind gre\n}\n}", `f:2: tunnel_entry t needs its two ends`},
		{"tunnel of no kind", "tunnel_group a {\ntunnel_entry t {\nkind sit\n}\n}", `f:3: kind sit is not one of ipip, gre`},
		{"mark 0", "virtual_server_group a {\nfwmark 0\n}", `f:2: fwmark needs a number from 1`},
		{"port", "virtual_server_group a {\n10.0.0.1 65536\n}", `f:2: 10.0.0.1: 65536 is not a port from 0 to 65535`},
		{"no such group", "virtual_server group x { protocol TCP\nlb_algo rr\nlb_kind NAT\n}", `f:1: there is no virtual_server_group x`},
		{"no such local group", server("laddr_group_name x"), `f:5: there is no local_address_group x`},
		{"no such deny group", server("daddr_group_name x"), `f:5: there is no deny_address_group x`},
		{"no such allow group", server("waddr_group_name x"), `f:5: there is no allow_address_group x`},

		// Virtual servers.
		{"no target", "virtual_server {\n}", `f:1: virtual_server needs an address and a port`},
		{"bad address", "virtual_server 10.0.0 80 {\n}", `f:1: virtual_server: 10.0.0 is not an IP address`},
		{"no block", "virtual_server 10.0.0.1 80", `f:1: virtual_server needs a block`},
		{"every port", "virtual_server 10.0.0.1 {\nlb_kind DR\nprotocol TCP\nlb_algo rr\n}", `f:1: virtual_server: port 0 (every port) needs persistence_timeout`},
		{"twice", server("") + server(""), `f:7: virtual_server TCP 10.0.0.1:80 is there already at f:1`},
		{"scheduler", server("lb_algo xx"), `f:5: lb_algo xx is not one of rr, wrr`},
		{"scheduler of the kernel", server("lvs_sched lblc"), `f:5: lvs_sched lblc is a scheduler of the kernel only`},
		{"kind", server("lb_kind XX"), `f:5: lb_kind XX is not one of NAT, DR, TUN, FNAT, SNAT`},
		{"gue without port", server("lb_kind TUN type gue"), `f:5: lb_kind: write "TUN"`},
		{"protocol", server("protocol XX"), `f:5: protocol XX is not one of TCP, UDP, SCTP, ICMP, ICMPV6`},
		{"quorum 0", server("quorum 0"), `f:5: quorum 0 is not a number from 1 to 4294967295`},
		{"weight", server("weight 65536"), `f:5: weight 65536 is not a number from 1 to 65535`},
		{"delay_loop 0", server("delay_loop 0"), `f:5: delay_loop 0 is not a number of seconds from 1e-06 to 4294.967295`},
		{"delay_loop too long", server("delay_loop 4295"), `f:5: delay_loop 4295 is not`},
		{"switch", server("alpha maybe"), `f:5: alpha maybe is none of on, off`},
		{"mask", server("persistence_granularity 255.0.255.0"), `f:5: persistence_granularity 255.0.255.0 is neither a mask`},
		{"persistence", server("persistence_timeout 2678401"), `f:5: persistence_timeout 2678401 is not a number from 1 to 2678400`},
		{"ops of TCP", server("ops"), `f:1: virtual_server: ops is for protocol UDP only`},
		{"quic of TCP", server("quic"), `f:1: virtual_server: quic is for protocol UDP only`},
		{"uoa of TCP", server("uoa ipo"), `f:1: virtual_server: uoa is for protocol UDP only`},
		{"syn_proxy of UDP", server("protocol UDP\nsyn_proxy"), `f:1: virtual_server: syn_proxy is for protocol TCP only`},
		{"hash_target of rr", server("hash_target sip"), `f:1: virtual_server: hash_target is for lb_algo conhash only`},
		{"qid of TCP", server("lb_algo conhash\nhash_target qid"), `f:1: virtual_server: hash_target qid is for protocol UDP only`},
		{"proxy_protocol of DR", server("lb_kind DR\nproxy_protocol v1"), `f:1: virtual_server: proxy_protocol is for lb_kind FNAT only`},
		{"range without match", server("oif dpdk1"), `f:1: virtual_server: src-range, dst-range, iif and oif are for`},
		{"match of everything", "virtual_server match a {\nlb_kind SNAT\nprotocol TCP\nlb_algo rr\n}", `f:1: virtual_server: match a selects nothing`},
		{"match of FNAT", "virtual_server match a {\nlb_kind FNAT\nprotocol TCP\nlb_algo rr\noif x\n}", `f:1: virtual_server: lb_kind SNAT and match belong together`},
		{"match of two families", "virtual_server match a {\nprotocol TCP\nlb_algo rr\nsrc-range 10.0.0.1-10.0.0.2\ndst-range ::1-::2\n}", `f:1: virtual_server: src-range and dst-range are not of one family`},
		{"bad range", "virtual_server match a {\nprotocol TCP\nlb_algo rr\nsrc-range 10.0.0.9-10.0.0.2\n}", `f:4: src-range 10.0.0.9-10.0.0.2 is not a range`},

		// Real servers and checkers.
		{"real server without address", server("real_server {\n}"), `f:5: real_server needs an address and a port`},
		{"real server twice", server("real_server 10.0.0.2 80 { }\nreal_server 10.0.0.2 80 { }"), `f:6: real_server 10.0.0.2:80 is there already`},
		{"families of NAT", server("lb_kind NAT\nreal_server ::2 80 { }"), `f:1: virtual_server: real_server [::2]:80 is not of the family of 10.0.0.1:80`},
		{"thresholds", server("real_server 10.0.0.2 80 {\nuthreshold 1\nlthreshold 2\n}"), `f:5: real_server 10.0.0.2:80: lthreshold 2 is greater than uthreshold 1`},
		{"port of SNAT", "virtual_server match a {\nprotocol TCP\nlb_algo rr\noif x\nreal_server 10.0.0.2 80 { }\n}", `f:5: real_server of a match is an address of the outside: its port must be 0`},
		{"BFD", server("real_server 10.0.0.2 80 {\nBFD_CHECK {\nname x\n}\n}"), `f:6: BFD_CHECK is not supported`},
		{"FILE", server("real_server 10.0.0.2 80 {\nFILE_CHECK {\n}\n}"), `f:6: FILE_CHECK is not supported`},
		{"HTTP without url", checkOf("HTTP_GET", ""), `f:6: HTTP_GET needs a page to get`},
		{"digest", checkOf("HTTP_GET", "url {\ndigest 12\n}"), `f:8: digest 12 is not the 32 hexadecimal digits`},
		{"status", checkOf("SSL_GET", "url {\nstatus_code 99 200-100\n}"), "f:8: status_code 99 is not a code from 100 to 999, or FIRST-LAST\nf:8: status_code 200-100"},
		{"expression", checkOf("HTTP_GET", "url {\nregex \"(?=x)\"\n}"), `f:7: url: regex (?=x) is not an expression of RE2`},
		{"back-reference", checkOf("HTTP_GET", "url {\nregex \"(a)\\\\1\"\n}"), `f:7: url: regex (a)\1 is not an expression of RE2`},
		{"atomic group", checkOf("HTTP_GET", "url {\nregex \"(?>a)\"\n}"), `f:7: url: regex (?>a) is not an expression of RE2`},
		{"option of an expression", checkOf("HTTP_GET", "url {\nregex x\nregex_options ucp\n}"), `f:9: regex_options ucp is not supported: auto_callout, caseless,`},
		{"protocol of HTTP", checkOf("HTTP_GET", "http_protocol 2\nurl { }"), `f:7: http_protocol 2 is not one of 1.0, 1.0C, 1.1`},
		{"MISC without program", checkOf("MISC_CHECK", ""), `f:6: MISC_CHECK needs a program: write misc_path`},
		{"DNS type", checkOf("DNS_CHECK", "type PTR"), `f:7: type PTR is not one of A, NS`},
		{"UDP payload", checkOf("UDP_CHECK", "payload 0X"), `f:7: payload needs hexadecimal digits`},
		{"UDP lengths", checkOf("UDP_CHECK", "min_reply_length 9\nmax_reply_length 8"), `f:6: UDP_CHECK: min_reply_length 9 is greater than max_reply_length 8`},
		{"bindto of the other family", checkOf("TCP_CHECK", "bindto ::1"), `f:6: TCP_CHECK: bindto ::1 is not of the family of 10.0.0.2`},
		{"no port", server("real_server 10.0.0.2 {\nTCP_CHECK { }\n}"), `f:6: TCP_CHECK has no port to connect to`},
		{"connect_port 0", checkOf("TCP_CHECK", "connect_port 0"), `f:7: connect_port 0 is not a number from 1 to 65535`},

		// The VRRP side.
		{"instance twice", "vrrp_instance a { }\nvrrp_instance a { }", `f:2: vrrp_instance a is there already at f:1`},
		{"virtual address", "vrrp_instance a {\nvirtual_ipaddress {\n10.0.0\n}\n}", `f:3: 10.0.0 is not an address IP or IP/LENGTH`},
		{"script without block", "vrrp_script x", `f:1: vrrp_script is a block`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _, err := ParseBytes("f", []byte(tt.src), "")
			if err == nil || cfg != nil {
				t.Fatalf("accepted as %+v", cfg)
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("\n got %s\nwant %s", err, tt.want)
			}
		})
	}
}

// TestTellsAllErrors holds that one reading names every bad line.
func TestTellsAllErrors(t *testing.T) {
	_, _, err := ParseBytes("f", []byte(server("quorum x\nretry y\nlb_algo z")), "")
	if want := 3; err == nil || strings.Count(err.Error(), "\n")+1 != want {
		t.Errorf("want %d lines: %v", want, err)
	}
	many := ""
	for i := range maxErrors + 5 {
		many += fmt.Sprintf("virtual_server x%d 80 {\n}\n", i)
	}
	_, _, err = ParseBytes("f", []byte(many), "")
	if err == nil || !strings.HasSuffix(err.Error(), "f:1: 5 more errors follow: correct these first") {
		t.Errorf("of many errors: %v", err)
	}
}

package dpip

// The help texts, printed on stderr. They name what works in this version.

const usage = `Usage:
    dpip [OPTIONS] OBJECT { COMMAND | help }
Parameters:
    OBJECT  := { link | addr | route | neigh | vlan | tunnel | maddr | ipv6 }
    COMMAND := { show | list | add | del | set | change | replace | flush | help }
    Objects and commands may be cut short: dpip a s
Options, anywhere on the line:
    -v, --verbose                  more detail
    -h, --help                     help on dpip or on OBJECT
    -V, --version                  version of dpip
    -4, -6, -f, --family FAMILY    inet or inet6: show that one, take addresses of that one
                                   (without it both, but of routes shown and flushed inet)
    -s, --stats, --statistics      counters (link show)
    -i, --interval SECONDS         repeat, with what counters grow by per second (link show)
    -c, --count N                  stop after N rounds of -i
    -C, --color                    redraw the rounds of -i in place, what is not zero in bold
`

const addrHelp = `Usage:
    dpip addr show [dev DEVICE]
    dpip addr add ADDR[/PLEN] dev DEVICE [sapool] [OPTIONS]
    dpip addr { set | change | replace } ADDR[/PLEN] dev DEVICE [sapool] [OPTIONS]
    dpip addr del ADDR[/PLEN] dev DEVICE
    dpip addr flush dev DEVICE
Parameters:
    PLEN    := 0 to 32, default 32; IPv6: 0 to 128, default 128
    OPTIONS := [broadcast ADDR] [scope SCOPE] [valid_lft LFT] [preferred_lft LFT]
    SCOPE   := { host | link | global | site | NUM }, default global, of fe80::/10 link
    LFT     := { forever | SECONDS }, default forever
    sapool  makes the ports of ADDR a pool for full-NAT and SNAT;
            ` + "`ipvsadm --add-laddr' sets it by itself" + `
Examples:
    dpip addr add 10.0.0.100/32 dev dpdk1
    dpip addr add 2001:db8::100/64 dev dpdk1
    dpip addr show
    dpip -6 addr show dev dpdk1
`

const routeHelp = `Usage:
    dpip [-6] route show [dev DEVICE]
    dpip route add PREFIX [via ADDR] dev DEVICE [OPTIONS]
    dpip route del PREFIX [via ADDR] dev DEVICE
    dpip [-6] route flush dev DEVICE
Parameters:
    PREFIX  := { default | ADDR[/LEN] }, LEN 0 to 32, default 32; IPv6: 0 to 128, default 128;
               the default route is of IPv6 with -6, or with a gateway or a src of IPv6
    OPTIONS := [scope SCOPE] [mtu N] [src ADDR] [metric N] [local]
    SCOPE   := { host | link | global | kni_host | NUM };
               default global with via, host with local, else link
    A route of scope host or kni_host (to the Linux twin DEVICE.kni) is for one address, a /32 or a /128.
Examples:
    dpip route add default via 10.0.0.1 dev dpdk1
    dpip route add 192.168.100.0/24 dev dpdk0
    dpip route add 172.10.0.2/32 dev dpdk1 scope kni_host
    dpip route add default via fe80::1 dev dpdk1
    dpip route add 2001:db8:1::/64 dev dpdk0
`

const neighHelp = `Usage:
    dpip neigh show [dev DEVICE]
    dpip neigh add ADDR lladdr MAC dev DEVICE
    dpip neigh del ADDR dev DEVICE
Examples:
    dpip neigh add 192.168.100.2 lladdr 00:16:3e:00:00:01 dev dpdk0
    dpip neigh add fe80::1 lladdr 00:16:3e:00:00:01 dev dpdk0
`

const vlanHelp = `Usage:
    dpip vlan show [NAME | link DEVICE [proto PROTO] [id N]]
    dpip vlan add [NAME] link DEVICE [proto PROTO] id N
    dpip vlan del { NAME | link DEVICE [proto PROTO] id N }
Parameters:
    DEVICE  := a device of dpvs.conf or a bond; there is no VLAN on a VLAN
    NAME    := default DEVICE.N
    PROTO   := { 802.1q | 802.1ad }, default 802.1q
    N       := 1 to 4094
    Deleting a VLAN deletes the addresses, routes and neighbours that it has.
Examples:
    dpip vlan add dpdk0.100 link dpdk0 proto 802.1q id 100
    dpip vlan add link dpdk0 id 101
    dpip vlan del dpdk0.100
`

const tunnelHelp = `Usage:
    dpip [-6] tunnel show [NAME]
    dpip tunnel add NAME mode { ipip | gre } [PARAMETERS]
    dpip tunnel { change | replace } NAME [PARAMETERS]
    dpip tunnel del NAME
Parameters, in any order; NAME may stand anywhere between them:
    remote { ADDR | any } local { ADDR | any }   ends of the tunnel, of IPv4 or IPv6, default any
    dev DEVICE                    packets leave by that device, default: as routes say
    ttl { 1..255 | inherit }      default inherit: that of the packet inside
    tos { 0..255 | inherit }      default 0; the ECN mark is that of the packet inside always
  of gre, either way or as expected (i) or sent (o):
    [i|o]key KEY                  KEY := NUMBER | A.B.C.D
    [i|o]csum                     checksum
    [i|o]seq                      sequence numbers; what is late is dropped
    change keeps what is not named, replace takes the default.
    A packet of either family may be inside. The device takes addresses, routes and
    match services (iif, oif) as others do; routes need no gateway.
Examples:
    dpip tunnel add mode ipip ipip1 local 1.1.1.1 remote 2.2.2.2
    dpip tunnel add gre1 mode gre local 1.1.1.1 remote 2.2.2.2 dev dpdk0
    dpip addr add 10.9.0.1/30 dev gre1
    dpip route add 10.8.0.0/16 dev gre1
    dpip link show gre1 -s
`

const maddrHelp = `Usage:
    dpip maddr show [dev DEVICE]
Examples:
    dpip maddr show
    dpip maddr show dev dpdk0
`

const linkHelp = `Usage:
    dpip [-s] [-v] [-i SECONDS [-c N] [-C]] link show [DEVICE | cpu | cpuN]
    dpip link set DEVICE ITEM VALUE
    dpip [-v] link show BOND status
    dpip link set BOND BONDITEM VALUE
    dpip link { add | del } BOND bond-slave DEVICE
Parameters:
    ITEM VALUE := { promisc | allmulticast | forward2kni | tc-egress | tc-ingress | lldp } { on | off }
                | link { up | down }
                | addr MAC
    BONDITEM VALUE := bond-mode { 0 | 1 | 2 | 3 | 4 }
                    | bond-primary { DEVICE | none }
                    | bond-xmit-policy { layer2 | layer23 | layer34 }
                    | { bond-monitor-interval | bond-link-up-prop | bond-link-down-prop } MILLISECONDS
Examples:
    dpip link show bond0 status
    dpip link set bond0 bond-primary dpdk1
    dpip link del bond0 bond-slave dpdk0
    dpip link show dpdk0 -s
    dpip link show cpu -s -i 1
    dpip link set dpdk0 promisc on
`

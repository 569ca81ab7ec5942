package dpip

// The help texts, printed on stderr. They name what works in this version.

const usage = `Usage:
    dpip [OPTIONS] OBJECT { COMMAND | help }
Parameters:
    OBJECT  := { link | addr | route | neigh }
    COMMAND := { show | list | add | del | set | change | replace | flush | help }
    Objects and commands may be cut short: dpip a s
Options, anywhere on the line:
    -v, --verbose                  more detail
    -h, --help                     help on dpip or on OBJECT
    -V, --version                  version of dpip
    -4, -6, -f, --family FAMILY    inet or inet6 (IPv6 is not yet supported)
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
    PLEN    := 0 to 32, default 32
    OPTIONS := [broadcast ADDR] [scope SCOPE] [valid_lft LFT] [preferred_lft LFT]
    SCOPE   := { host | link | global | site | NUM }, default global
    LFT     := { forever | SECONDS }, default forever
    sapool  makes the ports of ADDR a pool for full-NAT and SNAT;
            ` + "`ipvsadm --add-laddr' sets it by itself" + `
Examples:
    dpip addr add 10.0.0.100/32 dev dpdk1
    dpip addr show
`

const routeHelp = `Usage:
    dpip route show [dev DEVICE]
    dpip route add PREFIX [via ADDR] dev DEVICE [OPTIONS]
    dpip route del PREFIX [via ADDR] dev DEVICE
    dpip route flush dev DEVICE
Parameters:
    PREFIX  := { default | ADDR[/LEN] }, LEN 0 to 32, default 32
    OPTIONS := [scope SCOPE] [mtu N] [src ADDR] [metric N] [local]
    SCOPE   := { host | link | global | kni_host | NUM };
               default global with via, host with local, else link
    A route of scope host or kni_host (to the Linux twin DEVICE.kni) is for one address, a /32.
Examples:
    dpip route add default via 10.0.0.1 dev dpdk1
    dpip route add 192.168.100.0/24 dev dpdk0
    dpip route add 172.10.0.2/32 dev dpdk1 scope kni_host
`

const neighHelp = `Usage:
    dpip neigh show [dev DEVICE]
    dpip neigh add ADDR lladdr MAC dev DEVICE
    dpip neigh del ADDR dev DEVICE
Examples:
    dpip neigh add 192.168.100.2 lladdr 00:16:3e:00:00:01 dev dpdk0
`

const linkHelp = `Usage:
    dpip [-s] [-v] [-i SECONDS [-c N] [-C]] link show [DEVICE | cpu | cpuN]
    dpip link set DEVICE ITEM VALUE
Parameters:
    ITEM VALUE := { promisc | allmulticast | forward2kni | tc-egress | tc-ingress | lldp } { on | off }
                | link { up | down }
                | addr MAC
Examples:
    dpip link show dpdk0 -s
    dpip link show cpu -s -i 1
    dpip link set dpdk0 promisc on
`

package ipvsadm

import "fmt"

// banner is the line that -v prints and -h begins with.
func (env *Env) banner() string {
	return fmt.Sprintf("ipvsadm v%s (weir; IPVS v%s)\n", env.Version, ipvsVersion)
}

const usage = `Usage:
  ipvsadm -A|E SERVICE [-s SCHEDULER] [-p [SECONDS] [-M NETMASK]] [-o] [--pe NAME]
               [--expire-quiescent] [--conn-timeout SECONDS] [-j enable|disable]
               [--hash-target sip|qid] [--quic] [--dest-check CHECK]
               [--proxy-protocol disable|v1|v2|v1-insecure|v2-insecure]
               [--toa enable|disable] [--uoa disable|ipo|opp]
               [--mapping endpoint-independent|address-and-port-dependent]
  ipvsadm -D SERVICE
  ipvsadm -C
  ipvsadm -a|e SERVICE -r HOST[:PORT] [-b|-m|-g|-i|-J] [-w WEIGHT] [-x UPPER] [-y LOWER]
  ipvsadm -d SERVICE -r HOST[:PORT]
  ipvsadm -P|Q SERVICE -z LOCAL-ADDRESS -F DEVICE
  ipvsadm -G [SERVICE]
  ipvsadm -U|V SERVICE -k CLIENT
  ipvsadm -O|Y SERVICE -2 CLIENT
  ipvsadm -B|W [SERVICE]
  ipvsadm -L|l [SERVICE] [-n] [--stats [-X] | --rate [-X] | --thresholds | --persistent-conn] [--nosort]
  ipvsadm -L|l -c [-n] [--sockpair PROTO:SIP:SPORT:TIP:TPORT]
  ipvsadm -L|l --timeout
  ipvsadm --set TCP TCPFIN UDP
  ipvsadm -Z [SERVICE]
  ipvsadm -S > FILE
  ipvsadm -R < FILE
  ipvsadm -h | -v

SERVICE: -t HOST:PORT (TCP), -u HOST:PORT (UDP) or --sctp-service HOST:PORT (SCTP),
         IPv6 as [2001:db8::1]:PORT, or -H MATCH (SNAT)

Commands (the first option of the line):
  -A, --add-service      add a virtual service
  -E, --edit-service     replace the settings of a service: what is not given is the default
  -D, --delete-service   delete a service with its real servers
  -C, --clear            delete all services
  -a, --add-server       add a real server to a service
  -e, --edit-server      replace the settings of a real server
  -d, --delete-server    delete a real server
  -P, --add-laddr        put a local address (LIP) on a device and give it to a service
  -Q, --del-laddr        take a local address from a service
  -G, --get-laddr        list local addresses
  -U, --add-blklst       deny a client a service
  -V, --del-blklst       take it off the blacklist again
  -B, --get-blklst       list blacklists
  -O, --add-whtlst       put a client on a service's whitelist: all others are denied
  -Y, --del-whtlst       take it off the whitelist again
  -W, --get-whtlst       list whitelists
  -L, -l, --list         list services, or connections with -c
  -Z, --zero             set the counters of all services, or of one, to zero
      --set              set timeouts in seconds, 0 leaves one as it is
  -S, --save             print the lines that restore everything, dpip's included
  -R, --restore          carry out such lines from standard input
  -h, --help             this text
  -v, --version          the version

Options:
  -s, --scheduler NAME     rr wrr wlc lc sed nq fo sh dh mh conhash (default wlc)
      --hash-target sip|qid  what conhash goes by: client, or QUIC connection id (default sip)
      --quic               a QUIC connection id that names a real server leads to it (UDP)
  -p, --persistent [SECS]  a client keeps its real server for so long (default 360)
  -M, --netmask MASK       clients of one network count as one for -p: 255.255.255.0,
                           or of an IPv6 service the length of a prefix, 64
  -o, --ops                schedule each packet on its own (UDP)
      --pe NAME            persistence engine (not supported yet)
      --conn-timeout SECS  how long a connection may be silent (default: the protocol's)
      --expire-quiescent   end connections whose real server was deleted
      --toa enable|disable   the client's address in a TCP option (TCP, default enable)
      --uoa disable|ipo|opp  in an IP option, or in IP protocol 248 (UDP, default disable)
      --proxy-protocol WORD  in a PROXY protocol header in front of the data (default disable)
      --mapping WORD       of SNAT: one WAN address and port of an inside one toward
                           everybody, or one toward each (default)
  -r, --real-server HOST[:PORT]  the real server; without a port, the service's
  -b, --fullnat            full-NAT: rewrite source and destination; needs a local address
                           of the real server's family
  -m, --masquerading       NAT: rewrite the destination
  -g, --gatewaying         direct routing (default)
  -i, --ipip               tunnel
  -J, --snat               SNAT
  -w, --weight N           0 to 65535, 0 takes no new connections (default 1)
  -x, --u-threshold N      most connections (default 0: no bound)
  -y, --l-threshold N      when overloaded, take new connections below so many
  -z, --laddr ADDRESS      local address
  -F, --ifname DEVICE      its device
  -k, --blklst CLIENT      an entry of the blacklist: an address
  -2, --whtlst CLIENT      an entry of the whitelist
  -c, --connection         list connections
  -n, --numeric            addresses and ports as numbers
  -X, --exact              counters without K, M, G, T
      --stats              list counters
      --rate               list connections, packets and bytes a second
      --thresholds         list thresholds
      --persistent-conn    list persistent connections
      --timeout            list timeouts
      --nosort             list in the order of insertion
      --sockpair PAIR      only this connection, as PROTO:SIP:SPORT:TIP:TPORT,
                           IPv6 addresses in brackets

The director is called on the socket that DPVS_IPC_FILE names, else on /run/weir.sock.
`

package keepalivedconf

import (
	"io"
	"net/netip"
	"time"

	"weir/internal/config/block"
	"weir/internal/spec"
)

// Config is what a keepalived.conf says, in the order of the file. Two that say
// the same are equal by reflect.DeepEqual: they hold no places.
type Config struct {
	Global    Global
	TLS       TLS
	Locals    []LocalGroup
	Deny      []ListGroup
	Allow     []ListGroup
	Tunnels   []TunnelGroup
	Groups    []ServerGroup
	Servers   []VirtualServer
	Instances []Instance

	// Of static_ipaddress and static_routes, what is on ports of Weir.
	StaticAddresses []PortAddress
	StaticRoutes    []spec.Route

	// Stock is the VRRP side as a file for `keepalived --vrrp`; see WriteStock.
	Stock string
}

// Warning is a line that was read and changes nothing.
type Warning struct {
	Pos  block.Pos
	Text string
}

// String returns "file:line: text".
func (w Warning) String() string { return w.Pos.String() + ": " + w.Text }

// Parse reads the file at path and what it includes. id is what lines that begin
// with '@' are held against (-i); "" is the id of no line. Warnings come file
// by file in the order of the lines. The error joins all that is wrong, one line for each, and
// then there is no Config.
func Parse(path, id string) (*Config, []Warning, error) {
	l := newLoader(id)
	l.open = true
	l.main(path)
	return compile(path, l)
}

// ParseBytes reads src as if it were a file called name. It opens no file, so
// include is refused.
func ParseBytes(name string, src []byte, id string) (*Config, []Warning, error) {
	l := newLoader(id)
	l.text(name, src)
	return compile(name, l)
}

// WriteStock writes the VRRP side for stock keepalived: global_defs, static_*,
// track_* and vrrp_* as they came, without comments, definitions and the words
// that only DPVS knows.
func (c *Config) WriteStock(w io.Writer) error {
	_, err := io.WriteString(w, c.Stock)
	return err
}

// Global is what concerns the health checks of global_defs.
type Global struct {
	ScriptUser, ScriptGroup string // who scripts run as; "": who runs keepalived
	ScriptSecurity          bool   // refuse scripts that others than root may change
	LogAllFailures          bool   // the default of checkers' log_all_failures
	Flush, FlushOnStop      bool   // forget services that others made, at start and stop
	OwnFIFO                 bool   // the file has a vrrp_notify_fifo
}

// TLS holds what SSL_GET presents and trusts: names of files, "" for none.
type TLS struct{ Password, CA, Certificate, Key string }

// Script is a command with its arguments as the file has it.
type Script struct {
	Command     string // words are parted by spaces, and bound by single quotes
	User, Group string // "": Global's
}

// Range is a span of addresses, ends included.
type Range struct{ First, Last netip.Addr }

// LocalGroup is a local_address_group: addresses for full-NAT.
type LocalGroup struct {
	Name   string
	Ranges []LocalRange
}

// LocalRange is a span of local addresses on a port.
type LocalRange struct {
	Range
	Port string
}

// ListGroup is a deny_address_group or an allow_address_group.
type ListGroup struct {
	Name   string
	Ranges []Range
	Sets   []string // of "ipset:SET"
}

// TunnelGroup is a tunnel_group: tunnel devices.
type TunnelGroup struct {
	Name    string
	Tunnels []TunnelDevice
}

// TunnelDevice is a tunnel_entry.
type TunnelDevice struct {
	Name          string
	Kind          string // "ipip", "gre"
	Local, Remote netip.Addr
	Port          string // the device below; "": as routed
}

// ServerGroup is a virtual_server_group.
type ServerGroup struct {
	Name    string
	Members []Member
}

// Member is one line of a virtual_server_group: addresses and a port, or a mark.
type Member struct {
	Range
	Port   uint16
	Mark   uint32 // 0: none, then Range is set
	Family string // of a mark: "inet", "inet6", "" for that of the real servers
}

// Target is what a virtual server is for. One of its fields is set, for a match
// Label and Match.
type Target struct {
	Virtual netip.AddrPort
	Mark    uint32
	Group   string
	Label   string // of a match, for people
	Match   spec.Match
}

// Method is a forwarding mode with what a tunnel needs.
type Method struct {
	Forward  spec.Forward
	Tunnel   string // "": "ipip"; "gue", "gre"
	Port     uint16 // of gue
	Checksum string // "", "nocsum", "csum", "remcsum"
}

// VirtualServer is a virtual_server.
type VirtualServer struct {
	Target
	Proto     spec.Proto
	Family    string // ip_family: "", "inet", "inet6"
	Scheduler string
	Flags     []string // of the scheduler ("mh-port", ...), sorted
	Method    Method

	Persistent      uint32     // seconds; 0: not persistent
	PersistentMask  netip.Addr // zero: whole address
	PE              string
	OnePacket       bool
	SynProxy        bool
	ExpireQuiescent bool
	QUIC            bool
	HashTarget      string // "", "sip", "qid"
	ConnTimeout     uint32 // seconds; 0: the protocol's
	ProxyProtocol   string // "", "v1", "v2", "v1-insecure", "v2-insecure"
	UOA             string // "", "ipo", "opp"

	LocalGroup, DenyGroup, AllowGroup string

	Alpha, Omega         bool
	Quorum, Hysteresis   uint32
	QuorumUp, QuorumDown Script
	Sorry                Sorry
	HASuspend            bool // check only while the VIP is here

	Reals []RealServer
}

// Sorry is the sorry_server; without one Addr is not valid.
type Sorry struct {
	Addr    netip.AddrPort
	Method  Method
	Inhibit bool
}

// RealServer is a real_server, with what it inherits from its virtual server.
type RealServer struct {
	Addr                   netip.AddrPort // port 0: none was said
	Method                 Method
	Weight                 uint32
	UThreshold, LThreshold uint32
	Alpha                  bool // down until a check succeeds
	Inhibit                bool // when down its weight is 0, and it stays
	NotifyUp, NotifyDown   Script
	Checkers               []Checker
}

// Checker is one health check, with what it inherits. Kind says which of the
// parts at the end counts.
type Checker struct {
	Kind Kind
	Endpoint
	Retry            uint32 // checks after the first that failed
	DelayBeforeRetry time.Duration
	DelayLoop        time.Duration // from check to check
	Warmup           time.Duration // the first check comes within it
	Alpha            bool
	LogAllFailures   bool

	HTTP HTTP
	SMTP SMTP
	DNS  DNS
	Misc Misc
	UDP  UDP
}

// Endpoint is whom a check speaks to, and from where.
type Endpoint struct {
	Connect        netip.AddrPort
	Bind           netip.AddrPort // zero parts: any
	BindPort       string         // bind_if: the device to send on; "": as routed
	Mark           uint32
	ConnectTimeout time.Duration
}

// Kind is the keyword of a checker.
type Kind string

// The checkers there are.
const (
	TCPCheck  Kind = "TCP_CHECK"
	HTTPGet   Kind = "HTTP_GET"
	SSLGet    Kind = "SSL_GET"
	UDPCheck  Kind = "UDP_CHECK"
	DNSCheck  Kind = "DNS_CHECK"
	MiscCheck Kind = "MISC_CHECK"
	SMTPCheck Kind = "SMTP_CHECK"
	PingCheck Kind = "PING_CHECK"
)

// HTTP is of HTTP_GET and SSL_GET.
type HTTP struct {
	URLs         []URL
	Protocol     string // "1.0", "1.0C", "1.1"
	VirtualHost  string // "": the address
	SNI          bool   // of SSL_GET: name VirtualHost, or SNIName
	SNIName      string
	FastRecovery bool // has no more to say: all URLs are asked in each check
	TLSCompliant bool `json:",omitempty"` // of SSL_GET: TLS must be ended, not cut off
}

// URL is one page that must be as it should.
type URL struct {
	Path, VirtualHost string
	Digest            string       // MD5 of the body in hexadecimal digits; "": any
	Status            []StatusSpan // none: 200-299
	Regex             string       // RE2, as pattern makes it; "": any body
	RegexNoMatch      bool         // the body must not match
	MinOffset         uint32       // where in the body a match may begin
	MaxOffset         uint32       // 0: anywhere
	TLSCompliant      bool         `json:",omitempty"`
}

// StatusSpan is a span of HTTP status codes, ends included.
type StatusSpan struct{ First, Last uint16 }

// SMTP is of SMTP_CHECK. Each host must answer; none stands for the real server.
type SMTP struct {
	Helo  string
	Hosts []Endpoint
}

// DNS is of DNS_CHECK.
type DNS struct{ Type, Name string }

// Misc is of MISC_CHECK.
type Misc struct {
	Script  Script
	Timeout time.Duration // 0: DelayLoop
	Dynamic bool          // an exit code from 2 on is a weight, plus 2
}

// UDP is of UDP_CHECK.
type UDP struct {
	Payload              []byte // none: what the checker likes
	RequireReply         bool
	Reply, ReplyMask     []byte // as far as both go, reply&mask must be Reply&mask
	MinLength, MaxLength uint32 // of a reply
}

// Instance is what the director needs to know of a vrrp_instance.
type Instance struct {
	Name      string
	Interface string         // where VRRP is spoken
	Port      string         // dpdk_interface: where the addresses go; "": not to Weir
	Addresses []netip.Prefix // virtual_ipaddress and virtual_ipaddress_excluded
	Routes    []spec.Route   // of virtual_routes, those on ports of Weir
}

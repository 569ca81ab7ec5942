package rsagent

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseTrust(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // prefixes with spaces between
		warn string
		err  string
	}{
		{name: "a prefix", args: []string{"192.168.100.0/24"}, want: "192.168.100.0/24"},
		{name: "an address", args: []string{"192.168.100.200"}, want: "192.168.100.200/32"},
		{name: "both families, several arguments", args: []string{"10.0.0.0/8,fd00::/8", "fd00:100::200"}, want: "10.0.0.0/8 fd00::/8 fd00:100::200/128"},
		{name: "twice the same", args: []string{"10.0.0.0/8,10.0.0.0/8"}, want: "10.0.0.0/8"},
		{
			name: "everybody", args: []string{"0.0.0.0/0,::/0"}, want: "0.0.0.0/0 ::/0",
			warn: "--trust 0.0.0.0/0 believes everybody: any host that reaches this server can say that it is any client",
		},

		{name: "nobody", err: "say whose options are believed: --trust CIDR[,CIDR...], the directors' local addresses (`ipvsadm -G' lists them)"},
		{name: "empty", args: []string{""}, err: "--trust: an empty prefix: write CIDR[,CIDR...]"},
		{name: "a comma too many", args: []string{"10.0.0.0/8,"}, err: "--trust: an empty prefix: write CIDR[,CIDR...]"},
		{name: "any", args: []string{"any"}, err: `--trust: "any" would believe everybody; whoever means that writes 0.0.0.0/0 and ::/0`},
		{name: "host bits", args: []string{"192.168.100.200/24"}, err: "--trust: 192.168.100.200/24 has bits set behind its length: write 192.168.100.0/24, or 192.168.100.200 for the one address"},
		{name: "host bits of IPv6", args: []string{"fd00:100::200/64"}, err: "--trust: fd00:100::200/64 has bits set behind its length: write fd00:100::/64, or fd00:100::200 for the one address"},
		{name: "mixed families", args: []string{"::ffff:10.0.0.0/104"}, err: "--trust: ::ffff:10.0.0.0/104 mixes the families: write the IPv4 prefix"},
		{name: "mixed families in an address", args: []string{"::ffff:10.0.0.1"}, err: "--trust: ::ffff:10.0.0.1 is an IPv4 address in IPv6 clothes: write 10.0.0.1"},
		{name: "an IPv6 length for IPv4", args: []string{"10.0.0.0/64"}, err: "--trust: 10.0.0.0/64 is neither an address nor a prefix like 192.168.100.0/24 or fd00:100::/64"},
		{name: "a zone", args: []string{"fe80::1%eth0"}, err: "--trust: fe80::1%eth0 has a zone: write the address alone"},
		{name: "a name", args: []string{"director"}, err: "--trust: director is neither an address nor a prefix like 192.168.100.0/24 or fd00:100::/64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			trust, warnings, err := ParseTrust(tt.args)
			var got []string
			for _, p := range trust {
				got = append(got, p.String())
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("trusted are %q, want %q", s, tt.want)
			}
			if text(err) != tt.err {
				t.Errorf("the error is %q, want %q", text(err), tt.err)
			}
			if tt.warn != "" && (len(warnings) == 0 || warnings[0] != tt.warn) || tt.warn == "" && len(warnings) > 0 {
				t.Errorf("warnings are %q, want %q", warnings, tt.warn)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTrustKeysLeadBack(t *testing.T) {
	for _, s := range []string{"0.0.0.0/0", "10.0.0.0/8", "192.168.100.200/32", "::/0", "fd00:100::/64", "2001:db8::9/128"} {
		p := netip.MustParsePrefix(s)
		if got := prefixOf(trustKey(p)); got != p {
			t.Errorf("%s came back as %s", p, got)
		}
	}
}

func TestParseDevices(t *testing.T) {
	tests := []struct {
		arg  string
		want []string
		err  string
	}{
		{"all", nil, ""},
		{"none", []string{}, ""},
		{"eth0", []string{"eth0"}, ""},
		{"eth0,bond0.100", []string{"eth0", "bond0.100"}, ""},
		{"", nil, `--opp-dev : "" is no name of a device: write all, none, or names with commas between`},
		{"eth0,", nil, `--opp-dev eth0,: "" is no name of a device: write all, none, or names with commas between`},
		{"sixteen-letters-", nil, `--opp-dev sixteen-letters-: "sixteen-letters-" is no name of a device: write all, none, or names with commas between`},
		{"a/b", nil, `--opp-dev a/b: "a/b" is no name of a device: write all, none, or names with commas between`},
	}
	for _, tt := range tests {
		got, err := ParseDevices(tt.arg)
		if !slices.Equal(got, tt.want) || (got == nil) != (tt.want == nil) || text(err) != tt.err {
			t.Errorf("%q is %#v (%v), want %#v (%s)", tt.arg, got, err, tt.want, tt.err)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Options{Trust: trustLIPs, UOA: Off, Entries: 1, Timeout: time.Second, PinDir: "/sys/fs/bpf/weir-rs"}
	tests := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"good", func(*Options) {}, ""},
		{"mode", func(o *Options) { o.UOA = "on" }, "--uoa on is no mode: write off, getsockopt or transparent"},
		{"no entries", func(o *Options) { o.Entries = 0 }, "--uoa-entries 0 is not within 1-16777216"},
		{"too many entries", func(o *Options) { o.Entries = 1<<24 + 1 }, "--uoa-entries 16777217 is not within 1-16777216"},
		{"timeout", func(o *Options) { o.Timeout = time.Millisecond }, "--uoa-timeout 1ms is less than a second, or more than 68 years"},
		{"pin", func(o *Options) { o.PinDir = "weir-rs" }, "--pin weir-rs is no absolute path"},
		{"empty datagrams without UOA", func(o *Options) { o.DropEmpty = true }, "--uoa-drop-empty needs --uoa getsockopt or transparent: without UOA nothing is known of datagrams"},
		{"too much trust", func(o *Options) { o.Trust = make([]netip.Prefix, maxTrust+1) }, "4097 prefixes are trusted, and there is room for 4096: give shorter prefixes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			if got := text(o.validate()); got != tt.want {
				t.Errorf("validate says %q, want %q", got, tt.want)
			}
		})
	}
	if _, err := ParseMode("on"); text(err) != "--uoa on is no mode: write off, getsockopt or transparent" {
		t.Errorf("ParseMode says %v", err)
	}
}

package dpvsconf

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"weir/internal/spec"
)

func TestDiff(t *testing.T) {
	base := both + " }\n"
	tests := []struct {
		name, old, new string
		want           []string
	}{
		{"the same", base, base, nil},
		{"only what a reload may change", base, base + "global_defs { log_level INFO }\nneigh_defs { timeout 5 }\nipvs_defs { udp { uoa_max_trail 9 } }", nil},
		{
			"sizes", base, base + "netif_defs { pktpool_size 4096 }\nneigh_defs { unres_queue_length 16 }\nipvs_defs { conn {\n conn_pool_size 65536\n conn_pool_ipv6 1024\n } }\nglobal_defs { kni off }",
			[]string{"kni", "pktpool_size", "unres_queue_length", "conn_pool_size", "conn_pool_ipv6"},
		},
		{"what is no size", base, base + "global_defs { log_with_timestamp on\n busy_poll on\n nice 0\n rt_priority 0 }", []string{"log_with_timestamp", "busy_poll", "nice", "rt_priority"}},
		{"ports of local addresses", base, base + "sa_pool { port_range 1025-2047 }", []string{"port_range"}},
		{"IPv6", base, base + "ipv6_defs {\n disable on\n forwarding on\n addr_gen_mode stable-privacy\n stable_secret 00112233445566778899aabbccddeeff\n}", []string{"ipv6_defs disable", "addr_gen_mode", "stable_secret"}},
		{"the default is said", base, base + "sa_pool { port_range 1025-65535 }", nil},
		{"the default of a ring is said", base, strings.Replace(base, "device dpdk1 { }", "device dpdk1 { rx {\n descriptor_number 4096\n } }", 1), nil},
		{"a ring is changed", base, strings.Replace(base, "device dpdk1 { }", "device dpdk1 { rx {\n descriptor_number 2048\n } }", 1), []string{"device dpdk1"}},
		{"a device is added", base, base + "netif_defs { device dpdk2 { } }", []string{"device dpdk2 (added)"}},
		{"a device is taken away", base + "netif_defs { device dpdk2 { } }", base, []string{"device dpdk2 (removed)"}},
		{"a device is changed", base, strings.Replace(base, "device dpdk1 { }", "device dpdk1 { mtu 9000 }", 1), []string{"device dpdk1"}},
		{"busy polling", base, strings.Replace(base, "device dpdk1 { }", "device dpdk1 { napi_busy_poll auto }", 1), []string{"device dpdk1"}},
		{"numbers for busy polling", strings.Replace(base, "device dpdk1 { }", "device dpdk1 { napi_busy_poll on }", 1), strings.Replace(base, "device dpdk1 { }", "device dpdk1 { napi_busy_poll on\n gro_flush_timeout 20000 }", 1), []string{"device dpdk1"}},
		{"the default of busy polling is said, and numbers for none", base, strings.Replace(base, "device dpdk1 { }", "device dpdk1 { napi_busy_poll off\n gro_flush_timeout 20000 }", 1), nil},
		{"a worker's queues", base, strings.Replace(base, "rx_queue_ids 0", "rx_queue_ids 1", 1), []string{"worker cpu1"}},
		{"the order of devices", base + "netif_defs { device dpdk2 { }\n device dpdk3 { } }", base + "netif_defs { device dpdk3 { }\n device dpdk2 { } }", []string{"order of the devices"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, _ := mustParse(t, tt.old)
			after, _ := mustParse(t, tt.new)
			if got := Diff(before, after); !slices.Equal(got, tt.want) {
				t.Errorf("Diff = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestDiffKnowsAllOfBoot changes each field of Boot by itself, so that a new one
// can't be forgotten.
func TestDiffKnowsAllOfBoot(t *testing.T) {
	running, _ := mustParse(t, quick)
	boot := reflect.TypeFor[spec.Boot]()
	for i := range boot.NumField() {
		changed, _ := mustParse(t, quick)
		f := reflect.ValueOf(&changed.Boot).Elem().Field(i)
		switch f.Kind() {
		case reflect.Int:
			f.SetInt(f.Int() + 1)
		case reflect.Uint16:
			f.SetUint(f.Uint() + 1)
		case reflect.Bool:
			f.SetBool(!f.Bool())
		case reflect.String:
			f.SetString(f.String() + "x")
		case reflect.Struct:
			for j := range f.NumField() {
				old := reflect.ValueOf(f.Interface())
				switch n := f.Field(j); n.Kind() {
				case reflect.Int:
					n.SetInt(n.Int() + 1)
				case reflect.Uint32:
					n.SetUint(n.Uint() + 1)
				case reflect.Bool:
					n.SetBool(!n.Bool())
				case reflect.String:
					n.SetString(n.String() + "x")
				case reflect.Array:
					n.Index(0).SetUint(n.Index(0).Uint() + 1)
				default:
					t.Fatalf("field %s is a %s: say here how it changes", f.Type().Field(j).Name, n.Kind())
				}
				if len(Diff(running, changed)) == 0 {
					t.Errorf("Diff does not see a change of %s", f.Type().Field(j).Name)
				}
				f.Set(old)
			}
			continue
		case reflect.Slice:
			if f.Len() == 0 {
				f.Set(reflect.MakeSlice(f.Type(), 1, 1))
			} else {
				f.SetZero()
			}
		default:
			t.Fatalf("field %s is a %s: say here how it changes", boot.Field(i).Name, f.Kind())
		}
		if name := boot.Field(i).Name; name == "Keep" || name == "Fresh" {
			continue // of the command line
		}
		if len(Diff(running, changed)) == 0 {
			t.Errorf("Diff does not see a change of %s", boot.Field(i).Name)
		}
	}
}

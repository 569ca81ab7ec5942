package spec

import (
	"fmt"
	"reflect"
	"testing"
)

// TestTelling: every way to tell the client's address that goes with a protocol can
// be had, and an edit that does not name it takes it back.
func TestTelling(t *testing.T) {
	for _, row := range []Service{
		{ServiceKey: web, NoTOA: true},
		{ServiceKey: web, ProxyProtocol: "v1"},
		{ServiceKey: web, ProxyProtocol: "v2", NoTOA: true},
		{ServiceKey: web, ProxyProtocol: "v1-insecure"},
		{ServiceKey: web, ProxyProtocol: "v2-insecure"},
		{ServiceKey: dns, ProxyProtocol: "v2"},
		{ServiceKey: dns, ProxyProtocol: "v2-insecure"},
		{ServiceKey: dns, UOA: "ipo"},
		{ServiceKey: dns, UOA: "opp"},
	} {
		t.Run(fmt.Sprintf("%s%s notoa=%v uoa=%s", row.Proto, row.ProxyProtocol, row.NoTOA, row.UOA), func(t *testing.T) {
			s := &Spec{}
			row.Scheduler = "rr"
			plain := Service{ServiceKey: row.ServiceKey, Scheduler: "rr"}
			must(t, s.AddService(row))
			if got := *s.Find(row.ServiceKey); !reflect.DeepEqual(got, row) {
				t.Errorf("added %+v, got %+v", row, got)
			}
			must(t, s.EditService(plain))
			if got := *s.Find(row.ServiceKey); !reflect.DeepEqual(got, plain) {
				t.Errorf("edited to the defaults, got %+v", got)
			}
			must(t, s.EditService(row))
			if got := *s.Find(row.ServiceKey); !reflect.DeepEqual(got, row) {
				t.Errorf("edited to %+v, got %+v", row, got)
			}
		})
	}
}

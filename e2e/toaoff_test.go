package e2e

import (
	"testing"
)

// kind254 returns the options of a TCP header that a server may take for an option
// of address.
func kind254(o []byte) (found [][]byte) {
	for len(o) > 0 && o[0] != 0 {
		if o[0] == 1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || int(o[1]) < 2 || int(o[1]) > len(o) {
			break
		}
		if o[0] == 254 {
			found = append(found, o[:o[1]])
		}
		o = o[o[1]:]
	}
	return found
}

// TestTOADisabled: a service may go without the option of address.
func TestTOADisabled(t *testing.T) {
	for _, s := range drivers {
		t.Run(s.String(), func(t *testing.T) {
			s.servers = 1
			d := newDirector(t, s)
			d.nginx(d.rs(1))
			d.streamServer(d.rs(1))
			d.twoArm()
			d.serviceTo("t", 80, 80, "", 1)
			d.serviceTo("t", 81, 80, "--toa disable", 1)
			d.serviceTo("t", 8080, 8080, "--toa disable", 1)
			d.wholeFrames()
			off := d.tcpdump(d.rs(1), "eth0")
			atClient := d.tcpdump(d.client(), "eth0")
			d.run(d.client(), "curl -sS --max-time 30 -o /dev/null 10.0.0.100:81/")
			d.run(d.client(), "curl -sS --max-time 30 -o /dev/null 10.0.0.100:8080/300000")
			d.run(d.client(), "curl -sS --max-time 30 -o /dev/null --data-binary @"+d.upload()+" 10.0.0.100:8080/")
			off.stop()
			atClient.stop()
			// Nobody has to leave room for an option that is never there.
			answers := atClient.segments("ip.src == 10.0.0.100 && tcp.flags.syn == 1 && tcp.options.mss_val == 1460")
			if len(answers) != 3 {
				t.Errorf("%d of 3 SYN-ACKs have an MSS of 1460", len(answers))
			}
			all := off.segments("tcp && !icmp")
			if len(all) < 20 {
				t.Errorf("%d segments were captured", len(all))
			}
			for _, seg := range all {
				if found := kind254(seg.options); found != nil {
					t.Errorf("frame %s carries %x", seg.frame, found)
				}
			}
			on := d.tcpdump(d.rs(1), "eth0")
			d.run(d.client(), "curl -sS --max-time 30 -o /dev/null 10.0.0.100:80/")
			on.stop()
			carried := 0
			for _, seg := range on.segments("tcp && !icmp") {
				carried += len(kind254(seg.options))
			}
			if carried == 0 {
				t.Error("the service beside it carries no option either")
			}
		})
	}
}

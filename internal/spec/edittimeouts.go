package spec

// SetTimeouts are the timeouts that `ipvsadm --set` puts in the place of
// dpvs.conf's, in seconds; 0 for what it left alone.
type SetTimeouts struct {
	TCP    uint32 // of established connections
	TCPFin uint32 // after a FIN of the real server (FIN_WAIT)
	UDP    uint32 // of UDP, answered or not
}

// MaxTimeout is the longest timeout in seconds: 31 days.
const MaxTimeout = 31 * 24 * 3600

// EditTimeouts changes the timeouts that are not 0.
func (s *Spec) EditTimeouts(t SetTimeouts) error {
	for _, one := range []struct {
		to  *uint32
		sec uint32
		of  string
	}{{&s.SetTimeouts.TCP, t.TCP, "tcp"}, {&s.SetTimeouts.TCPFin, t.TCPFin, "tcpfin"}, {&s.SetTimeouts.UDP, t.UDP, "udp"}} {
		if one.sec > MaxTimeout {
			return refuse(Invalid, "timeout", "%s timeout %d: must be 1 to %d seconds", one.of, one.sec, MaxTimeout)
		}
		if one.sec != 0 {
			*one.to = one.sec
		}
	}
	return nil
}

// Over returns t with what was set in its place.
func (s SetTimeouts) Over(t Timeouts) Timeouts {
	if s.TCP != 0 {
		t.TCP.Established = s.TCP
	}
	if s.TCPFin != 0 {
		t.TCP.FinWait = s.TCPFin
	}
	if s.UDP != 0 {
		t.UDP.OneWay, t.UDP.Normal = s.UDP, s.UDP
	}
	return t
}
